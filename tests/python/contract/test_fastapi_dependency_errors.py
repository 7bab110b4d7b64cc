"""RateLimit: arguments that are not accepted, keys and costs that are none, a limiter that fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from tests.python.contract.asgi_support import Failing, get, rate_headers_of, totals
from tests.python.contract.test_fastapi_dependency import application

import flint
from flint.fastapi import FlintRateLimitMiddleware, RateLimit, per_route
from flint.keys import client_ip


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"rate": "5/fortnight"}, flint.InvalidLimit, "fortnight"),
        ({"per": "1m"}, flint.InvalidLimit, "RateLimit: .*without rate"),
        ({"rate": "5/m", "key": ""}, flint.InvalidKey, "empty"),
        ({"rate": "5/m", "key": 7}, flint.InvalidArgument, "RateLimit: a key is a text, or a function"),
        ({"rate": "5/m", "cost": 0}, flint.InvalidCost, "RateLimit: "),
        ({"rate": "5/m", "cost": 6}, flint.InvalidCost, "capacity of 5"),
        ({"rate": "5/m", "headers": "all"}, flint.InvalidArgument, "headers"),
        ({"rate": "5/m", "on_error": "ignore"}, flint.InvalidArgument, "on_error"),
        ({"rate": "5/m", "limiter": object()}, TypeError, "RateLimit: limiter is a"),
    ],
)
def test_an_argument_that_is_not_accepted(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        RateLimit(**arguments)


@pytest.mark.parametrize("on_error", ["raise", "allow", "deny"])
def test_a_limiter_that_cannot_decide(on_error: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Unseen(flint.StorageError):
        """A class of error that no other test has logged."""

    app = FastAPI()
    app.state.limiter = Failing(Unseen("full"))
    limited = Depends(RateLimit("1/hour", key="k", on_error=on_error))

    @app.get("/")
    async def index(limit: Any = limited) -> bool:
        return limit is None

    for _ in range(2):
        if on_error == "raise":
            with pytest.raises(Unseen):
                get(app)
            continue
        answer = get(app)
        assert rate_headers_of(answer) == {}
        assert "retry-after" not in answer.headers
        if on_error == "allow":
            assert (answer.status_code, answer.json()) == (200, True)
        else:
            assert (answer.status_code, answer.json()) == (503, {"detail": "rate limiter unavailable"})
    ((level, message),) = [(each.levelno, each.getMessage()) for each in caplog.records if each.name == "flint"]
    assert level == logging.ERROR
    assert "Unseen: full" in message


def test_a_closed_limiter(limiter: flint.Limiter) -> None:
    app = application(limiter, RateLimit("1/hour", key="k"))
    limiter.close()
    with pytest.raises(flint.ClosedError):
        get(app)


def test_a_key_without_a_limit(limiter: flint.Limiter) -> None:
    with pytest.raises(
        flint.LimitNotFound, match=r"RateLimit: no limit is set for key 'missing'; give RateLimit a rate"
    ):
        get(application(limiter, RateLimit(key="missing", on_error="allow")))


@pytest.mark.parametrize(
    ("key", "error"), [(None, TypeError), (7, TypeError), ("", flint.InvalidKey), ("k" * 513, flint.InvalidKey)]
)
def test_a_key_that_is_none_is_an_error(limiter: flint.Limiter, key: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"a key is .*1 to 512 bytes"):
        get(application(limiter, RateLimit("1/hour", key=lambda request: key, on_error="allow")))
    assert totals(limiter) == {}


@pytest.mark.parametrize("key", [None, 7])
def test_per_route_wants_a_text_as_well(limiter: flint.Limiter, key: Any) -> None:
    with pytest.raises(TypeError, match=f"per_route: the key function returned {key}"):
        get(application(limiter, RateLimit("1/hour", key=per_route(lambda request: key))))


@pytest.mark.parametrize("cost", [0, -1, 6])
def test_a_cost_out_of_range_is_denied_for_good(limiter: flint.Limiter, cost: int) -> None:
    app = application(limiter, RateLimit("5/minute", key="k", cost=lambda request: cost))
    answer = get(app)
    assert (answer.status_code, answer.json()) == (429, {"detail": "rate limit exceeded"})
    assert "retry-after" not in answer.headers
    assert rate_headers_of(answer) == {"x-ratelimit-limit": "5", "ratelimit-policy": '"default";q=5;w=60'}
    assert totals(limiter) == {}


def test_a_client_without_an_address_needs_a_choice(limiter: flint.Limiter) -> None:
    app = application(limiter, RateLimit("1/hour"))
    with pytest.raises(flint.InvalidKey, match=r"client_ip\(default=\.\.\.\)"):
        get(app, client=("testclient", 50000))
    app = application(limiter, RateLimit("1/hour", key=per_route(client_ip(default="local"))))
    assert get(app, client=("testclient", 50000)).status_code == 200
    assert totals(limiter) == {"GET / local": (1, 0)}


def test_per_route_is_of_no_use_before_routing(limiter: flint.Limiter) -> None:
    app = FastAPI()
    app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key_func=per_route(), rate="1/hour")
    with pytest.raises(flint.InvalidArgument, match=r"per_route\(\) makes keys for dependencies"):
        get(app)
