"""Headers and refusals as ASGI messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from flint._web.headers import Header, with_added
from flint._web.refusal import Refusal

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# The place in a scope for headers that dependencies of a route add to its answer.
CARRIED = "flint.headers"
# The place in a scope for the number of middlewares with the key of its client that it has passed.
_LAYERS = "flint.layers"


def enter_layer(scope: Scope) -> str | None:
    """The name of a middleware among those that the connection passes whose key is its client; None for the first."""
    number: int = scope.get(_LAYERS, 0) + 1
    scope[_LAYERS] = number
    return None if number == 1 else f"#{number}"


def carrying(scope: Scope, send: Send, headers: list[Header]) -> Send:
    """A `send` that adds `headers` to the answer, after those that the application and the route's dependencies set."""
    if scope["type"] != "http":
        return send
    carried: list[Header] = scope.setdefault(CARRIED, [])

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [*carried, *headers]
            message = {**message, "headers": with_added(message.get("headers", ()), added)} if added else message
        await send(message)

    return send_with_headers


async def refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Answer an HTTP request; refuse a websocket that was not accepted yet, with an answer where the server can."""
    if scope["type"] == "http":
        prefix = "http.response"
    elif can_answer_websocket(scope):
        prefix = "websocket.http.response"
    else:
        await send({"type": "websocket.close", "code": refusal.websocket_code, "reason": refusal.detail})
        return
    body = refusal.body()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *refusal.headers]
    await send({"type": f"{prefix}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})


def can_answer_websocket(scope: Mapping[str, Any]) -> bool:
    """Whether the server can answer a websocket's handshake with a status and a body."""
    return "websocket.http.response" in (scope.get("extensions") or {})
