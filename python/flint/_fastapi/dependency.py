"""`RateLimit`: a limit of one route, as a dependency."""

# FastAPI reads the annotations of __call__ at run time. They must not be texts, so nothing comes from __future__ here.

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request, Response
from starlette.requests import HTTPConnection

from flint._fastapi.check import OWNER, Part, check, checked_of
from flint._fastapi.limiter import accepted, limiter_of
from flint._fastapi.route import calls_of, name_of
from flint._native import CheckResult
from flint._validate import one_of
from flint._web.headers import FAMILIES, Family
from flint._web.refusal import ON_ERROR, OnError
from flint._web.rule import resolved, rule
from flint.keys import client_ip

if TYPE_CHECKING:
    from flint._backend import ChecksAsync
    from flint._types import Period, RateLike

KeyFunction = Callable[[Request], str | Awaitable[str]]


class RateLimit:
    """A limit of a route, a router or an application: `dependencies=[Depends(RateLimit("10/minute"))]`.

    As a parameter, it is the CheckResult, or None where the limiter failed and `on_error` is "allow". A denied request
    gets the same answer as from flint.fastapi.FlintRateLimitMiddleware.

    All limits of a route, its routers and its application count together or not at all: the first that FastAPI calls
    checks all of them, in one call to the limiter. All keys are made then, from what the request contains at that time.
    Equal RateLimits count once. Of different ones with one key, those with equal limits (the same rates, in any order)
    take the sum of their costs, and each other limit counts for itself. The key that flint.keys.client_ip() returns
    gets "RateLimit " in front, so that a middleware with the same key function counts under another.

    Args:
        rate: the limit, as flint.Limit takes it; it travels with the call. Without it the limit is that of the first
            other RateLimit of the route with this key, or else the key's own, which has to be set before.
        per: the period of `rate`.
        key: a key, or a function (plain or async) of the Request, or of the WebSocket, that returns one. By default
            `per_route()`: each client has the limit to itself on each route; several such limits of one route have a
            key each.
        algorithm: the algorithm of `rate`.
        burst: the burst of `rate`.
        cost: tokens that a request takes, or a function of the Request (plain or async) that returns them.
        limiter: a flint.Limiter; by default `app.state.limiter`, or the one of a middleware of flint.fastapi.
        together: False checks this limit by itself, when FastAPI calls it: after the dependencies before it, which may
            have identified the client.
        headers: "both", "x", "ietf" or "none".
        on_error: "raise", "allow" or "deny", as in the middleware; of limits that count together the strictest holds,
            in the order raise, deny, allow.

    Raises:
        InvalidArgument: an argument that is not accepted.
        InvalidLimit: a rate that is not understood.
        InvalidKey: a key that is none.
        InvalidCost: a cost that is out of the limit's range.
    """

    def __init__(
        self,
        rate: "RateLike | None" = None,
        per: "Period | None" = None,
        *,
        key: str | KeyFunction | None = None,
        algorithm: str = "token_bucket",
        burst: int | None = None,
        cost: int | Callable[[Request], int | Awaitable[int]] = 1,
        limiter: "ChecksAsync | None" = None,
        together: bool = True,
        headers: Family = "both",
        on_error: OnError = "raise",
    ) -> None:
        key_func = per_route() if key is None else key
        self._part = Part(
            rule=rule(
                OWNER,
                key=key_func if isinstance(key_func, str) else None,
                key_func=None if isinstance(key_func, str) else key_func,
                rate=rate,
                per=per,
                algorithm=algorithm,
                burst=burst,
                cost=cost,
            ),
            limiter=accepted(OWNER, limiter),
            together=together,
            family=one_of(f"{OWNER}: headers", headers, FAMILIES),
            on_error=one_of(f"{OWNER}: on_error", on_error, ON_ERROR),
            numbered=isinstance(key_func, _PerRoute),
        )

    async def __call__(self, connection: HTTPConnection, response: Response) -> CheckResult | None:
        """The result of the check of this request."""
        checked = checked_of(connection)
        if self._part not in checked.results:
            limiter = limiter_of(OWNER, self._part.limiter, connection.scope)
            await check(self._companions(connection, limiter), limiter, connection, response, checked)
        return checked.results[self._part]

    # While dependencies are overridden, FastAPI reads annotations that are texts anew for each request: the RateLimit
    # in them is then another object.

    def __eq__(self, other: object) -> bool:
        """Whether it was made with the same arguments."""
        return isinstance(other, RateLimit) and self._part == other._part

    def __hash__(self) -> int:
        """Of the arguments."""
        return hash(self._part)

    def _companions(self, connection: HTTPConnection, limiter: "ChecksAsync") -> dict[Part, int]:
        """The limits that are checked in one call with this one, itself among them, in the order of the route.

        Each has its number among all numbered ones of the route, whether they are checked in this call or not.
        """
        shown = dict.fromkeys(call._part for call in calls_of(connection.scope) if isinstance(call, RateLimit))
        route = dict.fromkeys([*shown, self._part])
        numbers = {part: number for number, part in enumerate((each for each in route if each.numbered), start=1)}
        found = [self._part]
        # The tree of the route does not show what comes in place of an overridden dependency.
        if self._part.together and self._part in shown:
            found = [
                part for part in shown if part.together and limiter_of(OWNER, part.limiter, connection.scope) is limiter
            ]
        return {part: numbers.get(part, 1) for part in found}


@dataclass(frozen=True, slots=True)
class _PerRoute:
    key_func: KeyFunction

    async def __call__(self, connection: Request) -> str:
        key: object = await resolved(self.key_func, connection)
        if not isinstance(key, str):
            raise TypeError(f"per_route: the key function returned {key!r}; a key is a str, such as 'user:42'")
        return f"{name_of(connection.scope)} {key}"


def per_route(key_func: KeyFunction | None = None) -> KeyFunction:
    """A key function for RateLimit: the route ("GET /items/{id}") together with what `key_func` returns.

    Args:
        key_func: a function (plain or async) of the Request; by default flint.keys.client_ip(), which knows no proxies.
    """
    return _PerRoute(client_ip() if key_func is None else key_func)
