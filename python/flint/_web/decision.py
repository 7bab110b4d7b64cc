"""What the limiter's answer means for a request: let it through or refuse it, and with which headers.

An integration makes the call to the limiter itself, awaited or not, and passes the result or the error here. So this is
the same for ASGI and WSGI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flint._errors import InvalidCost
from flint._web.headers import Family, Header, limit_headers, rate_headers, retry_after
from flint._web.refusal import DENIED, ErrorPolicy, OnError, Refusal

if TYPE_CHECKING:
    from flint._errors import FlintError
    from flint._native import CheckResult
    from flint._web.rule import Rule


class Decision(NamedTuple):
    """`refusal` is the answer in place of the application's; where it is None, `headers` go on the application's."""

    refusal: Refusal | None
    headers: list[Header]


class Decider:
    """Decides for the requests of one rule."""

    def __init__(self, rule: Rule, family: Family, on_error: OnError) -> None:
        self._rule = rule
        self._family: Family = family
        self._on_error: OnError = on_error
        self._policy = ErrorPolicy()

    def of_result(self, result: CheckResult) -> Decision:
        """The decision for the result of a check."""
        headers = rate_headers([result], self._family)
        if result.allowed:
            return Decision(None, headers)
        return Decision(DENIED.with_headers([retry_after(result.retry_after_ns), *headers]), [])

    def of_error(self, error: FlintError) -> Decision:
        """The decision for a check that raised.

        Raises:
            FlintError: the error itself, if the application caused it, or if `on_error` is "raise".
        """
        if isinstance(error, InvalidCost):
            limit = self._rule.limit
            known = limit_headers([] if limit is None else [limit], self._family)
            return Decision(self._policy.cost_too_high(self._rule.owner, error).with_headers(known), [])
        return Decision(self._policy.decide(self._rule.owner, error, self._on_error), [])
