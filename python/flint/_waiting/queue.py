"""The callers that wait for a limit, by key, in the order of their arrival."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A call that is due at a certain time."""

    def cancel(self) -> None:
        """Do not make the call."""


class Clock(Protocol):
    """A clock that a test moves; `flint.testing.ManualClock` is one."""

    def _monotonic_ns(self) -> int:
        """The nanoseconds that have passed."""

    def _set_alarm(self, due_ns: int, ring: Callable[[], object]) -> Alarm:
        """Have `ring` called when `_monotonic_ns()` reaches `due_ns`."""


class Waiter(Protocol):
    """A thread or coroutine in a queue."""

    cost: int

    def wake(self) -> None:
        """End its sleep, from any thread."""

    def is_gone(self) -> bool:
        """Whether it can never wake up again."""


class Queues:
    """The waiters of one limiter. The lock is held for moments only, and no waiter is called under it."""

    def __init__(self, clock: Clock | None = None, *, join_first: bool = False) -> None:
        # None is the operating system's monotonic clock.
        self.clock = clock
        # Whether a caller joins the queue before its first attempt. Required where an attempt is a request to a server:
        # the order of the answers is not that of the calls.
        self.join_first = join_first
        self._lock = threading.Lock()
        self._waiters: dict[str, deque[Waiter]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._waiters

    def length(self, key: str) -> int:
        """How many callers wait for `key`."""
        return len(self._waiters.get(key, ()))

    def now_ns(self) -> int:
        """The time by which waits are measured."""
        return time.monotonic_ns() if self.clock is None else self.clock._monotonic_ns()

    def join(self, key: str, waiter: Waiter) -> None:
        """Add `waiter` at the end."""
        with self._lock:
            self._waiters.setdefault(key, deque()).append(waiter)

    def costs_ahead(self, key: str, waiter: Waiter) -> list[int]:
        """The costs of the waiters before `waiter`; empty when it is first."""
        with self._lock:
            queue = self._waiters[key]
            _drop_gone(queue, waiter)
            costs = []
            for other in queue:
                if other is waiter:
                    break
                costs.append(other.cost)
            return costs

    def is_first(self, key: str, waiter: Waiter) -> bool:
        """Whether no other waiter is before `waiter`."""
        with self._lock:
            queue = self._waiters[key]
            _drop_gone(queue, waiter)
            return queue[0] is waiter

    def leave(self, key: str, waiter: Waiter) -> None:
        """Remove `waiter`, and wake the next one if it was first."""
        with self._lock:
            queue = self._waiters.get(key)
            if queue is None or waiter not in queue:
                return
            was_first = queue[0] is waiter
            queue.remove(waiter)
            _drop_gone(queue, None)
            if not queue:
                del self._waiters[key]
            following = queue[0] if queue and was_first else None
        if following is not None:
            following.wake()

    def wake_all(self) -> None:
        """Have all waiters ask again: the limiter was closed."""
        with self._lock:
            waiters = [waiter for queue in self._waiters.values() for waiter in queue]
        for waiter in waiters:
            waiter.wake()


def _drop_gone(queue: deque[Waiter], until: Waiter | None) -> None:
    """Drop waiters at the front whose event loop was closed, so that they do not hold up those behind them."""
    while queue and queue[0] is not until and queue[0].is_gone():
        queue.popleft()
