"""What a client reads at most, and how long: whatever the other end does, a call ends."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.python.shared.conftest import MakeFake
from tests.python.shared.fake import Reply, check, say

import flint
from flint._client import response

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
KILOBYTE = b"400\r\n" + b" " * 1024 + b"\r\n"
LONG_ENOUGH_S = 30.0


def endless(opening: bytes, more: bytes, sent: list[int], pause_s: float = 0.0) -> Reply:
    """Sends `opening`, and `more` until the client goes; appends how much that was in all."""

    def reply(sock: socket.socket) -> bool:
        total = 0
        sock.settimeout(LONG_ENOUGH_S)
        try:
            for piece in itertools.chain([opening], itertools.repeat(more)):
                sock.sendall(piece)
                total += len(piece)
                time.sleep(pause_s)
        except OSError:
            sent.append(total)
        return False

    return reply


def both(client: flint.SharedLimiter, match: str) -> None:
    with pytest.raises(flint.FlintConnectionError, match=match):
        client.check("k")
    with pytest.raises(flint.FlintConnectionError, match=match):
        asyncio.run(client.acheck("k"))


@pytest.mark.parametrize(
    ("opening", "more", "message"),
    [
        (CHUNKED, KILOBYTE, "its body has more than 10000 bytes"),
        (UNTIL_CLOSE, b" " * 1024, "its body has more than 10000 bytes"),
        (CHUNKED + b"0\r\n", b"X: y\r\n", "too much follows the last chunk"),
        (CHUNKED + b"0\r\nX: ", b"y" * 1024, "a chunk has no size"),
        (CHUNKED + b"1;x=", b"y" * 1024, "a chunk has no size"),
    ],
)
def test_an_answer_without_end_is_not_read_to_its_end(
    fake: MakeFake, monkeypatch: pytest.MonkeyPatch, opening: bytes, more: bytes, message: str
) -> None:
    monkeypatch.setattr(response, "MAX_BODY", 10_000)
    sent: list[int] = []
    server = fake(endless(opening, more, sent), endless(opening, more, sent))
    client = flint.SharedLimiter(server.url, timeout=LONG_ENOUGH_S, retries=0)
    both(client, message)
    for _ in range(2):
        assert server.ended.acquire(timeout=LONG_ENOUGH_S)
    assert len(sent) == 2, "the client has closed the connection"
    assert client._core.endpoint.pool.in_use == 0


@pytest.mark.parametrize("size", [9_999, 10_000])
def test_an_answer_as_large_as_the_bound_is_read(fake: MakeFake, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    body = check().partition(b"\r\n\r\n")[2]
    monkeypatch.setattr(response, "MAX_BODY", 10_000)
    padded = body + b" " * (size - len(body))
    chunks = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5_000, padded[:5_000], size - 5_000, padded[5_000:])
    server = fake(say(CHUNKED + chunks), say(CHUNKED + chunks))
    client = flint.SharedLimiter(server.url, retries=0)
    assert client.check("k").remaining == asyncio.run(client.acheck("k")).remaining == 9


@contextmanager
def over_in(seconds: float) -> Iterator[None]:
    """Fails, instead of hanging, when what is in it takes far longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20 * seconds


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("opening", "more"),
    [(b"HTTP/1.1 200 ", b"O"), (CHUNKED, b"0"), (UNTIL_CLOSE, b" "), (b"HTTP/1.1 200 OK\r\nX: ", b"y")],
)
def test_an_answer_that_drips_is_waited_for_no_longer_than_the_timeout(
    fake: MakeFake, opening: bytes, more: bytes, opened: bool
) -> None:
    """Each byte comes long before the timeout, and the answer never."""
    sent: list[int] = []
    gone = threading.Semaphore(0)

    def drip(sock: socket.socket) -> bool:
        endless(opening, more, sent, 0.05)(sock)
        gone.release()
        return False

    first = [say(check())] if opened else []
    server = fake(*first, drip, *first, drip)
    client = flint.SharedLimiter(server.url, timeout=LONG_ENOUGH_S, retries=0)

    async def drip_in_loop() -> None:
        if opened:
            await client.acheck("k")
        client._core.timeout = 0.5
        with pytest.raises(flint.FlintConnectionError, match="has not answered in time"):
            await client.acheck("k")

    if opened:
        client.check("k")
    with over_in(1.0):
        client._core.timeout = 0.5
        with pytest.raises(flint.FlintConnectionError, match="has not answered in time"):
            client.check("k")
        client._core.timeout = LONG_ENOUGH_S
        asyncio.run(drip_in_loop())
    for _ in range(2):
        assert gone.acquire(timeout=LONG_ENOUGH_S), "the client has closed the connection"
    assert all(count > len(opening) + 1 for count in sent), "more came than one piece"
