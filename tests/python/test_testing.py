"""The clock for users' own tests."""

from __future__ import annotations

import asyncio
import functools
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import flint
from flint.testing import ManualClock


def test_the_clock_stands_still_until_it_is_moved() -> None:
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


LATEST = datetime(2554, 7, 21, 23, 34, 33, 709551, tzinfo=timezone.utc)


def test_a_clock_at_its_end_raises_and_stands_still() -> None:
    clock = ManualClock()
    for step in ({"seconds": 2**64 // 10**9}, {"seconds": 2**60}, {"ms": 2**64 - 1}, {"ns": 2**64 - 1}, {"ns": 2**70}):
        before = clock.now()
        with pytest.raises(flint.InvalidArgument):
            clock.advance(**step)
        assert clock.now() == before
    clock.advance((LATEST - clock.now()) // timedelta(seconds=1))
    with pytest.raises(
        flint.InvalidArgument, match=r"^advance\(\) would move ManualClock\(.*2554, 7, 21.* the year 2554"
    ):
        clock.advance(1)


def test_a_stepped_wall_clock_does_not_let_time_start_again(data_dir: Path) -> None:
    """The count of nanoseconds that have passed ends as well."""
    clock = ManualClock()
    with flint.Limiter(data_dir, clock=clock, sync="batch") as limiter:
        limiter.limit("k", "1/week")
        for _ in range(3):
            clock.set_wall(datetime(1970, 1, 1, tzinfo=timezone.utc))
            try:
                clock.advance(250 * 365 * 86_400)
            except flint.InvalidArgument:
                break
            assert limiter.allow("k")
            assert not limiter.allow("k")
        else:
            pytest.fail("750 years have passed within 64 bits of nanoseconds")
        assert not limiter.allow("k")


def test_a_cancelled_wait_leaves_nothing_at_the_clock(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.check("k", limit="1/day")

    async def main() -> None:
        for _ in range(100):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(limiter.aacquire("k"), 0.001)

    asyncio.run(main())
    assert len(clock._alarms) == 0
    rung: list[int] = []
    first, second = (clock._set_alarm(2, functools.partial(rung.append, number)) for number in (1, 2))
    first.cancel()
    clock.advance(1)
    assert (rung, len(clock._alarms)) == ([2], 0)
    second.cancel()
