"""`rate_limit(wait=True)`, and what is asked of the limiter by functions and by coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

import flint
from flint._decorator import rate_limit
from flint.testing import ManualClock

from .decorator_support import in_time


def test_a_function_waits_until_it_is_allowed(limiter: flint.Limiter, clock: ManualClock) -> None:
    start = clock.now()
    ran_at: list[datetime] = []

    @limiter.rate_limit("k", "2/minute", wait=True)
    def run() -> None:
        ran_at.append(clock.now())

    def three_times() -> None:
        for _ in range(3):
            run()

    def until_it_has_run() -> None:
        thread = threading.Thread(target=three_times, daemon=True)
        thread.start()
        while thread.is_alive():
            if len(ran_at) == 2:
                clock.advance(1)
            thread.join(0.001)

    in_time(until_it_has_run)
    assert ran_at[:2] == [start, start]
    assert ran_at[2] >= start + timedelta(seconds=30)


def test_coroutines_wait_beside_each_other(limiter: flint.Limiter, clock: ManualClock) -> None:
    start = clock.now()
    ran_at: list[tuple[int, timedelta]] = []

    @limiter.rate_limit("k", "1/minute", wait=True)
    async def run(n: int) -> int:
        ran_at.append((n, clock.now() - start))
        return n

    async def main() -> None:
        tasks = [asyncio.create_task(run(n)) for n in range(3)]
        while not all(task.done() for task in tasks):
            for _ in range(20):
                await asyncio.sleep(0)
            await limiter.aflush()
            clock.advance(30)
        assert [task.result() for task in tasks] == [0, 1, 2]

    in_time(lambda: asyncio.run(main()))
    assert [n for n, _ in ran_at] == [0, 1, 2]
    for n, at in ran_at:
        assert at >= timedelta(minutes=n)


def test_a_wait_that_is_too_long_is_refused_at_once(limiter: flint.Limiter, clock: ManualClock) -> None:
    start = clock.now()

    @limiter.rate_limit("k", "1/minute", wait=True, timeout=59.5)
    def run() -> None: ...

    run()
    with pytest.raises(flint.AcquireTimeout) as caught:
        in_time(run)
    assert isinstance(caught.value, flint.RateLimitExceeded)
    assert (caught.value.key, caught.value.cost, caught.value.remaining) == ("k", 1, 0)
    assert caught.value.retry_after == 60.0
    assert clock.now() == start
    clock.advance(1)
    clock.advance(59)
    in_time(run)


def test_a_coroutine_that_is_cancelled_while_it_waits_does_not_run(limiter: flint.Limiter) -> None:
    ran: list[int] = []

    @limiter.rate_limit("k", "1/minute", wait=True)
    async def run(n: int) -> None:
        ran.append(n)

    async def main() -> None:
        await run(1)
        task = asyncio.create_task(run(2))
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_time(lambda: asyncio.run(main()))
    assert ran == [1]


class Scripted:
    """A limiter that writes down what it is asked, and says yes."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def _answer(self, *asked: Any) -> flint.CheckResult:
        self.asked.append(asked)
        return flint.CheckResult(True, "k", 1, 10, 9)

    def check(self, key: str, cost: int = 1, *, limit: str | flint.Limit | None = None) -> flint.CheckResult:
        return self._answer("check", key, cost, limit)

    def peek(self, key: str, cost: int = 1, *, limit: str | flint.Limit | None = None) -> flint.CheckResult:
        raise AssertionError("peeked")

    async def acheck(self, key: str, cost: int = 1, *, limit: str | flint.Limit | None = None) -> flint.CheckResult:
        await asyncio.sleep(0)
        return self._answer("acheck", key, cost, limit)

    async def acheck_all(self, items: Any) -> flint.MultiCheckResult:
        raise AssertionError("checked several")

    def acquire(
        self, key: str, cost: int = 1, *, limit: str | flint.Limit | None = None, timeout: float | None = None
    ) -> flint.CheckResult:
        return self._answer("acquire", key, cost, limit, timeout)

    async def aacquire(
        self, key: str, cost: int = 1, *, limit: str | flint.Limit | None = None, timeout: float | None = None
    ) -> flint.CheckResult:
        await asyncio.sleep(0)
        return self._answer("aacquire", key, cost, limit, timeout)


def function(n: int) -> int:
    return n


def generator(n: int) -> Iterator[int]:
    yield n


async def coroutine(n: int) -> int:
    return n


async def async_generator(n: int) -> AsyncIterator[int]:
    yield n


async def the_only_item(items: AsyncIterator[int]) -> int:
    (item,) = [item async for item in items]
    return item


CALLS: list[tuple[str, Callable[..., Any], Callable[[Any], Any]]] = [
    ("", function, lambda result: result),
    ("", generator, lambda result: next(iter(result))),
    ("a", coroutine, asyncio.run),
    ("a", async_generator, lambda result: asyncio.run(the_only_item(result))),
]


@pytest.mark.parametrize(("prefix", "target", "finish"), CALLS, ids=lambda each: getattr(each, "__name__", ""))
@pytest.mark.parametrize("wait", [False, True])
def test_what_the_limiter_is_asked(
    prefix: str, target: Callable[..., Any], finish: Callable[[Any], Any], wait: bool
) -> None:
    """The kind of call that does not block the event loop, and any limiter that has these methods will do."""
    limiter = Scripted()
    timeout = 2.5 if wait else None
    limited = rate_limit(
        limiter,
        lambda n: f"key {n}",
        10,
        "1m",
        cost=lambda n: n,
        burst=20,
        algorithm="token_bucket",
        wait=wait,
        timeout=timeout,
    )(target)
    assert finish(limited(5)) == 5
    (asked,) = limiter.asked
    expected = ("key 5", 5, flint.Limit("10/minute burst 20"))
    assert asked == ((f"{prefix}acquire", *expected, 2.5) if wait else (f"{prefix}check", *expected))


def test_the_limit_is_made_once() -> None:
    limiter = Scripted()
    limited = rate_limit(limiter, "k", "10/minute")(function)
    limited(1)
    limited(2)
    first, second = limiter.asked
    assert first[3] is second[3]
