"""The headers of an HTTP answer that describe limits.

`X-RateLimit-*` describe the most restrictive rate. `RateLimit-Policy` and `RateLimit` list every rate; they follow
draft-ietf-httpapi-ratelimit-headers-10 and are structured fields (RFC 9651).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from flint._native import CheckResult, Limit, Rate, RateState

Family: TypeAlias = Literal["both", "x", "ietf", "none"]
Header: TypeAlias = tuple[bytes, bytes]

FAMILIES: tuple[Family, ...] = ("both", "x", "ietf", "none")

_NS_PER_S = 1_000_000_000
# A structured field's integer has at most 15 digits.
_LARGEST_INTEGER = 10**15 - 1


def whole_seconds(ns: int) -> int:
    """Nanoseconds as seconds, rounded up."""
    return -(-ns // _NS_PER_S)


def rate_headers(results: Sequence[CheckResult], family: Family) -> list[Header]:
    """The headers that describe `results`; the names are lower-case, as ASGI requires."""
    headers: list[Header] = []
    if not results or family == "none":
        return headers
    if family != "ietf":
        result = _most_restrictive(results)
        headers += [
            (b"x-ratelimit-limit", b"%d" % result.limit),
            (b"x-ratelimit-remaining", b"%d" % result.remaining),
            (b"x-ratelimit-reset", b"%d" % whole_seconds(result.reset_at_ns)),
        ]
    if family != "x":
        rates = [rate for result in results for rate in result.rates]
        left = [f"r={_integer(rate.remaining)};t={_integer(whole_seconds(rate.reset_after_ns))}" for rate in rates]
        headers += [
            (b"ratelimit-policy", _policy(rates)),
            (b"ratelimit", _listed(left)),
        ]
    return headers


def limit_headers(limits: Iterable[Limit], family: Family) -> list[Header]:
    """The headers for limits without a result: how much they admit, not how much is left."""
    rates = [rate for limit in limits for rate in limit.rates]
    headers: list[Header] = []
    if not rates or family == "none":
        return headers
    if family != "ietf":
        headers.append((b"x-ratelimit-limit", b"%d" % min(rates, key=lambda rate: rate.burst).rate))
    if family != "x":
        headers.append((b"ratelimit-policy", _policy(rates)))
    return headers


def retry_after(ns: int) -> Header:
    """Retry-After: whole seconds, rounded up, at least one."""
    return b"retry-after", b"%d" % max(1, whole_seconds(ns))


def with_added(headers: Iterable[Header], added: Iterable[Header]) -> list[Header]:
    """`headers`, and those of `added` whose name is not there yet. A new list: an answer's own may be used again."""
    merged = list(headers)
    names = {name.lower() for name, _ in merged}
    for name, value in added:
        if name not in names:
            names.add(name)
            merged.append((name, value))
    return merged


def _most_restrictive(results: Sequence[CheckResult]) -> CheckResult:
    """The most restrictive of several results, by the rule that also holds among the rates of one key."""
    denied = [result for result in results if not result.allowed]
    if denied:
        return max(denied, key=lambda result: result.retry_after_ns)
    return min(results, key=lambda result: result.remaining)


def _policy(rates: Iterable[Rate | RateState]) -> bytes:
    return _listed(f"q={_integer(rate.rate)}{_window(rate.per_millis)}" for rate in rates)


def _listed(parameters: Iterable[str]) -> bytes:
    """A structured list whose items are the names "default", "default-2", ... with these parameters."""
    items = (
        f'"default-{number}";{each}' if number > 1 else f'"default";{each}'
        for number, each in enumerate(parameters, start=1)
    )
    return ", ".join(items).encode("ascii")


def _window(per_millis: int) -> str:
    """The window in seconds; the field has no fractions, so a window with one is left out."""
    return "" if per_millis % 1000 else f";w={per_millis // 1000}"


def _integer(value: int) -> int:
    return min(value, _LARGEST_INTEGER)
