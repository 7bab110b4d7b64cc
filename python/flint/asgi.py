"""Rate limits for any ASGI application.

app = flint.asgi.RateLimitMiddleware(app, limiter, key_func=flint.keys.client_ip(), rate="100/minute")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from flint._errors import FlintError, InvalidArgument
from flint._validate import one_of
from flint._web.asgi import ASGIApp, Receive, Scope, Send, carrying, enter_layer, refuse
from flint._web.decision import Decider, Decision
from flint._web.headers import FAMILIES, Family
from flint._web.limiter import is_limiter
from flint._web.refusal import ON_ERROR, OnError
from flint._web.rule import method_names, path_names, resolved, rule

if TYPE_CHECKING:
    from flint._backend import ChecksAsync
    from flint._types import Period, RateLike

__all__ = ["RateLimitMiddleware"]


class RateLimitMiddleware:
    """Checks each HTTP request and websocket once, before the application sees it.

    A request that is denied is answered with status 429, a Retry-After of whole seconds and the body
    `{"detail": "rate limit exceeded"}`; a websocket is refused before it is accepted. All answers to HTTP requests
    carry the state of the limit in `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch seconds) and in the headers
    `RateLimit-Policy` and `RateLimit` of the IETF draft; a header that the application set itself stays alone.

    `key_func`, `cost` and `exempt` take the ASGI scope and may be async. What they raise goes through, and so does the
    TypeError or InvalidKey that a key which is none leads to. A cost that is out of the limit's range is denied without
    a Retry-After, because waiting would not help.

    Args:
        app: the application.
        limiter: a flint.Limiter, or anything with its `acheck` and `acheck_all`; or a function that returns one for
            a scope, where the limiter is made later, in the lifespan or after a fork.
        key: the key of all requests.
        key_func: returns the key of a request; in place of `key`.
        rate: the limit of each key, as flint.Limit takes it; it travels with the call. Without it, each key's limit has
            to be set before.
        per: the period of `rate`.
        algorithm: the algorithm of `rate`.
        burst: the burst of `rate`.
        cost: tokens that a request takes, or a function that returns them.
        exempt_paths: whole paths that are not limited, with or without the `root_path` that they are served below.
        exempt: a function that returns True for requests that are not limited.
        methods: the HTTP methods that are limited, all by default. HEAD goes with GET, and a websocket begins with a
            GET.
        headers: "both", "x", "ietf" or "none".
        on_error: what happens when the limiter cannot decide, because it was closed, forked, or its disk or server
            fails. "raise" lets the error through, "allow" the request, without headers; "deny" answers with status 503.

    Raises:
        InvalidArgument: an argument that is not accepted.
        InvalidLimit: a rate that is not understood.
        InvalidKey: a `key` that is none.
        InvalidCost: a `cost` that is out of the limit's range.
    """

    def __init__(
        self,
        app: ASGIApp,
        limiter: ChecksAsync | Callable[[Scope], ChecksAsync],
        *,
        key: str | None = None,
        key_func: Callable[[Scope], str | Awaitable[str]] | None = None,
        rate: RateLike | None = None,
        per: Period | None = None,
        algorithm: str = "token_bucket",
        burst: int | None = None,
        cost: int | Callable[[Scope], int | Awaitable[int]] = 1,
        exempt_paths: Iterable[str] = frozenset(),
        exempt: Callable[[Scope], bool | Awaitable[bool]] | None = None,
        methods: Iterable[str] | None = None,
        headers: Family = "both",
        on_error: OnError = "raise",
    ) -> None:
        owner = type(self).__name__
        self.app = app
        self._limiter_of = _function_of(owner, limiter)
        self._rule = rule(
            owner, key=key, key_func=key_func, rate=rate, per=per, algorithm=algorithm, burst=burst, cost=cost
        )
        self._exempt_paths = path_names(owner, exempt_paths)
        if exempt is not None and not callable(exempt):
            raise InvalidArgument(f"{owner}: exempt is a function, not {exempt!r}; for paths there is exempt_paths")
        self._exempt = exempt
        self._methods = method_names(owner, methods)
        family: Family = one_of(f"{owner}: headers", headers, FAMILIES)
        self._decider = Decider(self._rule, family, one_of(f"{owner}: on_error", on_error, ON_ERROR))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        layer = enter_layer(scope) if self._rule.is_of_client else None
        if await self._is_exempt(scope):
            await self.app(scope, receive, carrying(scope, send, []))
            return
        decision = await self._decide(scope, layer)
        if decision.refusal is not None:
            await refuse(scope, send, decision.refusal)
        else:
            await self.app(scope, receive, carrying(scope, send, decision.headers))

    async def _is_exempt(self, scope: Scope) -> bool:
        if self._methods is not None and scope.get("method", "GET") not in self._methods:
            return True
        if self._exempt_paths and not self._exempt_paths.isdisjoint({scope["path"], _path_of_route(scope)}):
            return True
        return self._exempt is not None and bool(await resolved(self._exempt, scope))

    async def _decide(self, scope: Scope, layer: str | None) -> Decision:
        limiter = self._limiter_of(scope)
        key, cost = await self._rule.key_and_cost(scope, layer)
        try:
            result = await limiter.acheck(key, cost, limit=self._rule.limit)
        except FlintError as error:
            return self._decider.of_error(error)
        return self._decider.of_result(result)


def _function_of(owner: str, limiter: ChecksAsync | Callable[[Scope], ChecksAsync]) -> Callable[[Scope], ChecksAsync]:
    if is_limiter(limiter):
        found = limiter
        return lambda _scope: found
    if not callable(limiter):
        raise TypeError(f"{owner}: limiter is a flint.Limiter, or a function that returns one, not {limiter!r}")
    return limiter


def _path_of_route(scope: Scope) -> str:
    """The path as the application's routes know it, without the prefix under which a server or mount serves it."""
    path: str = scope["path"]
    prefix = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
