"""Parsed calls: what each executor makes of the same value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flint
from flint import _native
from flint.testing import ManualClock

CALLS: dict[str, Callable[[], Any]] = {
    "check": lambda: _native._CheckCall("k", 1, None),
    "attempt": lambda: _native._AttemptCall("k", 1, None),
    "check_all": lambda: _native._CheckAllCall(["k", ("l", 2)]),
    "peek": lambda: _native._PeekCall("k", 1, None),
    "forecast": lambda: _native._ForecastCall("k", 1, None, [1, 2]),
    "deny": lambda: _native._DenyCall("k", 1, None),
    "limit": lambda: _native._LimitCall("k", "5/day", None, None, "keep"),
    "limit_many": lambda: _native._LimitManyCall([{"key": "k", "rate": "7/day"}]),
    "reset": lambda: _native._ResetCall("k"),
    "delete": lambda: _native._DeleteCall("l"),
    "status": lambda: _native._StatusCall("nothing"),
    "list": lambda: _native._ListCall(None, None, None),
    "top": lambda: _native._TopCall("allowed", 3),
    "history": lambda: _native._HistoryCall("k", 3),
    "flush": _native._FlushCall,
    "compact": _native._CompactCall,
    "doctor": _native._DoctorCall,
    "counters": _native._CountersCall,
}


def codec() -> _native._Codec:
    return _native._Codec(b"Host: localhost\r\n", bytes(16))


@pytest.fixture(params=["always", "batch"])
def limiter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[flint.Limiter]:
    with flint.Limiter(tmp_path / "data", sync=request.param, clock=ManualClock()) as limiter:
        limiter.limit("k", "5/day")
        limiter.limit("l", "5/day")
        yield limiter


async def finished(started: Any) -> Any:
    return await started if hasattr(started, "__await__") else started


@pytest.mark.parametrize("name", CALLS)
def test_a_start_returns_a_result_or_an_awaitable_and_never_none(limiter: flint.Limiter, name: str) -> None:
    blocking = limiter._run(CALLS["status" if name == "delete" else name]())

    async def main() -> Any:
        started = limiter._start(CALLS[name]())
        assert started is not None
        return await finished(started)

    assert name in ("delete", "status") or type(asyncio.run(main())) is type(blocking)
    if name == "status":
        assert asyncio.run(main()) is blocking is None


def test_a_call_is_executed_any_number_of_times(limiter: flint.Limiter) -> None:
    call = _native._CheckCall("k", 2, None)
    assert limiter._run(call).remaining == 3
    assert limiter._run(call).remaining == 1
    assert not limiter._run(call).allowed


def test_without_a_loop_nothing_is_decided(tmp_path: Path) -> None:
    with flint.Limiter(tmp_path / "data", sync="always") as limiter:
        limiter.limit("k", "5/day")
        with pytest.raises(RuntimeError, match="event loop"):
            limiter._start(_native._CheckCall("k", 1, None))
        assert limiter.check("k").remaining == 4


def test_bounds_are_checked_once_while_the_call_is_parsed(limiter: flint.Limiter) -> None:
    """Both variants read one item beyond the bound of an endless iterable, and each item of a generator once."""
    seen = 0

    def endless() -> Iterator[str]:
        nonlocal seen
        while True:
            seen += 1
            yield f"key-{seen}"

    with pytest.raises(flint.InvalidArgument, match="1000"):
        limiter.check_all(endless())
    assert seen == 1001
    seen = 0
    with pytest.raises(flint.InvalidArgument, match="1000"):
        asyncio.run(limiter.acheck_all(endless()))
    assert seen == 1001

    taken: list[str] = []

    def once() -> Iterator[str]:
        for key in ("k", "l"):
            taken.append(key)
            yield key

    assert asyncio.run(limiter.acheck_all(once())).allowed
    assert taken == ["k", "l"]


def test_a_forecast_is_a_denial_that_waits_for_the_whole_queue(limiter: flint.Limiter) -> None:
    limiter.check("k", 5)
    one, two = (limiter._run(_native._ForecastCall("k", 1, None, costs)) for costs in ([1], [1, 1]))
    assert not one.allowed
    assert one.retry_after_ns < two.retry_after_ns
    alone = limiter._run(_native._ForecastCall("k", 1, None, None))
    assert alone.retry_after_ns == limiter.peek("k").retry_after_ns
    assert alone.rates == limiter.peek("k").rates


@pytest.mark.parametrize("name", CALLS)
def test_a_request_has_a_route_of_the_server(name: str) -> None:
    from_call = codec().encode(CALLS[name]())
    head, _, body = from_call.partition(b"\r\n\r\n")
    method, target, version = head.split(b"\r\n")[0].split(b" ")
    assert method in (b"GET", b"POST", b"DELETE")
    assert target.startswith(b"/v1/")
    assert version == b"HTTP/1.1"
    assert (b"Idempotency-Key: " in head) == (name in ("check", "attempt", "check_all"))
    if body:
        assert f"Content-Length: {len(body)}".encode() in head
        json.loads(body)


def test_each_encoding_has_an_idempotency_key_of_its_own() -> None:
    made, call = codec(), CALLS["check"]()
    assert made.encode(call) != made.encode(call)


def test_only_a_counted_denial_must_not_be_repeated() -> None:
    assert [name for name, make in CALLS.items() if not codec().is_repeatable(make())] == ["deny"]


def test_a_list_goes_on_where_a_full_page_ended() -> None:
    rate = flint.Rate(5, 1000, 5, "token_bucket")

    def page(length: int) -> list[flint.LimitStatus]:
        return [
            flint.LimitStatus(f"k{index:05}", [rate], 0, "explicit", False, 5, 0, 0, 0, 0, 0, 0, None, None, None)
            for index in range(length)
        ]

    def target(call: Any) -> bytes:
        return codec().encode(call).split(b" ")[1]

    every = _native._ListCall("k", None, None)
    assert target(every) == b"/v1/limits?limit=10000&prefix=k"
    assert every.rest(page(9_999)) is None
    assert target(every.rest(page(10_000))) == b"/v1/limits?limit=10000&prefix=k&after=k09999"
    some = _native._ListCall(None, 10_001, None)
    rest = some.rest(page(10_000))
    assert rest is not None
    assert target(rest) == b"/v1/limits?limit=1&after=k09999"
    assert rest.rest(page(1)) is None
    assert _native._ListCall(None, 2, None).rest(page(2)) is None


def test_a_body_of_something_else_is_refused() -> None:
    for name in ("check", "check_all", "status", "list", "history", "doctor", "counters"):
        with pytest.raises(ValueError, match="its body"):
            codec().decode(CALLS[name](), b"{}[", 0)


def test_a_call_is_of_a_class_of_flint(limiter: flint.Limiter) -> None:
    with pytest.raises(TypeError):
        limiter._run("check")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="_RecordsCall"):
        limiter._run(_native._RecordsCall(0, 1))
    with pytest.raises(TypeError):
        _native._Call()
