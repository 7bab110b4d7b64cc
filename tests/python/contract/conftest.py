"""The backends that every contract test runs against.

A backend makes limiters of its kind; tests use nothing but the public API that all of them have. A new kind of limiter
is one more entry in BACKENDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import flint
from flint.testing import ManualClock

Make = Callable[[Path, ManualClock, ExitStack], flint.Limiter]


def embedded_batch(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    return stack.enter_context(flint.Limiter(data_dir, sync="batch", clock=clock))


def embedded_always(data_dir: Path, clock: ManualClock, stack: ExitStack) -> flint.Limiter:
    return stack.enter_context(flint.Limiter(data_dir, sync="always", clock=clock))


BACKENDS: dict[str, Make] = {"embedded-batch": embedded_batch, "embedded-always": embedded_always}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Make:
    return BACKENDS[request.param]


@pytest.fixture
def limiter(backend: Make, data_dir: Path, clock: ManualClock) -> Iterator[flint.Limiter]:
    with ExitStack() as stack:
        yield backend(data_dir, clock, stack)
