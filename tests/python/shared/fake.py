"""A server that replies as a test specifies, request by request."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

# Replies to one request on a connection; False ends the connection.
Reply = Callable[[socket.socket], bool]

CHECK = {
    "allowed": True,
    "cost": 1,
    "limit": 10,
    "remaining": 9,
    "retry_after_ns": 0,
    "reset_after_ns": 5,
    "reset_at_ns": 7,
    "rates": [[[10, 1000, 10, "token_bucket"], 9, 0, 5]],
}


def message(status: int, body: bytes, *headers: str, kind: str = "application/vnd.flint.exact+json") -> bytes:
    """An answer's bytes."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def check(**changes: Any) -> bytes:
    """The answer to a check, CHECK but for `changes`."""
    return message(200, json.dumps({**CHECK, **changes}).encode())


def problem(status: int, code: str, *headers: str, **more: str) -> bytes:
    """An answer that says what is wrong."""
    body = {"title": "t", "status": status, "detail": "the detail", "code": code, **more}
    return message(status, json.dumps(body).encode(), *headers, kind="application/problem+json")


def say(data: bytes) -> Reply:
    """Sends `data` and keeps the connection."""

    def reply(sock: socket.socket) -> bool:
        sock.sendall(data)
        return True

    return reply


def say_and_close(data: bytes) -> Reply:
    """Sends `data` and ends the connection."""

    def reply(sock: socket.socket) -> bool:
        sock.sendall(data)
        return False

    return reply


def reset(sock: socket.socket) -> bool:
    """Breaks the connection off."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


class Fake:
    """Listens on a Unix socket; `replies` are used up one for each request, over all connections."""

    def __init__(self, path: Path, replies: list[Reply]) -> None:
        self.url = f"unix://{path}"
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = threading.Semaphore(0)
        self._replies = replies
        self._lock = threading.Lock()
        self._socks: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(100)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._socks.append(sock)
            thread = threading.Thread(target=self._converse, args=(sock,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _converse(self, sock: socket.socket) -> None:
        try:
            with sock:
                while (request := _request(sock)) is not None:
                    with self._lock:
                        self.requests.append(request)
                        reply = self._replies.pop(0)
                    if not reply(sock):
                        return
        except OSError:
            return
        finally:
            self.ended.release()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


def _request(sock: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def header(request: bytes, name: str) -> str | None:
    """The value of a request's header."""
    for line in request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        given, _, value = line.partition(": ")
        if given.lower() == name.lower():
            return value
    return None
