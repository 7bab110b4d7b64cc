"""The values of all headers; those of the IETF draft are parsed back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flint
from flint._web.headers import Family, Header, limit_headers, rate_headers, retry_after, whole_seconds, with_added

S = 1_000_000_000
NAMES = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy", "ratelimit"]


def state(
    rate: int, per_millis: int, remaining: int, retry_after_ns: int = 0, reset_after_ns: int = 0
) -> flint.RateState:
    return flint.RateState(rate, per_millis, rate, "token_bucket", remaining, retry_after_ns, reset_after_ns)


def result(
    *rates: flint.RateState,
    allowed: bool = True,
    limit: int = 7,
    remaining: int = 3,
    retry_after_ns: int = 0,
    **more: Any,
) -> flint.CheckResult:
    return flint.CheckResult(
        allowed, "k", 1, limit, remaining, retry_after_ns=retry_after_ns, rates=rates or (state(7, 1000, 3),), **more
    )


def text(headers: Sequence[Header]) -> dict[str, str]:
    found = {name.decode(): value.decode() for name, value in headers}
    assert len(found) == len(headers)
    return found


def items(value: str) -> list[tuple[str, dict[str, int]]]:
    parsed: Any = http_sf.parse(value.encode(), tltype="list")
    return [(str(name), dict(parameters)) for name, parameters in parsed]


def test_the_examples_of_the_draft() -> None:
    found = text(rate_headers([result(state(100, 60_000, 50, reset_after_ns=30 * S))], "ietf"))
    assert found == {"ratelimit-policy": '"default";q=100;w=60', "ratelimit": '"default";r=50;t=30'}


@pytest.mark.parametrize(("family", "names"), [("both", NAMES), ("x", NAMES[:3]), ("ietf", NAMES[3:]), ("none", [])])
def test_families(family: Family, names: list[str]) -> None:
    assert list(text(rate_headers([result()], family))) == names


def test_the_x_headers_describe_the_most_restrictive_rate() -> None:
    found = text(rate_headers([result(limit=7, remaining=3, reset_at_ns=1_700_000_000 * S + 1)], "x"))
    assert list(found.values()) == ["7", "3", "1700000001"]


@pytest.mark.parametrize(("ns", "seconds"), [(0, 0), (1, 1), (S - 1, 1), (S, 1), (S + 1, 2), (30 * S, 30)])
def test_seconds_are_rounded_up(ns: int, seconds: int) -> None:
    assert whole_seconds(ns) == seconds
    assert retry_after(ns) == (b"retry-after", str(max(1, seconds)).encode())
    found = text(rate_headers([result(state(5, 1000, 5, reset_after_ns=ns), reset_at_ns=ns)], "both"))
    assert found["x-ratelimit-reset"] == str(seconds)
    assert items(found["ratelimit"]) == [("default", {"r": 5, "t": seconds})]


def test_one_item_for_each_rate_of_each_key() -> None:
    first = result(state(10, 1000, 9, reset_after_ns=1), state(100, 60_000, 42))
    second = result(state(5, 3_600_000, 0, reset_after_ns=90 * S))
    found = text(rate_headers([first, second], "ietf"))
    assert items(found["ratelimit-policy"]) == [
        ("default", {"q": 10, "w": 1}),
        ("default-2", {"q": 100, "w": 60}),
        ("default-3", {"q": 5, "w": 3600}),
    ]
    assert items(found["ratelimit"]) == [
        ("default", {"r": 9, "t": 1}),
        ("default-2", {"r": 42, "t": 0}),
        ("default-3", {"r": 0, "t": 90}),
    ]


def test_of_several_keys_the_fewest_left_bind_when_allowed_and_the_longest_wait_when_denied() -> None:
    one, two = result(limit=1, remaining=5), result(limit=2, remaining=4)
    tied = result(limit=3, remaining=4)
    late = result(limit=4, remaining=9, allowed=False, retry_after_ns=2)
    soon = result(limit=5, remaining=0, allowed=False, retry_after_ns=1)
    for results, limit in (([one, two, tied], "2"), ([two, late, soon], "4"), ([soon, two], "5")):
        assert text(rate_headers(results, "x"))["x-ratelimit-limit"] == limit


@pytest.mark.parametrize("per_millis", [1, 250, 1500, 999])
def test_a_period_that_is_no_whole_number_of_seconds_goes_unnamed(per_millis: int) -> None:
    found = text(rate_headers([result(state(5, per_millis, 3))], "ietf"))
    assert items(found["ratelimit-policy"]) == [("default", {"q": 5})]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**64 - 1),
            st.integers(1, 315_360_000_000),
            st.integers(0, 2**64 - 1),
            st.integers(0, 2**64 - 1),
        ),
        min_size=1,
        max_size=16,
    )
)
def test_whatever_the_numbers_are_the_lists_can_be_parsed(numbers: list[tuple[int, int, int, int]]) -> None:
    rates = [state(rate, per, remaining, reset_after_ns=reset) for rate, per, remaining, reset in numbers]
    found = text(rate_headers([result(*rates)], "ietf"))
    policies, left = items(found["ratelimit-policy"]), items(found["ratelimit"])
    assert [name for name, _ in policies] == [name for name, _ in left]
    assert len({name for name, _ in policies}) == len(rates)
    for rate, (_, policy), (_, now) in zip(rates, policies, left, strict=True):
        assert policy["q"] == min(rate.rate, 10**15 - 1)
        assert now["r"] == min(rate.remaining, 10**15 - 1)
        assert (now["t"] - 1) * S < rate.reset_after_ns <= now["t"] * S or now["t"] == rate.reset_after_ns == 0


def test_no_result_says_nothing() -> None:
    assert rate_headers([], "both") == []


def test_of_a_limit_that_was_not_asked_the_policy_is_reported() -> None:
    limits = [flint.Limit("10/minute burst 30; 100/hour burst 20"), flint.Limit("50/500ms")]
    assert text(limit_headers(limits, "both")) == {
        "x-ratelimit-limit": "100",
        "ratelimit-policy": '"default";q=10;w=60, "default-2";q=100;w=3600, "default-3";q=50',
    }
    assert list(text(limit_headers(limits, "x"))) == ["x-ratelimit-limit"]
    assert list(text(limit_headers(limits, "ietf"))) == ["ratelimit-policy"]
    assert limit_headers(limits, "none") == limit_headers([], "both") == []


def test_headers_that_are_there_stay_alone() -> None:
    own = [(b"X-RateLimit-Limit", b"mine"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
    added = [(b"x-ratelimit-limit", b"7"), (b"ratelimit", b"first"), (b"ratelimit", b"second")]
    assert with_added(own, added) == [*own, (b"ratelimit", b"first")]
    assert len(own) == 3
