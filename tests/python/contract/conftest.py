"""The backends that every contract test runs against.

A backend makes limiters of its kind; tests use nothing but the public API that all of them have. A new kind of limiter
is one more entry in BACKENDS.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import flint
from flint._native import Server
from flint.testing import ManualClock

Make = Callable[[Path, ManualClock, ExitStack], flint.Limiter]


def embedded_batch(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    return stack.enter_context(flint.Limiter(data_dir, sync="batch", clock=clock))


def embedded_always(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    return stack.enter_context(flint.Limiter(data_dir, sync="always", clock=clock))


def serving(limiter: flint.Limiter, stack: ExitStack, *, unix: str | None = None, bind: str | None = None) -> str:
    """The URL of a server over `limiter` in a thread of this process, which ends with `stack`."""
    server = Server(limiter, unix=unix, bind=bind)
    thread = threading.Thread(target=server.serve)
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.stop)
    (url,) = server.urls
    return url


def shared(url: str, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    """A client. Both sides have the test's clock: the server decides by it, and acquire() waits by it."""
    client = stack.enter_context(flint.SharedLimiter(url))
    client._queues.clock = clock
    # Of another class, with the same API: that is what these tests show.
    return client  # type: ignore[return-value]


def shared_unix_batch(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    # The path of a socket has at most about 100 bytes.
    place = stack.enter_context(tempfile.TemporaryDirectory())
    return shared(serving(embedded_batch(data_dir, clock, stack), stack, unix=os.path.join(place, "s")), clock, stack)


def shared_tcp_always(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    return shared(serving(embedded_always(data_dir, clock, stack), stack, bind="127.0.0.1:0"), clock, stack)


BACKENDS: dict[str, Make] = {
    "embedded-batch": embedded_batch,
    "embedded-always": embedded_always,
    "shared-unix-batch": shared_unix_batch,
    "shared-tcp-always": shared_tcp_always,
}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Make:
    return BACKENDS[request.param]


@pytest.fixture
def limiter(backend: Make, data_dir: Path, clock: ManualClock) -> Iterator[flint.Limiter]:
    with ExitStack() as stack:
        yield backend(data_dir, clock, stack)
