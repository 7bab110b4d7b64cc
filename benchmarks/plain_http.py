"""A minimal client of the server: prepared bytes out, bytes in, over one connection."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any


def request(path: str, body: Any) -> bytes:
    """A POST as bytes."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


class Connection:
    """One keep-alive connection."""

    def __init__(self, address: Path | int, timeout_s: float = 30) -> None:
        if isinstance(address, int):
            self._socket = socket.create_connection(("127.0.0.1", address), timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(address))

    def ask(self, message: bytes) -> bytes:
        """The body of the answer to one request.

        Raises:
            AssertionError: the answer has another status than 200.
            OSError: no answer came.
        """
        self._socket.sendall(message)
        received = b""
        while True:
            part = self._socket.recv(65_536)
            if not part:
                raise ConnectionError("the server hung up")
            received += part
            head, end, body = received.partition(b"\r\n\r\n")
            if end:
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                if len(body) >= length:
                    break
        assert head.startswith(b"HTTP/1.1 200 "), received
        return body

    def close(self) -> None:
        self._socket.close()
