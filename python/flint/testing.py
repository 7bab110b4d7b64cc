"""For the tests of applications that use Flint.

clock = flint.testing.ManualClock()
with flint.Limiter(tmp_path, clock=clock) as limiter:
    limiter.limit("login", "5/minute")
    ...
    clock.advance(60)
"""

from __future__ import annotations

from _thread import allocate_lock

from flint._native import ManualClock as _NativeClock

# Type checkers take the name for typing.TYPE_CHECKING; importing that module would double the time to import flint.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

__all__ = ["ManualClock"]


class _Alarm:
    """A callback that is due at a time of a ManualClock, which forgets it when it is made or cancelled."""

    __slots__ = ("_clock", "_ring", "cancelled", "due_ns")

    def __init__(self, due_ns: int, ring: Callable[[], object], clock: ManualClock) -> None:
        self.due_ns = due_ns
        self._ring = ring
        self._clock = clock
        self.cancelled = False

    def cancel(self) -> None:
        """Cancels the callback."""
        self.cancelled = True
        self._clock._forget(self)

    def ring(self) -> None:
        """Makes the callback, unless it was cancelled."""
        if not self.cancelled:
            self._ring()


class ManualClock(_NativeClock):
    """A clock that moves only when advance() is called. Pass it as `Limiter(clock=...)`.

    Calls that wait for a limit, acquire() and aacquire(), wait for this clock, too.

    start: its wall clock's first reading, an aware datetime; 2026-01-01T00:00:00Z by default.
    """

    __slots__ = ("_alarms", "_lock")

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = allocate_lock()
        self._alarms: list[_Alarm] = []

    def advance(self, seconds: int | timedelta = 0, *, ms: int = 0, ns: int = 0) -> None:
        """Let time pass: `seconds` (an integer or a timedelta) plus `ms` milliseconds plus `ns` nanoseconds.

        Waits that are over then end: threads go on at once, coroutines when their event loop runs next.

        Raises InvalidArgument, and moves nothing, where the clock would pass the largest number of nanoseconds in 64
        bits, in the year 2554.
        """
        super().advance(seconds, ms=ms, ns=ns)
        now_ns = self._monotonic_ns()
        with self._lock:
            due = [alarm for alarm in self._alarms if alarm.due_ns <= now_ns]
            self._alarms = [alarm for alarm in self._alarms if alarm.due_ns > now_ns]
        for alarm in sorted(due, key=lambda alarm: alarm.due_ns):
            alarm.ring()

    def _set_alarm(self, due_ns: int, ring: Callable[[], object]) -> _Alarm:
        """Has `ring` called when the clock's count of nanoseconds reaches `due_ns`; at once if it has."""
        alarm = _Alarm(due_ns, ring, self)
        with self._lock:
            # Read under the lock: a concurrent advance() either finds the alarm or is seen here.
            is_due = due_ns <= self._monotonic_ns()
            if not is_due:
                self._alarms.append(alarm)
        if is_due:
            alarm.ring()
        return alarm

    def _forget(self, alarm: _Alarm) -> None:
        with self._lock:
            if alarm in self._alarms:
                self._alarms.remove(alarm)


ManualClock.__module__ = "flint.testing"
