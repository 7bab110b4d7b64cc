"""`on_error`: what a client answers when no server does."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.python.certificates import Files
from tests.python.shared.conftest import MakeFake
from tests.python.shared.fake import message, problem, say

import flint
from flint._native import Server
from flint.testing import ManualClock

Call = Callable[[flint.SharedLimiter], Any]

CHECKS: dict[str, Call] = {
    "check": lambda client: client.check("k", 3),
    "acheck": lambda client: asyncio.run(client.acheck("k", 3)),
}
ITEMS: list[Any] = ["a", ("b", 2), {"key": "c", "cost": 4}]
ALL: dict[str, Call] = {
    "check_all": lambda client: client.check_all(iter(ITEMS)),
    "acheck_all": lambda client: asyncio.run(client.acheck_all(iter(ITEMS))),
}
OTHERS: dict[str, Call] = {
    "peek": lambda client: client.peek("k"),
    "status": lambda client: client.status("k"),
    "limit": lambda client: client.limit("k", "1/s"),
    "flush": lambda client: client.flush(),
}


def absent(place: Path, on_error: str) -> flint.SharedLimiter:
    return flint.SharedLimiter(f"unix://{place}/absent", on_error=on_error, retries=0)


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("on_error", ["allow", "deny"])
def test_a_check_without_a_server(place: Path, on_error: str, name: str) -> None:
    result = CHECKS[name](absent(place, on_error))
    assert type(result) is flint.CheckResult
    assert result.degraded is True
    assert (result.allowed, result.key, result.cost) == (on_error == "allow", "k", 3)
    assert (result.limit, result.remaining, result.rates) == (0, 0, ())
    assert result.retry_after == (0.0 if result.allowed else 1.0)
    assert pickle.loads(pickle.dumps(result)).degraded
    assert "degraded" not in result.to_dict()


def test_the_log_says_that_there_is_no_server(
    place: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = absent(place, "allow")
    with caplog.at_level(logging.WARNING, "flint"):
        results = [client.check("k"), client.check_all(["a", "b"]), asyncio.run(client.acheck("k"))]
        assert all("degraded=True" in repr(result) for result in results)
        (record,) = caplog.records
        assert "'allow' without a server" in record.getMessage()
        assert client.url in record.getMessage()
        # A minute later, again.
        monkeypatch.setattr(client._core.error_policy, "_warned_at", client._core.error_policy._warned_at - 60)
        client.check("k")
        assert len(caplog.records) == 2


def test_a_denial_without_a_server_is_returned_as_one(place: Path) -> None:
    client = absent(place, "deny")
    decorated = client.rate_limit("k", "1/s")(lambda: None)
    with pytest.raises(flint.RateLimitExceeded, match="no server answered"):
        decorated()
    with pytest.raises(flint.AcquireTimeout, match="no server answered"):
        client.acquire("k", timeout=0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("on_error", ["allow", "deny"])
def test_a_check_of_several_keys_without_a_server(place: Path, on_error: str, name: str) -> None:
    result = ALL[name](absent(place, on_error))
    assert result.degraded is True
    assert result.allowed is (on_error == "allow")
    assert result.denied_key == (None if result.allowed else "a")
    assert [(part.key, part.cost, part.degraded, part.allowed) for part in result.results] == [
        (key, cost, True, result.allowed) for key, cost in (("a", 1), ("b", 2), ("c", 4))
    ]
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.degraded


@pytest.mark.parametrize("on_error", ["allow", "deny"])
def test_the_decisions_alone_without_a_server(place: Path, on_error: str) -> None:
    client = absent(place, on_error)
    expected = on_error == "allow"
    assert client.allow("k") is expected
    assert client.allow_all(["k"]) is expected
    assert asyncio.run(client.aallow("k")) is expected
    assert asyncio.run(client.aallow_all(["k"])) is expected


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_else_is_answered_without_a_server(place: Path, name: str) -> None:
    with pytest.raises(flint.FlintConnectionError):
        OTHERS[name](absent(place, "allow"))


@pytest.mark.parametrize("name", [*CHECKS, *ALL])
def test_without_on_error_it_is_raised(place: Path, name: str) -> None:
    with pytest.raises(flint.FlintConnectionError):
        {**CHECKS, **ALL}[name](flint.SharedLimiter(f"unix://{place}/absent", retries=0))


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_is_as_none(fake: MakeFake, status: int) -> None:
    server = fake(say(problem(status, "internal")))
    assert flint.SharedLimiter(server.url, on_error="allow", retries=0).check("k").degraded


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (404, "limit_not_found"), (400, "invalid_key")])
def test_what_the_server_says_about_the_call_is_raised(fake: MakeFake, status: int, code: str) -> None:
    server = fake(say(problem(status, code)))
    with pytest.raises(flint.FlintError):
        flint.SharedLimiter(server.url, on_error="allow").check("k")


def test_bad_arguments_are_raised_before_anything_is_sent(place: Path) -> None:
    client = absent(place, "allow")
    for call, error in (
        (lambda: client.check("k", True), flint.InvalidCost),
        (lambda: client.check("\ud800"), flint.InvalidKey),
        (lambda: client.check("k", limit="1/fortnight"), flint.InvalidLimit),
        (lambda: client.check(1), TypeError),  # type: ignore[arg-type]
        (lambda: client.check_all("k"), TypeError),
        (lambda: client.check_all([("k",)]), flint.InvalidArgument),  # type: ignore[list-item]
    ):
        with pytest.raises(error):
            call()


def test_waiting_without_a_server(place: Path) -> None:
    allowing = absent(place, "allow")
    for result in (allowing.acquire("k"), asyncio.run(allowing.aacquire("k", timeout=0))):
        assert result.allowed
        assert result.degraded
    denying = absent(place, "deny")
    denying._queues.clock = ManualClock()
    with pytest.raises(flint.AcquireTimeout) as caught:
        denying.acquire("k", timeout=0.5)
    assert caught.value.result.degraded
    with pytest.raises(flint.AcquireTimeout) as caught:
        asyncio.run(denying.aacquire("k", timeout=0.5))
    assert caught.value.result.degraded
    with pytest.raises(flint.FlintConnectionError):
        flint.SharedLimiter(f"unix://{place}/absent", retries=0).acquire("k")


def test_results_of_a_server_are_not_degraded(limiter: flint.Limiter, client: flint.SharedLimiter) -> None:
    limiter.limit("k", "10/hour")
    for result in (client.check("k"), limiter.check("k"), client.check_all(["k"]), limiter.check_all(["k"])):
        assert result.degraded is False
    assert flint.CheckResult(True, "k", 1, 1, 1) != flint.CheckResult(True, "k", 1, 1, 1, degraded=True)
    assert json.dumps(client.check("k").to_dict()).count("degraded") == 0


DEEP = [b"[" * 60_000, b'{"a":' * 12_000, b'{"code":' + b"[" * 60_000, b"[" * 2**20]


@pytest.mark.parametrize("body", DEEP, ids=range(len(DEEP)))
@pytest.mark.parametrize("name", [*CHECKS, *ALL])
def test_an_error_nested_without_end_is_a_server_that_fails(fake: MakeFake, name: str, body: bytes) -> None:
    answer = say(message(500, body, kind="application/problem+json"))
    url = fake(answer, answer, answer).url
    for on_error in ("allow", "deny", "raise"):
        client = flint.SharedLimiter(url, on_error=on_error, retries=0)
        if on_error == "raise":
            with pytest.raises(flint.FlintServerError, match="answered 500"):
                (CHECKS | ALL)[name](client)
        else:
            assert (CHECKS | ALL)[name](client).allowed == (on_error == "allow")


def test_a_detail_that_no_stream_can_write(fake: MakeFake) -> None:
    body = b'{"title": "t", "status": 400, "code": "invalid_key", "detail": "\\ud800"}'
    client = flint.SharedLimiter(fake(say(message(400, body, kind="application/problem+json"))).url)
    with pytest.raises(flint.InvalidKey) as raised:
        client.check("k")
    assert str(raised.value).encode() == b"\\ud800"


@pytest.mark.parametrize("name", [*CHECKS, *ALL])
@pytest.mark.parametrize("trusted", [False, True], ids=["authority", "name"])
def test_a_certificate_that_is_not_accepted_never_allows(
    limiter: flint.Limiter, tmp_path: Path, name: str, trusted: bool
) -> None:
    """Of an authority that the client does not know, or for another name."""
    files = Files(tmp_path / "tls", "elsewhere.example")
    limiter.limit("k", "9/s")
    server = Server(limiter, bind="127.0.0.1:0", tls_cert=files.cert, tls_key=files.key)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        (url,) = server.urls
        context = files.context() if trusted else None
        for on_error in ("allow", "raise"):
            client = flint.SharedLimiter(url, on_error=on_error, ssl_context=context)
            with pytest.raises(flint.FlintConnectionError, match="certificate") as raised:
                (CHECKS | ALL)[name](client)
            assert type(pickle.loads(pickle.dumps(raised.value))) is flint.FlintConnectionError
        denying = flint.SharedLimiter(url, on_error="deny", ssl_context=context)
        assert not (CHECKS | ALL)[name](denying).allowed
    finally:
        server.stop()
        thread.join()
