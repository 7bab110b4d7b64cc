"""`acquire` and `aacquire`: what a waiter does next, and the two drivers that do it.

Only the first waiter of a key's queue makes attempts: it asks the limiter, sleeps exactly as long as the answer says,
and asks again. A waiter that leaves the front wakes the next one. One generator, `_steps`, decides; the thread and the
coroutine differ only in how they carry out its steps.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from flint._errors import AcquireTimeout
from flint._validate import wait_timeout
from flint._waiting.waiters import CoroutineWaiter, ThreadWaiter

if TYPE_CHECKING:
    from flint._backend import Attempts
    from flint._native import CheckResult
    from flint._types import LimitLike
    from flint._waiting.queue import Queues, Waiter

_NS = 1_000_000_000


@dataclass(frozen=True)
class _Attempt:
    """Make an attempt; send its result."""


@dataclass(frozen=True)
class _LookAhead:
    """Send a denied result that forecasts the wait for all these costs, one after the other; take nothing.

    Without costs, only an invalid call has to be detected.
    """

    costs: list[int] | None


@dataclass(frozen=True)
class _Sleep:
    """Sleep until that time, or until woken."""

    until_ns: int | None


_Step: TypeAlias = _Attempt | _LookAhead | _Sleep
_ATTEMPT = _Attempt()


def _steps(
    queues: Queues, key: str, waiter: Waiter, deadline_ns: int | None
) -> Generator[_Step, CheckResult, CheckResult]:
    """What a waiter does, step by step, until it has an allowed result. Raises AcquireTimeout."""

    def refuse_late(result: CheckResult) -> None:
        if deadline_ns is not None:
            left_ns = deadline_ns - queues.now_ns()
            if result.retry_after_ns > left_ns:
                raise AcquireTimeout(result, time_left=max(left_ns, 0) / _NS)

    try:
        if queues.join_first:
            queues.join(key, waiter)
            if queues.costs_ahead(key, waiter):
                yield _LookAhead(None)
        elif key in queues:
            # Before joining: an invalid call is refused without waiting, and a forked child gets its ForkedError before
            # it takes the lock of the queues, which a thread of the parent may have held at the fork.
            yield _LookAhead(None)
        else:
            result = yield _ATTEMPT
            if result.allowed:
                return result
            refuse_late(result)
        if not queues.join_first:
            queues.join(key, waiter)
        # A timeout that is shorter than the wait for all before this waiter is refused on arrival.
        ahead = queues.costs_ahead(key, waiter)
        if ahead and deadline_ns is not None:
            result = yield _LookAhead([*ahead, waiter.cost])
            if result.retry_after_ns > 0:
                refuse_late(result)
        while True:
            if queues.is_first(key, waiter):
                # The time is read before the limiter reads its clock: the sleep then ends too early rather than too
                # late, and a waiter that is too early asks again.
                asked_ns = queues.now_ns()
                result = yield _ATTEMPT
                if result.allowed:
                    return result
                refuse_late(result)
                yield _Sleep(asked_ns + result.retry_after_ns)
            elif deadline_ns is None or queues.now_ns() < deadline_ns:
                yield _Sleep(deadline_ns)
            else:
                # The deadline is reached behind other waiters: other callers took what was forecast on arrival, or the
                # waiters ahead are still waiting for answers of the server. In the second case there may be enough.
                result = yield _LookAhead([*queues.costs_ahead(key, waiter), waiter.cost])
                if result.retry_after_ns == 0:
                    result = yield _ATTEMPT
                    if result.allowed:
                        return result
                raise AcquireTimeout(result, time_left=0.0)
    finally:
        queues.leave(key, waiter)


def acquire(limiter: Attempts, key: str, cost: int, limit: LimitLike | None, timeout: float | None) -> CheckResult:
    """`Limiter.acquire`."""
    queues = limiter._queues
    waiter = ThreadWaiter(cost)
    steps = _steps(queues, key, waiter, _deadline_ns(queues, timeout))
    try:
        step = next(steps)
        while True:
            match step:
                case _Attempt():
                    step = steps.send(limiter._attempt(key, cost, limit))
                case _LookAhead(costs):
                    step = steps.send(limiter._look_ahead(key, cost, limit, costs))
                case _Sleep(until_ns):
                    waiter.sleep(queues, until_ns)
                    step = next(steps)
    except StopIteration as end:
        return _result(end)
    except AcquireTimeout:
        limiter._count_denial(key, cost, limit)
        raise
    finally:
        steps.close()


async def aacquire(
    limiter: Attempts, key: str, cost: int, limit: LimitLike | None, timeout: float | None
) -> CheckResult:
    """`Limiter.aacquire`."""
    queues = limiter._queues
    waiter = CoroutineWaiter(cost)
    steps = _steps(queues, key, waiter, _deadline_ns(queues, timeout))
    try:
        step = next(steps)
        while True:
            match step:
                case _Attempt():
                    step = steps.send(await limiter._aattempt(key, cost, limit))
                case _LookAhead(costs):
                    step = steps.send(await limiter._alook_ahead(key, cost, limit, costs))
                case _Sleep(until_ns):
                    await waiter.sleep(queues, until_ns)
                    step = next(steps)
    except StopIteration as end:
        return _result(end)
    except AcquireTimeout:
        await limiter._acount_denial(key, cost, limit)
        raise
    finally:
        steps.close()


def _result(end: StopIteration) -> CheckResult:
    result: CheckResult = end.value
    return result


def _deadline_ns(queues: Queues, timeout: float | None) -> int | None:
    seconds = wait_timeout(timeout)
    return None if seconds is None else queues.now_ns() + math.ceil(seconds * _NS)
