"""The limits of one route, checked together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException, Response, WebSocketException

from flint._errors import FlintError, InvalidArgument, InvalidCost
from flint._web.headers import Family, Header, limit_headers, rate_headers, retry_after
from flint._web.refusal import DENIED, ON_ERROR, OnError, Refusal, Troubles
from flint.asgi import CARRIED, can_answer_websocket

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from flint._backend import ChecksAsync
    from flint._native import CheckResult, Limit
    from flint._web.rule import Rule

OWNER = "RateLimit"
_CHECKED = "flint.checked"

_troubles = Troubles()


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
    """What has been decided about a request."""

    results: dict[Part, CheckResult | None] = field(default_factory=dict)
    # The names of the headers on the answer that were set here, not by the application.
    names: set[str] = field(default_factory=set)


def checked_of(connection: HTTPConnection) -> Checked:
    """What has been decided about this request so far."""
    checked: Checked = connection.scope.setdefault(_CHECKED, Checked())
    return checked


async def check(
    parts: Mapping[Part, int], limiter: ChecksAsync, connection: HTTPConnection, response: Response, checked: Checked
) -> None:
    """One call to the limiter for all parts, whose results go to `checked` and to the headers of the answer.

    Each part comes with its number on the route, which tells the keys of those apart that are numbered.

    Raises:
        HTTPException: a limit said no, or the limiter failed and a part says "deny".
        WebSocketException: the same, of a websocket whose server cannot answer it otherwise.
        FlintError: the limiter failed and a part says "raise".
    """
    keys, items = await _asked(parts, connection)
    try:
        answer = await limiter.acheck_all(items)
    except InvalidCost as error:
        refusal = _troubles.too_dear(OWNER, error)
        headers = _limits_told(parts)
        _carry(headers, connection)
        raise _exception(refusal.with_headers(headers), connection) from error
    except FlintError as error:
        strictest = min((part.on_error for part in parts), key=ON_ERROR.index)
        failed = _troubles.judge(OWNER, error, strictest)
        if failed is not None:
            raise _exception(failed, connection) from error
        checked.results.update(dict.fromkeys(parts))
        return
    results = {result.key: result for result in answer.results}
    checked.results.update({part: results[key] for part, key in zip(parts, keys, strict=True)})
    headers = _headers(checked.results)
    _carry(headers, connection)
    if not answer.allowed:
        denied = DENIED.with_headers([retry_after(answer.retry_after_ns), *headers])
        raise _exception(denied, connection)
    _tell(headers, response, checked.names)


async def _asked(parts: Mapping[Part, int], connection: HTTPConnection) -> tuple[list[str], list[Mapping[str, Any]]]:
    """The key of each part, and the items to check: parts with one key and limit are one item with the sum of costs."""
    keys: list[str] = []
    costs: dict[str, int] = {}
    limits: dict[str, Limit | None] = {}
    for part, number in parts.items():
        key, cost = await part.rule.ask(connection)
        if part.numbered and number > 1:
            # In front, where nothing comes from the client.
            key = f"#{number} {key}"
        limit = part.rule.limit or limits.get(key)
        if limits.get(key) not in (None, limit):
            raise InvalidArgument(
                f"two {OWNER}s of one route have the key {key!r} and different limits; give them different keys, or "
                f"join their rates in one, as in {OWNER}('10/minute; 1000/day')"
            )
        keys.append(key)
        costs[key] = costs.get(key, 0) + cost
        limits[key] = limit
    return keys, [{"key": key, "cost": cost, "limit": limits[key]} for key, cost in costs.items()]


def _headers(results: Mapping[Part, CheckResult | None]) -> list[Header]:
    """Each family of headers tells of the parts that ask for it."""

    def of(family: Family) -> list[Header]:
        told = {
            id(result): result
            for part, result in results.items()
            if result is not None and part.family in ("both", family)
        }
        return rate_headers(list(told.values()), family)

    return [*of("x"), *of("ietf")]


def _limits_told(parts: Iterable[Part]) -> list[Header]:
    """The same, of limits that were not asked."""

    def of(family: Family) -> list[Header]:
        limits = [part.rule.limit for part in parts if part.family in ("both", family)]
        return limit_headers([limit for limit in limits if limit is not None], family)

    return [*of("x"), *of("ietf")]


def _carry(headers: Iterable[Header], connection: HTTPConnection) -> None:
    """Leave the headers where a middleware finds them for an answer of the application's own."""
    carried = connection.scope.get(CARRIED)
    if carried is not None:
        carried[:] = headers


def _tell(headers: Iterable[Header], response: Response, names: set[str]) -> None:
    """Put the headers on the answer that FastAPI makes."""
    for name, value in ((name.decode(), value.decode()) for name, value in headers):
        if name in names or name not in response.headers:
            names.add(name)
            response.headers[name] = value


def _exception(refusal: Refusal, connection: HTTPConnection) -> HTTPException | WebSocketException:
    if connection.scope["type"] == "http" or can_answer_websocket(connection.scope):
        headers = {name.decode(): value.decode() for name, value in refusal.headers}
        return HTTPException(refusal.status, refusal.detail, headers)
    return WebSocketException(refusal.websocket_code, refusal.detail)
