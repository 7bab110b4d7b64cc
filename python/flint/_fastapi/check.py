"""The limits of one route, checked together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException, Response, WebSocketException

from flint._errors import FlintError, InvalidCost
from flint._web.asgi import CARRIED, can_answer_websocket
from flint._web.headers import Family, Header, limit_headers, rate_headers, retry_after
from flint._web.refusal import DENIED, ON_ERROR, ErrorPolicy, OnError, Refusal

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from flint._backend import ChecksAsync
    from flint._native import CheckResult, Limit
    from flint._web.rule import Rule

OWNER = "RateLimit"
_CHECKED = "flint.checked"

_policy = ErrorPolicy()


@dataclass(frozen=True, slots=True)
class Part:
    """One limit of a route. Equal ones are the same."""

    rule: Rule
    limiter: ChecksAsync | None
    together: bool
    family: Family
    on_error: OnError
    # Whether several parts of this kind on a route have a key each, although their rules give the same one.
    numbered: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """The decisions about a request so far."""

    results: dict[Part, CheckResult | None] = field(default_factory=dict)
    # The names of the headers on the answer that were set here, not by the application.
    names: set[str] = field(default_factory=set)


def checked_of(connection: HTTPConnection) -> Checked:
    """The decisions about this request so far."""
    checked: Checked = connection.scope.setdefault(_CHECKED, Checked())
    return checked


async def check(
    parts: Mapping[Part, int], limiter: ChecksAsync, connection: HTTPConnection, response: Response, checked: Checked
) -> None:
    """One call to the limiter for all parts, whose results go to `checked` and to the headers of the answer.

    Each part comes with its number on the route, which keeps the keys of numbered parts apart.

    Raises:
        HTTPException: a limit was exceeded, or the limiter failed and a part has on_error "deny".
        WebSocketException: the same, for a websocket whose server cannot answer the handshake.
        FlintError: the limiter failed and a part has on_error "raise".
    """
    item_of, items = await _items(parts, connection)
    try:
        answer = await limiter.acheck_all(items)
    except InvalidCost as error:
        refusal = _policy.cost_too_high(OWNER, error)
        headers = _limit_headers(parts)
        _pass_to_middleware(headers, connection)
        raise _exception(refusal.with_headers(headers), connection) from error
    except FlintError as error:
        strictest = min((part.on_error for part in parts), key=ON_ERROR.index)
        failed = _policy.decide(OWNER, error, strictest)
        if failed is not None:
            raise _exception(failed, connection) from error
        checked.results.update(dict.fromkeys(parts))
        return
    # By position: several items may have one key.
    results = answer.results
    checked.results.update({part: results[number] for part, number in zip(parts, item_of, strict=True)})
    headers = _headers(checked.results)
    _pass_to_middleware(headers, connection)
    if not answer.allowed:
        denied = DENIED.with_headers([retry_after(answer.retry_after_ns), *headers])
        raise _exception(denied, connection)
    _set_headers(headers, response, checked.names)


async def _items(parts: Mapping[Part, int], connection: HTTPConnection) -> tuple[list[int], list[Mapping[str, Any]]]:
    """The number of the item of each part, and the items to check.

    Parts with one key and equal limits are one item with the sum of their costs. A part without a rate belongs to the
    first other part with its key.
    """
    found = [(part.rule.limit, *await _key_and_cost(part, number, connection)) for part, number in parts.items()]
    first: dict[str, Limit] = {}
    for limit, key, _ in found:
        if limit is not None:
            first.setdefault(key, limit)
    numbers: dict[tuple[str, Limit | None], int] = {}
    costs: list[int] = []
    item_of: list[int] = []
    for limit, key, cost in found:
        number = numbers.setdefault((key, limit or first.get(key)), len(costs))
        if number == len(costs):
            costs.append(0)
        costs[number] += cost
        item_of.append(number)
    keys_and_costs = zip(numbers, costs, strict=True)
    return item_of, [{"key": key, "cost": cost, "limit": limit} for (key, limit), cost in keys_and_costs]


async def _key_and_cost(part: Part, number: int, connection: HTTPConnection) -> tuple[str, int]:
    key, cost = await part.rule.key_and_cost(connection, OWNER)
    if part.numbered and number > 1:
        # At the front, which the client cannot choose.
        key = f"#{number} {key}"
    return key, cost


def _headers(results: Mapping[Part, CheckResult | None]) -> list[Header]:
    """Each family of headers describes the parts that chose it."""

    def of(family: Family) -> list[Header]:
        chosen = {
            id(result): result
            for part, result in results.items()
            if result is not None and part.family in ("both", family)
        }
        return rate_headers(list(chosen.values()), family)

    return [*of("x"), *of("ietf")]


def _limit_headers(parts: Iterable[Part]) -> list[Header]:
    """The same for limits without a result."""

    def of(family: Family) -> list[Header]:
        limits = [part.rule.limit for part in parts if part.family in ("both", family)]
        return limit_headers([limit for limit in limits if limit is not None], family)

    return [*of("x"), *of("ietf")]


def _pass_to_middleware(headers: Iterable[Header], connection: HTTPConnection) -> None:
    """Leaves the headers where a middleware finds them for an answer that the application made itself."""
    carried = connection.scope.get(CARRIED)
    if carried is not None:
        carried[:] = headers


def _set_headers(headers: Iterable[Header], response: Response, names: set[str]) -> None:
    """Sets the headers on the answer that FastAPI makes."""
    for name, value in ((name.decode(), value.decode()) for name, value in headers):
        if name in names or name not in response.headers:
            names.add(name)
            response.headers[name] = value


def _exception(refusal: Refusal, connection: HTTPConnection) -> HTTPException | WebSocketException:
    if connection.scope["type"] == "http" or can_answer_websocket(connection.scope):
        headers = {name.decode(): value.decode() for name, value in refusal.headers}
        return HTTPException(refusal.status, refusal.detail, headers)
    return WebSocketException(refusal.websocket_code, refusal.detail)
