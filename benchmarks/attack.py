"""An attacker: python benchmarks/attack.py NAME PORT. Prints `started` and continues until it is terminated."""

from __future__ import annotations

import contextlib
import json
import resource
import select
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable

from stores import key_of

HOST = b"Host: localhost\r\nContent-Type: application/json\r\n"
LARGE = 16 * 2**20
CHECK = b"POST /v1/check HTTP/1.1\r\n" + HOST + b'Content-Length: 21\r\n\r\n{"key":"api:user-42"}'


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def started() -> None:
    print("started", flush=True)


def held(port: int, count: int, first: bytes, each: bytes) -> None:
    """`count` connections that send a first message, then a byte per second; a dropped connection is replaced."""
    open_ones: list[socket.socket | None] = [None] * count
    announced = False
    while True:
        for place, connection in enumerate(open_ones):
            try:
                if connection is None:
                    connection = open_ones[place] = connected(port)
                    connection.sendall(first)
                    connection.setblocking(False)
                elif each:
                    connection.send(each)
                elif connection.recv(4096) == b"":
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                if connection is not None:
                    connection.close()
                open_ones[place] = None
        if not announced:
            announced = True
            started()
        time.sleep(1)


def endless(port: int, count: int, message: Callable[[int], bytes], *, read: bool) -> None:
    """`count` connections that send without end and read the answers if `read`; a dropped one is replaced."""
    waiting = selectors.DefaultSelector()
    events = selectors.EVENT_WRITE | (selectors.EVENT_READ if read else 0)
    serial = 0

    def again() -> None:
        nonlocal serial
        try:
            connection = connected(port)
        except OSError:
            time.sleep(0.01)
            return
        connection.setblocking(False)
        waiting.register(connection, events, message(serial))
        serial += 1

    def drop(connection: socket.socket) -> None:
        waiting.unregister(connection)
        connection.close()

    for _ in range(count):
        again()
    started()
    while True:
        while len(waiting.get_map()) < count:
            again()
        for key, ready in waiting.select(timeout=1):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            try:
                if ready & selectors.EVENT_READ and connection.recv(65_536) == b"":
                    raise ConnectionError
                if ready & selectors.EVENT_WRITE:
                    sent = connection.send(key.data)
                    rest = key.data[sent:] or message(serial)
                    waiting.modify(connection, events, rest)
            except BlockingIOError:
                pass
            except OSError:
                drop(connection)


def churn(port: int) -> None:
    """Connections that are closed after the request, without waiting for the answer."""
    started()
    while True:
        try:
            with connected(port) as connection:
                connection.sendall(CHECK)
        except OSError:
            time.sleep(0.01)


def oversized(serial: int) -> bytes:
    if serial % 2:
        return b"GET /v1/health HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 100_000 + b"\r\n\r\n"
    return b"POST /v1/check HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n" + b" " * 1_000_000


def large(_: int) -> bytes:
    body = json.dumps({"items": [f"k{number}" for number in range(6_500)]}, separators=(",", ":")).encode()
    assert len(body) < 65_536
    return b"POST /v1/check-all HTTP/1.1\r\n" + HOST + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def posted(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\n".encode() + HOST + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def abandoned(port: int, message: bytes) -> None:
    """Connections that are closed after a whole request, without waiting for the answer; eight at a time."""

    def send() -> None:
        while True:
            try:
                with connected(port) as connection:
                    connection.sendall(message)
            except OSError:
                time.sleep(0.01)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    started()
    for thread in threads:
        thread.join()


def unread(port: int, count: int, message: bytes) -> None:
    """`count` connections that send a message and read nothing; a dropped one is replaced."""
    open_ones: list[socket.socket] = []
    announced = False
    while True:
        kept = [connection for connection in open_ones if not ended(connection)]
        for connection in set(open_ones) - set(kept):
            connection.close()
        open_ones = kept
        while len(open_ones) < count:
            try:
                connection = connected(port)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    connection.sendall(message)
                connection.setblocking(False)
                open_ones.append(connection)
            except OSError:
                time.sleep(0.01)
                break
        if not announced:
            announced = True
            started()
        time.sleep(0.1)


def ended(connection: socket.socket) -> bool:
    """Whether the server has dropped it. Takes nothing of what it said."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    body = b"POST /v1/check HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n{"
    if name == "idle":
        held(port, 1_000, b"", b"")
    elif name == "heads":
        held(port, 500, b"GET /v1/health HTTP/1.1\r\nX: ", b"x")
    elif name == "bodies":
        held(port, 500, body, b" ")
    elif name == "oversized":
        endless(port, 8, oversized, read=True)
    elif name == "rubbish":
        endless(port, 8, lambda _: bytes(range(256)) * 16, read=True)
    elif name == "pipelined":
        endless(port, 64, lambda _: CHECK * 50, read=False)
    elif name == "large":
        endless(port, 8, large, read=True)
    elif name == "crafted":
        opening = b'{"limits":[{"key":"a","rate":['
        abandoned(port, posted("/v1/limit-many", opening + b'{"":0},' * ((LARGE - len(opening)) // 7)))
    elif name == "withheld":
        unread(port, 40, posted("/v1/limit-many", b" " * LARGE)[:-1])
    elif name == "lists":
        unread(port, 60, b"GET /v1/limits?limit=10000 HTTP/1.1\r\n" + HOST + b"\r\n")
    elif name == "results":
        unread(port, 400, posted("/v1/check-all", json.dumps({"items": [key_of(n) for n in range(1_000)]}).encode()))
    elif name == "records":
        unread(port, 60, b"GET /v1/log/records?limit=10000 HTTP/1.1\r\n" + HOST + b"\r\n")
    else:
        churn(port)


if __name__ == "__main__":
    main()
