"""Websockets: those that are allowed run untouched, those that are denied are refused before they are accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.python.contract.asgi_support import Failing, Wrapped, call, get, hello, totals, websocket_scope

import flint
from flint.asgi import RateLimitMiddleware

HELLO = [
    {"type": "websocket.accept"},
    {"type": "websocket.send", "text": "hello"},
    {"type": "websocket.close", "code": 1000},
]


@pytest.mark.parametrize("answers", [True, False])
def test_an_allowed_websocket_is_untouched(limiter: flint.Limiter, answers: bool) -> None:
    inner = Wrapped()
    app = RateLimitMiddleware(inner, limiter, key="all", rate="5/hour")
    scope = websocket_scope(answers=answers)
    assert call(app, scope) == HELLO
    assert inner.scopes[0] is scope
    assert scope == websocket_scope(answers=answers)


def test_a_denied_websocket_is_closed_before_it_is_accepted(limiter: flint.Limiter) -> None:
    inner = Wrapped()
    app = RateLimitMiddleware(inner, limiter, key="all", rate="1/hour")
    assert call(app, websocket_scope()) == HELLO
    for scope in (websocket_scope(), websocket_scope(extensions=None)):
        (sent,) = call(app, scope)
        assert sent == {"type": "websocket.close", "code": 1008, "reason": "rate limit exceeded"}
    without = websocket_scope()
    del without["extensions"]
    assert call(app, without)[0]["type"] == "websocket.close"
    assert len(inner.scopes) == 1


def test_a_server_that_can_answer_the_handshake_answers_429(limiter: flint.Limiter) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="1/hour")
    call(app, websocket_scope())
    start, body = call(app, websocket_scope(answers=True))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert headers[b"retry-after"] == b"3600"
    assert headers[b"ratelimit"] == b'"default";r=0;t=3600'
    assert body["type"] == "websocket.http.response.body"
    assert json.loads(body["body"]) == {"detail": "rate limit exceeded"}


def test_websockets_and_requests_share_a_key(limiter: flint.Limiter) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="2/hour")
    call(app, websocket_scope())
    assert get(app).status_code == 200
    assert call(app, websocket_scope())[0]["type"] == "websocket.close"
    assert totals(limiter) == {"all": (2, 1)}


@pytest.mark.parametrize(
    ("arguments", "limited"),
    [
        ({"methods": ["GET"]}, True),
        ({"methods": ["POST"]}, False),
        ({"exempt_paths": ["/feed"]}, False),
        ({"exempt": lambda scope: scope["type"] == "websocket"}, False),
    ],
)
def test_a_websocket_begins_with_a_get(limiter: flint.Limiter, arguments: dict[str, Any], limited: bool) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="1/hour", **arguments)
    call(app, websocket_scope("/feed"))
    sent = call(app, websocket_scope("/feed"))
    assert (sent != HELLO) == limited


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("on_error", ["raise", "allow", "deny"])
def test_a_limiter_that_cannot_decide(answers: bool, on_error: Any) -> None:
    app = RateLimitMiddleware(hello, Failing(flint.ClosedError("closed")), key="all", on_error=on_error)
    scope = websocket_scope(answers=answers)
    if on_error == "raise":
        with pytest.raises(flint.ClosedError):
            call(app, scope)
        return
    sent = call(app, scope)
    if on_error == "allow":
        assert sent == HELLO
    elif answers:
        assert sent[0]["status"] == 503
        assert b"retry-after" not in dict(sent[0]["headers"])
    else:
        assert sent == [{"type": "websocket.close", "code": 1013, "reason": "rate limiter unavailable"}]


def test_a_cost_out_of_range_is_denied(limiter: flint.Limiter) -> None:
    app = RateLimitMiddleware(hello, limiter, key="all", rate="1/hour", cost=lambda scope: 2)
    assert call(app, websocket_scope())[0]["code"] == 1008
    start, _ = call(app, websocket_scope(answers=True))
    assert start["status"] == 429
    assert b"retry-after" not in dict(start["headers"])
