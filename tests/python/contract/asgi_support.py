"""ASGI applications for the tests of this folder, and clients that call them in process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import http_sf
import httpx

import flint
from flint._web.asgi import ASGIApp, Message, Receive, Scope, Send

CLIENT = ("192.0.2.7", 1234)
RATE_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy", "ratelimit")


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request and greets every websocket."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Wrapped:
    """An application that remembers what it was called with."""

    def __init__(self, app: ASGIApp = hello) -> None:
        self.app = app
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await self.app(scope, receive, send)


async def aget(app: ASGIApp, path: str = "/", method: str = "GET", **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=options.pop("client", CLIENT))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, **options)


def get(app: ASGIApp, path: str = "/", method: str = "GET", **options: Any) -> httpx.Response:
    """One request in an event loop of its own. What the application raises is raised here."""
    return asyncio.run(aget(app, path, method, **options))


def statuses(app: ASGIApp, *paths: str, **options: Any) -> list[int]:
    return [get(app, path, **options).status_code for path in paths]


async def acall(app: ASGIApp, scope: Scope, received: Sequence[Message] = ()) -> list[Message]:
    """Calls an application as a server does; returns all that it sent."""
    incoming = list(received)
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def call(app: ASGIApp, scope: Scope, received: Sequence[Message] = ()) -> list[Message]:
    return asyncio.run(acall(app, scope, received))


def websocket_scope(path: str = "/", *, answers: bool = False, **more: Any) -> Scope:
    """A websocket's scope; with `answers` the server can answer its handshake."""
    extensions: dict[str, Any] = {"websocket.http.response": {}} if answers else {}
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": CLIENT,
        "server": ("test", 80),
        "scheme": "ws",
        "subprotocols": [],
        "extensions": extensions,
        **more,
    }


def http_scope(path: str = "/", method: str = "GET", **more: Any) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": CLIENT,
        "server": ("test", 80),
        "scheme": "http",
        **more,
    }


def parsed(answer: httpx.Response, name: str) -> list[tuple[str, dict[str, int]]]:
    """A structured list as items with parameters."""
    (value,) = answer.headers.get_list(name)
    items: Any = http_sf.parse(value.encode(), tltype="list")
    return [(str(item), dict(parameters)) for item, parameters in items]


def rate_headers_of(answer: httpx.Response) -> dict[str, str]:
    """The rate limit headers of an answer, each of which is there at most once."""
    found = {name: answer.headers.get_list(name) for name in RATE_HEADERS}
    assert all(len(values) <= 1 for values in found.values()), found
    return {name: values[0] for name, values in found.items() if values}


def totals(limiter: flint.Limiter) -> dict[str, tuple[int, int]]:
    """Cost allowed and denied, by key."""
    return {status.key: (status.total_allowed_cost, status.total_denied_cost) for status in limiter.list()}


class Failing:
    """A limiter that cannot decide."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    async def acheck(self, key: str, cost: int = 1, *, limit: str | flint.Limit | None = None) -> flint.CheckResult:
        self.calls += 1
        raise self.error

    async def acheck_all(self, items: object) -> flint.MultiCheckResult:
        self.calls += 1
        raise self.error


class Counting:
    """Passes calls on to a limiter and counts them."""

    def __init__(self, limiter: flint.Limiter) -> None:
        self.limiter = limiter
        self.calls: list[str] = []

    async def acheck(self, key: str, cost: int = 1, *, limit: str | flint.Limit | None = None) -> flint.CheckResult:
        self.calls.append("acheck")
        return await self.limiter.acheck(key, cost, limit=limit)

    async def acheck_all(self, items: Any) -> flint.MultiCheckResult:
        self.calls.append("acheck_all")
        return await self.limiter.acheck_all(items)
