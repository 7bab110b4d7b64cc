"""The connections of one client."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Protocol

from flint._client.connection import Connection
from flint._errors import ClosedError

# Open connections of one client, idle or in use. A server accepts 512 from all its clients.
MAX_CONNECTIONS = 64


class ConnectionWaiter(Protocol):
    """A thread or coroutine that waits for a connection."""

    # What it has received.
    connection: Connection | None

    def receive(self, connection: Connection | None) -> None:
        """Its connection, from any thread; None when the client was closed."""


class Pool:
    """Idle connections, newest first, and waiters, oldest first. The lock is held for moments only."""

    def __init__(self) -> None:
        self.closed = False
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._in_use = 0
        self._open: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._waiters: deque[ConnectionWaiter] = deque()

    def take(self, waiter: ConnectionWaiter | None = None) -> Connection | None:
        """A connection, idle or to be opened. Returns None at the bound; `waiter` then receives the next free one."""
        with self._lock:
            if self.closed:
                raise ClosedError("this SharedLimiter is closed; create another one")
            if self._idle:
                self._in_use += 1
                return self._idle.pop()
            if self._in_use < MAX_CONNECTIONS:
                self._in_use += 1
                connection = Connection()
                self._open.add(connection)
                return connection
            if waiter is not None:
                self._waiters.append(waiter)
            return None

    def take_idle(self) -> Connection | None:
        """An open connection without TLS that is idle, if there is one."""
        with self._lock:
            if not self._idle or self._idle[-1].tls is not None:
                return None
            self._in_use += 1
            return self._idle.pop()

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """The call is over. Only a connection on which the next request may be sent is reusable."""
        if not reusable:
            connection.close()
        with self._lock:
            waiter = self._waiters.popleft() if self._waiters else None
            if waiter is None:
                self._in_use -= 1
                keep = reusable and not self.closed
                if keep:
                    self._idle.append(connection)
        if waiter is not None:
            waiter.receive(connection)
        elif not keep:
            connection.close()

    @property
    def in_use(self) -> int:
        """How many connections are in use."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return len(self._waiters)

    def claim(self, waiter: ConnectionWaiter) -> Connection:
        """What `waiter` has received. Raises TimeoutError when that is nothing, and ClosedError."""
        if self._cancel(waiter):
            raise TimeoutError("all connections of this client are in use")
        if waiter.connection is None:
            raise ClosedError("this SharedLimiter was closed")
        return waiter.connection

    def abandon(self, waiter: ConnectionWaiter) -> None:
        """The call of `waiter` was cancelled; a connection that it has received is released."""
        if not self._cancel(waiter) and waiter.connection is not None:
            self.release(waiter.connection, reusable=waiter.connection.sock is not None)

    def _cancel(self, waiter: ConnectionWaiter) -> bool:
        """Remove `waiter`. False when it was not waiting any more: it has received something."""
        with self._lock:
            if waiter not in self._waiters:
                return False
            self._waiters.remove(waiter)
            return True

    def close_idle(self) -> None:
        """Close the idle connections: the server has closed one of the same age."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close_copies(self) -> None:
        """In a forked child, which has no other thread: close its copies of all connections.

        Takes no lock, because a thread of the parent may have held it at the fork.
        """
        for connection in list(self._open):
            connection.close()

    def close(self) -> None:
        """Close idle connections now, and those in use when they are released."""
        with self._lock:
            self.closed = True
            waiters, self._waiters = list(self._waiters), deque()
        self.close_idle()
        for waiter in waiters:
            waiter.receive(None)
