"""Fake servers, and a real one in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.python.backends import running
from tests.python.shared.fake import Fake, Reply

import flint
from flint._native import Server

MakeFake = Callable[..., Fake]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose name is short enough for a socket's path."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def fake(place: Path) -> Iterator[MakeFake]:
    """Makes the test's fake server, which replies so."""
    with ExitStack() as stack:

        def make(*replies: Reply) -> Fake:
            server = Fake(place / "fake", list(replies))
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def url(place: Path, limiter: flint.Limiter) -> Iterator[str]:
    """The URL of a real server over `limiter`."""
    with running(Server(limiter, unix=place / "real")) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[flint.SharedLimiter]:
    with flint.SharedLimiter(url) as client:
        yield client
