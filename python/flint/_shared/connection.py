"""One connection to a server, or the room for one."""

from __future__ import annotations

import socket
from typing import Any

from flint._native import _Line
from flint._shared.tls import Tls


class Connection:
    """A socket that at most one call uses at a time; without one, the permission to open one."""

    __slots__ = ("__weakref__", "line", "sock", "tls")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.tls: Tls | None = None
        # How a thread speaks over the socket; None while that is an event loop's, which never blocks.
        self.line: _Line | None = None

    def opened(self, sock: socket.socket) -> None:
        """Take over a connected socket."""
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.settimeout(0)
        self.sock = sock

    def for_thread(self) -> _Line:
        """The open socket, for a thread to block on."""
        if self.line is None:
            # It is there: the exchange has it opened first.
            sock: Any = self.sock
            sock.settimeout(None)
            self.line = _Line(sock.fileno())
        return self.line

    def for_loop(self) -> Any:
        """The open socket, for an event loop."""
        sock: Any = self.sock
        if self.line is not None:
            self.line = None
            sock.settimeout(0)
        return sock

    def ended(self) -> bool:
        """Whether the other end has closed it, as far as that is known by now."""
        if self.sock is None:
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def drop(self) -> None:
        """Close the socket. The other end of a forked process's copy notices nothing."""
        sock, self.sock, self.tls, self.line = self.sock, None, None, None
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        """Who lets go of a client has closed it."""
        self.drop()
