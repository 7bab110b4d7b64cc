"""The async variants: the same answers, the same errors, and the event loop goes on."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.python.backends import kind_of

import flint
from flint.testing import ManualClock

METHODS = [
    "limit",
    "limit_many",
    "check",
    "allow",
    "check_all",
    "allow_all",
    "peek",
    "acquire",
    "status",
    "list",
    "top",
    "history",
    "reset",
    "delete",
    "flush",
    "compact",
    "doctor",
]


def shape(method: object) -> list[tuple[str, object, object]]:
    parameters = inspect.signature(method).parameters.values()  # type: ignore[arg-type]
    return [(parameter.name, parameter.default, parameter.kind) for parameter in parameters]


@pytest.mark.parametrize("name", METHODS)
def test_an_async_variant_takes_the_same_arguments(limiter: flint.Limiter, name: str) -> None:
    variant = getattr(limiter, "a" + name)
    assert inspect.iscoroutinefunction(variant)
    assert shape(variant) == shape(getattr(limiter, name))
    assert inspect.getdoc(variant)


def test_async_variants_do_the_same(limiter: flint.Limiter, clock: ManualClock) -> None:
    async def main() -> None:
        await limiter.alimit("k", 3, "1m", algorithm="fixed_window_counter")
        await limiter.alimit_many({"key": key, "rate": "2/hour"} for key in ("a", "b"))
        result = await limiter.acheck("k", 2)
        assert (result.allowed, result.remaining, result.key) == (True, 1, "k")
        assert type(result) is flint.CheckResult
        assert await limiter.apeek("k") == limiter.peek("k")
        assert await limiter.aallow("k") is True
        assert await limiter.aallow("k") is False
        assert not (await limiter.acheck("k")).allowed
        many = await limiter.acheck_all(["a", ("b", 2)])
        assert many.allowed
        assert [part.remaining for part in many.results] == [1, 0]
        denied = await limiter.acheck_all(iter(["a", "b"]))
        assert (denied.allowed, denied.denied_key) == (False, "b")
        assert await limiter.aallow_all(["a"]) is True
        assert await limiter.astatus("k") == limiter.status("k")
        assert await limiter.astatus("unknown") is None
        assert await limiter.alist("k") == limiter.list("k")
        assert [status.key for status in await limiter.alist(limit=1, after="a")] == ["b"]
        assert await limiter.atop("allowed", 1) == limiter.top("allowed", 1)
        events = [event.type for event in await limiter.ahistory("k")]
        assert events[:3] == ["LIMIT_CONFIGURED", "ALLOW", "ALLOW"]
        await limiter.areset("k")
        assert (await limiter.apeek("k", 3)).allowed
        await limiter.adelete("k")
        assert await limiter.astatus("k") is None
        assert (await limiter.acheck("new", limit="1/minute")).allowed
        assert not (await limiter.acheck("new", limit=flint.Limit("1/minute"))).allowed
        clock.advance(60)
        assert await limiter.aallow("new", limit="1/minute")
        await limiter.aflush()
        await limiter.acompact()
        assert (await limiter.adoctor())["ok"]

    asyncio.run(main())


def test_a_limit_of_its_own_kind(limiter: flint.Limiter) -> None:
    async def main() -> None:
        await limiter.alimit("k", flint.Limit(5, "1m", algorithm="fixed_window_counter"))
        await limiter.alimit("default", "5/minute")
        # What a flint.Limit has is not said twice, not even when it is the same.
        for algorithm in ("token_bucket", "fixed_window_counter"):
            with pytest.raises(flint.InvalidLimit, match=r"part of a flint.Limit"):
                await limiter.alimit("k", flint.Limit("5/minute"), algorithm=algorithm)
            with pytest.raises(flint.InvalidLimit, match=r"part of a flint.Limit"):
                limiter.limit("k", flint.Limit("5/minute"), algorithm=algorithm)

    asyncio.run(main())
    limiter.limit("sync", flint.Limit(5, "1m", algorithm="fixed_window_counter"))
    kinds = {status.key: status.algorithm for status in limiter.list()}
    assert kinds == {"k": "fixed_window_counter", "default": "token_bucket", "sync": "fixed_window_counter"}


def test_bad_input_raises_what_the_others_raise(limiter: flint.Limiter) -> None:
    async def main() -> None:
        await limiter.alimit("k", "5/minute")
        for call, error in (
            (limiter.acheck("unknown"), flint.LimitNotFound),
            (limiter.acheck("k", 6), flint.InvalidCost),
            (limiter.acheck("k", True), flint.InvalidCost),
            (limiter.acheck(""), flint.InvalidKey),
            (limiter.acheck("k", limit="1/fortnight"), flint.InvalidLimit),
            (limiter.acheck(1), TypeError),  # type: ignore[arg-type]
            (limiter.acheck_all([]), flint.InvalidArgument),
            (limiter.acheck_all(["k", "k"]), flint.InvalidKey),
            (limiter.acheck_all(str(n) for n in range(10**9)), flint.InvalidArgument),
            (limiter.alimit("k", "0/minute"), flint.InvalidLimit),
            (limiter.alimit("k", "1/minute", on_change="x"), flint.InvalidArgument),
            (limiter.alimit_many([{"key": "a"}]), flint.InvalidArgument),
            (limiter.areset("unknown"), flint.LimitNotFound),
            (limiter.adelete("unknown"), flint.LimitNotFound),
            (limiter.atop("x"), flint.InvalidArgument),
        ):
            with pytest.raises(error):
                await call

    asyncio.run(main())
    status = limiter.status("k")
    assert status is not None
    assert (status.remaining, status.total_allowed, status.total_denied) == (5, 0, 0)


def test_many_tasks_together_get_exactly_the_limit(limiter: flint.Limiter) -> None:
    limiter.limit("k", "500/hour")

    async def main() -> list[flint.CheckResult]:
        return await asyncio.gather(*(limiter.acheck("k") for _ in range(1_000)))

    results = asyncio.run(main())
    assert sum(result.allowed for result in results) == 500
    remaining = [result.remaining for result in results if result.allowed]
    if not kind_of(limiter).in_process:
        # Requests of several connections overtake each other.
        remaining.sort(reverse=True)
        assert remaining == list(range(499, -1, -1))
    else:
        # In the order in which they were called, each with what it left.
        assert all(result.allowed for result in results[:500])
        assert remaining == list(range(499, -1, -1))


class Recording(ThreadPoolExecutor):
    """An executor that notes in which threads it works."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.threads: list[int] = []

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        def noted() -> object:
            self.threads.append(threading.get_ident())
            return call(*args, **kwargs)

        return super().submit(noted)


@pytest.mark.parametrize("name", ["compact", "doctor", "history", "list", "top"])
def test_what_may_take_long_goes_to_a_worker_thread(limiter: flint.Limiter, name: str) -> None:
    if not kind_of(limiter).in_process:
        pytest.skip("it takes long in the server, and its answer is awaited without a thread")
    limiter.limit("k", "10/hour")
    executor = Recording()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(executor)
        await getattr(limiter, "a" + name)(*(["k"] if name == "history" else []))

    asyncio.run(main())
    assert len(executor.threads) == 1
    assert executor.threads[0] != threading.get_ident()


def test_cancelling_leaves_the_decision_taken(limiter: flint.Limiter) -> None:
    limiter.limit("k", "10/hour")

    async def main() -> None:
        cancelled = asyncio.create_task(limiter.acheck("k"))
        others = [asyncio.create_task(limiter.acheck("k")) for _ in range(3)]
        await asyncio.sleep(0)
        cancelled.cancel()
        results = await asyncio.gather(*others)
        assert all(results)
        await asyncio.gather(cancelled, return_exceptions=True)

    asyncio.run(main())
    status = limiter.status("k")
    assert status is not None
    if not kind_of(limiter).in_process:
        # The request may or may not have reached the server; either way nothing is half done.
        assert status.total_allowed in (3, 4)
        assert status.remaining == 10 - status.total_allowed
    else:
        assert (status.total_allowed, status.remaining) == (4, 6)


def test_a_call_that_was_not_awaited_decides_nothing(limiter: flint.Limiter) -> None:
    limiter.limit("k", "10/hour")
    call = limiter.acheck("k")
    call.close()
    assert limiter.peek("k", 10).allowed


def test_several_loops_one_after_the_other(limiter: flint.Limiter) -> None:
    limiter.limit("k", "100/hour")
    for n in range(5):
        assert asyncio.run(limiter.acheck("k")).remaining == 99 - n
    event_loop = asyncio.new_event_loop()
    assert event_loop.run_until_complete(limiter.acheck("k")).remaining == 94
    assert event_loop.run_until_complete(limiter.acheck("k")).remaining == 93
    event_loop.close()


def test_an_async_context_manager_closes(limiter: flint.Limiter) -> None:
    async def main() -> None:
        async with limiter as entered:
            assert entered is limiter
            await entered.alimit("k", "1/hour")
        assert limiter.closed
        for call in (limiter.acheck("k"), limiter.acheck_all(["k"]), limiter.aflush(), limiter.areset("k")):
            with pytest.raises(flint.ClosedError):
                await call

    asyncio.run(main())
