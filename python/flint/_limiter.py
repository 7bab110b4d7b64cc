"""`flint.Limiter`: the native limiter, its async variants, waiting, and the decorator.

Nothing is decided here. A call is parsed once, into a value of the native half. `_start` begins it and returns its
result, or an awaitable of that where it has to wait for the disk, or takes long.
"""

from __future__ import annotations

from flint._base import TOKEN_BUCKET, LimiterBase, limit_many_call, named
from flint._errors import AcquireTimeout
from flint._native import (
    CheckResult,
    MultiCheckResult,
    _CompactCall,
    _DeleteCall,
    _DoctorCall,
    _FlushCall,
    _HistoryCall,
    _LimitCall,
    _ListCall,
    _ResetCall,
    _TopCall,
)
from flint._native import Limiter as _NativeLimiter

# Type checkers take the name for typing.TYPE_CHECKING; importing that module would double the time to import flint.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from flint._native import Event, LimitStatus
    from flint._types import Aggregate, BackupReport, Item, LimitLike, Period, RateLike, Report


def _admitted(answer: CheckResult | tuple[CheckResult, int]) -> CheckResult:
    """The result of an admission. Raises AcquireTimeout for the denied result of a wait that would take too long."""
    if type(answer) is CheckResult:
        return answer
    result, left_ns = answer
    raise AcquireTimeout(result, time_left=left_ns / 1e9)


class Limiter(_NativeLimiter, LimiterBase):
    """Rate limits that survive restarts, kept in the directory `data_dir`.

    data_dir: str or Path, made absolute; created (mode 0700) when it does not exist.
    sync: "always" (a call returns when its record is on disk) or "batch" (it returns at once; an fsync follows). A
        killed process loses nothing in either mode; a power cut loses at most the last batch in "batch".
    flush_every_ms: batch mode, longest time from a call to its fsync, milliseconds, at least 1.
    flush_every_events: batch mode, number of calls after which an fsync starts, at least 1.
    read_only: look only, also while an application has it open: no lock, no thread, no change; status, list, top,
        history, peek, doctor.
    history_bytes: bytes of old log segments kept for history() after compaction.
    lock_timeout: seconds to wait for a directory that another writer holds, such as a worker that is about to end: a
        number from 0 on; 0 waits for nothing. It has no effect with read_only.
    log_io: "auto" (the log is written through a memory mapping where a full disk cannot make that fatal, otherwise with
        pwrite) or "pwrite" (always).
    clock: a flint.testing.ManualClock, for tests.

    Use it as a context manager (also with `async with`), call close(), or let go of it: each flushes and unlocks at
    once. One process holds a directory at a time. Any method may be called from any thread, and its async variant, with
    an `a` in front of its name, from any event loop.

    Cancelling an await does not undo the decision: the call was made.

    Raises DataDirLocked, CorruptData, StorageError, InvalidArgument. Later calls raise ClosedError after close(),
    ForkedError in a process forked after opening, and StorageError once a write or fsync has failed.
    """

    __slots__ = ()

    def _aggregates(self) -> list[Aggregate]:
        """Sums over all keys, for metrics."""
        from flint._native import _aggregates

        return _aggregates(self)

    async def acheck(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Like check(), without holding up the event loop."""
        started = self._start_check(key, cost, limit)
        return started if type(started) is CheckResult else await started

    async def aallow(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> bool:
        """Like allow(), without holding up the event loop."""
        return (await self.acheck(key, cost, limit=limit)).allowed

    async def acheck_all(self, items: Iterable[Item]) -> MultiCheckResult:
        """Like check_all(), without holding up the event loop."""
        started = self._start_check_all(items)
        return started if type(started) is MultiCheckResult else await started

    async def aallow_all(self, items: Iterable[Item]) -> bool:
        """Like allow_all(), without holding up the event loop."""
        return (await self.acheck_all(items)).allowed

    def acquire(
        self, key: str, cost: int = 1, *, limit: LimitLike | None = None, timeout: float | None = None
    ) -> CheckResult:
        """Wait until check() would allow the call, and make it.

        The threads and coroutines that wait for a limit of a key are served in the order of their calls, whatever their
        costs; calls that do not wait are not in the queue. Each limit that calls bring has a queue of its own. A
        waiting thread releases the GIL. A call that waits is not counted as a denial.

        timeout: seconds, 0 or more; without one the wait may take as long as the limit requires.

        Raises AcquireTimeout as soon as it is clear that the wait would take longer than `timeout` (which counts as a
        denial), LimitNotFound when the key is deleted meanwhile, InvalidCost when its limit becomes smaller than the
        cost, ClosedError when the limiter is closed, and what check() raises.
        """
        return _admitted(self._acquire(key, cost, limit, timeout))

    async def aacquire(
        self, key: str, cost: int = 1, *, limit: LimitLike | None = None, timeout: float | None = None
    ) -> CheckResult:
        """Like acquire(), without holding up the event loop. Cancelling it gives up the place in the queue."""
        started = self._start_acquire(key, cost, limit, timeout)
        if type(started) is CheckResult:
            return started
        return _admitted(started if isinstance(started, tuple) else await started)

    async def apeek(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Like peek(), which waits for nothing."""
        return self.peek(key, cost, limit=limit)

    async def alimit(
        self,
        key: str,
        rate: RateLike,
        per: Period | None = None,
        *,
        algorithm: str = TOKEN_BUCKET,
        burst: int | None = None,
        on_change: str = "keep",
    ) -> None:
        """Like limit(), without holding up the event loop."""
        started = self._start(_LimitCall(key, rate, per, burst, on_change, *named(algorithm)))
        if started is not True:
            await started

    async def alimit_many(self, specs: Iterable[Mapping[str, Any]]) -> None:
        """Like limit_many(), without holding up the event loop, which goes on while `specs` is read."""
        started = self._start(await limit_many_call(specs))
        if started is not True:
            await started

    async def areset(self, key: str) -> None:
        """Like reset(), without holding up the event loop."""
        started = self._start(_ResetCall(key))
        if started is not True:
            await started

    async def adelete(self, key: str) -> None:
        """Like delete(), without holding up the event loop."""
        started = self._start(_DeleteCall(key))
        if started is not True:
            await started

    async def aflush(self) -> None:
        """Like flush(), without holding up the event loop."""
        await self._start(_FlushCall())

    async def astatus(self, key: str) -> LimitStatus | None:
        """Like status(), which waits for nothing."""
        return self.status(key)

    async def alist(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> builtins.list[LimitStatus]:
        """Like list(), in a worker thread: there may be many keys."""
        return await self._start(_ListCall(prefix, limit, after))

    async def atop(self, by: str = "denied", limit: int = 10) -> builtins.list[LimitStatus]:
        """Like top(), in a worker thread: there may be many keys."""
        return await self._start(_TopCall(by, limit))

    async def ahistory(self, key: str, limit: int = 100) -> builtins.list[Event]:
        """Like history(), in a worker thread: it reads files."""
        return await self._start(_HistoryCall(key, limit))

    async def acompact(self) -> None:
        """Like compact(), in a worker thread."""
        await self._start(_CompactCall())

    async def abackup(self, path: str | os.PathLike[str]) -> BackupReport:
        """Like backup(), in a worker thread: it copies files."""
        return await self._in_thread(self.backup, path)

    async def adoctor(self) -> Report:
        """Like doctor(), in a worker thread."""
        return await self._start(_DoctorCall())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        import asyncio

        try:
            closing = asyncio.get_running_loop().run_in_executor(None, self.close)
        except OSError:
            # No descriptor to start a thread with; the directory must not stay locked for that.
            self.close()
        else:
            await closing


# The name under which it is public.
Limiter.__module__ = "flint"
