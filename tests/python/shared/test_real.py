"""A client and the server, where they have to understand each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.python.backends import running
from tests.python.certificates import Files

import flint
from flint._native import Server

LIMITS = [
    flint.Limit("100/minute"),
    flint.Limit(7, "250ms"),
    flint.Limit(2**63, timedelta(days=365)),
    flint.Limit("100/m burst 200"),
    flint.Limit("10/s; 100/m burst 200"),
    flint.Limit(5, "1m", algorithm="sliding_window_log"),
    flint.Limit(["1/s", flint.Limit("5/3m", algorithm="fixed_window_counter"), flint.Limit("9/h burst 3")]),
]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_a_limit_arrives_as_it_is(limiter: flint.Limiter, client: flint.SharedLimiter, limit: flint.Limit) -> None:
    client.limit("set", limit)
    asyncio.run(client.alimit("aset", limit))
    asyncio.run(limiter.alimit("embedded", limit))
    client.limit_many([{"key": "many", "rate": limit}])
    client.check("call", limit=limit)
    client.check_all([{"key": "all", "limit": limit}])
    assert client.peek("peek", limit=limit).limit == client.peek("set").limit
    for key in ("set", "aset", "embedded", "many", "call", "all"):
        status = limiter.status(key)
        assert status is not None
        assert status.rates == limit.rates
        assert client.status(key) == status


def test_changes_arrive(limiter: flint.Limiter, client: flint.SharedLimiter) -> None:
    client.limit("k", "10/hour")
    client.check("k", 10)
    client.limit("k", "20/hour", on_change="reset")
    assert client.peek("k", 20).allowed
    client.check("k", 20)
    client.limit_many([{"key": "k", "rate": "30/hour", "on_change": "reset"}])
    assert limiter.peek("k", 30).allowed


KEYS = ["k", "a/b", "a b", "ä€😀", "?&=#%2F+", '"\\', "\x00\x7f\n", "x" * 512]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_every_key_works_everywhere(limiter: flint.Limiter, client: flint.SharedLimiter, key: str) -> None:
    client.limit(key, "10/hour")
    assert client.check(key).key == key
    assert client.check_all([key]).results[0].key == key
    assert client.peek(key, 8).remaining == 0
    status = client.status(key)
    assert status is not None
    assert status.key == key
    assert [found.key for found in client.list(prefix=key)] == [key]
    assert client.list(after=key) == []
    assert [event.type for event in client.history(key)] == ["LIMIT_CONFIGURED", "ALLOW", "ALLOW_ALL"]
    client.reset(key)
    assert limiter.peek(key, 10).allowed
    client.delete(key)
    assert client.status(key) is None
    with pytest.raises(flint.LimitNotFound) as caught:
        client.delete(key)
    assert caught.value.key == key


def test_long_lists_come_in_pages(limiter: flint.Limiter, client: flint.SharedLimiter) -> None:
    """A server answers with at most 10,000 statuses."""
    limiter.limit_many({"key": f"k{n:05}", "rate": "1/s"} for n in range(20_003))
    everything = limiter.list()
    for limit in (None, 0, 1, 10_000, 10_001, 20_000, 20_003, 30_000):
        assert client.list(limit=limit) == everything[:limit]
    for limit in (None, 10_001):
        assert asyncio.run(client.alist(limit=limit)) == everything[:limit]
        assert client.list("k", limit, "k00002") == everything[3:][:limit]


def test_reports_are_those_of_the_limiter(limiter: flint.Limiter, client: flint.SharedLimiter) -> None:
    limiter.limit("k", "10/hour")
    client.check("k")
    client.flush()
    assert client.counters() == limiter.counters()
    assert asyncio.run(client.acounters()) == limiter.counters()
    assert client.doctor() == limiter.doctor()
    assert client.top("allowed") == limiter.top("allowed")


def test_errors_are_those_of_the_limiter(limiter: flint.Limiter, client: flint.SharedLimiter) -> None:
    limiter.limit("k", "10/hour")
    calls: list[Callable[[flint.Limiter | flint.SharedLimiter], object]] = [
        lambda each: each.check("unknown"),
        lambda each: each.check("k", 0),
        lambda each: each.check("k", 11),
        lambda each: each.check(""),
        lambda each: each.check("x" * 513),
        lambda each: each.check_all([]),
        lambda each: each.check_all(["k", "k"]),
        lambda each: each.limit("k", "0/s"),
        lambda each: each.limit_many([{"key": "a", "rate": "1/s"}, {"key": "a", "rate": "2/s"}]),
        lambda each: each.limit_many([{"key": "a", "rate": "1/x"}]),
        lambda each: each.status(""),
        lambda each: each.reset("unknown"),
        lambda each: each.delete("unknown"),
        lambda each: each.history(""),
        lambda each: each.top("x"),
        lambda each: each.top(limit=-1),
        lambda each: each.list(limit=True),
        lambda each: each.acquire("k", 11),
    ]
    for call in calls:
        raised = []
        for each in (limiter, client):
            with pytest.raises((flint.FlintError, TypeError)) as caught:
                call(each)
            raised.append((type(caught.value), str(caught.value)))
        assert raised[0] == raised[1]


def test_tokens(limiter: flint.Limiter, place: Path) -> None:
    limiter.limit("k", "10/hour")
    with running(Server(limiter, unix=place / "s", token="right" * 8)) as url:
        assert flint.SharedLimiter(url, "right" * 8).check("k").allowed
        for token in (None, "wrong"):
            with pytest.raises(flint.FlintServerError, match="token=") as caught:
                flint.SharedLimiter(url, token).check("k")
            assert (caught.value.status, caught.value.code) == (401, "unauthorized")


def test_https_checks_certificate_and_name(
    limiter: flint.Limiter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, "localhost")
    limiter.limit("k", "10/hour")
    server = Server(limiter, bind="127.0.0.1:0", tls_cert=files.cert, tls_key=files.key)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with running(server) as url:
        trusting = files.context()
        named = url.replace("127.0.0.1", "localhost")
        with flint.SharedLimiter(named, ssl_context=trusting) as client:
            assert client.check("k").remaining == 9
            assert asyncio.run(client.acheck("k")).remaining == 8
            client.limit_many({"key": f"many-{n}", "rate": "1/s"} for n in range(5_000))
            assert len(client.list(prefix="many-")) == 5_000
            assert len(asyncio.run(client.alist(prefix="many-"))) == 5_000
        for place_of, context in ((url, trusting), (named, None)):
            with (
                flint.SharedLimiter(place_of, ssl_context=context, retries=5) as client,
                pytest.raises(flint.FlintConnectionError, match=r"no TLS with .* certificate verify failed"),
            ):
                client.check("k")
            with (
                flint.SharedLimiter(place_of, ssl_context=context, retries=0) as client,
                pytest.raises(flint.FlintConnectionError, match=r"no TLS with .* certificate verify failed"),
            ):
                asyncio.run(client.acheck("k"))
        assert slept == [], "what is not trusted is not trusted a moment later"


def test_a_restart_in_mid_traffic(data_dir: Path, place: Path) -> None:
    """Errors only while the server is down, and nothing has to be done afterwards."""
    client = flint.SharedLimiter(f"unix://{place}/s", retries=0)
    for round_ in range(3):
        with flint.Limiter(data_dir, sync="batch") as limiter:
            limiter.limit("k", "100/day burst 100", algorithm="token_bucket")
            with running(Server(limiter, unix=place / "s")):
                assert client.check("k").allowed
                assert asyncio.run(client.acheck("k")).allowed
                status = limiter.status("k")
                assert status is not None
                assert status.total_allowed == 2 * (round_ + 1)
        with pytest.raises(flint.FlintConnectionError):
            client.check("k")
