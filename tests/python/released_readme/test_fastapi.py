"""The FastAPI snippets of release 0.2.1's README, unchanged, and what it says about them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import flint
from flint.fastapi import FlintRateLimitMiddleware

Snippet = Callable[..., dict[str, Any]]


def get(app: FastAPI, path: str = "/", client: str = "192.0.2.7") -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, client=(client, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.get(path)

    return asyncio.run(main())


def with_routes(app: FastAPI) -> FastAPI:
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    for path in ("/", "/health"):
        app.get(path)(hello)
    return app


def allowed(limiter: flint.Limiter, key: str) -> int:
    status = limiter.status(key)
    return 0 if status is None else status.total_allowed


def denied(app: FastAPI, limiter: flint.Limiter, key: str) -> httpx.Response:
    """The answer to a client that has used its limit up; a token comes back after 600 ms, so it may take some tries."""
    for _ in range(100):
        while limiter.allow(key):
            pass
        answer = get(app)
        if answer.status_code != 200:
            return answer
    raise AssertionError("nothing is ever denied")


def test_static_route_limit(snippet: Snippet) -> None:
    names = snippet("fastapi_static")
    app, limiter = with_routes(names["app"]), names["limiter"]
    assert get(app).json() == {"hello": "world"}
    assert get(app, client="192.0.2.8").status_code == 200
    assert allowed(limiter, "route:/api") == 2
    assert denied(app, limiter, "route:/api").status_code == 429


def test_counters_survive_restarts(snippet: Snippet) -> None:
    for run in (1, 2, 3):
        names = snippet("fastapi_static")
        assert get(with_routes(names["app"])).status_code == 200
        assert allowed(names["limiter"], "route:/api") == run
        names["limiter"].close()


def test_dynamic_limit_of_each_client_without_configuration(snippet: Snippet, limiter: flint.Limiter) -> None:
    app = with_routes(FastAPI())
    snippet("fastapi_dynamic", app=app, limiter=limiter, FlintRateLimitMiddleware=FlintRateLimitMiddleware)
    assert limiter.list() == []
    for client in ("192.0.2.7", "192.0.2.8"):
        assert get(app, client=client).status_code == 200
    assert [status.key for status in limiter.list()] == ["ip:192.0.2.7", "ip:192.0.2.8"]
    status = limiter.status("ip:192.0.2.7")
    assert status is not None
    assert (status.rate, status.per_millis) == (100, 60_000)
    for path in ("/health", "/docs", "/openapi.json"):
        assert get(app, path).status_code == 200
    assert allowed(limiter, "ip:192.0.2.7") == 1
    assert denied(app, limiter, "ip:192.0.2.7").status_code == 429
    assert get(app, client="192.0.2.8").status_code == 200
    assert get(app, "/health").status_code == 200


def test_both_middlewares_of_the_page_together(snippet: Snippet) -> None:
    names = snippet("fastapi_static")
    snippet("fastapi_dynamic", **{name: names[name] for name in ("app", "limiter", "FlintRateLimitMiddleware")})
    assert get(with_routes(names["app"])).status_code == 200
    assert allowed(names["limiter"], "ip:192.0.2.7") == allowed(names["limiter"], "route:/api") == 1


def test_what_blocked_requests_get(snippet: Snippet) -> None:
    names = snippet("fastapi_static")
    app = with_routes(names["app"])
    answer = denied(app, names["limiter"], "route:/api")
    assert answer.status_code == 429
    assert answer.json() == {"detail": "rate limit exceeded"}
    assert answer.headers["X-RateLimit-Limit"] == "100"
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert int(answer.headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("cost", [3, lambda request: 3])
def test_weighted_cost(limiter: flint.Limiter, cost: Any) -> None:
    app = with_routes(FastAPI())
    app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key="all", rate=100, per="10d", cost=cost)
    assert get(app).headers["X-RateLimit-Remaining"] == "97"
