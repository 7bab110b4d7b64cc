"""What happens when the application's functions or the limiter fail."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from tests.python.contract.asgi_support import (
    Failing,
    Wrapped,
    get,
    hello,
    parsed,
    rate_headers_of,
    statuses,
    totals,
)

import flint
import flint._web.refusal
from flint.asgi import RateLimitMiddleware

FAILURES = [
    flint.StorageError("no space left", errno=28),
    flint.CorruptData("damaged"),
    flint.ClosedError("closed"),
    flint.ForkedError("forked"),
    flint.FlintConnectionError("no server"),
    flint.FlintServerError("500"),
]
each_failure = pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
each_on_error = pytest.mark.parametrize("on_error", ["raise", "allow", "deny"])


def answered(app: RateLimitMiddleware, on_error: str, error: type[Exception]) -> None:
    """The application fails, answers or is replaced, depending on `on_error`."""
    if on_error == "raise":
        with pytest.raises(error):
            get(app)
        return
    answer = get(app)
    assert rate_headers_of(answer) == {}
    # It is unknown when the limiter can decide again.
    assert "retry-after" not in answer.headers
    if on_error == "allow":
        assert (answer.status_code, answer.text) == (200, "hello")
    else:
        assert answer.status_code == 503
        assert answer.json() == {"detail": "rate limiter unavailable"}


@each_on_error
@each_failure
def test_a_limiter_that_cannot_decide(on_error: Any, error: Exception) -> None:
    limiter = Failing(error)
    answered(RateLimitMiddleware(hello, limiter, key="k", on_error=on_error), on_error, type(error))
    assert limiter.calls == 1


@each_on_error
def test_a_limiter_that_was_closed(limiter: flint.Limiter, on_error: Any) -> None:
    app = RateLimitMiddleware(hello, limiter, key="k", rate="5/hour", on_error=on_error)
    assert get(app).status_code == 200
    limiter.close()
    answered(app, on_error, flint.ClosedError)


def test_the_default_is_to_raise() -> None:
    with pytest.raises(flint.StorageError):
        get(RateLimitMiddleware(hello, Failing(FAILURES[0]), key="k"))


@pytest.mark.parametrize("error", [RuntimeError("bug"), asyncio.TimeoutError(), OSError()])
def test_what_is_no_error_of_flint_goes_through(error: Exception) -> None:
    with pytest.raises(type(error)):
        get(RateLimitMiddleware(hello, Failing(error), key="k", on_error="allow"))


@each_on_error
def test_a_failing_limiter_is_reported_once_a_minute(
    on_error: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(flint._web.refusal, "monotonic", lambda: now_s)
    limiter = Failing(FAILURES[0])
    app = RateLimitMiddleware(hello, limiter, key="k", on_error=on_error)

    def reported(error: Exception) -> list[str]:
        limiter.error = error
        caplog.clear()
        answered(app, on_error, type(error))
        assert {(record.name, record.levelno) for record in caplog.records} <= {("flint", logging.ERROR)}
        return [record.getMessage() for record in caplog.records]

    (message,) = reported(FAILURES[0])
    assert message.startswith("RateLimitMiddleware: the limiter failed")
    assert f"on_error={on_error!r}" in message
    assert "StorageError: no space left" in message
    assert reported(FAILURES[0]) == []
    assert len(reported(FAILURES[2])) == 1, "another kind of error"
    now_s += 59.9
    assert reported(FAILURES[0]) == []
    now_s += 0.1
    assert len(reported(FAILURES[0])) == 1
    assert reported(FAILURES[0]) == []


@each_on_error
def test_a_key_without_a_limit_is_the_application_s_error(limiter: flint.Limiter, on_error: Any) -> None:
    app = RateLimitMiddleware(hello, limiter, key="missing", on_error=on_error)
    with pytest.raises(flint.LimitNotFound, match=r"'missing'.*rate.*limiter\.limit\(") as caught:
        get(app)
    assert caught.value.key == "missing"
    limiter.limit("missing", "1/hour")
    assert get(app).status_code == 200


class Mistake(Exception):
    pass


def failing(scope: Any) -> Any:
    raise Mistake


async def failing_later(scope: Any) -> Any:
    await asyncio.sleep(0)
    raise Mistake


@each_on_error
@pytest.mark.parametrize("function", [failing, failing_later])
@pytest.mark.parametrize("name", ["key_func", "cost", "exempt"])
def test_what_the_application_s_functions_raise_goes_through(
    limiter: flint.Limiter, name: str, function: Any, on_error: Any
) -> None:
    arguments: dict[str, Any] = {"rate": "5/hour", "on_error": on_error, name: function}
    if name != "key_func":
        arguments["key"] = "k"
    inner = Wrapped()
    with pytest.raises(Mistake):
        get(RateLimitMiddleware(inner, limiter, **arguments))
    assert inner.scopes == []
    assert totals(limiter) == {}


@each_on_error
@pytest.mark.parametrize(
    ("key", "error"),
    [(None, TypeError), (7, TypeError), (b"k", TypeError), ("", flint.InvalidKey), ("k" * 513, flint.InvalidKey)],
)
def test_a_key_that_is_none_is_an_error(
    limiter: flint.Limiter, key: Any, error: type[Exception], on_error: Any
) -> None:
    app = RateLimitMiddleware(hello, limiter, key_func=lambda scope: key, rate="5/hour", on_error=on_error)
    with pytest.raises(error, match=r"a key is .*1 to 512 bytes"):
        get(app)
    assert totals(limiter) == {}


@pytest.mark.parametrize("cost", [None, 1.5, "1", True])
def test_a_cost_that_is_no_integer_is_an_error(limiter: flint.Limiter, cost: Any) -> None:
    app = RateLimitMiddleware(hello, limiter, key="k", rate="5/hour", cost=lambda scope: cost)
    with pytest.raises(TypeError, match=r"the cost function returned .*; a cost is an int"):
        get(app)
    assert totals(limiter) == {}


@each_on_error
@pytest.mark.parametrize("cost", [0, -1, 6, 2**63, 2**200, -(2**200)])
def test_a_cost_out_of_range_is_denied_for_good(
    limiter: flint.Limiter, caplog: pytest.LogCaptureFixture, cost: int, on_error: Any
) -> None:
    inner = Wrapped()
    app = RateLimitMiddleware(inner, limiter, key="k", rate="5/minute", cost=lambda scope: cost, on_error=on_error)
    for _ in range(2):
        answer = get(app)
        assert answer.status_code == 429
        assert answer.json() == {"detail": "rate limit exceeded"}
        # Waiting does not help, so there is no Retry-After.
        assert "retry-after" not in answer.headers
        assert rate_headers_of(answer) == {"x-ratelimit-limit": "5", "ratelimit-policy": '"default";q=5;w=60'}
    assert inner.scopes == []
    assert totals(limiter) == {}
    ((level, message),) = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert level == logging.WARNING
    assert "RateLimitMiddleware: a request can never be allowed" in message
    assert "InvalidCost: " in message


def test_a_cost_out_of_the_range_of_a_limit_that_was_set_before(limiter: flint.Limiter) -> None:
    limiter.limit("k", "5/minute")
    app = RateLimitMiddleware(hello, limiter, key="k", cost=6)
    answer = get(app)
    assert (answer.status_code, rate_headers_of(answer)) == (429, {})
    assert totals(limiter) == {"k": (0, 0)}


def test_after_an_error_everything_goes_on(limiter: flint.Limiter) -> None:
    costs = iter([1, 9, 1])
    keys: Any = iter(["k", "k", None, "k"])
    app = RateLimitMiddleware(
        hello, limiter, key_func=lambda scope: next(keys), rate="5/hour", cost=lambda scope: next(costs)
    )
    assert statuses(app, "/", "/") == [200, 429]
    with pytest.raises(TypeError):
        get(app)
    answer = get(app)
    assert parsed(answer, "ratelimit")[0][1]["r"] == 3
