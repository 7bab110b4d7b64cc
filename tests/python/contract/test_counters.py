"""Each limit that calls bring has a counter of its own under its key."""

from __future__ import annotations

import asyncio
import json
import pickle

import pytest

import flint
from flint._types import Item
from flint.prometheus import prometheus_metrics
from flint.testing import ManualClock

from .prometheus_text import parse, read


def brought(limit: str, cost: int = 1) -> Item:
    """An item with the key "k" and a limit."""
    return {"key": "k", "cost": cost, "limit": limit}


def counters_of(limiter: flint.Limiter, key: str) -> list[tuple[int, int]]:
    status = limiter.status(key)
    assert status is not None
    return [(counter.rate, counter.remaining) for counter in status.counters]


def test_a_minute_s_limit_does_not_refill_a_day_s(limiter: flint.Limiter, clock: ManualClock) -> None:
    """The example of docs/fastapi.md, for a day: a report as often as possible, a search a minute."""
    reports = 0
    for _ in range(24 * 60):
        reports += sum(limiter.allow("user:7", limit="200/day") for _ in range(2))
        assert limiter.allow("user:7", limit="30/minute")
        clock.advance(seconds=60)
    assert 200 <= reports <= 400
    alone = limiter.peek("user:7", limit="200/day")
    assert counters_of(limiter, "user:7") == [(30, 30), (200, alone.remaining + alone.allowed)]


def test_one_call_may_name_a_key_under_several_limits(limiter: flint.Limiter) -> None:
    both = [brought("200/day"), brought("30/minute", 2)]
    result = limiter.check_all(both)
    assert result.allowed
    assert [one.remaining for one in result.results] == [199, 28]
    assert counters_of(limiter, "k") == [(30, 28), (200, 199)]
    assert limiter.peek("k").limit == 30
    assert asyncio.run(limiter.aallow_all([both[1], both[0]]))
    assert limiter.peek("k").limit == 200
    refused: list[list[Item]] = [[both[0], brought("200/1d", 3)], ["k", "k"]]
    for twice in refused:
        with pytest.raises(flint.InvalidKey, match="twice"):
            limiter.check_all(twice)
    limiter.limit("k", "10/hour", on_change="reset")
    result = limiter.check_all(both)
    assert [one.remaining for one in result.results] == [7, 7]
    with pytest.raises(flint.InvalidCost, match="12 together"):
        limiter.check_all([brought("200/day", 6), brought("30/minute", 6)])


def test_a_ninth_limit_needs_one_that_is_full_again(limiter: flint.Limiter, clock: ManualClock) -> None:
    for count in range(1, 9):
        limiter.check("k", limit=f"{count}/{count}h")
    for call in (limiter.check, limiter.peek):
        with pytest.raises(flint.InvalidLimit, match=r"'?\"?k\"?'? has 8 limits"):
            call("k", limit="9/9h")
    clock.advance(seconds=3600)
    assert limiter.check("k", limit="9/9h")
    assert [rate for rate, _ in counters_of(limiter, "k")] == [9, 8, 7, 6, 5, 4, 3, 2]
    status = limiter.status("k")
    assert status is not None
    assert status.total_allowed == 9


def test_statuses_and_histories_are_of_the_whole_key(limiter: flint.Limiter) -> None:
    limiter.check("k", cost=3, limit="5/minute; 9/hour")
    limiter.check("k", limit=flint.Limit("9/hour; 5/60s"))
    limiter.check("k", cost=2, limit="4/day")
    assert not limiter.check("k", cost=3, limit="4/day")
    status = limiter.status("k")
    assert status is not None
    assert (status.rate, status.remaining, status.origin) == (4, 2, "call")
    assert (status.total_allowed, status.total_allowed_cost, status.total_denied) == (3, 6, 1)
    first, second = status.counters
    assert isinstance(first, flint.CounterStatus)
    assert (first.total_allowed, first.total_denied, first.last_denied_at) == (1, 1, status.last_denied_at)
    assert (second.total_allowed, second.total_allowed_cost, second.remaining) == (2, 4, 1)
    assert [(rate.rate, rate.per_millis) for rate in second.rates] == [(5, 60_000), (9, 3_600_000)]
    assert pickle.loads(pickle.dumps(status)) == status
    assert json.loads(json.dumps(status.to_dict()))["counters"][1]["remaining"] == 1
    assert limiter.list() == [status]
    assert limiter.top(by="allowed") == [status]
    # Deleting a key forgets denials that no record has yet.
    limiter.compact()
    limiter.reset("k")
    assert counters_of(limiter, "k") == [(4, 4), (5, 5)]
    limiter.limit("k", "7/day")
    limiter.delete("k")
    types = [event.type for event in limiter.history("k")]
    configured = ["LIMIT_CONFIGURED", "ALLOW"]
    assert types == [*configured, "ALLOW", *configured, "DENY", "RESET", "LIMIT_CONFIGURED", "LIMIT_DELETED"]


def test_the_history_has_the_limit_of_each_configuration(limiter: flint.Limiter) -> None:
    limiter.check("k", limit="5/minute; 9/hour")
    limiter.limit("k", "20/day burst 30")
    limiter.limit("k", 4, "250ms", algorithm="sliding_window_log")
    limiter.check("k")
    found = [
        None
        if event.rates is None
        else [(rate.rate, rate.per_millis, rate.burst, rate.algorithm) for rate in event.rates]
        for event in limiter.history("k")
    ]
    bucket = "token_bucket"
    assert found == [
        [(5, 60_000, 5, bucket), (9, 3_600_000, 9, bucket)],
        None,
        [(20, 86_400_000, 30, bucket)],
        [(4, 250, 4, "sliding_window_log")],
        None,
    ]


def test_an_explicit_limit_replaces_all_with_the_largest_use(limiter: flint.Limiter) -> None:
    limiter.check("k", cost=3, limit="5/day")
    limiter.check("k", cost=7, limit="10/day")
    limiter.limit("k", "20/day")
    status = limiter.status("k")
    assert status is not None
    assert (status.remaining, status.origin, len(status.counters), status.total_allowed) == (13, "explicit", 1, 2)
    assert status.counters[0].to_dict() == {
        name: value for name, value in status.to_dict().items() if name in status.counters[0]
    }


def test_a_waiter_that_gives_up_is_counted_on_its_counter(limiter: flint.Limiter) -> None:
    limiter.check("k", limit="1/day")
    limiter.check("k", limit="1/hour")
    with pytest.raises(flint.AcquireTimeout):
        limiter.acquire("k", limit="1/day", timeout=0)
    status = limiter.status("k")
    assert status is not None
    assert [(counter.per_millis, counter.total_denied) for counter in status.counters] == [
        (3_600_000, 0),
        (86_400_000, 1),
    ]


def test_metrics_have_series_of_each_counter_where_there_are_several(limiter: flint.Limiter) -> None:
    limiter.check("one", limit="5/minute")
    assert "counter" not in "".join(
        name for name in read(parse(prometheus_metrics(limiter))) if name.endswith("remaining")
    )
    limiter.check("several", cost=2, limit="5/minute; 9/hour")
    limiter.check("several", limit="4/day")
    limiter.check("several", cost=4, limit="4/day")
    found = read(parse(prometheus_metrics(limiter)))
    day = (("algorithm", "token_bucket"), ("key", "several"), ("limit", "4/day"))
    both = (("algorithm", "token_bucket,token_bucket"), ("key", "several"), ("limit", "5/minute; 9/hour"))
    assert found["flint_counter_remaining"] == {day: 3, both: 3}
    assert found["flint_counter_requests_allowed_total"] == {day: 1, both: 1}
    assert found["flint_counter_requests_denied_total"] == {day: 1, both: 0}
    assert found["flint_requests_allowed_total"][("algorithm", "token_bucket"), ("key", "several")] == 2
    assert found["flint_keys"] == {(): 2}
    summed = read(parse(prometheus_metrics(limiter, include_key_label=False)))
    assert summed["flint_requests_allowed_total"] == {(("algorithm", "token_bucket"),): 3}
    assert "flint_counter_remaining" not in summed
