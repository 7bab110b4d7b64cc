"""A call of a client: its request, its result, and what replaces that when there is no answer.

The native half parses, encodes and decodes calls. A method of SharedLimiter and its async counterpart run the same one;
see `flint._client.core`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar

from flint._native import (
    CheckResult,
    LimitStatus,
    MultiCheckResult,
    _AttemptCall,
    _Call,
    _CheckAllCall,
    _CheckCall,
    _Codec,
    _DenyCall,
    _ForecastCall,
    _ListCall,
)

if TYPE_CHECKING:
    from typing import Literal

    from flint._client.error_policy import ErrorPolicy
    from flint._errors import FlintError

T = TypeVar("T")

# `retry_after` of a check that was denied because the server was unavailable.
_DEGRADED_RETRY_NS = 1_000_000_000

# The result of a call without an answer.
Recover: TypeAlias = "Callable[[Any, FlintError, ErrorPolicy], T]"


def reraise(call: object, failure: FlintError, policy: ErrorPolicy) -> NoReturn:
    """Of a call that is nothing without an answer."""
    raise failure


def degraded_check(call: _CheckCall | _AttemptCall, failure: FlintError, policy: ErrorPolicy) -> CheckResult:
    """Of check() and of the attempts of acquire()."""
    return _degraded(call.key, call.cost, allowed=policy.decide(failure))


def degraded_check_all(call: _CheckAllCall, failure: FlintError, policy: ErrorPolicy) -> MultiCheckResult:
    """Of check_all()."""
    allowed = policy.decide(failure)
    keys = call.keys
    results = [_degraded(key, cost, allowed=allowed) for key, cost in zip(keys, call.costs, strict=True)]
    denied_key = None if allowed else keys[0]
    return MultiCheckResult(allowed, denied_key, 0 if allowed else _DEGRADED_RETRY_NS, results, degraded=True)


def degraded_forecast(call: _ForecastCall, failure: FlintError, policy: ErrorPolicy) -> CheckResult:
    """Of `flint._backend.Attempts._look_ahead`."""
    wait_ns = 0 if policy.decide(failure) else _DEGRADED_RETRY_NS
    return CheckResult(False, call.key, call.cost, 0, 0, wait_ns, degraded=True)


def ignored(call: _DenyCall, failure: FlintError, policy: ErrorPolicy) -> Literal[True]:
    """Of a counted denial: the caller gets the AcquireTimeout that it counts, not an error of the counting."""
    return True


def _degraded(key: str, cost: int, *, allowed: bool) -> CheckResult:
    return CheckResult(allowed, key, cost, 0, 0, 0 if allowed else _DEGRADED_RETRY_NS, degraded=True)


class Operation(Generic[T]):
    """A parsed call with its request, which is sent again after some failures, and what recovers from the others."""

    __slots__ = ("_call", "_codec", "_recover", "request")

    def __init__(
        self, codec: _Codec, call: _Call[T], recover: Recover[T] = reraise, request: bytes | None = None
    ) -> None:
        self._codec = codec
        self._call = call
        self._recover = recover
        self.request = codec.encode(call) if request is None else request

    @property
    def repeatable(self) -> bool:
        """Whether a server that executes the request twice does no harm. Otherwise it is sent at most once."""
        return self._codec.is_repeatable(self._call)

    def decode(self, data: bytes, start: int) -> T:
        """The result in the body of an answer, which begins at `start`. Raises ValueError, KeyError or TypeError."""
        return self._codec.decode(self._call, data, start)

    def recover(self, failure: FlintError, policy: ErrorPolicy) -> T:
        """The result of a call without an answer."""
        return self._recover(self._call, failure, policy)


# Several calls, one after the other, each of which is sent its result.
Sequence: TypeAlias = "Generator[_Call[Any], Any, T]"


def list_pages(prefix: str | None, limit: int | None, after: str | None) -> Sequence[list[LimitStatus]]:
    """list()."""
    found: list[LimitStatus] = []
    call: _ListCall | None = _ListCall(prefix, limit, after)
    while call is not None:
        page: list[LimitStatus] = yield call
        found += page
        call = call.rest(page)
    return found
