"""`on_error`: what checks return when the server is unavailable."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from flint._client.errors import UntrustedServerError
from flint._errors import FlintConnectionError, FlintError, FlintServerError
from flint._native import (
    CheckResult,
    MultiCheckResult,
    _AttemptCall,
    _Call,
    _CheckAllCall,
    _CheckCall,
    _DenyCall,
    _ForecastCall,
)
from flint._validate import one_of

T = TypeVar("T")
# Whether checks are allowed. Raises the failure where the policy does not cover it.
Decide = Callable[[], bool]

_log = logging.getLogger("flint")

# on_error, and whether checks are then allowed; None raises.
_DECISIONS = {"raise": None, "allow": True, "deny": False}
# `retry_after` of a check that was denied because the server is unavailable.
_RETRY_NS = 1_000_000_000
_WARN_EVERY_S = 60.0


class ErrorPolicy:
    """The policy of one client."""

    __slots__ = ("_decision", "_warned_at")

    def __init__(self, on_error: str) -> None:
        self._decision = _DECISIONS[one_of("on_error", on_error, _DECISIONS)]
        self._warned_at = -math.inf

    def recover(self, call: _Call[T], failure: FlintError) -> T:
        """The result of a call that ended with `failure`. Raises `failure` where the policy does not cover it.

        It covers checks, and a server that cannot be reached or fails itself, not one that rejects the call.
        """
        substitute = _SUBSTITUTES.get(type(call))
        if substitute is None:
            raise failure
        result: T = substitute(call, partial(self._decide, failure))
        return result

    def _decide(self, failure: FlintError) -> bool:
        unavailable = isinstance(failure, FlintConnectionError) or (
            isinstance(failure, FlintServerError) and failure.status >= 500
        )
        # Limits are never lifted for a server that has not proved its name.
        untrusted = self._decision and isinstance(failure, UntrustedServerError)
        if self._decision is None or not unavailable or untrusted:
            raise failure
        now = monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:
            # Without this line an application whose limits are not enforced looks healthy to its operators.
            self._warned_at = now
            _log.warning(
                "checks are answered with %r without a server, which is logged once a minute: %s",
                "allow" if self._decision else "deny",
                failure,
            )
        return self._decision


def _wait_ns(allowed: bool) -> int:
    return 0 if allowed else _RETRY_NS


def _check(call: _CheckCall | _AttemptCall, decide: Decide) -> CheckResult:
    allowed = decide()
    return CheckResult(allowed, call.key, call.cost, 0, 0, _wait_ns(allowed), degraded=True)


def _check_all(call: _CheckAllCall, decide: Decide) -> MultiCheckResult:
    allowed = decide()
    keys, wait_ns = call.keys, _wait_ns(allowed)
    results = [
        CheckResult(allowed, key, cost, 0, 0, wait_ns, degraded=True)
        for key, cost in zip(keys, call.costs, strict=True)
    ]
    return MultiCheckResult(allowed, None if allowed else keys[0], wait_ns, results, degraded=True)


def _forecast(call: _ForecastCall, decide: Decide) -> CheckResult:
    # A forecast is a denial; where checks are allowed the wait is over at once.
    return CheckResult(False, call.key, call.cost, 0, 0, _wait_ns(decide()), degraded=True)


def _deny(_call: _DenyCall, _decide: Decide) -> bool:
    # Whatever the policy: the caller gets the AcquireTimeout that is being counted, not an error of the counting.
    return True


_SUBSTITUTES: dict[type, Callable[[Any, Decide], Any]] = {
    _CheckCall: _check,
    _AttemptCall: _check,
    _CheckAllCall: _check_all,
    _ForecastCall: _forecast,
    _DenyCall: _deny,
}
