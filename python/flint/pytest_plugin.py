"""Fixtures for the tests of applications that use Flint. pytest finds them where flint-limiter is installed.

def test_the_sixth_login_is_denied(flint_limiter, flint_clock):
    ...
    flint_clock.advance(60)

`pytest -p no:flint` leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import flint
from flint.testing import ManualClock


@pytest.fixture
def flint_clock() -> ManualClock:
    """A clock that does not move until the test advances it."""
    return ManualClock()


@pytest.fixture
def flint_limiter(tmp_path: Path, flint_clock: ManualClock) -> Iterator[flint.Limiter]:
    """An empty flint.Limiter on `flint_clock`, with a directory of its own below `tmp_path`. Closed after the test."""
    with flint.Limiter(tmp_path / "flint_limiter", sync="batch", clock=flint_clock) as limiter:
        yield limiter
