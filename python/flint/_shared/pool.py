"""The connections of one client."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Protocol

from flint._errors import ClosedError
from flint._shared.connection import Connection

# Open connections of one client, idle or at work. A server takes 512 of all its clients.
MAX_CONNECTIONS = 64


class Turn(Protocol):
    """Somebody who waits for a connection."""

    def give(self, connection: Connection | None) -> None:
        """Its connection, from any thread; None when the client was closed."""


class Pool:
    """Idle connections, newest first, and who waits for one, oldest first. Its lock is held for moments only."""

    def __init__(self) -> None:
        self.closed = False
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._taken = 0
        self._open: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._waiting: deque[Turn] = deque()

    def take(self, turn: Turn | None = None) -> Connection | None:
        """A connection, idle or to be opened. Without any, None; `turn` is then given the next one."""
        with self._lock:
            if self.closed:
                raise ClosedError("this SharedLimiter is closed; create another one")
            if self._idle:
                self._taken += 1
                return self._idle.pop()
            if self._taken < MAX_CONNECTIONS:
                self._taken += 1
                connection = Connection()
                self._open.add(connection)
                return connection
            if turn is not None:
                self._waiting.append(turn)
            return None

    def take_idle(self) -> Connection | None:
        """An open connection without TLS that is idle, if there is one."""
        with self._lock:
            if not self._idle or self._idle[-1].tls is not None:
                return None
            self._taken += 1
            return self._idle.pop()

    def give_back(self, connection: Connection, *, usable: bool) -> None:
        """The call is over; only a connection that awaits the next request may be used again."""
        if not usable:
            connection.drop()
        with self._lock:
            turn = self._waiting.popleft() if self._waiting else None
            if turn is None:
                self._taken -= 1
                keep = usable and not self.closed
                if keep:
                    self._idle.append(connection)
        if turn is not None:
            turn.give(connection)
        elif not keep:
            connection.drop()

    @property
    def busy(self) -> int:
        """How many connections are at work."""
        return self._taken

    def leave(self, turn: Turn) -> bool:
        """Whether `turn` waited; otherwise it was given something."""
        with self._lock:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True

    def forget_idle(self) -> None:
        """Close what is idle: the server has gone away from one like them."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.drop()

    def drop_all(self) -> None:
        """In a forked child, where no other thread is left: close the copies of all connections.

        Takes no lock, which a thread of the parent may have held.
        """
        for connection in list(self._open):
            connection.drop()

    def close(self) -> None:
        """Close what is idle now, and what is at work when it is given back."""
        with self._lock:
            self.closed = True
            waiting, self._waiting = list(self._waiting), deque()
        self.forget_idle()
        for turn in waiting:
            turn.give(None)
