"""Several RateLimits of one request: keys that meet, the order, overrides, several limiters, failures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, HTTPException, Request
from fastapi.responses import PlainTextResponse
from tests.python.contract.asgi_support import (
    Counting,
    Failing,
    get,
    parsed,
    rate_headers_of,
    statuses,
    totals,
)
from tests.python.contract.test_fastapi_routes import HOST, application, depends, nothing

import flint
from flint.fastapi import FlintRateLimitMiddleware, RateLimit, RateLimitHeaders, per_route
from flint.keys import client_ip
from flint.testing import ManualClock


async def user(request: Request) -> str:
    return "u:1"


PERIODS = {60_000: "minute", 3_600_000: "hour", 86_400_000: "day"}


def by_limit(limiter: flint.Limiter, key: str) -> dict[str, tuple[int, int]]:
    """Cost allowed and denied under each limit of a key."""
    status = limiter.status(key)
    assert status is not None

    def text(counter: flint.CounterStatus) -> str:
        return "; ".join(f"{rate.rate}/{PERIODS[rate.per_millis]}" for rate in counter.rates)

    return {text(counter): (counter.total_allowed_cost, counter.total_denied_cost) for counter in status.counters}


def test_several_limits_by_default_have_a_key_each(limiter: flint.Limiter, clock: ManualClock) -> None:
    app = application(limiter, dependencies=[depends("9/hour")])
    costly = RateLimit("100/day", cost=lambda request: 40)
    app.get("/", dependencies=[depends("2/minute"), Depends(costly)])(nothing)
    assert statuses(app, "/", "/", "/") == [200, 200, 429]
    assert totals(limiter) == {f"GET / {HOST}": (2, 0), f"#2 GET / {HOST}": (2, 1), f"#3 GET / {HOST}": (80, 40)}


def test_and_so_do_those_that_are_checked_by_themselves(limiter: flint.Limiter) -> None:
    app = application(limiter)
    by_itself = depends("2/day", together=False)
    app.get("/", dependencies=[by_itself, depends("5/hour"), depends("9/week", together=False)])(nothing)
    assert statuses(app, "/", "/", "/") == [200, 200, 429]
    assert totals(limiter) == {f"GET / {HOST}": (2, 1), f"#2 GET / {HOST}": (2, 0), f"#3 GET / {HOST}": (2, 0)}
    assert [status.rate for status in limiter.list()] == [5, 9, 2]


def test_one_in_place_of_another_dependency_has_its_own_key(limiter: flint.Limiter) -> None:
    app = application(limiter)
    app.get("/", dependencies=[Depends(nothing), depends("5/hour")])(nothing)
    app.dependency_overrides[nothing] = RateLimit("1/day")
    assert statuses(app, "/", "/") == [200, 429]
    assert totals(limiter) == {f"#2 GET / {HOST}": (1, 1), f"GET / {HOST}": (1, 0)}


def test_a_client_s_text_makes_no_key_of_another_limit(limiter: flint.Limiter) -> None:
    key = per_route(lambda request: request.headers["x-user"])
    app = application(limiter)
    app.get("/", dependencies=[depends("5/hour", key), depends("5/day", key)])(nothing)
    for name in ("ann", "#2 GET / ann", "ann #2"):
        assert get(app, headers={"x-user": name}).status_code == 200
    assert len(limiter.list()) == 6


def test_the_same_limit_counts_once(limiter: flint.Limiter) -> None:
    limit = RateLimit("9/hour", key="k")
    app = application(limiter, dependencies=[Depends(limit)])

    @app.get("/", dependencies=[Depends(limit), Depends(limit, use_cache=False), depends("9/hour", "k")])
    async def index(one: flint.CheckResult = Depends(limit)) -> int:  # noqa: B008
        return one.remaining

    assert get(app).json() == 8
    assert totals(limiter) == {"k": (1, 0)}


def test_limits_are_equal_if_they_were_made_of_equal_arguments() -> None:
    def key(request: Request) -> str:
        return ""

    @dataclass
    class WithoutHash:
        name: str

        def __call__(self, request: Request) -> str:
            return self.name

    made: list[dict[str, Any]] = [
        {},
        {"key": "k"},
        {"key": key},
        {"key": per_route(key)},
        {"key": per_route(client_ip(["10.0.0.0/8"]))},
        {"key": WithoutHash("k")},
        {"cost": 2},
        {"cost": lambda request: 1},
        {"headers": "x"},
        {"on_error": "deny"},
        {"together": False},
        {"algorithm": "fixed_window_counter"},
    ]
    for one, arguments in enumerate(made):
        for other, others in enumerate(made):
            first, second = RateLimit("9/hour", **arguments), RateLimit("9/hour", **others)
            assert (first == second) == (one == other)
            assert one != other or hash(first) == hash(second)


def test_a_middleware_and_a_route_do_not_count_each_others_requests(limiter: flint.Limiter) -> None:
    """Both forms of flint.fastapi, with the same key function and the same limit."""
    app = application(limiter, dependencies=[depends("3/hour", client_ip())])
    app.add_middleware(FlintRateLimitMiddleware, key_func=client_ip(), rate="3/hour")
    app.get("/")(nothing)
    assert statuses(app, "/", "/", "/", "/") == [200, 200, 200, 429]
    assert totals(limiter) == {HOST: (3, 1), f"RateLimit {HOST}": (3, 0)}


def test_functions_of_the_application_make_the_key_that_they_return(limiter: flint.Limiter) -> None:
    address = client_ip()

    def shared(request: Request) -> str:
        return address(request)

    app = application(limiter, dependencies=[depends("4/hour", shared)])
    app.add_middleware(FlintRateLimitMiddleware, key_func=shared, rate="4/hour")
    app.get("/")(nothing)
    assert statuses(app, "/", "/", "/") == [200, 200, 429]
    assert totals(limiter) == {HOST: (4, 1)}


def test_one_key_and_limit_twice_takes_the_sum(limiter: flint.Limiter) -> None:
    app = application(limiter, dependencies=[depends("9/hour", "k")])
    app.get("/", dependencies=[depends("9/hour", "k", cost=3), depends(None, "k")])(nothing)
    answer = get(app)
    assert answer.status_code == 200
    assert totals(limiter) == {"k": (5, 0)}
    assert parsed(answer, "ratelimit-policy") == [("default", {"q": 9, "w": 3600})]
    assert get(app).status_code == 429
    assert totals(limiter) == {"k": (5, 5)}


def test_one_key_with_two_limits_has_a_counter_for_each(limiter: flint.Limiter, clock: ManualClock) -> None:
    app = application(limiter)

    @app.get("/", dependencies=[depends("6/day", user)])
    async def index(per_minute: Annotated[flint.CheckResult, depends("2/minute", user, cost=2)]) -> int:
        return per_minute.remaining

    first = get(app)
    assert (first.status_code, first.json()) == (200, 0)
    assert [item["q"] for _, item in parsed(first, "ratelimit-policy")] == [6, 2]
    assert [item["r"] for _, item in parsed(first, "ratelimit")] == [5, 0]
    # All or nothing: a minute that is used up takes nothing of the day.
    assert get(app).status_code == 429
    clock.advance(60)
    assert get(app).json() == 0
    assert by_limit(limiter, "u:1") == {"6/day": (2, 0), "2/minute": (4, 2)}
    for number in range(4):
        clock.advance(60)
        assert get(app).status_code == 200, number
    clock.advance(60)
    denied = get(app)
    assert denied.status_code == 429
    assert int(denied.headers["retry-after"]) > 3600
    assert [item["r"] for _, item in parsed(denied, "ratelimit")] == [0, 2]


def test_equal_limits_of_one_key_take_the_sum_in_any_order_of_their_rates(limiter: flint.Limiter) -> None:
    app = application(limiter)
    limits = [depends("9/minute; 20/hour", "k"), depends("20/hour; 9/minute", "k", cost=2), depends("5/day", "k")]
    app.get("/", dependencies=limits)(nothing)
    answer = get(app)
    assert answer.status_code == 200
    assert by_limit(limiter, "k") == {"9/minute; 20/hour": (3, 0), "5/day": (1, 0)}
    assert [item["r"] for _, item in parsed(answer, "ratelimit")] == [6, 17, 4]


def test_one_limit_in_another_order_is_the_same(limiter: flint.Limiter) -> None:
    app = application(limiter)
    limits = [depends("9/minute; 20/hour", "k"), depends("20/hour; 9/minute", "k")]
    app.get("/", dependencies=limits)(nothing)
    assert get(app).status_code == 200
    assert by_limit(limiter, "k") == {"9/minute; 20/hour": (1, 0)}


def test_one_without_a_rate_belongs_to_the_first_limit_of_its_key(limiter: flint.Limiter) -> None:
    app = application(limiter)
    limits = [depends(None, "k", cost=3), depends("9/hour", "k"), depends("5/day", "k"), depends("2/minute", "other")]
    app.get("/", dependencies=limits)(nothing)
    assert get(app).status_code == 200
    assert by_limit(limiter, "k") == {"9/hour": (4, 0), "5/day": (1, 0)}


def test_a_limit_that_was_set_counts_all_of_its_key(limiter: flint.Limiter) -> None:
    limiter.limit("k", "5/hour")
    app = application(limiter)
    app.get("/", dependencies=[depends("9/hour", "k"), depends("5/day", "k", cost=2)])(nothing)
    assert statuses(app, "/", "/") == [200, 429]
    assert totals(limiter) == {"k": (3, 3)}


def test_a_limit_by_itself_and_one_together_with_the_same_key(limiter: flint.Limiter) -> None:
    app = application(limiter)
    app.get("/", dependencies=[depends("2/minute", "k"), depends("1/hour", "k", together=False)])(nothing)
    assert statuses(app, "/", "/") == [200, 429]
    assert by_limit(limiter, "k") == {"2/minute": (2, 0), "1/hour": (1, 1)}


# In which order.


def test_a_limit_before_the_login_also_counts_failed_logins(limiter: flint.Limiter) -> None:
    def login(request: Request) -> None:
        if "x-user" not in request.headers:
            raise HTTPException(401)
        request.state.user = request.headers["x-user"]

    app = application(limiter)
    by_user = depends("9/hour", lambda request: request.state.user, together=False)
    app.get("/", dependencies=[depends("3/hour", client_ip()), Depends(login), by_user])(nothing)
    assert statuses(app, "/", "/") == [401, 401]
    answer = get(app, headers={"x-user": "ann"})
    assert answer.status_code == 200
    # Both have headers, as far as they chose them.
    assert [item["q"] for _, item in parsed(answer, "ratelimit-policy")] == [3, 9]
    assert [item["r"] for _, item in parsed(answer, "ratelimit")] == [0, 8]
    assert get(app, headers={"x-user": "ann"}).status_code == 429
    assert totals(limiter) == {f"RateLimit {HOST}": (3, 1), "ann": (1, 0)}


def test_a_limit_that_comes_later_by_itself_is_denied_by_itself(limiter: flint.Limiter) -> None:
    app = application(limiter)
    app.get("/", dependencies=[depends("9/hour", "a"), depends("1/hour", "b", together=False)])(nothing)
    get(app)
    answer = get(app)
    assert answer.status_code == 429
    assert rate_headers_of(answer)["x-ratelimit-limit"] == "1"
    assert [item["r"] for _, item in parsed(answer, "ratelimit")] == [7, 0]
    assert totals(limiter) == {"a": (2, 0), "b": (1, 1)}


def test_all_keys_are_made_before_anything_counts(limiter: flint.Limiter) -> None:
    app = application(limiter)
    app.get("/", dependencies=[depends("9/hour", "a"), depends("9/hour", lambda request: request.state.user)])(nothing)
    with pytest.raises(AttributeError):
        get(app)
    assert totals(limiter) == {}


# Overrides, limiters, failures.


def test_an_overridden_limit_does_not_count(limiter: flint.Limiter) -> None:
    limit = RateLimit("1/hour", key="route")

    async def nested(one: Annotated[Any, depends("9/hour", "nested")]) -> None: ...

    app = application(limiter, dependencies=[depends("9/hour", "app")])
    app.get("/", dependencies=[Depends(limit), Depends(nested)])(nothing)
    app.dependency_overrides[limit] = nothing
    assert statuses(app, "/", "/") == [200, 200]
    assert totals(limiter) == {"app": (2, 0), "nested": (2, 0)}
    app.dependency_overrides[nested] = RateLimit("1/hour", key="instead")
    assert statuses(app, "/", "/") == [200, 429]
    assert totals(limiter) == {"app": (4, 0), "instead": (1, 1), "nested": (2, 0)}


def test_limits_of_two_limiters_are_two_calls(limiter: flint.Limiter, tmp_path: Path) -> None:
    with flint.Limiter(tmp_path / "other", sync="batch") as made:
        one, other = Counting(limiter), Counting(made)
        app = application(one)
        limits = [
            depends("9/hour", "a"),
            depends("9/hour", "b", limiter=other),
            depends("9/hour", "c", limiter=one),
            depends("9/hour", "d", limiter=other),
        ]
        app.get("/", dependencies=limits)(nothing)
        answer = get(app)
        assert answer.status_code == 200
        assert len(parsed(answer, "ratelimit")) == 4
        assert one.calls == other.calls == ["acheck_all"]
        assert totals(limiter) == {"a": (1, 0), "c": (1, 0)}
        assert totals(made) == {"b": (1, 0), "d": (1, 0)}


@pytest.mark.parametrize(
    ("policies", "status"), [(("allow", "allow"), 200), (("allow", "deny"), 503), (("deny", "raise", "allow"), None)]
)
def test_the_strictest_policy_holds_for_all(policies: tuple[Any, ...], status: int | None) -> None:
    app = application(Failing(flint.ClosedError("closed")))
    limits = [depends("9/hour", str(number), on_error=each) for number, each in enumerate(policies)]
    app.get("/", dependencies=limits)(nothing)
    if status is None:
        with pytest.raises(flint.ClosedError):
            get(app)
    else:
        assert get(app).status_code == status


def test_one_cost_out_of_range_denies_all(limiter: flint.Limiter) -> None:
    app = application(limiter)
    limits = [
        depends("9/hour", "a"),
        depends("5/hour", "b", cost=lambda request: 6),
        depends("3/hour", "c", headers="x"),
        depends("1/hour", "d", headers="none"),
    ]
    app.get("/", dependencies=limits)(nothing)
    answer = get(app)
    assert answer.status_code == 429
    assert "retry-after" not in answer.headers
    assert answer.headers["x-ratelimit-limit"] == "3"
    assert parsed(answer, "ratelimit-policy") == [("default", {"q": 9, "w": 3600}), ("default-2", {"q": 5, "w": 3600})]
    assert totals(limiter) == {}


def test_each_family_of_headers_tells_of_those_that_ask_for_it(limiter: flint.Limiter) -> None:
    app = application(limiter)
    limits = [
        depends("3/hour", "a", headers="x"),
        depends("4/hour", "b", headers="ietf"),
        depends("5/hour", "c"),
        depends("2/hour", "d", headers="none"),
    ]
    app.get("/", dependencies=limits)(nothing)
    answer = get(app)
    assert rate_headers_of(answer)["x-ratelimit-limit"] == "3"
    assert [item["q"] for _, item in parsed(answer, "ratelimit-policy")] == [4, 5]


@pytest.mark.parametrize("cost", [1, 9])
def test_an_application_that_answers_denials_itself_has_the_headers(limiter: flint.Limiter, cost: int) -> None:
    app = application(limiter)
    app.add_middleware(RateLimitHeaders)
    app.get("/", dependencies=[depends("1/hour", "a", cost=lambda request: cost)])(nothing)

    @app.exception_handler(429)
    async def slow_down(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("slow down", status_code=429)

    get(app)
    answer = get(app)
    assert (answer.status_code, answer.text) == (429, "slow down")
    assert rate_headers_of(answer)["x-ratelimit-limit"] == "1"
    assert ("ratelimit" in answer.headers) == (cost == 1)


def test_the_headers_middleware_adds_nothing_twice(limiter: flint.Limiter) -> None:
    app = application(limiter, dependencies=[depends("9/hour", "a")])
    app.add_middleware(RateLimitHeaders)
    app.add_middleware(RateLimitHeaders)
    app.get("/", dependencies=[depends("9/hour", "b", together=False)])(nothing)
    assert len(parsed(get(app), "ratelimit")) == 2
    assert len(rate_headers_of(get(app, "/nowhere"))) == 0
