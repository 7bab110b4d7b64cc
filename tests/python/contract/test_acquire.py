"""Waiting for a limit: first come, first served, at the exact time, and at once when it would take too long."""

from __future__ import annotations

import asyncio
import math
import pickle
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.python.backends import Backend, kind_of

import flint
from flint.testing import ManualClock

ALGORITHMS = ("token_bucket", "sliding_window_log", "fixed_window_counter")


def now_ns(clock: ManualClock) -> int:
    return clock._monotonic_ns()


async def settled(limiter: flint.Limiter) -> None:
    """Every waiter that can go on has done so: a turn of the loop for each step of each waiter.

    With a server, when the last answer is there and led to no further request.
    """
    while True:
        for _ in range(50):
            await asyncio.sleep(0)
        if not kind_of(limiter).requests_in_flight(limiter):
            return
        await asyncio.sleep(0.0005)


class Admissions:
    """Coroutines that wait, and when each was admitted."""

    def __init__(self, limiter: flint.Limiter, clock: ManualClock) -> None:
        self.limiter, self.clock = limiter, clock
        self.admitted: list[tuple[str, int]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.start_ns = now_ns(clock)

    def add(self, name: str, key: str = "k", cost: int = 1) -> asyncio.Task[None]:
        async def wait() -> None:
            result = await self.limiter.aacquire(key, cost)
            assert result.allowed
            self.admitted.append((name, now_ns(self.clock) - self.start_ns))

        task = asyncio.create_task(wait())
        self.tasks.append(task)
        return task

    async def until_all_are_in(self, step_ns: int) -> None:
        while not all(task.done() for task in self.tasks):
            self.clock.advance(ns=step_ns)
            await settled_on_disk(self.limiter)
        for task in self.tasks:
            await task


async def settled_on_disk(limiter: flint.Limiter) -> None:
    """As settled(), where the waiters that are admitted at one moment wait for the disk, one after the other."""
    for _ in range(4):
        await settled(limiter)
        await limiter.aflush()
    await settled(limiter)


def test_a_limit_that_is_free_is_taken_at_once(limiter: flint.Limiter) -> None:
    limiter.limit("k", "2/minute")
    assert limiter.acquire("k").remaining == 1
    assert asyncio.run(limiter.aacquire("k")).remaining == 0
    status = limiter.status("k")
    assert status is not None
    assert (status.total_allowed, status.total_denied) == (2, 0)


def test_a_limit_may_come_with_the_call(limiter: flint.Limiter) -> None:
    assert limiter.acquire("k", limit="1/minute").allowed
    with pytest.raises(flint.AcquireTimeout):
        limiter.acquire("k", limit="1/minute", timeout=59)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_coroutines_are_admitted_in_order_at_the_exact_times(
    limiter: flint.Limiter, clock: ManualClock, algorithm: str
) -> None:
    limiter.limit("k", 2, "10ms", algorithm=algorithm)

    async def main() -> None:
        waiting = Admissions(limiter, clock)
        for n in range(8):
            waiting.add(str(n))
        await settled_on_disk(limiter)
        assert [name for name, _ in waiting.admitted] == ["0", "1"]
        await waiting.until_all_are_in(step_ns=500_000)
        assert [name for name, _ in waiting.admitted] == [str(n) for n in range(8)]
        times_ms = [at / 1e6 for _, at in waiting.admitted]
        expected = {
            "token_bucket": [0, 0, 5, 10, 15, 20, 25, 30],
            "sliding_window_log": [0, 0, 10, 10, 20, 20, 30, 30],
            "fixed_window_counter": [0, 0, 10, 10, 20, 20, 30, 30],
        }
        assert times_ms == expected[algorithm]

    asyncio.run(main())
    status = limiter.status("k")
    assert status is not None
    assert (status.total_allowed, status.total_denied) == (8, 0), "waiting is no denial"


def test_no_waiter_is_admitted_a_nanosecond_early(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.limit("k", "7/s burst 1")
    limiter.check("k")

    async def main() -> None:
        task = asyncio.create_task(limiter.aacquire("k"))
        await settled(limiter)
        clock.advance(ns=math.ceil(1_000_000_000 / 7) - 1)
        await settled_on_disk(limiter)
        assert not task.done()
        clock.advance(ns=1)
        assert (await task).allowed

    asyncio.run(main())


def test_the_first_caller_is_served_first_although_less_would_fit(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.limit("k", "10/s")
    limiter.check("k", 10)

    async def main() -> None:
        waiting = Admissions(limiter, clock)
        waiting.add("large", cost=8)
        await settled(limiter)
        waiting.add("small", cost=1)
        waiting.add("another key", key="other")
        limiter.limit("other", "1/s")
        await waiting.until_all_are_in(step_ns=100_000_000)
        assert [name for name, at in waiting.admitted] == ["another key", "large", "small"]
        assert [at // 100_000_000 for _, at in waiting.admitted][1:] == [8, 9]

    asyncio.run(main())


def test_one_waiter_is_awake_at_a_time(
    limiter: flint.Limiter, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred waiters ask the server about twice each, not each of them at every step."""
    if kind_of(limiter).in_process:
        pytest.skip("the waiters of an engine's own queue ask nothing")
    limiter.limit("k", "1/s")
    limiter.check("k")
    asked = 0
    begin = flint.SharedLimiter._aattempt

    def counted(self: flint.SharedLimiter, *args: object) -> object:
        nonlocal asked
        asked += 1
        return begin(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(flint.SharedLimiter, "_aattempt", counted)

    async def main() -> None:
        waiting = Admissions(limiter, clock)
        for n in range(100):
            waiting.add(str(n))
        await settled(limiter)
        await waiting.until_all_are_in(step_ns=250_000_000)

    asyncio.run(main())
    assert 200 <= asked <= 310


def test_threads_are_admitted_in_order(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.limit("k", "1/s")
    limiter.check("k")
    admitted: list[int] = []
    threads = []
    for n in range(5):

        def wait(n: int = n) -> None:
            limiter.acquire("k")
            admitted.append(n)

        thread = threading.Thread(target=wait)
        thread.start()
        threads.append(thread)
        until_waiting(limiter, n + 1)
    for n, thread in enumerate(threads):
        clock.advance(1)
        thread.join(60)
        assert admitted == list(range(n + 1))
        if n < 4:
            # The next one has asked and waits for its time.
            until(lambda: first_sleeps(limiter, clock))


def waiting_for(limiter: flint.Limiter, key: str) -> int:
    return kind_of(limiter).waiting(limiter, key)


def first_sleeps(limiter: flint.Limiter, clock: ManualClock) -> bool:
    """Whether the first waiter knows when to go on. That of an engine's own queue always does."""
    return kind_of(limiter).in_process or any(not alarm.cancelled for alarm in clock._alarms)


def until(condition: Callable[[], bool]) -> None:
    """Waits for another thread to get there; only how long the test takes depends on the time."""
    pause = threading.Event()
    for _ in range(60_000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not happen within a minute")


def until_waiting(limiter: flint.Limiter, count: int) -> None:
    until(lambda: waiting_for(limiter, "k") == count)


def test_threads_and_coroutines_wait_in_one_queue(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.limit("k", "1/s")
    limiter.check("k")
    admitted: list[str] = []

    def in_thread() -> None:
        limiter.acquire("k")
        admitted.append("thread")

    async def main() -> None:
        async def wait(name: str) -> None:
            await limiter.aacquire("k")
            admitted.append(name)

        first = asyncio.create_task(wait("first"))
        await settled(limiter)
        thread = threading.Thread(target=in_thread)
        thread.start()
        while waiting_for(limiter, "k") < 2:
            await asyncio.sleep(0.001)
        last = asyncio.create_task(wait("last"))
        await settled(limiter)
        for _ in range(3):
            done = len(admitted)
            clock.advance(1)
            while len(admitted) == done or (len(admitted) < 3 and not first_sleeps(limiter, clock)):
                await asyncio.sleep(0.001)
        await first
        await last
        thread.join(60)

    asyncio.run(main())
    assert admitted == ["first", "thread", "last"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_wait_longer_than_the_timeout_is_refused_at_once(limiter: flint.Limiter, algorithm: str) -> None:
    limiter.limit("k", 2, "10s", algorithm=algorithm)
    limiter.check("k", 2)
    wait_s = limiter.peek("k").retry_after
    with pytest.raises(flint.AcquireTimeout) as caught:
        limiter.acquire("k", timeout=wait_s - 0.001)
    error = caught.value
    assert isinstance(error, flint.RateLimitExceeded)
    assert isinstance(error, TimeoutError)
    assert (error.key, error.cost, error.limit, error.remaining, error.retry_after) == ("k", 1, 2, 0, wait_s)
    assert "k" in str(error)
    assert re.search(r"longer than the [0-9.]+ s left of the timeout: cost 1, 0 of 2 tokens left$", str(error)), error
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert pickle.loads(pickle.dumps(error)).result == error.result
    with pytest.raises(flint.AcquireTimeout):
        asyncio.run(limiter.aacquire("k", timeout=0))
    status = limiter.status("k")
    assert status is not None
    assert (status.total_allowed, status.total_denied) == (1, 2), "each caller that gave up was denied"


@pytest.mark.parametrize("timeout", [1e300, 1e19, 10**400, 365 * 86_400 * 1000], ids=str)
def test_a_timeout_longer_than_any_wait(backend: Backend, data_dir: Path, timeout: float) -> None:
    """By the clock of the operating system, in threads and in coroutines that wait for each other."""
    with ExitStack() as stack:
        limiter = backend.make(data_dir, None, stack)  # type: ignore[arg-type]
        for _ in range(2):
            limiter.acquire("k", limit="1/5ms", timeout=timeout)
        with ThreadPoolExecutor(3) as threads:
            waits = [threads.submit(limiter.acquire, "k", timeout=timeout) for _ in range(3)]
            assert all(wait.result(10) for wait in waits)

        async def main() -> None:
            await asyncio.gather(*(limiter.aacquire("k", timeout=timeout) for _ in range(3)))

        asyncio.run(main())


def test_the_queue_counts_for_the_timeout(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.limit("k", "1/s")
    limiter.check("k")

    async def main() -> None:
        waiting = Admissions(limiter, clock)
        for n in range(3):
            waiting.add(str(n))
        await settled(limiter)
        with pytest.raises(flint.AcquireTimeout) as caught:
            await limiter.aacquire("k", timeout=3.9)
        assert caught.value.retry_after == 4
        in_time = asyncio.create_task(limiter.aacquire("k", timeout=4))
        await settled(limiter)
        await waiting.until_all_are_in(step_ns=1_000_000_000)
        clock.advance(1)
        assert (await in_time).allowed

    asyncio.run(main())


def test_other_callers_that_take_what_was_forecast_make_it_a_timeout(
    limiter: flint.Limiter, clock: ManualClock
) -> None:
    limiter.limit("k", "10/s")
    limiter.check("k", 10)

    async def main() -> None:
        first = asyncio.create_task(limiter.aacquire("k", 10, timeout=1))
        await settled(limiter)
        second = asyncio.create_task(limiter.aacquire("k", 10, timeout=2))
        await settled(limiter)
        # Checks do not stand in the queue: of the 10 tokens of each second they take more than is left over.
        for waiting in (first, second):
            for _ in range(2):
                clock.advance(ms=400)
                assert limiter.allow("k", 4)
                assert not waiting.done()
                clock.advance(ms=100)
                await settled(limiter)
            with pytest.raises(flint.AcquireTimeout):
                await waiting

    asyncio.run(main())


def test_cancelling_gives_up_the_place(limiter: flint.Limiter, clock: ManualClock) -> None:
    limiter.limit("k", "1/s")
    limiter.check("k")

    async def main() -> None:
        waiting = Admissions(limiter, clock)
        tasks = [waiting.add(str(n)) for n in range(3)]
        await settled(limiter)
        tasks[0].cancel()
        tasks[1].cancel()
        await settled(limiter)
        clock.advance(1)
        await tasks[2]
        assert waiting.admitted == [("2", 1_000_000_000)]
        assert waiting_for(limiter, "k") == 0

    asyncio.run(main())


def test_closing_ends_every_wait(limiter: flint.Limiter) -> None:
    limiter.limit("k", "1/day")
    limiter.check("k")
    raised: list[BaseException] = []

    def in_thread() -> None:
        try:
            limiter.acquire("k")
        except flint.ClosedError as error:
            raised.append(error)

    threads = [threading.Thread(target=in_thread) for _ in range(3)]
    for thread in threads:
        thread.start()
    until_waiting(limiter, 3)

    async def main() -> None:
        task = asyncio.create_task(limiter.aacquire("k"))
        await settled(limiter)
        limiter.close()
        with pytest.raises(flint.ClosedError):
            await task

    asyncio.run(main())
    for thread in threads:
        thread.join(60)
    assert len(raised) == 3


def test_bad_input_is_refused_before_anything_is_waited_for(limiter: flint.Limiter) -> None:
    limiter.limit("k", "1/day")
    limiter.check("k")

    async def main() -> None:
        ahead = asyncio.create_task(limiter.aacquire("k"))
        await settled(limiter)
        for call, error in (
            (limiter.aacquire("unknown"), flint.LimitNotFound),
            (limiter.aacquire("k", 2), flint.InvalidCost),
            (limiter.aacquire("k", 0), flint.InvalidCost),
            (limiter.aacquire("k", timeout=-1), flint.InvalidArgument),
            (limiter.aacquire("k", timeout=math.nan), flint.InvalidArgument),
            (limiter.aacquire("k", timeout=math.inf), flint.InvalidArgument),
            (limiter.aacquire("k", timeout=True), flint.InvalidArgument),
            (limiter.aacquire("k", timeout="1"), flint.InvalidArgument),  # type: ignore[arg-type]
            (limiter.aacquire(5), TypeError),  # type: ignore[arg-type]
        ):
            with pytest.raises(error):
                await call
        ahead.cancel()

    asyncio.run(main())
    for timeout in (-1, math.nan, "x"):
        with pytest.raises(flint.InvalidArgument, match="timeout"):
            limiter.acquire("k", timeout=timeout)  # type: ignore[arg-type]
