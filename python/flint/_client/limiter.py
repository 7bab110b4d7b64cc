"""`flint.SharedLimiter`: the limits of a server, with the API of `flint.Limiter`.

Nothing is decided here. A method has the native codec make a request of its arguments, the core exchange it, and the
codec make a result of the answer. A twin does the same and awaits the exchange.
"""

from __future__ import annotations

from flint._algorithm import TOKEN_BUCKET, named
from flint._errors import ClosedError, FlintConnectionError, FlintServerError
from flint._native import (
    CheckResult,
    Event,
    LimitStatus,
    MultiCheckResult,
    _decode_check,
    _decode_check_all,
    _decode_events,
    _decode_statuses,
)
from flint._waiting.mixin import Waiting

# Type checkers take the name for typing.TYPE_CHECKING; importing that module would double the time to import flint.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    import ssl
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from flint._client.core import Core
    from flint._types import Counters, Item, LimitLike, Period, RateLike, Report
    from flint._waiting.queue import Queues


_FAILURES = (FlintConnectionError, FlintServerError)
# Statuses in one answer to list().
_PAGE = 10_000


class SharedLimiter(Waiting):
    """The limits of a Flint server, shared by all its clients. The API is that of flint.Limiter.

    url: "unix:///path/to/socket", "http://host:port" or "https://host:port". The first call connects.
    token: the server's token, where it has one.
    timeout: seconds that one call may take, retries and connecting included; looking up a host's name is up to the
        operating system.
    on_error: what check, allow, check_all, allow_all, acquire and their twins do when no server can be reached or it
        fails (5xx): "raise", or answer "allow" or "deny"; such a result has `degraded` set. Whatever the server says
        about the call itself is raised all the same.
    retries: how often a call is repeated after a failed connection, a lost answer, or 502, 503 or 504. A repeated check
        takes no tokens twice.
    ssl_context: an ssl.SSLContext for https, instead of the system's certificates.

    Any method may be called from any thread, and its twin with an `a` in front from any event loop; connections are
    kept and used again by all of them. In a forked process the object goes on with connections of its own. Proxies of
    the environment are not used and redirects not followed.

    Cancelling an await does not take the decision back: the call may have been made.

    Raises InvalidArgument; calls raise FlintConnectionError, FlintServerError, what flint.Limiter raises, and
    ClosedError after close().
    """

    __slots__ = ("__weakref__", "_core", "_queues")

    _core: Core
    _queues: Queues

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
        from flint._client.core import Core

        self._core = Core(url, token, timeout, on_error, retries, ssl_context)
        self._core.after_fork = self._start_queues
        self._start_queues()

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

        cost: an integer from 1 to the limit's capacity. limit: a flint.Limit or text such as "100/minute", used and
        stored when no limit was set for the key with limit().

        Raises LimitNotFound, InvalidKey, InvalidCost, InvalidLimit, FlintConnectionError, FlintServerError.
        """
        core = self._core
        request = core.codec.check(key, cost, limit, True)
        try:
            return core.check(request, key)
        except _FAILURES as failure:
            return core.degraded_check(failure, key, cost)

    async def acheck(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Like check(), without holding up the event loop."""
        core = self._core
        request = core.codec.check(key, cost, limit, True)
        try:
            return await core.arun(request, _decode_check, key)
        except _FAILURES as failure:
            return core.degraded_check(failure, key, cost)

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

        items: 1 to 1,000 of "key", ("key", cost) or {"key": ..., "cost": ..., "limit": ...}, each key once.

        Raises what check() raises, and InvalidArgument.
        """
        core = self._core
        request, keys, costs = core.codec.check_all(items)
        try:
            return core.run(request, _decode_check_all, keys)
        except _FAILURES as failure:
            return core.degraded_check_all(failure, keys, costs)

    async def acheck_all(self, items: Iterable[Item]) -> MultiCheckResult:
        """Like check_all(), without holding up the event loop."""
        core = self._core
        request, keys, costs = core.codec.check_all(items)
        try:
            return await core.arun(request, _decode_check_all, keys)
        except _FAILURES as failure:
            return core.degraded_check_all(failure, keys, costs)

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
        return self._core.run(self._core.codec.peek(key, cost, limit), _decode_check, key)

    async def apeek(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Like peek(), without holding up the event loop."""
        return await self._core.arun(self._core.codec.peek(key, cost, limit), _decode_check, key)

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
        request = self._core.codec.limit(key, rate, per, burst, on_change, *named(algorithm))
        self._core.run(request, _done)

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
        request = self._core.codec.limit(key, rate, per, burst, on_change, *named(algorithm))
        await self._core.arun(request, _done)

    def limit_many(self, specs: Iterable[Mapping[str, Any]]) -> None:
        """Set many limits, at most 100,000, with one durable write: all of them, or none when one is refused.

        specs: mappings of limit()'s arguments, such as {"key": "a", "rate": "100/minute"}. No key may appear twice.

        Raises what limit() raises.
        """
        self._core.run(self._core.codec.limit_many(specs), _done)

    async def alimit_many(self, specs: Iterable[Mapping[str, Any]]) -> None:
        """Like limit_many(), without holding up the event loop."""
        await self._core.arun(self._core.codec.limit_many(specs), _done)

    def status(self, key: str) -> LimitStatus | None:
        """The limit of `key`, what is left of it and its totals; None for a key without a limit."""
        return _only(self._core.run(self._core.codec.status(key), _statuses))

    async def astatus(self, key: str) -> LimitStatus | None:
        """Like status(), without holding up the event loop."""
        return _only(await self._core.arun(self._core.codec.status(key), _statuses))

    def list(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> builtins.list[LimitStatus]:
        """The statuses of all keys in the order of their UTF-8 bytes.

        Those that start with `prefix`, from the first one after the key `after`, at most `limit` of them. More than
        10,000 come in several requests, between which others may change something.
        """
        found: builtins.list[LimitStatus] = []
        while True:
            page = _PAGE if limit is None else _page(limit, len(found))
            part = self._core.run(self._core.codec.list(prefix, page, after), _statuses)
            found += part
            if len(part) < _PAGE or len(found) == limit:
                return found
            after = part[-1].key

    async def alist(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> builtins.list[LimitStatus]:
        """Like list(), without holding up the event loop."""
        found: builtins.list[LimitStatus] = []
        while True:
            page = _PAGE if limit is None else _page(limit, len(found))
            part = await self._core.arun(self._core.codec.list(prefix, page, after), _statuses)
            found += part
            if len(part) < _PAGE or len(found) == limit:
                return found
            after = part[-1].key

    def top(self, by: str = "denied", limit: int = 10) -> builtins.list[LimitStatus]:
        """The statuses of the `limit` keys, at most 10,000, with the largest total, largest first.

        by: "allowed", "denied", "allowed_cost" or "denied_cost".
        """
        return self._core.run(self._core.codec.top(by, limit), _statuses)

    async def atop(self, by: str = "denied", limit: int = 10) -> builtins.list[LimitStatus]:
        """Like top(), without holding up the event loop."""
        return await self._core.arun(self._core.codec.top(by, limit), _statuses)

    def history(self, key: str, limit: int = 100) -> builtins.list[Event]:
        """The newest `limit` events of `key`, at most 10,000, oldest first."""
        return self._core.run(self._core.codec.history(key, limit), _events)

    async def ahistory(self, key: str, limit: int = 100) -> builtins.list[Event]:
        """Like history(), without holding up the event loop."""
        return await self._core.arun(self._core.codec.history(key, limit), _events)

    def reset(self, key: str) -> None:
        """Give `key` its full limit back. Totals stay.

        Raises LimitNotFound, FlintConnectionError, FlintServerError.
        """
        self._core.run(self._core.codec.post_key("/v1/reset", key), _done)

    async def areset(self, key: str) -> None:
        """Like reset(), without holding up the event loop."""
        await self._core.arun(self._core.codec.post_key("/v1/reset", key), _done)

    def delete(self, key: str) -> None:
        """Forget `key`: its limit, state and totals.

        Raises LimitNotFound, also where a repeated request finds the key gone; FlintConnectionError, FlintServerError.
        """
        self._core.run(self._core.codec.delete(key), _done)

    async def adelete(self, key: str) -> None:
        """Like delete(), without holding up the event loop."""
        await self._core.arun(self._core.codec.delete(key), _done)

    def flush(self) -> None:
        """Return when everything that the server acknowledged so far is on its disk."""
        self._core.run(self._core.codec.post("/v1/log/flush"), _done)

    async def aflush(self) -> None:
        """Like flush(), without holding up the event loop."""
        await self._core.arun(self._core.codec.post("/v1/log/flush"), _done)

    def compact(self) -> None:
        """Have the server write a snapshot and drop the log that it replaces."""
        self._core.run(self._core.codec.post("/v1/log/compact"), _done)

    async def acompact(self) -> None:
        """Like compact(), without holding up the event loop."""
        await self._core.arun(self._core.codec.post("/v1/log/compact"), _done)

    def doctor(self) -> Report:
        """Have the server verify its files; the dict of flint.Limiter.doctor()."""
        return self._core.run(self._core.codec.get("/v1/doctor"), _report)

    async def adoctor(self) -> Report:
        """Like doctor(), without holding up the event loop."""
        return await self._core.arun(self._core.codec.get("/v1/doctor"), _report)

    def counters(self) -> Counters:
        """Totals since the server opened its directory; the dict of flint.Limiter.counters()."""
        return self._core.run(self._core.codec.get("/v1/counters"), _counters)

    async def acounters(self) -> Counters:
        """Like counters(), without holding up the event loop."""
        return await self._core.arun(self._core.codec.get("/v1/counters"), _counters)

    def close(self) -> None:
        """Close the connections; whoever waits in acquire() gets ClosedError, and so do later calls.

        Calls that are under way are answered. Closing again does nothing.
        """
        self._core.endpoint.pool.close()
        self._queues.wake_all()

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

    # What the command line asks of it.

    def _log_records(self, after: int, limit: int, /) -> tuple[builtins.list[dict[str, Any]], int]:
        """Records of the server's log above the number `after`, at most `limit`, and the newest number among them."""
        path = f"/v1/log/records?after={after}&limit={limit}"
        return self._core.run(self._core.codec.get(path), _records)

    # flint._backend.Attempts: what flint._waiting needs.

    def _attempt(self, key: str, cost: int, limit: LimitLike | None, /) -> CheckResult:
        core = self._core
        request = core.codec.check(key, cost, limit, False)
        try:
            return core.run(request, _decode_check, key)
        except _FAILURES as failure:
            return core.degraded_check(failure, key, cost)

    async def _aattempt(self, key: str, cost: int, limit: LimitLike | None, /) -> CheckResult:
        core = self._core
        request = core.codec.check(key, cost, limit, False)
        try:
            return await core.arun(request, _decode_check, key)
        except _FAILURES as failure:
            return core.degraded_check(failure, key, cost)

    def _look_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: builtins.list[int] | None, /
    ) -> CheckResult:
        core = self._core
        request = core.codec.peek(key, cost, limit, costs)
        try:
            return core.run(request, _decode_check, key)
        except _FAILURES as failure:
            return core.degraded_look_ahead(failure, key, cost)

    async def _alook_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: builtins.list[int] | None, /
    ) -> CheckResult:
        core = self._core
        request = core.codec.peek(key, cost, limit, costs)
        try:
            return await core.arun(request, _decode_check, key)
        except _FAILURES as failure:
            return core.degraded_look_ahead(failure, key, cost)

    def _count_denial(self, key: str, cost: int, /) -> None:
        """Who gave up is told that, not that nobody counts it; it is not repeated, because it would count twice."""
        try:
            self._core.run(self._core.codec.post_key("/v1/deny", key, cost), _done, repeatable=False)
        except (*_FAILURES, ClosedError):
            return

    async def _acount_denial(self, key: str, cost: int, /) -> None:
        try:
            await self._core.arun(self._core.codec.post_key("/v1/deny", key, cost), _done, repeatable=False)
        except (*_FAILURES, ClosedError):
            return

    def _start_queues(self) -> None:
        """At the start and in a forked child, where no caller waits."""
        from flint._waiting.queue import Queues

        self._queues = Queues(join_first=True)


# What people see is `flint.SharedLimiter`.
SharedLimiter.__module__ = "flint"


def _done(_data: bytes, _start: int, _argument: object) -> None:
    """Decodes what says nothing but that it is done."""


def _statuses(data: bytes, start: int, _argument: object) -> list[LimitStatus]:
    return _decode_statuses(data, start)


def _events(data: bytes, start: int, _argument: object) -> list[Event]:
    return _decode_events(data, start)


def _object(data: bytes, start: int) -> Any:
    import json

    value = json.loads(data[start:])
    if not isinstance(value, dict):
        raise ValueError("its body is no JSON object")
    return value


def _report(data: bytes, start: int, _argument: object) -> Report:
    report: Report = _object(data, start)
    return report


def _records(data: bytes, start: int, _argument: object) -> tuple[list[dict[str, Any]], int]:
    answer = _object(data, start)
    records, newest = answer.get("records"), answer.get("newest")
    if not isinstance(records, list) or not isinstance(newest, int):
        raise ValueError("it has no records")
    return records, newest


def _counters(data: bytes, start: int, _argument: object) -> Counters:
    counters: Counters = _object(data, start)
    for name in ("sync_ns", "sync_records"):
        distribution = counters[name]
        distribution["bounds"], distribution["counts"] = tuple(distribution["bounds"]), tuple(distribution["counts"])
    return counters


def _only(statuses: list[LimitStatus]) -> LimitStatus | None:
    return statuses[0] if statuses else None


def _page(limit: int, have: int) -> int:
    """How many statuses to ask for next; what is no number is left to the codec, which refuses it."""
    return min(limit - have, _PAGE) if type(limit) is int and limit > _PAGE else limit
