"""One connection to a server, or the room for one."""

from __future__ import annotations

import socket

from flint._shared.tls import Tls


class Connection:
    """A socket that at most one call uses at a time; without one, the permission to open one."""

    __slots__ = ("__weakref__", "armed", "sock", "tls")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.tls: Tls | None = None
        # The timeout that the socket has, seconds; 0 when it is an event loop's.
        self.armed: float = -1.0

    def drop(self) -> None:
        """Close the socket. The other end of a forked process's copy notices nothing."""
        sock, self.sock, self.tls, self.armed = self.sock, None, None, -1.0
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        """Who lets go of a client has closed it."""
        self.drop()
