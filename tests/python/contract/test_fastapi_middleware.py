"""FlintRateLimitMiddleware: the arguments take a Request, and the limiter may be the application's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request, WebSocket
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from tests.python.contract.asgi_support import (
    Failing,
    aget,
    call,
    get,
    hello,
    parsed,
    rate_headers_of,
    statuses,
    totals,
    websocket_scope,
)

import flint
from flint.fastapi import FlintRateLimitMiddleware
from flint.keys import client_ip


def application(**arguments: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(FlintRateLimitMiddleware, **arguments)

    @app.get("/")
    async def index() -> dict[str, str]:
        return {"hello": "world"}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter(["one", "two"]))

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/gone")
    async def gone() -> None:
        raise HTTPException(410, "gone")

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    return app


def test_a_fixed_key(limiter: flint.Limiter) -> None:
    app = application(limiter=limiter, key="all", rate=2, per="1m")
    assert statuses(app, "/", "/stream", "/") == [200, 200, 429]
    answer = get(app)
    assert answer.json() == {"detail": "rate limit exceeded"}
    assert answer.headers["retry-after"] == "30"
    assert parsed(answer, "ratelimit-policy") == [("default", {"q": 2, "w": 60})]


def test_functions_take_a_request(limiter: flint.Limiter) -> None:
    seen: list[object] = []

    def key(request: Request) -> str:
        seen.append(request)
        assert request.client is not None
        return f"{request.client.host} {request.headers.get('x-user')} {request.url.path}"

    async def cost(request: Request) -> int:
        seen.append(request)
        await asyncio.sleep(0)
        return int(request.query_params.get("cost", "1"))

    def exempt(request: Request) -> bool:
        seen.append(request)
        return request.method == "OPTIONS"

    app = application(limiter=limiter, key_func=key, cost=cost, exempt=exempt, rate="5/hour")
    assert get(app, "/", params={"cost": "4"}, headers={"x-user": "ann"}).status_code == 200
    assert get(app, "/", params={"cost": "4"}, headers={"x-user": "ann"}).status_code == 429
    assert get(app, "/", method="OPTIONS").status_code == 405
    assert totals(limiter) == {"192.0.2.7 ann /": (4, 4)}
    assert {type(each) for each in seen} == {Request}


def test_the_request_s_state_and_application_are_there(limiter: flint.Limiter) -> None:
    app = application(limiter=limiter, key_func=lambda request: request.app.title, rate="5/hour")
    app.title = "mine"
    get(app)
    assert totals(limiter) == {"mine": (1, 0)}


def test_the_body_is_the_endpoint_s(limiter: flint.Limiter) -> None:
    async def key(request: Request) -> str:
        return (await request.body()).decode()

    app = application(limiter=limiter, key="all", rate="5/hour")
    assert get(app, "/echo", "POST", content=b"12345").json() == 5
    with pytest.raises(RuntimeError, match=r"[Rr]eceive"):
        get(application(limiter=limiter, key_func=key, rate="5/hour"), "/echo", "POST", content=b"12345")


def test_a_websocket_is_a_connection(limiter: flint.Limiter) -> None:
    seen: list[object] = []

    def key(request: Request) -> str:
        seen.append(request)
        return str(request.headers.get("x-user"))

    app = application(limiter=limiter, key_func=key, rate="1/hour")
    scope = websocket_scope("/ws", headers=[(b"x-user", b"ann")])
    sent = call(app, scope, [{"type": "websocket.connect"}])
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert "headers" not in sent[0] or sent[0]["headers"] == []
    (closed,) = call(app, websocket_scope("/ws", headers=[(b"x-user", b"ann")]), [{"type": "websocket.connect"}])
    assert closed == {"type": "websocket.close", "code": 1008, "reason": "rate limit exceeded"}
    assert {type(each) for each in seen} == {HTTPConnection}
    assert totals(limiter) == {"ann": (1, 1)}


def test_every_answer_tells_the_state(limiter: flint.Limiter) -> None:
    app = application(limiter=limiter, key="all", rate="10/hour")
    for path, status in (("/", 200), ("/stream", 200), ("/gone", 410), ("/nowhere", 404), ("/docs", 200)):
        answer = get(app, path)
        assert answer.status_code == status
        assert len(rate_headers_of(answer)) == 5
        assert "retry-after" not in answer.headers


def test_the_endpoint_s_own_header_stays_alone(limiter: flint.Limiter) -> None:
    app = application(limiter=limiter, key="all", rate="10/hour")

    @app.get("/own")
    async def own() -> PlainTextResponse:
        return PlainTextResponse("", headers={"X-RateLimit-Remaining": "mine"})

    assert rate_headers_of(get(app, "/own"))["x-ratelimit-remaining"] == "mine"


def test_paths_are_exempt(limiter: flint.Limiter) -> None:
    app = application(limiter=limiter, key="all", rate="1/hour", exempt_paths={"/gone", "/docs", "/openapi.json"})
    assert statuses(app, "/docs", "/gone", "/openapi.json", "/docs") == [200, 410, 200, 200]
    assert statuses(app, "/", "/") == [200, 429]
    assert rate_headers_of(get(app, "/docs")) == {}


def test_the_application_s_limiter_is_looked_up_at_each_request(limiter: flint.Limiter) -> None:
    app = application(key="all", rate="1/hour")
    with pytest.raises(flint.InvalidArgument, match=r"give it limiter=\.\.\., or set app\.state\.limiter"):
        get(app)
    app.state.limiter = limiter
    assert statuses(app, "/", "/") == [200, 429]


def test_another_library_s_limiter_is_none(limiter: flint.Limiter) -> None:
    app = application(key="all", rate="1/hour")
    app.state.limiter = object()
    with pytest.raises(flint.InvalidArgument, match=r"to a flint\.Limiter"):
        get(app)
    app = application(limiter=limiter, key="all", rate="1/hour")
    app.state.limiter = object()
    assert get(app).status_code == 200


@pytest.mark.parametrize("wrong", ["limiter", object(), 7])
def test_what_is_no_limiter_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^FlintRateLimitMiddleware: limiter is a flint\.Limiter, not"):
        FlintRateLimitMiddleware(hello, wrong, key="k")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, flint.InvalidArgument, "^FlintRateLimitMiddleware takes either key="),
        ({"key": "k", "key_func": client_ip()}, flint.InvalidArgument, "both are set"),
        ({"key_func": "k"}, flint.InvalidArgument, "'k'"),
        ({"key": "k", "cost": "1"}, flint.InvalidCost, "cost"),
        ({"key": "k", "cost": 0}, flint.InvalidCost, "cost"),
        ({"key": "k", "exempt": 7}, flint.InvalidArgument, "exempt"),
        ({"key": "k", "methods": "GET"}, flint.InvalidArgument, "methods"),
        ({"key": "k", "headers": "all"}, flint.InvalidArgument, "headers"),
        ({"key": "k", "on_error": "ignore"}, flint.InvalidArgument, "on_error"),
        ({"key": "k", "rate": "5/fortnight"}, flint.InvalidLimit, "fortnight"),
    ],
)
def test_an_argument_that_is_not_accepted(
    limiter: flint.Limiter, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    app = application(limiter=limiter, **arguments)
    for _ in range(2):
        # FastAPI makes the middleware when the first request comes.
        with pytest.raises(error, match=text):
            get(app)


@pytest.mark.parametrize("on_error", ["raise", "allow", "deny"])
def test_a_limiter_that_cannot_decide(on_error: Any) -> None:
    app = application(limiter=Failing(flint.StorageError("full")), key="all", on_error=on_error)
    if on_error == "raise":
        with pytest.raises(flint.StorageError):
            get(app)
    else:
        answer = get(app)
        assert answer.status_code == {"allow": 200, "deny": 503}[on_error]
        assert answer.json() == {"allow": {"hello": "world"}, "deny": {"detail": "rate limiter unavailable"}}[on_error]
        assert rate_headers_of(answer) == {}


def test_starlette_without_fastapi_s_application(limiter: flint.Limiter) -> None:
    async def index(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/", index)])
    app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key_func=client_ip(), rate="1/hour")
    assert statuses(app, "/", "/") == [200, 429]


def test_around_any_application(limiter: flint.Limiter) -> None:
    app = FlintRateLimitMiddleware(hello, limiter, key_func=lambda request: request.url.path, rate="1/hour")
    assert statuses(app, "/a", "/a", "/b") == [200, 429, 200]
    with pytest.raises(flint.InvalidArgument, match="finds no limiter"):
        get(FlintRateLimitMiddleware(hello, key="k", rate="1/hour"))


def test_many_at_once_get_what_there_is(limiter: flint.Limiter) -> None:
    app = application(limiter=limiter, key="all", rate="20/hour")

    async def main() -> list[int]:
        return [answer.status_code for answer in await asyncio.gather(*(aget(app) for _ in range(50)))]

    assert sorted(asyncio.run(main())) == [200] * 20 + [429] * 30
