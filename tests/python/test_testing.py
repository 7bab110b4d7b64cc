"""The clock for users' own tests."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import flint
from flint.testing import ManualClock


def test_the_clock_stands_still_until_told() -> None:
    clock = ManualClock(datetime(2030, 5, 6, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == datetime(2030, 5, 5, 22, tzinfo=timezone.utc)
    clock.advance(90)
    clock.advance(timedelta(minutes=1), ms=500, ns=1_000)
    assert clock.now() == datetime(2030, 5, 5, 22, 2, 30, 500_001, tzinfo=timezone.utc)
    assert repr(clock).startswith("ManualClock(datetime.datetime(2030, 5, 5, 22, 2, 30")


def test_a_stepped_wall_clock_changes_nothing_while_running(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.limit("k", "1/minute")
    limiter.check("k")
    clock.set_wall(datetime(2040, 1, 1, tzinfo=timezone.utc))
    assert not limiter.allow("k")
    clock.set_wall(datetime(2000, 1, 1, tzinfo=timezone.utc))
    clock.advance(60)
    assert limiter.allow("k")


def test_time_passes_while_the_limiter_is_closed(data_dir: Path, clock: ManualClock) -> None:
    with flint.Limiter(data_dir, clock=clock) as limiter:
        limiter.limit("k", "1/minute")
        assert limiter.allow("k")
    clock.advance(59)
    with flint.Limiter(data_dir, clock=clock) as limiter:
        assert not limiter.allow("k")
    clock.advance(1)
    with flint.Limiter(data_dir, clock=clock) as limiter:
        assert limiter.allow("k")


def test_the_limiter_keeps_its_clock(data_dir: Path) -> None:
    limiter = flint.Limiter(data_dir, clock=ManualClock())
    assert limiter.check("k", limit="1/s").reset_at == datetime(2026, 1, 1, 0, 0, 1, tzinfo=timezone.utc)
