"""Every contract test runs against each backend of the registry, tests/python/backends.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.python.backends import BACKENDS, Backend

import flint
from flint.testing import ManualClock


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    made: Backend = request.param
    return made


@pytest.fixture
def limiter(backend: Backend, data_dir: Path, clock: ManualClock) -> Iterator[flint.Limiter]:
    with ExitStack() as stack:
        yield backend.make(data_dir, clock, stack)
