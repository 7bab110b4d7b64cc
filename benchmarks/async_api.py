"""The twins for asyncio, and waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from measure import alternately, once, per_call
from stores import KEY, PLENTY, Bench

import flint

TASKS = 1_000


def per_await(limiter: flint.Limiter, calls: int) -> float:
    """Nanoseconds an awaited check, in one coroutine."""

    async def main() -> float:
        check = limiter.acheck
        start = time.perf_counter_ns()
        for _ in range(calls):
            await check(KEY)
        return (time.perf_counter_ns() - start) / calls

    return asyncio.run(main())


def acheck(bench: Bench) -> None:
    """One coroutine beside one thread, both modes."""
    with bench.limiter("batch") as limiter:
        limiter.limit(KEY, PLENTY)
        own, beside = alternately(
            bench.scale(60, 12),
            lambda: per_await(limiter, 20_000),
            lambda: per_call(limiter.check, KEY, calls=20_000),
        )
        bench.report.ratio("await acheck, batch, hot key", own, "check, batch, hot key", beside, at_most=1.7)
    with bench.limiter("always") as limiter:
        limiter.limit(KEY, PLENTY)
        own, beside = alternately(
            bench.scale(20, 6),
            lambda: per_await(limiter, 200),
            lambda: per_call(limiter.check, KEY, calls=200),
        )
        bench.report.ratio(
            "await acheck, always, one task, which takes two more wake-ups",
            own,
            "check, always, one thread",
            beside,
            at_most=3,
        )


def tasks(bench: Bench) -> None:
    """Many tasks that share each fsync beside one thread."""
    each = bench.scale(100, 40)

    async def main(limiter: flint.Limiter) -> None:
        async def work() -> None:
            for _ in range(each):
                await limiter.acheck(KEY)

        await asyncio.gather(*(work() for _ in range(TASKS)))

    with bench.limiter("always") as limiter:
        limiter.limit(KEY, PLENTY)
        own, beside = alternately(
            bench.scale(20, 6),
            lambda: once(lambda: asyncio.run(main(limiter))) / (TASKS * each),
            lambda: per_call(limiter.check, KEY, calls=500),
        )
        bench.report.ratio(
            f"acheck, always, {TASKS:,} tasks: time per check", own, "check, always, one thread", beside, at_least=30
        )


async def lateness(seconds: float, work: Callable[[], asyncio.Future[object]] | None) -> list[float]:
    """How late a timer of a millisecond is, nanoseconds, while `work` runs or for so long."""
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
    """What an event loop notices of 50 tasks whose every check waits for an fsync."""
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
        beside: list[float] = []
        for _ in range(bench.scale(10, 3)):
            own += asyncio.run(main())
            beside += asyncio.run(idle())
    bench.report.bound(
        "event loop beside 50 tasks in acheck, always: how late a timer of 1 ms is",
        own,
        "the same timer in an idle loop",
        beside,
        value=lambda spread: spread.p99,
        name="p99",
        below=5e6,
    )


def acquire(bench: Bench) -> None:
    """Many tasks that wait for one key: the rate at which they are admitted."""
    rate, waiting = 100, bench.scale(1_000, 300)

    async def main(limiter: flint.Limiter) -> float:
        start = time.perf_counter()
        await asyncio.gather(*(limiter.aacquire("slow") for _ in range(waiting)))
        # The burst is there at once; the others come at the rate.
        return (waiting - rate) / (time.perf_counter() - start)

    with bench.limiter("batch") as limiter:
        limiter.limit("slow", f"{rate}/second")
        admitted = asyncio.run(main(limiter))
    bench.report.bound(
        f"aacquire, {waiting:,} tasks on one key at {rate}/s: how far the rate is off",
        [abs(admitted / rate - 1) * 100],
        "",
        None,
        value=lambda spread: spread.median,
        name=f"{admitted:.2f}/s,",
        below=2,
        unit="%",
    )
