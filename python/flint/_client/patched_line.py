"""The blocking half of a connection where a library such as gevent or eventlet has replaced Python's sockets."""

from __future__ import annotations

import socket
from time import monotonic
from typing import Any

from flint._client.deadline import exceeded, remaining

_CHUNK = 65536


class PatchedLine:
    """What `flint._native._Line` is elsewhere, over the methods of the socket: they let other greenlets run.

    A patched socket is never in blocking mode, whatever its timeout: system calls on its descriptor would not wait.
    """

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def talk(self, data: bytes, seconds: float, /) -> bytes:
        """Send `data`, and return what is received next: b"" at the end. Raises OSError and TimeoutError."""
        deadline = monotonic() + seconds
        sock = self._sock
        try:
            sock.settimeout(remaining(deadline))
            sock.sendall(data)
            sock.settimeout(remaining(deadline))
            return sock.recv(_CHUNK)
        except TimeoutError:
            raise exceeded() from None

    def call(self, request: bytes, _call: Any, seconds: float, /) -> bytes:
        """The same; what was received is left to the exchange."""
        return self.talk(request, seconds)
