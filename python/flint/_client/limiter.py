"""`flint.SharedLimiter`: the limits of a server, with the API of `flint.Limiter`.

Nothing is decided here. Each method and its async counterpart make the same parsed call of the native half.
"""

from __future__ import annotations

from flint._base import TOKEN_BUCKET, LimiterBase, limit_many_call, named
from flint._errors import FlintError
from flint._native import (
    _AttemptCall,
    _CheckAllCall,
    _CheckCall,
    _CompactCall,
    _CountersCall,
    _DeleteCall,
    _DenyCall,
    _DoctorCall,
    _FlushCall,
    _ForecastCall,
    _HistoryCall,
    _LimitCall,
    _LimitManyCall,
    _ListCall,
    _PeekCall,
    _RecordsCall,
    _ResetCall,
    _StatusCall,
    _TopCall,
)

# Type checkers take the name for typing.TYPE_CHECKING; importing that module would double the time to import flint.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    import os
    import ssl
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from flint._client.core import Core
    from flint._native import CheckResult, Event, LimitStatus, MultiCheckResult
    from flint._types import BackupReport, Counters, Item, LimitLike, Period, RateLike, Report
    from flint._waiting.queue import Queues


class SharedLimiter(LimiterBase):
    """The limits of a Flint server, shared by all its clients. The API is that of flint.Limiter.

    url: "unix:///path/to/socket", "http://host:port" or "https://host:port". The first call connects.
    token: the server's token, where it has one.
    timeout: seconds that one call may take, retries and connecting included; looking up a host's name is up to the
        operating system.
    on_error: what check, allow, check_all, allow_all, acquire and their async variants do when the server cannot be
        reached or fails (5xx): "raise", or answer "allow" or "deny"; such a result has `degraded` set. Errors that the
        server reports about the call itself are raised in any case, and "allow" raises a certificate's error.
    retries: how often a call is repeated after a failed connection, a lost answer, or 502, 503 or 504. A repeated check
        takes tokens only once.
    ssl_context: an ssl.SSLContext for https, instead of the system's certificates.

    Any method may be called from any thread, and its async variant, with an `a` in front of its name, from any event
    loop; all of them share the open connections. After a fork, the object in the child uses connections of its own.
    Proxy settings of the environment are not used, and redirects are not followed.

    Cancelling an await does not undo the decision: the call may have been made.

    Raises InvalidArgument; calls raise FlintConnectionError, FlintServerError, what flint.Limiter raises, and
    ClosedError after close().
    """

    __slots__ = ("__weakref__", "_core")

    _core: Core

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 10.0,
        *,
        on_error: str = "raise",
        retries: int = 1,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        # Here instead of at the top: `import flint` does without asyncio and ssl.
        from flint._client.core import Core

        self._core = Core(url, token, timeout, on_error, retries, ssl_context)

    @property
    def url(self) -> str:
        """The server's URL, as it was given."""
        return self._core.endpoint.address.url

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._core.endpoint.pool.closed

    def check(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Take `cost` tokens of `key` if they are there.

        cost: an integer from 1 to the limit's capacity. limit: a flint.Limit or text such as "100/minute", which
        decides when no limit was set for the key with limit(). Each limit has a counter of its own under the key, at
        most 8: a changed one starts unused, so set it with limit() to keep what was used. Without it, the most recently
        used counter decides.

        Raises LimitNotFound, InvalidKey, InvalidCost, InvalidLimit, FlintConnectionError, FlintServerError.
        """
        return self._core.run(_CheckCall(key, cost, limit))

    async def acheck(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Like check(), without holding up the event loop."""
        return await self._core.arun(_CheckCall(key, cost, limit))

    def allow(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> bool:
        """The decision of check() alone: True when `cost` tokens were taken.

        Raises what check() raises.
        """
        return self.check(key, cost, limit=limit).allowed

    async def aallow(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> bool:
        """Like allow(), without holding up the event loop."""
        return (await self.acheck(key, cost, limit=limit)).allowed

    def check_all(self, items: Iterable[Item]) -> MultiCheckResult:
        """Take tokens of several keys, all or nothing.

        items: 1 to 1,000 of "key", ("key", cost) or {"key": ..., "cost": ..., "limit": ...}, each key and limit once.

        Raises what check() raises, and InvalidArgument.
        """
        return self._core.run(_CheckAllCall(items))

    async def acheck_all(self, items: Iterable[Item]) -> MultiCheckResult:
        """Like check_all(), without holding up the event loop."""
        return await self._core.arun(_CheckAllCall(items))

    def allow_all(self, items: Iterable[Item]) -> bool:
        """The decision of check_all() alone.

        Raises what check_all() raises.
        """
        return self.check_all(items).allowed

    async def aallow_all(self, items: Iterable[Item]) -> bool:
        """Like allow_all(), without holding up the event loop."""
        return (await self.acheck_all(items)).allowed

    def peek(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """What check() would say now; consumes nothing, counts nothing, stores nothing.

        Raises what check() raises.
        """
        return self._core.run(_PeekCall(key, cost, limit))

    async def apeek(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Like peek(), without holding up the event loop."""
        return await self._core.arun(_PeekCall(key, cost, limit))

    def limit(
        self,
        key: str,
        rate: RateLike,
        per: Period | None = None,
        *,
        algorithm: str = TOKEN_BUCKET,
        burst: int | None = None,
        on_change: str = "keep",
    ) -> None:
        """Set the limit of `key`, as flint.Limiter.limit() does.

        Raises InvalidKey, InvalidLimit, InvalidArgument, FlintConnectionError, FlintServerError.
        """
        self._core.run(_LimitCall(key, rate, per, burst, on_change, *named(algorithm)))

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
        await self._core.arun(_LimitCall(key, rate, per, burst, on_change, *named(algorithm)))

    def limit_many(self, specs: Iterable[Mapping[str, Any]]) -> None:
        """Set many limits, at most 100,000: all of them, or none when one is refused or the disk has no room for all.

        specs: mappings of limit()'s arguments, such as {"key": "a", "rate": "100/minute"}. No key may appear twice.

        Limits with up to 1,000 rates together are one durable write. More are set in slices of so many, in the given
        order, with other calls in between; a server that dies or is closed in the middle leaves the slices before that.
        The same call again sets the rest.

        Raises what limit() raises.
        """
        self._core.run(_LimitManyCall(specs))

    async def alimit_many(self, specs: Iterable[Mapping[str, Any]]) -> None:
        """Like limit_many(), without holding up the event loop, which goes on while `specs` is read."""
        from asyncio import get_running_loop

        # Only the thread that encodes the limits refers to them, so that it drops them too: that takes long. What waits
        # for the answer is a call without any.
        encode = self._core.codec.encode
        encoding = get_running_loop().run_in_executor(None, encode, await limit_many_call(specs))
        await self._core.arun(_LimitManyCall(()), encoding=encoding)

    def status(self, key: str) -> LimitStatus | None:
        """The limit of `key`, what is left of it and its totals; None for a key without a limit."""
        return self._core.run(_StatusCall(key))

    async def astatus(self, key: str) -> LimitStatus | None:
        """Like status(), without holding up the event loop."""
        return await self._core.arun(_StatusCall(key))

    def list(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> builtins.list[LimitStatus]:
        """The statuses of all keys in the order of their UTF-8 bytes.

        Those that start with `prefix`, from the first one after the key `after`, at most `limit` of them. More than
        10,000 come in several requests, between which others may change something.
        """
        return self._core.run_pages(_ListCall(prefix, limit, after))

    async def alist(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> builtins.list[LimitStatus]:
        """Like list(), without holding up the event loop."""
        return await self._core.arun_pages(_ListCall(prefix, limit, after))

    def top(self, by: str = "denied", limit: int = 10) -> builtins.list[LimitStatus]:
        """The statuses of the `limit` keys, at most 10,000, with the largest total, largest first.

        by: "allowed", "denied", "allowed_cost" or "denied_cost".
        """
        return self._core.run(_TopCall(by, limit))

    async def atop(self, by: str = "denied", limit: int = 10) -> builtins.list[LimitStatus]:
        """Like top(), without holding up the event loop."""
        return await self._core.arun(_TopCall(by, limit))

    def history(self, key: str, limit: int = 100) -> builtins.list[Event]:
        """The newest `limit` events of `key`, at most 10,000, oldest first."""
        return self._core.run(_HistoryCall(key, limit))

    async def ahistory(self, key: str, limit: int = 100) -> builtins.list[Event]:
        """Like history(), without holding up the event loop."""
        return await self._core.arun(_HistoryCall(key, limit))

    def reset(self, key: str) -> None:
        """Give `key` its full limit back. Totals stay.

        Raises LimitNotFound, FlintConnectionError, FlintServerError.
        """
        self._core.run(_ResetCall(key))

    async def areset(self, key: str) -> None:
        """Like reset(), without holding up the event loop."""
        await self._core.arun(_ResetCall(key))

    def delete(self, key: str) -> None:
        """Forget `key`: its limit, state and totals.

        Raises LimitNotFound, also where a repeated request finds the key gone; FlintConnectionError, FlintServerError.
        """
        self._core.run(_DeleteCall(key))

    async def adelete(self, key: str) -> None:
        """Like delete(), without holding up the event loop."""
        await self._core.arun(_DeleteCall(key))

    def flush(self) -> None:
        """Return when everything that the server acknowledged so far is on its disk."""
        self._core.run(_FlushCall())

    async def aflush(self) -> None:
        """Like flush(), without holding up the event loop."""
        await self._core.arun(_FlushCall())

    def compact(self) -> None:
        """Have the server write a snapshot and drop the log that it replaces."""
        self._core.run(_CompactCall())

    async def acompact(self) -> None:
        """Like compact(), without holding up the event loop."""
        await self._core.arun(_CompactCall())

    def backup(self, path: str | os.PathLike[str]) -> BackupReport:
        """Not for a server, which does not write files where its clients ask for them: raises FlintError.

        `flint --data-dir DIR backup DEST`, on the server's machine, copies its directory while it runs.
        """
        raise FlintError(
            f"a copy of {self.url} is made where its directory is, and not through the server: run "
            "`flint --data-dir DIR backup DEST` on that machine; the server may be running"
        )

    async def abackup(self, path: str | os.PathLike[str]) -> BackupReport:
        """Like backup(): raises FlintError."""
        return self.backup(path)

    def doctor(self) -> Report:
        """Have the server verify its files; the dict of flint.Limiter.doctor()."""
        return self._core.run(_DoctorCall())

    async def adoctor(self) -> Report:
        """Like doctor(), without holding up the event loop."""
        return await self._core.arun(_DoctorCall())

    def counters(self) -> Counters:
        """Totals since the server opened its directory; the dict of flint.Limiter.counters()."""
        return self._core.run(_CountersCall())

    async def acounters(self) -> Counters:
        """Like counters(), without holding up the event loop."""
        return await self._core.arun(_CountersCall())

    def close(self) -> None:
        """Close the connections. Callers that wait in acquire() get ClosedError, and so do later calls.

        Calls in flight are answered. Closing again does nothing.
        """
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<flint.SharedLimiter {self.url!r}, {'closed' if self.closed else 'open'}>"

    def __reduce__(self) -> Any:
        message = (
            "a SharedLimiter cannot be copied or pickled: it would carry its token along. Create one in each process; "
            "one that was created before a fork works in both"
        )
        raise TypeError(message)

    # For the command line.

    def _log_records(self, after: int, limit: int, /) -> tuple[builtins.list[dict[str, Any]], int]:
        """Records of the server's log above the number `after`, at most `limit`, and the newest number among them."""
        return self._core.run(_RecordsCall(after, limit))

    # flint._backend.Attempts: what flint._waiting needs.

    @property
    def _queues(self) -> Queues:
        return self._core.queues

    def _attempt(self, key: str, cost: int, limit: LimitLike | None, /) -> CheckResult:
        return self._core.run(_AttemptCall(key, cost, limit))

    async def _aattempt(self, key: str, cost: int, limit: LimitLike | None, /) -> CheckResult:
        return await self._core.arun(_AttemptCall(key, cost, limit))

    def _look_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: builtins.list[int] | None, /
    ) -> CheckResult:
        return self._core.run(_ForecastCall(key, cost, limit, costs))

    async def _alook_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: builtins.list[int] | None, /
    ) -> CheckResult:
        return await self._core.arun(_ForecastCall(key, cost, limit, costs))

    def _count_denial(self, key: str, cost: int, limit: LimitLike | None, /) -> None:
        self._core.run(_DenyCall(key, cost, limit))

    async def _acount_denial(self, key: str, cost: int, limit: LimitLike | None, /) -> None:
        await self._core.arun(_DenyCall(key, cost, limit))


# Its public name is `flint.SharedLimiter`.
SharedLimiter.__module__ = "flint"
