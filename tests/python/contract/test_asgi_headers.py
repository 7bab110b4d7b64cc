"""The headers on the middleware's and the application's answers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.python.contract.asgi_support import get, hello, parsed, rate_headers_of

import flint
from flint._web.asgi import Receive, Scope, Send
from flint.asgi import RateLimitMiddleware
from flint.testing import ManualClock


def test_every_answer_tells_the_state(limiter: flint.Limiter, clock: ManualClock) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate=100, per="1m", cost=50)
    clock.advance(ns=1)
    now_s = clock.now().timestamp()
    for status, left, reset_s in ((200, 50, 30), (200, 0, 60), (429, 0, 60)):
        answer = get(app)
        assert answer.status_code == status
        assert rate_headers_of(answer) == {
            "x-ratelimit-limit": "100",
            "x-ratelimit-remaining": str(left),
            "x-ratelimit-reset": str(math.ceil(now_s + reset_s)),
            "ratelimit-policy": '"default";q=100;w=60',
            "ratelimit": f'"default";r={left};t={reset_s}',
        }


def test_several_rates_are_items_of_their_own(limiter: flint.Limiter) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="2/500ms; 10/minute burst 20; 100/day")
    for left in (1, 0, 0):
        answer = get(app)
        assert parsed(answer, "ratelimit-policy") == [
            ("default", {"q": 2}),
            ("default-2", {"q": 10, "w": 60}),
            ("default-3", {"q": 100, "w": 86400}),
        ]
        names, states = zip(*parsed(answer, "ratelimit"), strict=True)
        assert names == ("default", "default-2", "default-3")
        assert states[0]["r"] == left
        assert states[1]["r"] == 18 + left
        assert states[2]["r"] == 98 + left
    assert answer.headers["x-ratelimit-limit"] == "2"


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window_log", "fixed_window_counter"])
def test_reset_is_when_the_full_limit_is_back(limiter: flint.Limiter, clock: ManualClock, algorithm: str) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate=2, per="1m", algorithm=algorithm)
    answer = get(app)
    ((_, state),) = parsed(answer, "ratelimit")
    assert int(answer.headers["x-ratelimit-reset"]) == math.ceil(clock.now().timestamp() + state["t"])
    clock.advance(state["t"])
    peeked = limiter.peek("all")
    assert peeked.reset_after_ns == 0 or peeked.remaining == 1


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ("x", ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]),
        ("ietf", ["ratelimit-policy", "ratelimit"]),
        ("none", []),
    ],
)
def test_headers_can_be_chosen(limiter: flint.Limiter, headers: Any, names: list[str]) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="1/hour", headers=headers)
    for status in (200, 429):
        answer = get(app)
        assert answer.status_code == status
        assert list(rate_headers_of(answer)) == names
        assert ("retry-after" in answer.headers) == (status == 429)


def test_the_application_s_own_headers_stay_alone(limiter: flint.Limiter) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"X-RateLimit-Limit", b"mine"), (b"ratelimit", b"mine"), (b"retry-after", b"mine")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    found = get(RateLimitMiddleware(app, limiter, key="all", rate="5/hour"))
    assert found.headers.get_list("retry-after") == ["mine"]
    headers = rate_headers_of(found)
    assert (headers["x-ratelimit-limit"], headers["ratelimit"]) == ("mine", "mine")
    assert (headers["x-ratelimit-remaining"], headers["ratelimit-policy"]) == ("4", '"default";q=5;w=3600')


def test_headers_that_an_application_uses_again_are_not_changed(limiter: flint.Limiter) -> None:
    headers = [(b"content-type", b"text/plain")]
    message = {"type": "http.response.start", "status": 200, "headers": headers}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)
        await send({"type": "http.response.body", "body": b""})

    limited = RateLimitMiddleware(app, limiter, key="all", rate="5/hour")
    assert [get(limited).headers["x-ratelimit-remaining"] for _ in range(3)] == ["4", "3", "2"]
    assert headers == [(b"content-type", b"text/plain")]
    assert message["headers"] is headers


def test_an_answer_without_headers_gets_them(limiter: flint.Limiter) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    assert rate_headers_of(get(RateLimitMiddleware(app, limiter, key="all", rate="5/hour")))


def test_errors_of_the_application_get_them_too(limiter: flint.Limiter) -> None:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware

    app = Starlette(middleware=[Middleware(RateLimitMiddleware, limiter, key="all", rate="5/hour")])
    answer = get(app)
    assert answer.status_code == 404
    assert len(rate_headers_of(answer)) == 5


def test_of_two_middlewares_the_inner_one_tells(limiter: flint.Limiter) -> None:
    inner = RateLimitMiddleware(hello, limiter, key="inner", rate="1/hour", headers="x")
    app = RateLimitMiddleware(inner, limiter, key="outer", rate="5/hour")
    for status in (200, 429):
        answer = get(app)
        assert answer.status_code == status
        found = rate_headers_of(answer)
        assert found["x-ratelimit-limit"] == "1"
        assert found["ratelimit-policy"] == '"default";q=5;w=3600'
