"""RateLimit: a limit of one route, as a dependency."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from tests.python.contract.asgi_support import (
    CLIENT,
    Counting,
    call,
    get,
    parsed,
    rate_headers_of,
    statuses,
    totals,
    websocket_scope,
)

import flint
from flint.fastapi import FlintRateLimitMiddleware, RateLimit, RateLimitHeaders, per_route
from flint.testing import ManualClock

HOST = CLIENT[0]
CONNECT = [{"type": "websocket.connect"}]


def application(limiter: Any, *limits: RateLimit) -> FastAPI:
    """An application whose one route has these limits."""
    app = FastAPI()
    app.state.limiter = limiter

    @app.get("/", dependencies=[Depends(limit) for limit in limits])
    async def index() -> dict[str, str]:
        return {"hello": "world"}

    return app


def test_a_limit_of_one_route(limiter: flint.Limiter, clock: ManualClock) -> None:
    app = application(limiter, RateLimit("2/minute", key="index"))

    @app.get("/other")
    async def other() -> None: ...

    assert statuses(app, "/", "/", "/") == [200, 200, 429]
    assert statuses(app, "/other", "/nowhere") == [200, 404]
    assert totals(limiter) == {"index": (2, 1)}
    answer = get(app)
    assert answer.json() == {"detail": "rate limit exceeded"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get_list("retry-after") == ["30"]
    clock.advance(30)
    assert get(app).status_code == 200


def test_it_answers_as_the_middleware_does(limiter: flint.Limiter) -> None:
    """Byte for byte, allowed and denied."""
    dependency = application(limiter, RateLimit("1/minute", key="a"))
    middleware = application(limiter)
    middleware.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key="b", rate="1/minute")
    for status in (200, 429):
        one, other = get(dependency), get(middleware)
        assert one.status_code == other.status_code == status
        assert one.content == other.content
        assert sorted(one.headers.multi_items()) == sorted(other.headers.multi_items())


def test_as_a_parameter_it_gives_the_result(limiter: flint.Limiter) -> None:
    app = FastAPI()
    app.state.limiter = limiter

    @app.get("/{item}")
    def index(
        item: str, limit: Annotated[flint.CheckResult, Depends(RateLimit("5/hour", key="all"))]
    ) -> dict[str, Any]:
        return {"item": item, "key": limit.key, "remaining": limit.remaining}

    assert get(app, "/a").json() == {"item": "a", "key": "all", "remaining": 4}
    assert rate_headers_of(get(app, "/b"))["x-ratelimit-remaining"] == "3"
    assert get(app, "/openapi.json").json()["paths"]["/{item}"]["get"]["parameters"] == [
        {"name": "item", "in": "path", "required": True, "schema": {"type": "string", "title": "Item"}}
    ]


def test_by_default_each_client_has_its_own_on_each_route(limiter: flint.Limiter) -> None:
    limit = RateLimit("1/hour")
    app = FastAPI()
    app.state.limiter = limiter

    @app.get("/items/{item}", dependencies=[Depends(limit)])
    @app.post("/items/{item}", dependencies=[Depends(limit)])
    async def item(item: str) -> None: ...

    @app.api_route("/both", methods=["PUT", "DELETE"], dependencies=[Depends(limit)])
    async def both() -> None: ...

    assert statuses(app, "/items/1", "/items/2") == [200, 429]
    assert statuses(app, "/items/1", client=("192.0.2.8", 1)) == [200]
    assert statuses(app, "/items/1", "/items/1", method="POST") == [200, 429]
    assert [get(app, "/both", method).status_code for method in ("PUT", "DELETE")] == [200, 429]
    assert totals(limiter) == {
        f"DELETE,PUT /both {HOST}": (1, 1),
        f"GET /items/{{item}} {HOST}": (1, 1),
        "GET /items/{item} 192.0.2.8": (1, 0),
        f"POST /items/{{item}} {HOST}": (1, 1),
    }


def test_a_key_may_be_made_of_the_request(limiter: flint.Limiter) -> None:
    async def user(request: Request) -> str:
        return f"user:{request.headers['x-user']}"

    app = application(limiter, RateLimit("1/hour", key=user))
    for name in ("ann", "bob"):
        assert statuses(app, "/", "/", headers={"x-user": name}) == [200, 429]
    app = application(limiter, RateLimit("1/day", key=per_route(user)))
    assert statuses(app, "/", "/", headers={"x-user": "ann"}) == [200, 429]
    assert totals(limiter) == {"GET / user:ann": (1, 1), "user:ann": (1, 1), "user:bob": (1, 1)}


def test_a_cost_may_be_made_of_the_request(limiter: flint.Limiter) -> None:
    app = application(limiter, RateLimit("10/hour", key="all", cost=lambda request: int(request.headers["cost"])))
    assert get(app, headers={"cost": "7"}).status_code == 200
    assert get(app, headers={"cost": "4"}).status_code == 429
    assert get(app, headers={"cost": "3"}).status_code == 200
    assert totals(limiter) == {"all": (10, 4)}


def test_rate_arguments_are_those_of_a_limit(limiter: flint.Limiter) -> None:
    given: list[dict[str, Any]] = [
        {"rate": 5, "per": "1h"},
        {"rate": "5/hour burst 9"},
        {"rate": 5, "per": 60, "algorithm": "sliding_window_log"},
        {"rate": flint.Limit("5/hour", algorithm="fixed_window_counter")},
    ]
    for number, rates in enumerate(given):
        assert get(application(limiter, RateLimit(**rates, key=str(number)))).status_code == 200
        status = limiter.status(str(number))
        assert status is not None
        assert status.rates == flint.Limit(**rates).rates
    limiter.limit("before", "1/hour")
    assert statuses(application(limiter, RateLimit(key="before")), "/", "/") == [200, 429]


def test_a_websocket_is_refused_before_it_is_accepted(limiter: flint.Limiter) -> None:
    app = FastAPI()
    app.state.limiter = limiter

    @app.websocket("/ws", dependencies=[Depends(RateLimit("1/hour"))])
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    assert [message["type"] for message in call(app, websocket_scope("/ws"), CONNECT)] == [
        "websocket.accept",
        "websocket.close",
    ]
    (closed,) = call(app, websocket_scope("/ws"), CONNECT)
    assert closed == {"type": "websocket.close", "code": 1008, "reason": "rate limit exceeded"}
    start, body = call(app, websocket_scope("/ws", answers=True), CONNECT)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert dict(start["headers"])[b"retry-after"] == b"3600"
    assert body["body"] == b'{"detail":"rate limit exceeded"}'
    assert totals(limiter) == {f"WEBSOCKET /ws {HOST}": (1, 2)}


# Where the limiter comes from.


def test_the_limiter_is_the_argument_or_the_application_s_or_the_middleware_s(
    limiter: flint.Limiter, tmp_path: Any
) -> None:
    with flint.Limiter(tmp_path / "other", sync="batch") as other:
        app = application(other, RateLimit("1/hour", key="argument", limiter=limiter))
        assert get(app).status_code == 200
        app = application(limiter, RateLimit("1/hour", key="state"))
        app.add_middleware(FlintRateLimitMiddleware, limiter=other, key="middleware", rate="1/hour")
        assert get(app).status_code == 200
        assert totals(other) == {"middleware": (1, 0)}
    app = application(object(), RateLimit("1/hour", key="middleware"))
    app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key="its", rate="1/hour", exempt_paths={"/"})
    assert get(app).status_code == 200
    app = application(None, RateLimit("1/hour", key="headers"))
    app.add_middleware(RateLimitHeaders, limiter=limiter)
    assert get(app).status_code == 200
    assert totals(limiter) == dict.fromkeys(("argument", "headers", "middleware", "state"), (1, 0))


def test_without_a_limiter_the_error_names_both_ways() -> None:
    app = application(None, RateLimit("1/hour", key="k"))
    with pytest.raises(flint.InvalidArgument, match=r"RateLimit finds no limiter: .*limiter=.*app\.state\.limiter"):
        get(app)


def test_a_mounted_application_uses_the_limiter_around_it(limiter: flint.Limiter) -> None:
    inner = application(None, RateLimit("1/hour"))
    app = FastAPI()
    app.mount("/inner", inner)
    app.add_middleware(RateLimitHeaders, limiter=limiter)
    assert statuses(app, "/inner/", "/inner/") == [200, 429]
    assert totals(limiter) == {f"GET /inner/ {HOST}": (1, 1)}


# Headers.


def test_headers_are_on_what_fastapi_makes_and_with_a_middleware_on_everything(limiter: flint.Limiter) -> None:
    app = FastAPI()
    app.state.limiter = limiter
    limited = [Depends(RateLimit("99/hour", key="all"))]

    @app.get("/value", dependencies=limited)
    async def value() -> dict[str, int]:
        return {}

    @app.get("/response", dependencies=limited)
    async def response() -> PlainTextResponse:
        return PlainTextResponse("")

    @app.get("/stream", dependencies=limited)
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter(["a", "b"]))

    @app.get("/gone", dependencies=limited)
    async def gone() -> None:
        raise HTTPException(410)

    @app.get("/wrong", dependencies=limited)
    async def wrong(number: int) -> None: ...

    paths = ["/value", "/response", "/stream", "/gone", "/wrong"]
    assert [len(rate_headers_of(get(app, path))) for path in paths] == [5, 0, 0, 0, 0]
    app.middleware_stack = None
    app.add_middleware(RateLimitHeaders)
    left = 99 - len(paths)
    for path in paths:
        left -= 1
        found = rate_headers_of(get(app, path))
        assert len(found) == 5
        assert found["x-ratelimit-remaining"] == str(left)


def test_with_the_middleware_s_own_limit_the_route_s_is_reported(limiter: flint.Limiter) -> None:
    app = application(limiter, RateLimit("1/hour", key="route"))
    app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key="all", rate="9/hour")

    @app.get("/other")
    async def other() -> PlainTextResponse:
        return PlainTextResponse("")

    for status in (200, 429):
        answer = get(app)
        assert answer.status_code == status
        assert rate_headers_of(answer)["x-ratelimit-limit"] == "1"
        assert parsed(answer, "ratelimit-policy") == [("default", {"q": 1, "w": 3600})]
    assert rate_headers_of(get(app, "/other"))["x-ratelimit-limit"] == "9"


def test_what_the_endpoint_sets_stays_alone(limiter: flint.Limiter) -> None:
    app = FastAPI()
    app.state.limiter = limiter
    app.add_middleware(RateLimitHeaders)

    def earlier(response: Response) -> None:
        response.headers["X-RateLimit-Limit"] = "earlier"

    limits = [Depends(earlier), Depends(RateLimit("9/hour", key="all"))]

    @app.get("/", dependencies=limits)
    async def index(response: Response) -> None:
        response.headers["X-RateLimit-Remaining"] = "mine"

    found = rate_headers_of(get(app))
    assert (found["x-ratelimit-limit"], found["x-ratelimit-remaining"]) == ("earlier", "mine")
    assert len(found) == 5


@pytest.mark.parametrize(("headers", "count"), [("both", 5), ("x", 3), ("ietf", 2), ("none", 0)])
def test_headers_can_be_chosen(limiter: flint.Limiter, headers: Any, count: int) -> None:
    app = application(limiter, RateLimit("1/hour", key="all", headers=headers))
    for status in (200, 429):
        answer = get(app)
        assert answer.status_code == status
        assert len(rate_headers_of(answer)) == count
        assert ("retry-after" in answer.headers) == (status == 429)


def test_a_request_is_one_call(limiter: flint.Limiter) -> None:
    counting = Counting(limiter)
    router = APIRouter(dependencies=[Depends(RateLimit("9/hour", key="router"))])

    @router.get("/", dependencies=[Depends(RateLimit("9/hour", key="route"))])
    async def index(limit: Annotated[Any, Depends(RateLimit("9/hour", key="parameter"))]) -> None: ...

    app = FastAPI(dependencies=[Depends(RateLimit("9/hour", key="app"))])
    app.state.limiter = counting
    app.include_router(router)
    assert get(app).status_code == 200
    assert counting.calls == ["acheck_all"]
    assert totals(limiter) == dict.fromkeys(("app", "parameter", "route", "router"), (1, 0))
