"""Long calls of an event loop: it goes on meanwhile, so that no other coroutine waits for them."""

from __future__ import annotations

import asyncio
import itertools
import sys
import sysconfig
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import flint

# Limits and results that are made before the loop goes on.
SLICE = 500


def specs(count: int, prefix: str = "k") -> Iterator[dict[str, Any]]:
    return ({"key": f"{prefix}{number:06}", "rate": "5/day"} for number in range(count))


def test_alimit_many_reads_its_limits_in_slices(limiter: flint.Limiter) -> None:
    read, seen = 0, [0]

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal read
        for spec in specs(4200):
            read += 1
            yield spec

    async def main() -> None:
        call = asyncio.create_task(limiter.alimit_many(counted()))
        while not call.done():
            await asyncio.sleep(0)
            seen.append(read)
        await call

    asyncio.run(main())
    assert seen[-1] == 4200
    assert max(later - earlier for earlier, later in itertools.pairwise(seen)) <= SLICE
    assert len(limiter.list()) == 4200


def test_alimit_many_is_executed_in_a_thread(limiter: flint.Limiter) -> None:
    """Also what the disk has nothing to do with: keys that are there already, encoding, and memory."""
    many = list(specs(2000))
    threads: set[str] = set()
    core: Any = getattr(limiter, "_core", None)

    async def main() -> None:
        event_loop = asyncio.get_running_loop()
        run = event_loop.run_in_executor

        def noted(executor: Any, function: Any, *arguments: Any) -> Any:
            threads.add(getattr(function, "__name__", "partial"))
            return run(executor, function, *arguments)

        event_loop.run_in_executor = noted  # type: ignore[method-assign,assignment]
        await limiter.alimit_many(many)

    asyncio.run(main())
    assert threads - {"getaddrinfo"} == ({"_run"} if core is None else {"encode"})


@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="nothing is held there")
def test_other_threads_go_on_while_limit_many_reads_its_limits(limiter: flint.Limiter) -> None:
    """A call refers to the keys that it has read: their references show how many it has."""
    keys = [f"key-{number:06}" for number in range(50_000)]
    many = [{"key": key, "rate": "5/day"} for key in keys]
    # One in each slice.
    watched = keys[SLICE // 2 :: SLICE]
    unused = max(sys.getrefcount(key) for key in watched)
    seen: set[int] = set()
    interval = sys.getswitchinterval()
    # Native code that does not release the interpreter lock by itself has it to its end all the same.
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=limiter.limit_many, args=(many,))
        thread.start()
        while thread.is_alive():
            seen.add(sum(sys.getrefcount(key) > unused for key in watched))
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert seen - {0, len(watched)}, seen
    assert len(limiter.list()) == len(keys)


@pytest.mark.parametrize("wrong", [{"key": "k"}, {"key": "", "rate": "1/s"}, {"key": "k", "rate": "x"}, 5])
def test_a_wrong_limit_is_the_same_error_wherever_it_is(limiter: flint.Limiter, wrong: Any) -> None:
    for position in (0, SLICE - 1, SLICE, 3 * SLICE + 7):
        given = [*specs(position), wrong, *specs(20, "after")]
        with pytest.raises((flint.FlintError, TypeError)) as sync:
            limiter.limit_many(given)
        with pytest.raises((flint.FlintError, TypeError)) as asynchronous:
            asyncio.run(limiter.alimit_many(given))
        assert type(sync.value) is type(asynchronous.value)
        assert str(sync.value) == str(asynchronous.value)
        assert limiter.list() == []


def test_it_stops_reading_at_its_bound(limiter: flint.Limiter) -> None:
    """An endless iterator is an error in both variants, after the same number of limits."""
    for call in (limiter.limit_many, lambda given: asyncio.run(limiter.alimit_many(given))):
        counter = itertools.count()
        with pytest.raises(flint.InvalidArgument, match="more than 100000 limits"):
            call({"key": f"k{number}", "rate": "1/s"} for number in counter)
        assert next(counter) == 100_001
    assert limiter.list() == []


def test_what_the_iterable_raises_comes_through(limiter: flint.Limiter) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield from specs(SLICE + 3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(limiter.alimit_many(failing()))
    assert limiter.list() == []


@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="nothing is held there")
def test_alist_makes_its_results_in_slices(limiter: flint.Limiter) -> None:
    """Every result refers to its class: the class's references show how many there are when the loop goes on."""
    count = 20_000
    for start in range(0, count, 5000):
        limiter.limit_many({"key": f"{start}:{number}", "rate": "5/day"} for number in range(5000))

    async def main() -> list[int]:
        seen = []
        call = asyncio.create_task(limiter.alist())
        while not call.done():
            # A loop that has nothing to do either: it takes the interpreter lock when it wakes up.
            await asyncio.sleep(0.0002)
            seen.append(sys.getrefcount(flint.LimitStatus))
        assert len(await call) == count
        return seen

    interval = sys.getswitchinterval()
    # The thread that makes the results keeps the interpreter lock until it releases it by itself.
    sys.setswitchinterval(1000)
    try:
        seen = asyncio.run(main())
    finally:
        sys.setswitchinterval(interval)
    # Between none and all: the loop went on while they were made. On a busy machine it misses most of the slices.
    assert len({number for number in seen if min(seen) + 1 < number < max(seen) - SLICE}) >= 2, seen
