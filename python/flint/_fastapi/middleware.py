"""Middleware for FastAPI and Starlette, over flint.asgi."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar, cast, overload

from fastapi import Request
from starlette.requests import HTTPConnection

from flint._fastapi.limiter import LIMITER, accepted, limiter_of
from flint._web.asgi import ASGIApp, Receive, Scope, Send, carrying
from flint._web.client_address import ClientIp
from flint._web.headers import Family
from flint._web.refusal import OnError
from flint.asgi import RateLimitMiddleware

if TYPE_CHECKING:
    from flint._backend import ChecksAsync
    from flint._types import Period, RateLike

T = TypeVar("T")


class FlintRateLimitMiddleware(RateLimitMiddleware):
    """flint.asgi.RateLimitMiddleware for FastAPI and Starlette, with the same arguments.

    `key_func`, `cost` and `exempt` take the Request, without its body, which belongs to the application; a websocket is
    an HTTPConnection to them. Without a `limiter` it is `app.state.limiter`, looked up at each request, so that the
    application's lifespan can make it. The route's `RateLimit` dependencies find the limiter here, too.
    """

    def __init__(
        self,
        app: ASGIApp,
        limiter: ChecksAsync | None = None,
        *,
        key: str | None = None,
        key_func: Callable[[Request], str | Awaitable[str]] | None = None,
        rate: RateLike | None = None,
        per: Period | None = None,
        algorithm: str = "token_bucket",
        burst: int | None = None,
        cost: int | Callable[[Request], int | Awaitable[int]] = 1,
        exempt_paths: Iterable[str] = frozenset(),
        exempt: Callable[[Request], bool | Awaitable[bool]] | None = None,
        methods: Iterable[str] | None = None,
        headers: Family = "both",
        on_error: OnError = "raise",
    ) -> None:
        self._given = accepted(type(self).__name__, limiter)
        super().__init__(
            app,
            lambda scope: limiter_of(type(self).__name__, limiter, scope),
            key=key,
            key_func=_of_request(key_func),
            rate=rate,
            per=per,
            algorithm=algorithm,
            burst=burst,
            cost=cost if isinstance(cost, int) else _of_request(cost),
            exempt_paths=exempt_paths,
            exempt=_of_request(exempt),
            methods=methods,
            headers=headers,
            on_error=on_error,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        _leave(self._given, scope)
        await super().__call__(scope, receive, send)


class RateLimitHeaders:
    """Puts the headers of the route's RateLimit dependencies on every answer, and passes them their limiter.

    Without it, FastAPI leaves them out of a Response that the endpoint made itself, and of errors that it raised.
    FlintRateLimitMiddleware does the same for the requests that it sees.
    """

    def __init__(self, app: ASGIApp, limiter: ChecksAsync | None = None) -> None:
        self.app = app
        self._given = accepted(type(self).__name__, limiter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        _leave(self._given, scope)
        await self.app(scope, receive, carrying(scope, send, []))


def _leave(limiter: ChecksAsync | None, scope: Scope) -> None:
    """Leaves the limiter where the dependencies of the route find it."""
    if limiter is not None:
        scope[LIMITER] = limiter


@overload
def _of_request(function: Callable[[Request], T]) -> Callable[[Scope], T]: ...
@overload
def _of_request(function: Callable[[Request], T] | None) -> Callable[[Scope], T] | None: ...
def _of_request(function: Callable[[Request], T] | None) -> Callable[[Scope], T] | None:
    """The function of a scope that calls `function` with a Request."""
    if not callable(function):
        return function
    if isinstance(function, ClientIp):
        # It takes both.
        return cast("Callable[[Scope], T]", function)

    def of_scope(scope: Scope) -> T:
        # A websocket's handshake is no Request, but has everything of one that a handshake can have.
        kind = Request if scope["type"] == "http" else HTTPConnection
        return function(cast("Request", kind(scope)))

    return of_scope
