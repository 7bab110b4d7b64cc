"""One description of each call: its request, what the answer means, and what replaces it when there is none.

A method of SharedLimiter and its async counterpart run the same description; see `flint._client.core`. The arguments
are validated, as those of the embedded methods, when the description is made.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from flint._algorithm import named
from flint._native import (
    CheckResult,
    Event,
    LimitStatus,
    MultiCheckResult,
    _Codec,
    _decode_check,
    _decode_check_all,
    _decode_events,
    _decode_statuses,
)

if TYPE_CHECKING:
    from flint._client.error_policy import ErrorPolicy
    from flint._errors import FlintError
    from flint._types import Counters as CountersDict
    from flint._types import Item, LimitLike, Period, RateLike, Report

T = TypeVar("T")

# `retry_after` of a check that was denied because the server was unavailable.
_DEGRADED_RETRY_NS = 1_000_000_000


class Operation(Generic[T]):
    """A call with its arguments."""

    __slots__ = ("request",)

    # The whole request, as bytes. It is sent again after some failures.
    request: bytes
    # Whether a server that executes the request twice does no harm: because nothing changes, the second time changes
    # nothing, or the request carries an idempotency key. Otherwise it is sent at most once.
    repeatable: ClassVar[bool] = True

    def decode(self, data: bytes, start: int) -> T:
        """The result in the body of an answer, which begins at `start`. Raises ValueError, KeyError or TypeError."""
        raise NotImplementedError

    def recover(self, failure: FlintError, policy: ErrorPolicy) -> T:
        """The result of a call without an answer."""
        raise failure


class Check(Operation[CheckResult]):
    """check(): the only operation that `flint._native._Line` can make in one step."""

    __slots__ = ("cost", "key")

    def __init__(self, codec: _Codec, key: str, cost: int, limit: LimitLike | None) -> None:
        self.request = codec.check(key, cost, limit, True)
        self.key = key
        self.cost = cost

    def decode(self, data: bytes, start: int) -> CheckResult:
        return _decode_check(data, start, self.key)

    def recover(self, failure: FlintError, policy: ErrorPolicy) -> CheckResult:
        return _degraded(self.key, self.cost, allowed=policy.decide(failure))


class Attempt(Check):
    """check() for a caller that waits: a denial is not counted."""

    __slots__ = ()

    def __init__(self, codec: _Codec, key: str, cost: int, limit: LimitLike | None) -> None:
        self.request = codec.check(key, cost, limit, False)
        self.key = key
        self.cost = cost


class CheckAll(Operation[MultiCheckResult]):
    """check_all()."""

    __slots__ = ("costs", "keys")

    def __init__(self, codec: _Codec, items: Iterable[Item]) -> None:
        self.request, self.keys, self.costs = codec.check_all(items)

    def decode(self, data: bytes, start: int) -> MultiCheckResult:
        return _decode_check_all(data, start, self.keys)

    def recover(self, failure: FlintError, policy: ErrorPolicy) -> MultiCheckResult:
        allowed = policy.decide(failure)
        results = [_degraded(key, cost, allowed=allowed) for key, cost in zip(self.keys, self.costs, strict=True)]
        denied_key = None if allowed else self.keys[0]
        return MultiCheckResult(allowed, denied_key, 0 if allowed else _DEGRADED_RETRY_NS, results, degraded=True)


class Peek(Operation[CheckResult]):
    """peek()."""

    __slots__ = ("key",)

    def __init__(self, codec: _Codec, key: str, cost: int, limit: LimitLike | None) -> None:
        self.request = codec.peek(key, cost, limit)
        self.key = key

    def decode(self, data: bytes, start: int) -> CheckResult:
        return _decode_check(data, start, self.key)


class LookAhead(Operation[CheckResult]):
    """`flint._backend.Attempts._look_ahead`."""

    __slots__ = ("cost", "key")

    def __init__(self, codec: _Codec, key: str, cost: int, limit: LimitLike | None, costs: list[int] | None) -> None:
        self.request = codec.peek(key, cost, limit, costs)
        self.key = key
        self.cost = cost

    def decode(self, data: bytes, start: int) -> CheckResult:
        return _decode_check(data, start, self.key)

    def recover(self, failure: FlintError, policy: ErrorPolicy) -> CheckResult:
        wait_ns = 0 if policy.decide(failure) else _DEGRADED_RETRY_NS
        return CheckResult(False, self.key, self.cost, 0, 0, wait_ns, degraded=True)


def _degraded(key: str, cost: int, *, allowed: bool) -> CheckResult:
    return CheckResult(allowed, key, cost, 0, 0, 0 if allowed else _DEGRADED_RETRY_NS, degraded=True)


class _Done(Operation[None]):
    """A call whose answer says only that it was executed."""

    __slots__ = ()

    def decode(self, data: bytes, start: int) -> None:
        return


class CountDenial(_Done):
    """`flint._backend.Attempts._count_denial`. A repetition would count twice.

    A failure is ignored: the caller gets the AcquireTimeout that it counts, not an error of the counting.
    """

    __slots__ = ()

    repeatable = False

    def __init__(self, codec: _Codec, key: str, cost: int) -> None:
        self.request = codec.post_key("/v1/deny", key, cost)

    def recover(self, failure: FlintError, policy: ErrorPolicy) -> None:
        return


class SetLimit(_Done):
    """limit()."""

    __slots__ = ()

    def __init__(
        self,
        codec: _Codec,
        key: str,
        rate: RateLike,
        per: Period | None,
        algorithm: str,
        burst: int | None,
        on_change: str,
    ) -> None:
        self.request = codec.limit(key, rate, per, burst, on_change, *named(algorithm))


class SetLimits(_Done):
    """limit_many()."""

    __slots__ = ()

    def __init__(self, codec: _Codec, specs: Iterable[Mapping[str, Any]]) -> None:
        self.request = codec.limit_many(specs)


class Reset(_Done):
    """reset()."""

    __slots__ = ()

    def __init__(self, codec: _Codec, key: str) -> None:
        self.request = codec.post_key("/v1/reset", key)


class Delete(_Done):
    """delete()."""

    __slots__ = ()

    def __init__(self, codec: _Codec, key: str) -> None:
        self.request = codec.delete(key)


class Flush(_Done):
    """flush()."""

    __slots__ = ()

    def __init__(self, codec: _Codec) -> None:
        self.request = codec.post("/v1/log/flush")


class Compact(_Done):
    """compact()."""

    __slots__ = ()

    def __init__(self, codec: _Codec) -> None:
        self.request = codec.post("/v1/log/compact")


class Status(Operation["LimitStatus | None"]):
    """status()."""

    __slots__ = ()

    def __init__(self, codec: _Codec, key: str) -> None:
        self.request = codec.status(key)

    def decode(self, data: bytes, start: int) -> LimitStatus | None:
        statuses = _decode_statuses(data, start)
        return statuses[0] if statuses else None


class Page(Operation["list[LimitStatus]"]):
    """One page of list()."""

    __slots__ = ()

    # Statuses in one answer.
    SIZE: ClassVar[int] = 10_000

    def __init__(self, codec: _Codec, prefix: str | None, size: int, after: str | None) -> None:
        self.request = codec.list(prefix, size, after)

    def decode(self, data: bytes, start: int) -> list[LimitStatus]:
        return _decode_statuses(data, start)


# Several operations, one after the other, each of which is sent its result.
Sequence = Generator[Operation[Any], Any, T]


def list_pages(codec: _Codec, prefix: str | None, limit: int | None, after: str | None) -> Sequence[list[LimitStatus]]:
    """list()."""
    found: list[LimitStatus] = []
    while True:
        size = Page.SIZE
        # A limit that is no integer is left to the codec, which refuses it.
        if limit is not None:
            size = min(limit - len(found), size) if type(limit) is int and limit > size else limit
        page: list[LimitStatus] = yield Page(codec, prefix, size, after)
        found += page
        if len(page) < Page.SIZE or len(found) == limit:
            return found
        after = page[-1].key


class Top(Operation["list[LimitStatus]"]):
    """top()."""

    __slots__ = ()

    def __init__(self, codec: _Codec, by: str, limit: int) -> None:
        self.request = codec.top(by, limit)

    def decode(self, data: bytes, start: int) -> list[LimitStatus]:
        return _decode_statuses(data, start)


class History(Operation["list[Event]"]):
    """history()."""

    __slots__ = ()

    def __init__(self, codec: _Codec, key: str, limit: int) -> None:
        self.request = codec.history(key, limit)

    def decode(self, data: bytes, start: int) -> list[Event]:
        return _decode_events(data, start)


class Doctor(Operation["Report"]):
    """doctor()."""

    __slots__ = ()

    def __init__(self, codec: _Codec) -> None:
        self.request = codec.get("/v1/doctor")

    def decode(self, data: bytes, start: int) -> Report:
        report: Report = _json_object(data, start)
        return report


class Counters(Operation["CountersDict"]):
    """counters()."""

    __slots__ = ()

    def __init__(self, codec: _Codec) -> None:
        self.request = codec.get("/v1/counters")

    def decode(self, data: bytes, start: int) -> CountersDict:
        counters: CountersDict = _json_object(data, start)
        for distribution in (counters["sync_ns"], counters["sync_records"]):
            distribution["bounds"], distribution["counts"] = (
                tuple(distribution["bounds"]),
                tuple(distribution["counts"]),
            )
        return counters


class LogRecords(Operation["tuple[list[dict[str, Any]], int]"]):
    """The records of `flint log`, and the newest sequence number among them."""

    __slots__ = ()

    def __init__(self, codec: _Codec, after: int, limit: int) -> None:
        self.request = codec.get(f"/v1/log/records?after={after}&limit={limit}")

    def decode(self, data: bytes, start: int) -> tuple[list[dict[str, Any]], int]:
        answer = _json_object(data, start)
        records, newest = answer.get("records"), answer.get("newest")
        if not isinstance(records, list) or not isinstance(newest, int):
            raise ValueError("it has no records")
        return records, newest


def _json_object(data: bytes, start: int) -> Any:
    import json

    value = json.loads(data[start:])
    if not isinstance(value, dict):
        raise ValueError("its body is not a JSON object")
    return value
