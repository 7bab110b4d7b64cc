"""One connection to a server."""

from __future__ import annotations

import os
import socket
from typing import Any

from flint._client.patched_line import PatchedLine
from flint._client.tls import Tls
from flint._native import _Line


class Connection:
    """A socket that at most one call uses at a time; without a socket, the permission to open one."""

    __slots__ = ("__weakref__", "line", "sock", "tls")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.tls: Tls | None = None
        # The half of a connection that blocks; None while the socket belongs to an event loop, which never blocks.
        self.line: _Line | PatchedLine | None = None

    def opened(self, sock: socket.socket) -> None:
        """Take over a connected socket."""
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.settimeout(0)
        self.sock = sock

    def for_thread(self) -> _Line | PatchedLine:
        """The open socket, for a thread to block on."""
        if self.line is None:
            # Not None: an exchange opens a connection before it uses it.
            sock: Any = self.sock
            sock.settimeout(None)
            # False for a socket of gevent or eventlet.
            blocks = os.get_blocking(sock.fileno())
            self.line = _Line(sock.fileno()) if blocks else PatchedLine(sock)
        return self.line

    def for_event_loop(self) -> Any:
        """The open socket, for an event loop."""
        sock: Any = self.sock
        if self.line is not None:
            self.line = None
            sock.settimeout(0)
        return sock

    def has_ended(self) -> bool:
        """Whether the server has closed the connection, as far as the operating system knows by now."""
        if self.sock is None:
            return False
        if isinstance(self.line, PatchedLine):
            # Its recv() waits, whatever the flags, as long as there is a timeout. Each call sets it anew.
            self.sock.settimeout(0)
        try:
            return self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close the socket. In a forked child this closes a copy, which the server does not notice."""
        sock, self.sock, self.tls, self.line = self.sock, None, None, None
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        """A client that is not referenced any more is closed."""
        self.close()
