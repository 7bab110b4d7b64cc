"""What can go wrong between a client and its server, and what the caller learns of it."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.python.backends import running
from tests.python.shared.conftest import MakeFake
from tests.python.shared.fake import CHECK, check, header, message, problem, reset, say, say_and_close

import flint
from flint._native import Server

EXACT = json.dumps(CHECK).encode()


def both(client: flint.SharedLimiter, error: type[Exception]) -> list[Exception]:
    """What check() and acheck() raise."""
    with pytest.raises(error) as blocking:
        client.check("k")
    with pytest.raises(error) as awaited:
        asyncio.run(client.acheck("k"))
    return [blocking.value, awaited.value]


@pytest.mark.parametrize("kind", ["unix", "http"])
def test_a_server_that_does_not_listen(kind: str, place: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"unix://{place}/s" if kind == "unix" else f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = flint.SharedLimiter(url, token="secret-token", retries=0)
        for error in both(client, flint.FlintConnectionError):
            assert url in str(error)
            assert "flint --data-dir DIR server start" in str(error)
            assert "secret-token" not in str(error) + repr(client)
            assert isinstance(pickle.loads(pickle.dumps(error)), flint.FlintConnectionError)


def test_a_lost_answer_is_asked_for_again_with_the_same_idempotency_key(fake: MakeFake) -> None:
    server = fake(reset, say(check()), say(check()))
    client = flint.SharedLimiter(server.url)
    assert client.check("k").remaining == 9
    client.check("k")
    keys = [header(request, "Idempotency-Key") for request in server.requests]
    assert keys[0] == keys[1]
    assert keys[1] != keys[2]
    assert server.requests[0] == server.requests[1]


def test_retries_are_counted(fake: MakeFake) -> None:
    server = fake(*[reset] * 9)
    both(flint.SharedLimiter(server.url, retries=0), flint.FlintConnectionError)
    assert len(server.requests) == 2
    both(flint.SharedLimiter(server.url, retries=2), flint.FlintConnectionError)
    assert len(server.requests) == 8


def test_a_connection_that_ended_while_idle_costs_no_retry(fake: MakeFake) -> None:
    server = fake(say_and_close(check()), say_and_close(check(remaining=5)), say(check(remaining=4)))
    client = flint.SharedLimiter(server.url, retries=0)
    assert client.check("k").remaining == 9
    server.ended.acquire()
    assert client.check("k").remaining == 5
    server.ended.acquire()
    assert asyncio.run(client.acheck("k")).remaining == 4
    assert server.connections == 3


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 20_000,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 65 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_not_read_on(fake: MakeFake, garbage: bytes) -> None:
    server = fake(say(garbage), say(garbage))
    client = flint.SharedLimiter(server.url, retries=0)
    for error in both(client, flint.FlintConnectionError):
        assert "is not understood" in str(error)
    assert server.connections == 2, "such a connection is not used again"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"5;x=y\r\n%b\r\n%X\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (EXACT[:5], len(EXACT) - 5, EXACT[5:]),
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(EXACT), EXACT),
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + EXACT,
    ],
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_every_way_to_frame_an_answer_in_every_portion(fake: MakeFake, answer: bytes, step: int) -> None:
    def reply(sock: socket.socket) -> bool:
        for start in range(0, len(answer), step):
            sock.sendall(answer[start : start + step])
        return not answer.startswith(b"HTTP/1.0")

    server = fake(reply, reply)
    client = flint.SharedLimiter(server.url, retries=0)
    expected = flint.CheckResult(True, "k", 1, 10, 9, 0, 5, 7, [flint.RateState(10, 1000, 10, "token_bucket", 9, 0, 5)])
    assert client.check("k") == expected
    assert asyncio.run(client.acheck("k")) == expected
    assert server.connections == (2 if answer.startswith(b"HTTP/1.0") else 1)


def test_a_redirect_is_not_followed(fake: MakeFake) -> None:
    server = fake(*[say(message(302, b"", "Location: http://127.0.0.1:1/"))] * 2)
    for error in both(flint.SharedLimiter(server.url), flint.FlintServerError):
        assert isinstance(error, flint.FlintServerError)
        assert error.status == 302
        assert "redirects are not followed" in str(error)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        message(200, EXACT, kind="text/html"),
        message(200, b"{"),
        message(200, b"[]"),
        message(200, b"{}"),
        check(allowed="yes"),
        check(remaining=-1),
        check(rates=[[[1, 2, 3, "magic"], 1, 2, 3]]),
    ],
)
def test_an_answer_of_something_else(fake: MakeFake, answer: bytes) -> None:
    server = fake(say(answer), say(answer))
    for error in both(flint.SharedLimiter(server.url), flint.FlintServerError):
        assert isinstance(error, flint.FlintServerError)
        assert (error.status, error.code) == (200, "not_understood")
        assert server.url in str(error)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "invalid_key", flint.InvalidKey),
        (400, "invalid_limit", flint.InvalidLimit),
        (400, "invalid_cost", flint.InvalidCost),
        (400, "invalid_argument", flint.InvalidArgument),
        (400, "invalid_json", flint.InvalidArgument),
        (404, "limit_not_found", flint.LimitNotFound),
    ],
)
def test_what_the_server_refuses_is_raised_as_if_embedded(
    fake: MakeFake, status: int, code: str, error: type[flint.FlintError]
) -> None:
    server = fake(*[say(problem(status, code, key="k"))] * 2)
    for raised in both(flint.SharedLimiter(server.url), error):
        assert type(raised) is error
        assert str(raised) == "the detail"
        assert getattr(raised, "key", "k") == "k"
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthorized"), (403, "forbidden"), (404, "not_found"), (422, "idempotency_mismatch"), (500, "internal")],
)
def test_other_problems_have_status_and_code(fake: MakeFake, status: int, code: str) -> None:
    server = fake(*[say(problem(status, code))] * 2)
    for error in both(flint.SharedLimiter(server.url, token="secret-token"), flint.FlintServerError):
        assert isinstance(error, flint.FlintServerError)
        again = pickle.loads(pickle.dumps(error))
        assert (again.status, again.code, str(again)) == (status, code, str(error))
        assert "the detail" in str(error)
        assert "secret-token" not in str(error)
    assert len(server.requests) == 2, "repeating would change nothing"


def test_a_busy_server_says_when_to_come_again(fake: MakeFake, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    server = fake(say(problem(503, "busy", "Retry-After: 3")), say(check()))
    assert flint.SharedLimiter(server.url).check("k").allowed
    assert slept == [3.0]


def test_no_call_waits_longer_than_the_timeout(fake: MakeFake, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    server = fake(*[say(problem(503, "busy", "Retry-After: 60"))] * 2)
    for error in both(flint.SharedLimiter(server.url, timeout=30), flint.FlintServerError):
        assert isinstance(error, flint.FlintServerError)
        assert (error.status, error.code) == (503, "busy")
    assert slept == []


# Long enough for several retries; a call that were bounded by its retries alone would take a minute and a half.
TIMEOUT_S = 0.4


@contextmanager
def bounded() -> Iterator[None]:
    """Two calls, one after the other, have to end by their timeout: tenfold that is far below any other bound."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 2 * 10 * TIMEOUT_S


def test_the_timeout_bounds_a_call_whose_connection_is_reset_again_and_again(fake: MakeFake) -> None:
    server = fake(*[reset] * 202)
    # The pause that no longer fits begins in the middle of this time, so that it is not the answer that is late.
    client = flint.SharedLimiter(server.url, timeout=1.5, retries=100)
    with bounded():
        for error in both(client, flint.FlintConnectionError):
            assert "broke before the answer came" in str(error)
    assert 2 < len(server.requests) < 202, "it was tried again, and not to the end"


@contextmanager
def not_accepting(kind: str, place: Path) -> Iterator[str]:
    """The URL of a listener whose queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET))
        listener.bind(str(place / "full") if kind == "unix" else ("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(100):
            waiting = stack.enter_context(socket.socket(listener.family))
            waiting.settimeout(0.1)
            try:
                waiting.connect(address)
            except (TimeoutError, BlockingIOError):
                break
        else:
            pytest.fail("the queue has no end")
        yield f"unix://{address}" if kind == "unix" else f"http://127.0.0.1:{address[1]}"


@pytest.mark.parametrize("retries", [0, 100])
@pytest.mark.parametrize("kind", ["unix", "http"])
def test_the_timeout_bounds_a_connection_that_is_not_accepted(kind: str, retries: int, place: Path) -> None:
    with not_accepting(kind, place) as url, bounded():
        client = flint.SharedLimiter(url, timeout=TIMEOUT_S, retries=retries)
        blocking, awaited = both(client, flint.FlintConnectionError)
        for error in (blocking, awaited):
            assert f"the server at {url} has not accepted a connection in time" in str(error)


def test_the_timeout_bounds_a_name_with_many_addresses(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with not_accepting("http", place) as url, bounded():
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        found = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [found] * 100)
        both(flint.SharedLimiter(url, timeout=TIMEOUT_S, retries=0), flint.FlintConnectionError)


def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent, socket.create_server(("127.0.0.1", 0)) as listener:
        silent.bind(("127.0.0.1", 0))
        places = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", each.getsockname()) for each in (silent, listener)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
        client = flint.SharedLimiter("http://flint.example:7878", timeout=2, retries=0)
        for error in both(client, flint.FlintConnectionError):
            assert "has not answered in time" in str(error), "it was connected"


def test_a_call_larger_than_a_server_takes_is_refused_before_it_is_sent(fake: MakeFake) -> None:
    server = fake()
    client = flint.SharedLimiter(server.url, on_error="allow")
    items = [(f"{number}".ljust(80, "x"), 1) for number in range(1_000)]
    specs = [{"key": f"{number}".ljust(400, "x"), "rate": "1/s"} for number in range(50_000)]
    for call in (lambda: client.check_all(items), lambda: client.limit_many(specs)):
        with pytest.raises(flint.InvalidArgument, match=r"a server accepts \d+ at a time: make several calls"):
            call()
    assert server.requests == []


def test_proxies_of_the_environment_are_not_used(limiter: flint.Limiter, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, running(Server(limiter, bind="127.0.0.1:0")) as url:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            for variable in (name, name.upper()):
                monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        limiter.limit("k", "10/day")
        with flint.SharedLimiter(url, retries=0) as client:
            assert client.check("k").remaining == 9
            assert asyncio.run(client.acheck("k")).remaining == 8
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
