"""The middleware for any ASGI application: what is limited, by which key, at what cost, what denied requests get."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.python.contract.asgi_support import (
    CLIENT,
    Counting,
    Wrapped,
    aget,
    call,
    get,
    hello,
    http_scope,
    statuses,
    totals,
)

import flint
from flint._web.asgi import Scope
from flint.asgi import RateLimitMiddleware
from flint.keys import client_ip
from flint.testing import ManualClock


def test_one_key_for_all(limiter: flint.Limiter, clock: ManualClock) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate=2, per="1m")
    assert statuses(app, "/a", "/b", "/c") == [200, 200, 429]
    clock.advance(30)
    assert statuses(app, "/a", "/b") == [200, 429]
    assert totals(limiter) == {"all": (3, 2)}


def test_a_key_for_each_client(limiter: flint.Limiter) -> None:
    app = RateLimitMiddleware(hello, limiter, key_func=client_ip(), rate="1/minute")
    for host in ("192.0.2.1", "192.0.2.2"):
        assert statuses(app, "/", "/", client=(host, 1)) == [200, 429]
    assert totals(limiter) == {"192.0.2.1": (1, 1), "192.0.2.2": (1, 1)}


def test_a_key_whose_limit_was_set_before(limiter: flint.Limiter) -> None:
    limiter.limit("all", "1/minute")
    app = RateLimitMiddleware(hello, limiter, key="all")
    assert statuses(app, "/", "/") == [200, 429]


def test_a_denial_says_when_to_come_back(limiter: flint.Limiter, clock: ManualClock) -> None:
    inner = Wrapped()
    app = RateLimitMiddleware(inner, limiter, key="all", rate="2/minute")
    statuses(app, "/", "/")
    clock.advance(ms=500)
    answer = get(app)
    assert answer.status_code == 429
    assert answer.json() == {"detail": "rate limit exceeded"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers.get_list("retry-after") == ["30"]
    assert len(inner.scopes) == 2
    clock.advance(29)
    assert get(app).headers["retry-after"] == "1"
    clock.advance(ms=499)
    assert get(app).headers["retry-after"] == "1"
    clock.advance(ms=1)
    assert get(app).status_code == 200


def test_retry_after_is_at_least_a_second_and_on_no_other_answer(limiter: flint.Limiter, clock: ManualClock) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="1/250ms")
    assert "retry-after" not in get(app).headers
    assert get(app).headers["retry-after"] == "1"
    clock.advance(ms=250)
    assert "retry-after" not in get(app).headers


def test_rates_burst_and_algorithm_are_those_of_a_limit(limiter: flint.Limiter) -> None:
    given: list[dict[str, Any]] = [
        {"rate": 3, "per": "1h", "burst": 5},
        {"rate": "3/hour burst 5"},
        {"rate": flint.Limit(3, "1h", burst=5)},
        {"rate": 3, "per": "1h", "algorithm": "fixed_window_counter"},
        {"rate": ["3/hour", flint.Limit("5/day")]},
    ]
    for number, rates in enumerate(given):
        app = RateLimitMiddleware(hello, limiter, key=str(number), **rates)
        assert get(app).status_code == 200
        status = limiter.status(str(number))
        assert status is not None
        assert status.rates == flint.Limit(**rates).rates


def test_a_changed_rate_counts_by_itself(limiter: flint.Limiter) -> None:
    for rate, expected in (("1/hour", [200, 429]), ("3/hour", [200, 200, 200, 429]), ("1/hour", [429])):
        app = RateLimitMiddleware(hello, limiter, key="all", rate=rate)
        assert statuses(app, *["/"] * len(expected)) == expected


def test_key_and_cost_may_be_async(limiter: flint.Limiter) -> None:
    async def key(scope: Scope) -> str:
        await asyncio.sleep(0)
        return str(scope["path"])

    async def cost(scope: Scope) -> int:
        await asyncio.sleep(0)
        return len(scope["path"])

    app = RateLimitMiddleware(hello, limiter, key_func=key, cost=cost, rate="10/hour")
    assert statuses(app, "/a", "/abc", "/abcdefgh", "/abcdefgh") == [200, 200, 200, 429]
    assert totals(limiter) == {"/a": (2, 0), "/abc": (4, 0), "/abcdefgh": (9, 9)}


def test_a_cost_for_all(limiter: flint.Limiter) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="10/hour", cost=4)
    assert statuses(app, "/", "/", "/") == [200, 200, 429]
    assert totals(limiter) == {"all": (8, 4)}


def test_what_is_exempt_is_not_limited(limiter: flint.Limiter) -> None:
    async def internal(scope: Scope) -> bool:
        return bool(scope["client"][0] == "10.0.0.1")

    for exempt in (internal, lambda scope: scope["client"][0] == "10.0.0.1"):
        app = RateLimitMiddleware(
            hello, limiter, key="all", rate="1/hour", exempt_paths={"/health", "/docs"}, exempt=exempt
        )
        limiter.limit("all", "1/hour", on_change="reset")
        assert statuses(app, "/health", "/docs", "/docs", "/health/", "/health") == [200, 200, 200, 200, 200]
        assert statuses(app, "/", "/health2", "/doc") == [429, 429, 429]
        assert get(app, client=("10.0.0.1", 1)).status_code == 200
        assert "x-ratelimit-limit" not in get(app, "/health").headers
        limiter.delete("all")


def test_an_exempt_path_is_found_below_the_root_path(limiter: flint.Limiter) -> None:
    inner = Wrapped()
    app = RateLimitMiddleware(inner, limiter, key="all", rate="1/hour", exempt_paths=["/health", "/v1/whole"])
    get(app)

    def served(path: str, root_path: str) -> bool:
        before = len(inner.scopes)
        call(app, http_scope(path, root_path=root_path))
        return len(inner.scopes) > before

    assert served("/health", "/api")
    assert served("/api/health", "/api")
    assert served("/api/health", "/api/")
    assert served("/v1/whole", "/v1")
    assert not served("/apihealth", "/api")
    assert not served("/api/health", "")
    assert not served("/other/health", "/api")


def test_only_some_methods_are_limited(limiter: flint.Limiter) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="1/hour", methods=["post", "PUT"])
    assert statuses(app, "/", "/", method="GET") == [200, 200]
    assert [get(app, method=method).status_code for method in ("POST", "PUT", "GET", "post")] == [200, 429, 200, 429]


@pytest.mark.parametrize(
    ("methods", "limited"),
    [
        ({"GET"}, {"GET", "HEAD"}),
        ({"get", "post"}, {"GET", "HEAD", "POST"}),
        ({"HEAD"}, {"HEAD"}),
        ({"POST"}, {"POST"}),
        (None, {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_head_is_limited_where_get_is(limiter: flint.Limiter, methods: set[str] | None, limited: set[str]) -> None:
    """Frameworks answer it with the handler of GET."""
    called: list[str] = []

    async def index(request: Request) -> PlainTextResponse:
        called.append(request.method)
        return PlainTextResponse("hello")

    routes = Starlette(routes=[Route("/", index, methods=["GET", "POST", "OPTIONS"])])
    app = RateLimitMiddleware(routes, limiter, key_func=lambda scope: scope["method"], rate="1/hour", methods=methods)
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert statuses(app, "/", "/", method=method) == [200, 429 if method in limited else 200]
    # The handler runs for HEAD, too.
    assert called.count("HEAD") == (1 if "HEAD" in limited else 2)


def test_layers_have_a_client_address_each(limiter: flint.Limiter) -> None:
    """Two middlewares with one key function and one limit do not count each other's requests."""
    inner = RateLimitMiddleware(hello, limiter, key_func=client_ip(), rate="2/hour", exempt_paths={"/free"})
    between = RateLimitMiddleware(inner, limiter, key="all", rate="9/hour")
    app = RateLimitMiddleware(between, limiter, key_func=client_ip(), rate="2/hour", methods={"GET"})
    assert statuses(app, "/", "/", "/") == [200, 200, 429]
    assert statuses(app, "/free", method="POST") == [200]
    # Not limited by the outer one, and still the second layer of its kind.
    assert statuses(app, "/", method="POST") == [429]
    # The outermost has the bare address.
    assert totals(limiter) == {CLIENT[0]: (2, 1), f"#2 {CLIENT[0]}": (2, 1), "all": (4, 0)}


def test_a_request_is_one_call(limiter: flint.Limiter) -> None:
    counting = Counting(limiter)
    app = RateLimitMiddleware(hello, counting, key_func=client_ip(), rate="1/hour", exempt_paths={"/health"})
    statuses(app, "/", "/", "/health")
    assert counting.calls == ["acheck", "acheck"]


def test_a_limiter_may_be_made_later(limiter: flint.Limiter) -> None:
    made: list[flint.Limiter] = []
    app = RateLimitMiddleware(hello, lambda scope: made[0], key="all", rate="1/hour")
    made.append(limiter)
    assert statuses(app, "/", "/") == [200, 429]


def test_many_at_once_get_what_there_is(limiter: flint.Limiter) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="20/hour")

    async def main() -> list[int]:
        return [answer.status_code for answer in await asyncio.gather(*(aget(app) for _ in range(50)))]

    assert sorted(asyncio.run(main())) == [200] * 20 + [429] * 30


def test_two_middlewares_ask_one_after_the_other(limiter: flint.Limiter) -> None:
    inner = RateLimitMiddleware(hello, limiter, key="inner", rate="1/hour")
    app = RateLimitMiddleware(inner, limiter, key="outer", rate="5/hour")
    assert statuses(app, "/", "/") == [200, 429]
    assert totals(limiter) == {"inner": (1, 1), "outer": (2, 0)}


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE"])
def test_every_method_is_limited_by_default(limiter: flint.Limiter, method: str) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="1/hour")
    assert statuses(app, "/", "/", method=method) == [200, 429]
