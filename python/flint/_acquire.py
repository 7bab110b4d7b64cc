"""Waiting for a limit: first come, first served for each key, and nobody polls.

The waiters of a key stand in a queue. Only the first one is awake: it asks the limiter, sleeps exactly as long as the
answer says, and asks again. Whoever leaves the front wakes the next. One core, `_turn`, says what a waiter does next; a
thread and a coroutine differ only in how they do it.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from flint._errors import AcquireTimeout, InvalidArgument
from flint._native import CheckResult, Limit
from flint.testing import ManualClock

LimitLike: TypeAlias = str | Limit

_NS = 1_000_000_000


class Waiter(Protocol):
    """Somebody in a queue."""

    cost: int

    def wake(self) -> None:
        """End its sleep, from any thread."""

    def is_gone(self) -> bool:
        """Whether it will never wake up again."""


class Queues:
    """Who waits, key by key. Its lock is held for a moment only, and nothing else is called meanwhile."""

    def __init__(self, clock: ManualClock | None, *, remote: bool) -> None:
        self.clock = clock
        # Whether asking takes a while, in which others come.
        self.remote = remote
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Waiter]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def now_ns(self) -> int:
        """The time by which waits are measured."""
        return time.monotonic_ns() if self.clock is None else self.clock._monotonic_ns()

    def join(self, key: str, waiter: Waiter) -> None:
        """Adds `waiter` at the end."""
        with self._lock:
            self._waiting.setdefault(key, deque()).append(waiter)

    def ahead(self, key: str, waiter: Waiter) -> list[int]:
        """The costs of those before `waiter`; empty when it is its turn."""
        with self._lock:
            queue = self._waiting[key]
            _drop_gone(queue, waiter)
            costs = []
            for other in queue:
                if other is waiter:
                    break
                costs.append(other.cost)
            return costs

    def is_first(self, key: str, waiter: Waiter) -> bool:
        """Whether it is this waiter's turn."""
        with self._lock:
            queue = self._waiting[key]
            _drop_gone(queue, waiter)
            return queue[0] is waiter

    def leave(self, key: str, waiter: Waiter) -> None:
        """Takes `waiter` out, and wakes the next if it was its turn."""
        with self._lock:
            queue = self._waiting.get(key)
            if queue is None or waiter not in queue:
                return
            was_first = queue[0] is waiter
            queue.remove(waiter)
            _drop_gone(queue, None)
            if not queue:
                del self._waiting[key]
            following = queue[0] if queue and was_first else None
        if following is not None:
            following.wake()

    def wake_all(self) -> None:
        """Has everybody look again: the limiter was closed."""
        with self._lock:
            everybody = [waiter for queue in self._waiting.values() for waiter in queue]
        for waiter in everybody:
            waiter.wake()


def _drop_gone(queue: deque[Waiter], until: Waiter | None) -> None:
    """Drops waiters at the front whose event loop was closed, before they hold up everybody behind them."""
    while queue and queue[0] is not until and queue[0].is_gone():
        queue.popleft()


_creating = threading.Lock()


def queues_of(limiter: Any) -> Queues:
    """The queues of a limiter, made when the first caller waits."""
    queues: Queues | None = getattr(limiter, "_queues", None)
    if queues is None:
        with _creating:
            queues = getattr(limiter, "_queues", None)
            if queues is None:
                queues = limiter._queues = Queues(limiter._clock, remote=hasattr(limiter, "_alook"))
    return queues


class ThreadWaiter:
    """A thread. It sleeps without the GIL, and Ctrl-C wakes it."""

    __slots__ = ("_bell", "cost")

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self._bell = threading.Lock()
        self._bell.acquire()

    def wake(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            # It was woken before and has not looked yet.
            return

    def is_gone(self) -> bool:
        return False

    def sleep(self, queues: Queues, until_ns: int | None) -> None:
        if until_ns is None:
            self._bell.acquire()
        elif queues.clock is None:
            left_ns = max(until_ns - queues.now_ns(), 0)
            self._bell.acquire(timeout=min(_seconds_up(left_ns), threading.TIMEOUT_MAX))
        else:
            alarm = queues.clock._set_alarm(until_ns, self.wake)
            try:
                self._bell.acquire()
            finally:
                alarm.cancel()


class CoroutineWaiter:
    """A coroutine of one event loop."""

    __slots__ = ("_event_loop", "_future", "_woken", "cost")

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self._event_loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._woken = False

    def wake(self) -> None:
        try:
            self._event_loop.call_soon_threadsafe(self._ring)
        except RuntimeError:
            # The loop was closed; whoever looks at the queue next drops it.
            return

    def is_gone(self) -> bool:
        return self._event_loop.is_closed()

    def _ring(self) -> None:
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def sleep(self, queues: Queues, until_ns: int | None) -> None:
        alarm: _Alarm | None = None
        if not self._woken:
            self._future = self._event_loop.create_future()
            if until_ns is not None and queues.clock is None:
                left_ns = max(until_ns - queues.now_ns(), 0)
                alarm = self._event_loop.call_later(_seconds_up(left_ns), self._ring)
            elif until_ns is not None and queues.clock is not None:
                alarm = queues.clock._set_alarm(until_ns, self.wake)
            try:
                await self._future
            finally:
                self._future = None
                if alarm is not None:
                    alarm.cancel()
        self._woken = False


class _Alarm(Protocol):
    def cancel(self) -> None: ...


def _seconds_up(ns: int) -> float:
    """Seconds, never less than `ns`, so that nobody wakes up too early."""
    seconds = ns / _NS
    return seconds if seconds * _NS >= ns else math.nextafter(seconds, math.inf)


@dataclass(frozen=True)
class _Attempt:
    """Ask the limiter; send the result."""


@dataclass(frozen=True)
class _Look:
    """See what the limiter says without taking anything; send a denied result that waits for all these costs in turn.

    Without costs, only what is wrong with the call has to be found out.
    """

    costs: list[int] | None


@dataclass(frozen=True)
class _Sleep:
    """Sleep until that moment, or until woken."""

    until_ns: int | None


_Step: TypeAlias = _Attempt | _Look | _Sleep
_ATTEMPT = _Attempt()


def _turn(
    queues: Queues, key: str, waiter: Waiter, deadline_ns: int | None
) -> Generator[_Step, CheckResult, CheckResult]:
    """What a waiter does, step by step, until it has a result."""

    def refuse_late(result: CheckResult) -> None:
        if deadline_ns is not None and queues.now_ns() + result.retry_after_ns > deadline_ns:
            raise AcquireTimeout(result)

    try:
        if queues.remote:
            # Before anybody is asked: who came first may not be answered first.
            queues.join(key, waiter)
            if queues.ahead(key, waiter):
                yield _Look(None)
        elif key in queues:
            # What is wrong with the call is found out before anybody is waited for, and a forked child learns that it
            # is one before it takes a lock that may be held for ever there.
            yield _Look(None)
        else:
            result = yield _ATTEMPT
            if result.allowed:
                return result
            refuse_late(result)
        if not queues.remote:
            queues.join(key, waiter)
        ahead = queues.ahead(key, waiter)
        if ahead and deadline_ns is not None:
            result = yield _Look([*ahead, waiter.cost])
            if result.retry_after_ns > 0:
                refuse_late(result)
        while True:
            if queues.is_first(key, waiter):
                # Before the limiter reads its clock: who wakes up too early asks again, who oversleeps loses time.
                asked_ns = queues.now_ns()
                result = yield _ATTEMPT
                if result.allowed:
                    return result
                refuse_late(result)
                yield _Sleep(asked_ns + result.retry_after_ns)
            elif deadline_ns is None or queues.now_ns() < deadline_ns:
                yield _Sleep(deadline_ns)
            else:
                # Others took what was expected to be there by now, unless they only wait for answers.
                result = yield _Look([*queues.ahead(key, waiter), waiter.cost])
                if result.retry_after_ns == 0:
                    result = yield _ATTEMPT
                    if result.allowed:
                        return result
                raise AcquireTimeout(result)
    finally:
        queues.leave(key, waiter)


def _look(limiter: Any, key: str, cost: int, limit: LimitLike | None, costs: list[int] | None) -> CheckResult:
    ask: Callable[..., CheckResult] | None = getattr(limiter, "_look", None)
    if ask is not None:
        return ask(key, cost, limit, costs)
    seen: CheckResult = limiter.peek(key, cost, limit=limit)
    wait_ns = seen.retry_after_ns if costs is None else limiter._forecast(key, costs, limit)
    return CheckResult(
        False, key, cost, seen.limit, seen.remaining, wait_ns, seen.reset_after_ns, seen.reset_at_ns, seen.rates
    )


async def _alook(limiter: Any, key: str, cost: int, limit: LimitLike | None, costs: list[int] | None) -> CheckResult:
    """The same where looking takes a while, which a limiter has a method for; without one it takes none."""
    ask: Callable[..., Awaitable[CheckResult]] | None = getattr(limiter, "_alook", None)
    return _look(limiter, key, cost, limit, costs) if ask is None else await ask(key, cost, limit, costs)


async def _acount_denial(limiter: Any, key: str, cost: int) -> None:
    """Counts the denial, as _alook() looks."""
    count: Callable[..., Awaitable[None]] | None = getattr(limiter, "_acount_denial", None)
    if count is None:
        limiter._count_denial(key, cost)
    else:
        await count(key, cost)


def acquire(limiter: Any, key: str, cost: int, limit: LimitLike | None, timeout: float | None) -> CheckResult:
    """`Limiter.acquire`."""
    queues = queues_of(limiter)
    waiter = ThreadWaiter(cost)
    steps = _turn(queues, key, waiter, _deadline_ns(queues, timeout))
    try:
        step = next(steps)
        while True:
            match step:
                case _Attempt():
                    step = steps.send(limiter._attempt(key, cost, limit))
                case _Look(costs):
                    step = steps.send(_look(limiter, key, cost, limit, costs))
                case _Sleep(until_ns):
                    waiter.sleep(queues, until_ns)
                    step = next(steps)
    except StopIteration as end:
        return _result(end)
    except AcquireTimeout:
        limiter._count_denial(key, cost)
        raise
    finally:
        steps.close()


async def aacquire(limiter: Any, key: str, cost: int, limit: LimitLike | None, timeout: float | None) -> CheckResult:
    """`Limiter.aacquire`."""
    queues = queues_of(limiter)
    waiter = CoroutineWaiter(cost)
    steps = _turn(queues, key, waiter, _deadline_ns(queues, timeout))
    try:
        step = next(steps)
        while True:
            match step:
                case _Attempt():
                    step = steps.send(await _attempt(limiter, key, cost, limit))
                case _Look(costs):
                    step = steps.send(await _alook(limiter, key, cost, limit, costs))
                case _Sleep(until_ns):
                    await waiter.sleep(queues, until_ns)
                    step = next(steps)
    except StopIteration as end:
        return _result(end)
    except AcquireTimeout:
        await _acount_denial(limiter, key, cost)
        raise
    finally:
        steps.close()


def _result(end: StopIteration) -> CheckResult:
    result: CheckResult = end.value
    return result


async def _attempt(limiter: Any, key: str, cost: int, limit: LimitLike | None) -> CheckResult:
    answer = limiter._begin_attempt(key, cost, limit)
    if answer is None:
        attempt: Callable[..., CheckResult] = limiter._attempt
        return await asyncio.get_running_loop().run_in_executor(None, attempt, key, cost, limit)
    if type(answer) is CheckResult:
        return answer
    result: CheckResult = await answer
    return result


def _deadline_ns(queues: Queues, timeout: float | None) -> int | None:
    if timeout is None:
        return None
    accepted = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not accepted or not 0 <= timeout < math.inf:
        raise InvalidArgument(f"timeout must be None or a number of seconds, 0 or more, not {timeout!r}")
    return queues.now_ns() + math.ceil(timeout * _NS)
