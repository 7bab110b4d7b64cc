"""Several RateLimits on a route, wherever they are named: they count together or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, WebSocket
from tests.python.contract.asgi_support import (
    CLIENT,
    Counting,
    call,
    get,
    http_scope,
    parsed,
    rate_headers_of,
    statuses,
    totals,
    websocket_scope,
)

import flint
from flint.fastapi import RateLimit
from flint.testing import ManualClock

HOST = CLIENT[0]


def depends(rate: str | None, key: Any = None, **arguments: Any) -> Any:
    return Depends(RateLimit(rate, key=key, **arguments))


def application(limiter: Any, **arguments: Any) -> FastAPI:
    app = FastAPI(**arguments)
    app.state.limiter = limiter
    return app


async def nothing() -> None: ...


def test_a_denied_route_takes_nothing_of_any_key(limiter: flint.Limiter, clock: ManualClock) -> None:
    app = application(limiter)
    limits = [depends("9/minute", "wide"), depends("2/minute", "narrow"), depends("8/minute", "middle")]
    app.get("/", dependencies=limits)(nothing)
    assert statuses(app, "/", "/", "/", "/") == [200, 200, 429, 429]
    assert totals(limiter) == {"middle": (2, 0), "narrow": (2, 2), "wide": (2, 0)}
    answer = get(app)
    assert answer.headers["retry-after"] == "30"
    assert rate_headers_of(answer)["x-ratelimit-limit"] == "2"
    clock.advance(30)
    assert get(app).status_code == 200


def test_every_rate_of_every_key_is_an_item(limiter: flint.Limiter) -> None:
    app = application(limiter)
    app.get("/", dependencies=[depends("9/minute; 100/day", "a"), depends("2/minute", "b")])(nothing)
    for left in (1, 0, 0):
        answer = get(app)
        assert parsed(answer, "ratelimit-policy") == [
            ("default", {"q": 9, "w": 60}),
            ("default-2", {"q": 100, "w": 86400}),
            ("default-3", {"q": 2, "w": 60}),
        ]
        items = parsed(answer, "ratelimit")
        assert [item for item, _ in items] == ["default", "default-2", "default-3"]
        assert [state["r"] for _, state in items] == [7 + left, 98 + left, left]
    assert answer.status_code == 429
    assert answer.headers["x-ratelimit-limit"] == "2"


def everywhere(limiter: Any, bottom: int) -> FastAPI:
    """Limits at every place that FastAPI knows; that of the endpoint's parameter has a rate of its own."""

    async def nested(limit: Annotated[Any, depends("9/hour", "nested")]) -> None: ...

    async def user(below: None = Depends(nested)) -> AsyncIterator[str]:
        yield "ann"

    app = application(limiter, dependencies=[depends("9/hour", "app")])
    outer = APIRouter(prefix="/outer", dependencies=[depends("9/hour", "outer")])
    inner = APIRouter(prefix="/inner", dependencies=[depends("9/hour", "inner")])
    last = depends(f"{bottom}/hour", "parameter")

    @inner.get("/{item}", dependencies=[depends("9/hour", "route")])
    async def endpoint(item: str, name: str = Depends(user), limit: Any = last) -> str:
        return name + item

    @inner.websocket("/ws", dependencies=[depends("9/hour", "route")])
    async def ws(websocket: WebSocket, name: str = Depends(user), limit: Any = last) -> None:
        await websocket.accept()
        await websocket.close()

    outer.include_router(inner, dependencies=[depends("9/hour", "include inner")])
    app.include_router(outer, prefix="/v1", dependencies=[depends("9/hour", "include outer")])
    return app


PLACES = ["app", "include inner", "include outer", "inner", "nested", "outer", "parameter", "route"]


def test_limits_of_all_places_are_one_call(limiter: flint.Limiter) -> None:
    counting = Counting(limiter)
    app = everywhere(counting, bottom=1)
    answer = get(app, "/v1/outer/inner/7")
    assert (answer.status_code, answer.json()) == (200, "ann7")
    assert counting.calls == ["acheck_all"]
    assert totals(limiter) == dict.fromkeys(PLACES, (1, 0))
    assert len(parsed(answer, "ratelimit")) == len(PLACES)
    # The one that denies is the last that FastAPI calls.
    assert get(app, "/v1/outer/inner/8").status_code == 429
    assert counting.calls == ["acheck_all"] * 2
    assert totals(limiter) == {**dict.fromkeys(PLACES, (1, 0)), "parameter": (1, 1)}


def test_and_so_they_are_for_a_websocket(limiter: flint.Limiter) -> None:
    counting = Counting(limiter)
    app = everywhere(counting, bottom=1)
    accepted, _ = call(app, websocket_scope("/v1/outer/inner/ws"), [{"type": "websocket.connect"}])
    assert accepted["type"] == "websocket.accept"
    assert totals(limiter) == dict.fromkeys(PLACES, (1, 0))
    (closed,) = call(app, websocket_scope("/v1/outer/inner/ws"), [{"type": "websocket.connect"}])
    assert closed["code"] == 1008
    assert counting.calls == ["acheck_all"] * 2
    assert totals(limiter) == {**dict.fromkeys(PLACES, (1, 0)), "parameter": (1, 1)}


def test_a_router_included_twice_is_two_routes(limiter: flint.Limiter) -> None:
    app = application(limiter)
    router = APIRouter(prefix="/items")
    router.get("/{item}", dependencies=[depends("1/hour")])(nothing)
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2", dependencies=[depends("9/hour", "two")])
    assert statuses(app, "/v1/items/1", "/v1/items/2", "/v2/items/1", "/v2/items/2") == [200, 429, 200, 429]
    assert totals(limiter) == {
        f"GET /v1/items/{{item}} {HOST}": (1, 1),
        f"GET /v2/items/{{item}} {HOST}": (1, 1),
        "two": (1, 0),
    }


def test_a_mounted_application_has_routes_of_its_own(limiter: flint.Limiter) -> None:
    inner = application(limiter, dependencies=[depends("9/hour")])
    inner.get("/a", dependencies=[depends("1/hour", "route")])(nothing)
    app = application(limiter)
    router = APIRouter()
    router.mount("/below", inner)
    app.mount("/inner", inner)
    app.include_router(router, prefix="/v1")
    app.get("/a", dependencies=[depends("9/hour")])(nothing)
    assert statuses(app, "/inner/a", "/inner/a", "/a") == [200, 429, 200]
    assert totals(limiter) == {f"GET /inner/a {HOST}": (1, 0), "route": (1, 1), f"GET /a {HOST}": (1, 0)}
    limiter.reset("route")
    assert get(app, "/v1/below/a").status_code == 200
    assert totals(limiter)[f"GET /v1/below/a {HOST}"] == (1, 0)


def test_a_server_s_root_path_is_no_part_of_a_route(limiter: flint.Limiter) -> None:
    app = application(limiter)
    app.get("/a", dependencies=[depends("9/hour")])(nothing)
    start, _ = call(app, http_scope("/api/a", root_path="/api"))
    assert start["status"] == 200
    assert totals(limiter) == {f"GET /a {HOST}": (1, 0)}
