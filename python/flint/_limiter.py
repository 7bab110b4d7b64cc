"""`flint.Limiter`: the native limiter, its twins for asyncio, waiting, and the decorator.

Nothing is decided here. A twin asks the native half to begin a call and gets the answer, or a future that the event
loop resolves when the disk has it, or None when the call has to wait for the disk before it can decide: then a worker
thread makes it.
"""

from __future__ import annotations

from _thread import allocate_lock

from flint._algorithm import TOKEN_BUCKET, named
from flint._native import CheckResult, MultiCheckResult
from flint._native import Limiter as _NativeLimiter
from flint._waiting.mixin import Waiting

# Type checkers take the name for typing.TYPE_CHECKING; importing that module would double the time to import flint.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any, TypeVar

    from typing_extensions import Self

    from flint._native import Event, LimitStatus
    from flint._types import Aggregate, Item, LimitLike, Period, RateLike, Report
    from flint._waiting.queue import Queues

    T = TypeVar("T")


# Of check_all().
_MAX_ITEMS = 1_000

# Held while a limiter's queues are made.
_creating = allocate_lock()


async def _in_thread(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What `call` gives, from a worker thread of the event loop."""
    import asyncio
    from functools import partial

    return await asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))


class Limiter(_NativeLimiter, Waiting):
    """Rate limits that survive restarts, kept in the directory `data_dir`.

    data_dir: str or Path, made absolute; created (mode 0700) when it does not exist.
    sync: "always" (a call returns when its record is on disk) or "batch" (it returns at once; an fsync follows). A
        killed process loses nothing in either mode; a power cut loses at most the last batch in "batch".
    flush_every_ms: batch mode, longest time from a call to its fsync, milliseconds, at least 1.
    flush_every_events: batch mode, number of calls after which an fsync starts, at least 1.
    read_only: look only, beside a running application too: no lock, no thread, no change; status, list, top, history,
        peek, doctor.
    history_bytes: bytes of old log segments kept for history() after compaction.
    clock: a flint.testing.ManualClock, for tests.

    Use it as a context manager (also with `async with`), call close(), or let go of it: each flushes and unlocks at
    once. One process holds a directory at a time. Any method may be called from any thread, and its twin with an `a` in
    front from any event loop.

    Cancelling an await does not take the decision back: the call was made.

    Raises DataDirLocked, CorruptData, StorageError, InvalidArgument. Later calls raise ClosedError after close(),
    ForkedError in a process forked after opening, and StorageError once a write or fsync has failed.
    """

    __slots__ = ("_made_queues",)

    _made_queues: Queues

    def _aggregates(self) -> list[Aggregate]:
        """Sums over all keys, for metrics."""
        from flint._native import _aggregates

        return _aggregates(self)

    async def acheck(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Like check(), without holding up the event loop."""
        answer = self._begin_check(key, cost, limit)
        if type(answer) is CheckResult:
            return answer
        if answer is None:
            return await _in_thread(self.check, key, cost, limit=limit)
        return await answer

    async def aallow(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> bool:
        """Like allow(), without holding up the event loop."""
        return (await self.acheck(key, cost, limit=limit)).allowed

    async def acheck_all(self, items: Iterable[Item]) -> MultiCheckResult:
        """Like check_all(), without holding up the event loop."""
        if iter(items) is items:
            # It may be needed a second time, and one item too many is enough to say that there are too many.
            items = [item for item, _ in zip(items, range(_MAX_ITEMS + 1), strict=False)]
        answer = self._begin_check_all(items)
        if type(answer) is MultiCheckResult:
            return answer
        if answer is None:
            return await _in_thread(self.check_all, items)
        return await answer

    async def aallow_all(self, items: Iterable[Item]) -> bool:
        """Like allow_all(), without holding up the event loop."""
        return (await self.acheck_all(items)).allowed

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
        begun = self._begin_limit(key, rate, per, burst, on_change, *named(algorithm))
        if begun is None:
            options = {} if algorithm is TOKEN_BUCKET else {"algorithm": algorithm}
            await _in_thread(self.limit, key, rate, per, burst=burst, on_change=on_change, **options)
        elif begun is not True:
            await begun

    async def alimit_many(self, specs: Iterable[Mapping[str, Any]]) -> None:
        """Like limit_many(), without holding up the event loop."""
        specs = list(specs) if iter(specs) is specs else specs
        begun = self._begin_limit_many(specs)
        if begun is None:
            await _in_thread(self.limit_many, specs)
        elif begun is not True:
            await begun

    async def areset(self, key: str) -> None:
        """Like reset(), without holding up the event loop."""
        begun = self._begin_reset(key)
        if begun is None:
            await _in_thread(self.reset, key)
        elif begun is not True:
            await begun

    async def adelete(self, key: str) -> None:
        """Like delete(), without holding up the event loop."""
        begun = self._begin_delete(key)
        if begun is None:
            await _in_thread(self.delete, key)
        elif begun is not True:
            await begun

    async def aflush(self) -> None:
        """Like flush(), without holding up the event loop."""
        await self._begin_flush()

    async def astatus(self, key: str) -> LimitStatus | None:
        """Like status(), which waits for nothing."""
        return self.status(key)

    async def alist(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> builtins.list[LimitStatus]:
        """Like list(), in a worker thread: there may be many keys."""
        return await _in_thread(self.list, prefix, limit, after)

    async def atop(self, by: str = "denied", limit: int = 10) -> builtins.list[LimitStatus]:
        """Like top(), in a worker thread: there may be many keys."""
        return await _in_thread(self.top, by, limit)

    async def ahistory(self, key: str, limit: int = 100) -> builtins.list[Event]:
        """Like history(), in a worker thread: it reads files."""
        return await _in_thread(self.history, key, limit)

    async def acompact(self) -> None:
        """Like compact(), in a worker thread."""
        await _in_thread(self.compact)

    async def adoctor(self) -> Report:
        """Like doctor(), in a worker thread."""
        return await _in_thread(self.doctor)

    def close(self) -> None:
        """Flush, unlock the directory and end the background threads; whoever waits in acquire() gets ClosedError.

        Later calls raise ClosedError; closing again does nothing.

        Raises StorageError when the flush fails; the directory is unlocked all the same.
        """
        try:
            super().close()
        finally:
            queues = self._find_queues()
            if queues is not None:
                queues.wake_all()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        await _in_thread(self.close)

    # flint._backend.Attempts: what flint._waiting needs.

    @property
    def _queues(self) -> Queues:
        """The callers that wait in acquire(), made for the first one."""
        queues = self._find_queues()
        if queues is None:
            from flint._waiting.queue import Queues

            with _creating:
                queues = self._find_queues()
                if queues is None:
                    # A flint.testing.ManualClock, which has more than the native half of it.
                    clock: Any = self._clock
                    queues = self._made_queues = Queues(clock)
        return queues

    def _find_queues(self) -> Queues | None:
        try:
            return self._made_queues
        except AttributeError:
            return None

    async def _aattempt(self, key: str, cost: int, limit: LimitLike | None, /) -> CheckResult:
        answer = self._begin_attempt(key, cost, limit)
        if type(answer) is CheckResult:
            return answer
        if answer is None:
            return await _in_thread(self._attempt, key, cost, limit)
        return await answer

    def _look_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: builtins.list[int] | None, /
    ) -> CheckResult:
        now = self.peek(key, cost, limit=limit)
        wait_ns = now.retry_after_ns if costs is None else self._forecast(key, costs, limit)
        return CheckResult(
            False, key, cost, now.limit, now.remaining, wait_ns, now.reset_after_ns, now.reset_at_ns, now.rates
        )

    async def _alook_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: builtins.list[int] | None, /
    ) -> CheckResult:
        return self._look_ahead(key, cost, limit, costs)

    async def _acount_denial(self, key: str, cost: int, /) -> None:
        self._count_denial(key, cost)


# What people see is `flint.Limiter`.
Limiter.__module__ = "flint"
