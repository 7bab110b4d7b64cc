"""The two kinds of waiters: a thread and a coroutine."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flint._waiting.queue import Alarm, Queues

_NS = 1_000_000_000


class ThreadWaiter:
    """A thread. It sleeps without the GIL, and Ctrl-C wakes it."""

    __slots__ = ("_asleep", "cost")

    def __init__(self, cost: int) -> None:
        self.cost = cost
        # Held while the thread has nothing to look at: wake() releases it, a sleep ends by acquiring it.
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wake(self) -> None:
        try:
            self._asleep.release()
        except RuntimeError:
            # It was woken before and has not looked yet.
            return

    def is_gone(self) -> bool:
        return False

    def sleep(self, queues: Queues, until_ns: int | None) -> None:
        """Sleep until the queues' clock reads `until_ns`, or until woken."""
        if until_ns is None:
            self._asleep.acquire()
        elif queues.clock is None:
            left_ns = max(until_ns - queues.now_ns(), 0)
            self._asleep.acquire(timeout=min(_seconds_up(left_ns), threading.TIMEOUT_MAX))
        else:
            alarm = queues.clock._set_alarm(until_ns, self.wake)
            try:
                self._asleep.acquire()
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
            # The loop was closed; the next caller that looks at the queue drops this waiter.
            return

    def is_gone(self) -> bool:
        return self._event_loop.is_closed()

    def _ring(self) -> None:
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def sleep(self, queues: Queues, until_ns: int | None) -> None:
        """Sleep until the queues' clock reads `until_ns`, or until woken."""
        alarm: Alarm | None = None
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


def _seconds_up(ns: int) -> float:
    """Seconds, never less than `ns`, so that no waiter wakes up too early."""
    seconds = ns / _NS
    return seconds if seconds * _NS >= ns else math.nextafter(seconds, math.inf)
