"""What is none of the middleware's business goes through it as it is."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.python.contract.asgi_support import Wrapped, acall, call, http_scope

import flint
from flint._web.asgi import CARRIED, Message, Receive, Scope, Send
from flint.asgi import RateLimitMiddleware


def test_the_lifespan_is_untouched(limiter: flint.Limiter) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    inner = Wrapped(app)
    limited = RateLimitMiddleware(inner, limiter, key="all", rate="1/hour")
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    for _ in range(2):
        sent = call(limited, scope, [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]
    assert inner.scopes[0] is scope
    assert scope == {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    assert limiter.status("all") is None


def test_a_scope_of_another_kind_is_untouched(limiter: flint.Limiter) -> None:
    inner = Wrapped(_silent)
    call(RateLimitMiddleware(inner, limiter, key="all", rate="1/hour"), {"type": "webtransport"})
    assert inner.scopes == [{"type": "webtransport"}]


async def _silent(scope: Scope, receive: Receive, send: Send) -> None: ...


def test_a_stream_is_passed_on_piece_by_piece(limiter: flint.Limiter) -> None:
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (piece := await pieces.get()) is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    limited = RateLimitMiddleware(app, limiter, key="all", rate="5/hour")

    async def main() -> None:
        sent: asyncio.Queue[Message] = asyncio.Queue()
        serving = asyncio.ensure_future(limited(http_scope(), _nothing, sent.put))
        assert (await sent.get())["type"] == "http.response.start"
        for piece in (b"one", b"two"):
            # The application waits for the next one; what it sent so far has to be here.
            await pieces.put(piece)
            message = await sent.get()
            assert message == {"type": "http.response.body", "body": piece, "more_body": True}
        assert not serving.done()
        await pieces.put(None)
        assert await sent.get() == {"type": "http.response.body"}
        await serving

    asyncio.run(main())


async def _nothing() -> Message:
    raise AssertionError("it is not called")


def test_only_the_first_message_of_an_answer_changes(limiter: flint.Limiter) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.response.early_hint", "links": []},
        {"type": "http.response.start", "status": 200, "headers": [], "trailers": True},
        {"type": "http.response.pathsend", "path": "/file"},
        {"type": "http.response.body", "body": b"x", "more_body": False},
        {"type": "http.response.trailers", "headers": [(b"a", b"b")]},
        {"type": "http.response.debug", "info": {}},
    ]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    sent = call(RateLimitMiddleware(app, limiter, key="all", rate="5/hour", headers="x"), http_scope())
    assert [message is passed for message, passed in zip(messages, sent, strict=True)] == [
        number != 1 for number in range(6)
    ]
    assert (sent[1]["status"], sent[1]["trailers"], len(sent[1]["headers"])) == (200, True, 3)


def test_the_request_s_body_is_the_application_s(limiter: flint.Limiter) -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.extend([await receive(), await receive()])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    parts: list[Message] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b"},
    ]
    call(RateLimitMiddleware(app, limiter, key="all", rate="5/hour"), http_scope(method="POST"), parts)
    assert received == parts


def test_the_scope_is_the_application_s(limiter: flint.Limiter) -> None:
    inner = Wrapped(_silent)
    scope = http_scope()
    call(RateLimitMiddleware(inner, limiter, key="all", rate="5/hour"), scope)
    assert inner.scopes[0] is scope
    assert scope == {**http_scope(), CARRIED: []}


def test_what_the_application_raises_goes_through(limiter: flint.Limiter) -> None:
    class Mistake(Exception):
        pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Mistake

    limited = RateLimitMiddleware(app, limiter, key="all", rate="5/hour", on_error="allow")

    async def main() -> None:
        for _ in range(2):
            try:
                await acall(limited, http_scope())
            except Mistake:
                continue
            raise AssertionError("it was swallowed")

    asyncio.run(main())


def test_a_request_that_is_cancelled_leaves_the_limiter_as_it_is(limiter: flint.Limiter) -> None:
    started = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await asyncio.Event().wait()

    limited = RateLimitMiddleware(app, limiter, key="all", rate="2/hour")

    async def main() -> None:
        serving = asyncio.ensure_future(acall(limited, http_scope()))
        await started.wait()
        serving.cancel()
        await asyncio.wait([serving])
        assert serving.cancelled()
        assert (await limiter.acheck("all")).remaining == 0

    asyncio.run(main())
