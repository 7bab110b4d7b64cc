"""What can happen to a check on a connection that is open already: all of it is as on a new one."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.python.shared.conftest import MakeFake
from tests.python.shared.fake import (
    CHECK,
    Fake,
    Reply,
    check,
    header,
    message,
    problem,
    reset,
    say,
    say_and_close,
)

import flint

BODY = json.dumps(CHECK).encode()
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + BODY
LONG_HEAD = message(200, BODY, "X-Long: " + "x" * 10_000)


def in_portions(data: bytes, step: int) -> Reply:
    def reply(sock: socket.socket) -> bool:
        for start in range(0, len(data), step):
            sock.sendall(data[start : start + step])
        return True

    return reply


def opened(fake: MakeFake, *replies: Reply, **options: Any) -> tuple[Fake, flint.SharedLimiter]:
    """A client that has made one check, and its server, which does `replies` next."""
    server = fake(say(check(remaining=1)), *replies)
    client = flint.SharedLimiter(server.url, **options)
    assert client.check("k").remaining == 1
    return server, client


@pytest.mark.parametrize(
    ("reply", "stays"),
    [
        (say(check()), True),
        (in_portions(check(), 1), True),
        (in_portions(check(), 50), True),
        (say(LONG_HEAD), True),
        (say(CHUNKED), True),
        (say(message(200, BODY, "Connection: close")), False),
        (say_and_close(UNTIL_CLOSE), False),
        (say(check() + check(remaining=5)), False),
    ],
)
def test_every_way_to_answer(fake: MakeFake, reply: Reply, stays: bool) -> None:
    server, client = opened(fake, reply, say(check(remaining=3)))
    assert client.check("k", 1) == flint.CheckResult(
        True, "k", 1, 10, 9, 0, 5, 7, [flint.RateState(10, 1000, 10, "token_bucket", 9, 0, 5)]
    )
    assert client.check("k").remaining == 3
    assert server.connections == (1 if stays else 2)
    assert client._core.endpoint.pool.in_use == 0


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"hello\r\n\r\n", flint.FlintConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", flint.FlintConnectionError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, flint.FlintConnectionError),
        (message(200, b"{}"), flint.FlintServerError),
        (message(200, BODY, kind="text/html"), flint.FlintServerError),
        (message(200, BODY[:-1]), flint.FlintServerError),
        (message(302, b""), flint.FlintServerError),
        (problem(404, "limit_not_found", key="k"), flint.LimitNotFound),
        (problem(400, "invalid_cost"), flint.InvalidCost),
        (problem(500, "internal"), flint.FlintServerError),
    ],
)
def test_every_answer_that_is_none(fake: MakeFake, answer: bytes, error: type[Exception]) -> None:
    _, client = opened(fake, say(answer), say(check(remaining=3)), retries=0)
    with pytest.raises(error):
        client.check("k")
    assert client.check("k").remaining == 3
    assert client._core.endpoint.pool.in_use == 0


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_failing_server_is_asked_again_and_stands_for_none(fake: MakeFake, status: int) -> None:
    busy = problem(status, "busy", "Retry-After: 0")
    server, client = opened(fake, say(busy), say(check()), say(busy), say(busy), on_error="deny")
    assert client.check("k").remaining == 9
    denied = client.check("k")
    assert (denied.allowed, denied.degraded) == (False, True)
    keys = [header(request, "Idempotency-Key") for request in server.requests]
    assert keys[1] == keys[2]
    assert keys[3] == keys[4] != keys[1]


def test_a_connection_that_broke_off_is_opened_again_with_the_same_request(fake: MakeFake) -> None:
    server, client = opened(fake, reset, say(check()), retries=0)
    assert client.check("k").remaining == 9
    assert server.requests[1] == server.requests[2]
    assert server.connections == 2


def test_no_call_waits_longer_than_the_timeout(fake: MakeFake) -> None:
    go = threading.Event()

    def silent(sock: socket.socket) -> bool:
        return go.wait(60)

    _, client = opened(fake, silent, say(check()))
    client._core.timeout = 0.2
    with pytest.raises(flint.FlintConnectionError, match="has not answered in time"):
        client.check("k")
    client._core.timeout = 10
    go.set()
    assert client.check("k").remaining == 9


def test_no_call_waits_longer_than_the_timeout_for_its_request_to_be_read(fake: MakeFake) -> None:
    """The request fills the buffers of both ends, and the server does not read."""
    go = threading.Event()

    def deaf(sock: socket.socket) -> bool:
        sock.sendall(check())
        return go.wait(60) and False

    server = fake(deaf)
    client = flint.SharedLimiter(server.url)
    client.check("k")
    client._core.timeout = 0.2
    with pytest.raises(flint.FlintConnectionError, match="has not answered in time"):
        client.limit_many({"key": f"{number}" * 100, "rate": "1/s"} for number in range(20_000))
    go.set()


def test_threads_and_loops_take_turns_on_one_connection(fake: MakeFake) -> None:
    server, client = opened(fake, *[say(check(remaining=number)) for number in range(6)])
    remaining = []
    for _ in range(3):
        remaining += [client.check("k").remaining, asyncio.run(client.acheck("k")).remaining]
    assert remaining == [0, 1, 2, 3, 4, 5]
    assert server.connections == 1


class InterruptionError(Exception):
    """What a test's signal handler raises."""


OnSignal = Callable[[Callable[[], None]], None]


@pytest.fixture
def on_signal() -> Iterator[OnSignal]:
    """Sets what SIGUSR1 does in this test."""

    def do(handler: Callable[[], None]) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: handler())

    before = signal.getsignal(signal.SIGUSR1)
    yield do
    signal.signal(signal.SIGUSR1, before)


def signalling(answer: bytes) -> Reply:
    """Sends the main thread a signal, waits until it had to notice, and answers."""
    main = threading.main_thread().ident
    assert main is not None

    def reply(sock: socket.socket) -> bool:
        # A signal that comes just before the main thread begins to wait does not wake it.
        for _ in range(30):
            signal.pthread_kill(main, signal.SIGUSR1)
            if handled.wait(1):
                break
        sock.sendall(answer)
        return True

    return reply


handled = threading.Event()


def test_a_signal_whose_handler_returns_does_not_end_a_check(fake: MakeFake, on_signal: OnSignal) -> None:
    handled.clear()
    on_signal(handled.set)
    server, client = opened(fake, signalling(check()))
    assert client.check("k").remaining == 9
    assert handled.is_set()
    assert len(server.requests) == 2, "it was asked once"


def test_a_signal_whose_handler_raises_ends_a_check(fake: MakeFake, on_signal: OnSignal) -> None:
    handled.clear()

    def interrupt() -> None:
        handled.set()
        raise InterruptionError

    on_signal(interrupt)
    server, client = opened(fake, signalling(check(remaining=2)), say(check(remaining=3)))
    with pytest.raises(InterruptionError):
        client.check("k")
    assert client.check("k").remaining == 3, "the answer to an interrupted check is dropped"
    assert server.connections == 2
    assert client._core.endpoint.pool.in_use == 0


def test_bad_arguments_leave_the_connection_alone(fake: MakeFake) -> None:
    server, client = opened(fake, say(check()))
    with pytest.raises(TypeError):
        client.check(5)  # type: ignore[arg-type]
    with pytest.raises(flint.InvalidCost):
        client.check("k", -1)
    with pytest.raises(flint.InvalidLimit):
        client.check("k", limit="nonsense")
    client.check("k")
    assert server.connections == 1
    assert len(server.requests) == 2
