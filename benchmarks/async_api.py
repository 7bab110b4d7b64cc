"""The async variants of the calls, and waiting."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any

from measure import alternately, once, per_call
from stores import KEY, PLENTY, Bench

import flint

TASKS = 1_000


def per_await(limiter: flint.Limiter, calls: int) -> float:
    """Nanoseconds per awaited check, in one coroutine."""

    async def main() -> float:
        check = limiter.acheck
        start = time.perf_counter_ns()
        for _ in range(calls):
            await check(KEY)
        return (time.perf_counter_ns() - start) / calls

    return asyncio.run(main())


def acheck(bench: Bench) -> None:
    """One coroutine compared with one thread, in both modes."""
    with bench.limiter("batch") as limiter:
        limiter.limit(KEY, PLENTY)
        own, reference = alternately(
            bench.scale(60, 12),
            lambda: per_await(limiter, 20_000),
            lambda: per_call(limiter.check, KEY, calls=20_000),
        )
        bench.report.ratio("await acheck, batch, hot key", own, "check, batch, hot key", reference, at_most=1.7)
    with bench.limiter("always") as limiter:
        limiter.limit(KEY, PLENTY)
        own, reference = alternately(
            bench.scale(20, 6),
            lambda: per_await(limiter, 200),
            lambda: per_call(limiter.check, KEY, calls=200),
        )
        bench.report.ratio(
            "await acheck, always, one task",
            own,
            "check, always, one thread",
            reference,
            at_most=3,
        )


def tasks(bench: Bench) -> None:
    """Many tasks that share each fsync, compared with one thread."""
    each = bench.scale(100, 40)

    async def main(limiter: flint.Limiter) -> None:
        async def work() -> None:
            for _ in range(each):
                await limiter.acheck(KEY)

        await asyncio.gather(*(work() for _ in range(TASKS)))

    with bench.limiter("always") as limiter:
        limiter.limit(KEY, PLENTY)
        own, reference = alternately(
            bench.scale(20, 6),
            lambda: once(lambda: asyncio.run(main(limiter))) / (TASKS * each),
            lambda: per_call(limiter.check, KEY, calls=500),
        )
        bench.report.ratio(
            f"acheck, always, {TASKS:,} tasks: time per check", own, "check, always, one thread", reference, at_least=30
        )


async def lateness(seconds: float, work: Callable[[], asyncio.Future[object]] | None) -> list[float]:
    """How late a timer of a millisecond is, nanoseconds, while `work` runs, for at most `seconds`."""
    loop = asyncio.get_running_loop()
    running = work() if work is not None else None
    end = loop.time() + seconds
    late = []
    while loop.time() < end and (running is None or not running.done()):
        start = time.perf_counter_ns()
        await asyncio.sleep(0.001)
        late.append(float(time.perf_counter_ns() - start - 1_000_000))
    if running is not None:
        await running
    return late


def ticker(bench: Bench) -> None:
    """The delay of an event loop in which 50 tasks wait for an fsync with each check."""
    with bench.limiter("always") as limiter:
        limiter.limit(KEY, PLENTY)

        async def work(stop: asyncio.Event) -> None:
            while not stop.is_set():
                await limiter.acheck(KEY)

        async def main() -> list[float]:
            stop = asyncio.Event()
            working = [asyncio.create_task(work(stop)) for _ in range(50)]
            late = await lateness(0.5, None)
            stop.set()
            await asyncio.gather(*working)
            return late

        async def idle() -> list[float]:
            return await lateness(0.5, None)

        own: list[float] = []
        reference: list[float] = []
        for _ in range(bench.scale(10, 3)):
            own += asyncio.run(main())
            reference += asyncio.run(idle())
    bench.report.bound(
        "event loop with 50 tasks in acheck, always: delay of a timer of 1 ms",
        own,
        "the same timer in an idle loop",
        reference,
        value=lambda spread: spread.p99,
        name="p99",
        below=5e6,
    )


def long_calls(bench: Bench) -> None:
    """The delay of an event loop while one of its coroutines sets or lists many limits."""
    limits, keys = 100_000, bench.scale(500_000, 200_000)
    with bench.limiter("batch") as limiter:
        many = [
            [{"key": f"k:{number:07}", "rate": "100/minute"} for number in range(start, start + limits)]
            for start in range(0, keys, limits)
        ]

        async def during(work: Callable[[], Coroutine[Any, Any, object]]) -> list[float]:
            return await lateness(60, lambda: asyncio.ensure_future(work()))

        setting = [late for each in many for late in asyncio.run(during(functools.partial(limiter.alimit_many, each)))]
        listing = asyncio.run(during(limiter.alist))
        idle = asyncio.run(lateness(0.5, None))
    bench.report.bound(
        f"event loop during alimit_many of {limits:,} limits: delay of a timer of 1 ms",
        setting,
        "the same timer in an idle loop",
        idle,
        value=lambda spread: spread.max,
        name="max",
        below=20e6,
    )
    bench.report.bound(
        f"event loop during alist of {keys:,} keys: delay of a timer of 1 ms",
        listing,
        "the same timer in an idle loop",
        idle,
        value=lambda spread: spread.max,
        name="max",
        below=20e6,
    )


def acquire(bench: Bench) -> None:
    """Calls that wait for a limit: without another waiter, at the rate of one key, and 100,000 of them."""
    free_acquire(bench)
    for rate, waiting, sync in ((100, bench.scale(1_000, 300), "batch"), (1_000, bench.scale(3_000, 2_000), "always")):
        admissions(bench, rate, waiting, sync)
    crowd(bench, bench.scale(100_000, 20_000))


def free_acquire(bench: Bench) -> None:
    """A limit that has enough left, compared with a check."""

    def per_acquire(limiter: flint.Limiter, calls: int) -> float:
        async def main() -> float:
            acquire = limiter.aacquire
            start = time.perf_counter_ns()
            for _ in range(calls):
                await acquire(KEY)
            return (time.perf_counter_ns() - start) / calls

        return asyncio.run(main())

    with bench.limiter("batch") as limiter:
        limiter.limit(KEY, PLENTY)
        own, reference = alternately(
            bench.scale(60, 12),
            lambda: per_acquire(limiter, 20_000),
            lambda: per_await(limiter, 20_000),
        )
    bench.report.ratio("await aacquire without waiting, batch, hot key", own, "await acheck", reference, at_most=1.5)


def admissions(bench: Bench, rate: int, waiting: int, sync: str) -> None:
    """Many tasks that wait for one key: the rate at which they are admitted."""

    async def main(limiter: flint.Limiter) -> float:
        start = time.perf_counter()
        await asyncio.gather(*(limiter.aacquire("slow") for _ in range(waiting)))
        # The burst is admitted at once, the rest at the rate.
        return (waiting - rate) / (time.perf_counter() - start)

    with bench.limiter(sync) as limiter:
        limiter.limit("slow", f"{rate}/second")
        admitted = asyncio.run(main(limiter))
    bench.report.bound(
        f"aacquire, {sync}, {waiting:,} tasks on one key at {rate}/s: deviation from the rate",
        [abs(admitted / rate - 1) * 100],
        "",
        None,
        value=lambda spread: spread.median,
        name=f"{admitted:.2f}/s,",
        below=2,
        unit="%",
    )


def crowd(bench: Bench, waiting: int) -> None:
    """Many waiters of one key: the time in which they arrive and are cancelled, and what a timer notices of it."""

    async def main(limiter: flint.Limiter) -> tuple[float, list[float]]:
        over: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        late = asyncio.create_task(lateness(600, lambda: over))
        start = time.perf_counter_ns()
        tasks = []
        for number in range(waiting):
            tasks.append(asyncio.create_task(limiter.aacquire("day", timeout=10**8)))
            if number % 200 == 0:
                await asyncio.sleep(0)
        for number, task in enumerate(tasks):
            task.cancel()
            if number % 200 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        took = time.perf_counter_ns() - start
        over.set_result(None)
        return took, await late

    with bench.limiter("batch") as limiter:
        limiter.limit("day", "1/s")
        limiter.check("day")
        took, late = asyncio.run(main(limiter))
    bench.report.bound(
        f"aacquire, {waiting:,} tasks on one key arrive and are cancelled",
        [took],
        "",
        None,
        value=lambda spread: spread.median,
        name="in all",
        below=2e9,
    )
    bench.report.bound(
        f"event loop in which {waiting:,} tasks arrive in aacquire and are cancelled: delay of a timer of 1 ms",
        late,
        "",
        None,
        value=lambda spread: spread.max,
        name="max",
        below=10e6,
    )
