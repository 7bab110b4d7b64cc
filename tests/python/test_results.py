"""Results: attributes, mappings, numbers and times."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import random
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import pytest

import flint
from flint.testing import ManualClock

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def results(limiter: flint.Limiter) -> dict[str, Any]:
    limiter.limit("k", "2/minute; 5/day burst 9")
    check = limiter.check("k", 2)
    both = limiter.check_all([("k", 1), {"key": "other", "limit": "3/s"}])
    return {
        "check": check,
        "denied": limiter.check("k"),
        "multi": both,
        "status": limiter.status("k"),
        "event": limiter.history("k")[-1],
        "recovery": limiter.recovery,
        "rate": flint.Limit("4/s").rates[0],
    }


KINDS = ["check", "denied", "multi", "status", "event", "recovery", "rate"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_a_mapping(results: dict[str, Any], kind: str) -> None:
    result = results[kind]
    assert isinstance(result, Mapping)
    names = list(result)
    assert names == list(result.keys())
    assert len(result) == len(names)
    assert dict(result) == {name: getattr(result, name) for name in names}
    assert list(result.values()) == [result[name] for name in names]
    assert list(result.items()) == [(name, result[name]) for name in names]
    assert {**result} == dict(result)
    assert names[0] in result
    assert "nothing" not in result
    assert 1 not in result
    assert result.get("nothing") is None
    assert result.get("nothing", 7) == 7
    assert result.get(names[0]) == result[names[0]]
    for absent in ("nothing", "keys", "_state", 1):
        with pytest.raises(KeyError):
            result[absent]


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_frozen(results: dict[str, Any], kind: str) -> None:
    result = results[kind]
    with pytest.raises(AttributeError):
        setattr(result, next(iter(result)), 1)
    with pytest.raises(AttributeError):
        result.anything = 1
    with pytest.raises(TypeError):
        result["anything"] = 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_result_is_pickled_whole(results: dict[str, Any], kind: str, protocol: int) -> None:
    result = results[kind]
    again = pickle.loads(pickle.dumps(result, protocol))
    assert again == result
    assert again is not result
    assert hash(again) == hash(result)
    assert repr(again) == repr(result)
    assert dict(again) == dict(result)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_equal(results: dict[str, Any], kind: str) -> None:
    result = results[kind]
    assert copy.copy(result) == result
    assert copy.deepcopy(result) == result


@pytest.mark.parametrize("kind", KINDS)
def test_to_dict_is_json(results: dict[str, Any], kind: str) -> None:
    result = results[kind]
    plain = result.to_dict()
    assert list(plain) == list(result)
    assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize("kind", KINDS)
def test_a_repr_names_every_field(results: dict[str, Any], kind: str) -> None:
    result = results[kind]
    shown = repr(result)
    assert shown.startswith(type(result).__name__ + "(")
    assert all(f"{name}={result[name]!r}" in shown for name in result)


def test_different_results_differ(results: dict[str, Any]) -> None:
    assert results["check"] != results["denied"]
    assert results["check"] != dict(results["check"])
    assert results["check"] != 1
    with pytest.raises(TypeError):
        results["check"] < results["denied"]  # noqa: B015


def test_the_garbage_collector_does_not_visit_statuses(limiter: flint.Limiter) -> None:
    limiter.limit_many([{"key": f"k{number:04}", "rate": "5/day"} for number in range(2_000)])
    statuses = [*limiter.list(), *limiter.top("allowed"), limiter.status("k0001")]
    assert len(statuses) == 2_001
    assert not any(gc.is_tracked(status) for status in statuses)


def test_truth_is_the_decision(results: dict[str, Any]) -> None:
    assert results["check"]
    assert not results["denied"]
    assert not results["multi"]
    assert bool(flint.MultiCheckResult(True, None, 0, []))


def test_the_fields_of_a_check(limiter: flint.Limiter) -> None:
    limiter.limit("k", 2, "1s")
    result = limiter.check("k", 2)
    assert result.to_dict() == {
        "allowed": True,
        "key": "k",
        "cost": 2,
        "limit": 2,
        "remaining": 0,
        "retry_after_ns": 0,
        "retry_after": 0.0,
        "reset_after_ns": 1_000_000_000,
        "reset_after": 1.0,
        "reset_at": "2026-01-01T00:00:01.000000Z",
        "rates": [
            {
                "rate": 2,
                "per_millis": 1_000,
                "burst": 2,
                "algorithm": "token_bucket",
                "remaining": 0,
                "retry_after_ns": 0,
                "retry_after": 0.0,
                "reset_after_ns": 1_000_000_000,
                "reset_after": 1.0,
            }
        ],
    }
    denied = limiter.check("k")
    assert not denied.allowed
    assert (denied.retry_after_ns, denied.retry_after) == (500_000_000, 0.5)
    assert denied.reset_at == START + timedelta(seconds=1)
    assert denied.reset_at.tzinfo is timezone.utc


def test_several_rates_are_described_by_the_one_that_binds(limiter: flint.Limiter) -> None:
    limiter.limit("k", "10/s; 3/minute")
    assert (limiter.check("k").limit, limiter.check("k").remaining) == (3, 1)
    limiter.check("k")
    denied = limiter.check("k")
    assert (denied.limit, denied.retry_after_ns) == (3, 20_000_000_000)


def test_seconds_are_never_less_than_the_exact_nanoseconds() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    cases = [0, 1, 3, 999_999_999, 10**9, 10**9 + 1, 2**53 + 1, 2**63 + 1, 2**64 - 1]
    cases += [rng.randrange(2 ** rng.randrange(1, 65)) for _ in range(20_000)]
    for ns in cases:
        seconds = flint.CheckResult(False, "k", 1, 1, 0, ns).retry_after
        exact = Fraction(ns, 10**9)
        assert Fraction(seconds) >= exact, ns
        # No float lies between.
        assert ns == 0 or Fraction(_before(seconds)) < exact, ns


def _before(value: float) -> float:
    import struct

    bits = int.from_bytes(struct.pack(">d", value), "big") - 1
    (below,) = struct.unpack(">d", bits.to_bytes(8, "big"))
    assert isinstance(below, float)
    return below


def test_whole_seconds_are_shown_as_such() -> None:
    assert flint.CheckResult(False, "k", 1, 1, 0, 60 * 10**9).retry_after == 60.0
    assert flint.CheckResult(False, "k", 1, 1, 0, 10**8).retry_after == 0.1


def test_a_time_is_never_before_the_moment(clock: ManualClock) -> None:
    result = flint.CheckResult(False, "k", 1, 1, 0, reset_at_ns=1_000_000_001)
    assert result.reset_at == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "limit",
    [
        flint.Limit("100/minute"),
        flint.Limit("1/s; 9/3h burst 20"),
        flint.Limit(7, "1d", algorithm="sliding_window_log"),
        flint.Limit(["1/s", flint.Limit("5/m", algorithm="fixed_window_counter")]),
    ],
)
def test_a_limit_is_a_value(limit: flint.Limit) -> None:
    again = pickle.loads(pickle.dumps(limit))
    assert again == limit
    assert hash(again) == hash(limit)
    assert {limit: 1}[again] == 1
    assert eval(repr(limit), {"Limit": flint.Limit}) == limit
    assert copy.deepcopy(limit) == limit
    assert limit != flint.Limit("2/week")
    assert limit != str(limit)
    with pytest.raises(AttributeError):
        limit.rates = ()  # type: ignore[misc]


def test_a_limit_s_text_parses_back() -> None:
    limit = flint.Limit("100 per minute, 5/250ms; 10/2h burst 20")
    assert str(limit) == "100/minute; 5/250ms; 10/2h burst 20"
    assert flint.Limit(str(limit)) == limit
