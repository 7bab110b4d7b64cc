"""Clients that mean harm, each with a server of its own, and an honest client that must not notice."""

from __future__ import annotations

import contextlib
import http.client
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.python.server.support import STRONG, Client, Server, request, serving

# Requests of the honest client while the attack is held open: half on the connection that it had, half on new ones.
HONEST = 60
# Seconds between two bytes of a slow attacker, and after how many of them it gives up: far beyond the server's bounds.
PAUSE_S = 0.5
# One attack begins at a time, so that this process is not too busy to be an honest client at the same time.
TURN = threading.Lock()
BYTES_AT_MOST = 80


@dataclass(frozen=True)
class Outcome:
    """What became of an attack."""

    # Requests of the honest client that were answered.
    served: int
    # Attackers that were still connected when the honest client was done.
    held: int
    # How often the honest client found the connection that it had kept closed.
    lost: int
    # What each attacker received, until the server dropped it; None for one that it did not drop.
    received: list[bytes | None]
    # Connections that the server dropped because they took too long, and to make room.
    timed_out: int
    evicted: int


def is_open(connection: socket.socket) -> bool:
    """Whether the server has not dropped it; what it said stays to be read."""
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def endured(attackers: list[socket.socket], drip: Iterable[bytes]) -> list[bytes | None]:
    """Sends `drip` to the server, a piece every now and then, on all connections that it has not dropped."""
    received: dict[int, bytes] = dict.fromkeys(range(len(attackers)), b"")
    open_ones = dict(enumerate(attackers))
    pieces = iter(drip)
    for _ in range(BYTES_AT_MOST):
        piece = next(pieces, b"")
        for connection in open_ones.values():
            with contextlib.suppress(OSError):
                connection.send(piece)
        with selectors.DefaultSelector() as selector:
            for number, connection in open_ones.items():
                selector.register(connection, selectors.EVENT_READ, number)
            threading.Event().wait(PAUSE_S)
            for key, _ in selector.select(0):
                assert isinstance(key.fileobj, socket.socket)
                try:
                    said = key.fileobj.recv(65536)
                except OSError:
                    said = b""
                received[key.data] += said
                if not said:
                    del open_ones[key.data]
        if not open_ones:
            break
    return [None if number in open_ones else received[number] for number in range(len(attackers))]


@dataclass(frozen=True)
class Attack:
    """Opens its connections, each after `opening`, and keeps them busy with `drip`."""

    connections: int
    opening: bytes
    drip: bytes = b""
    options: tuple[str, ...] = ()
    token: str | None = None
    # A connection that had a request answered may be idle for longer than a test; it is evicted when there is no room.
    is_dropped: bool = True
    # Opens the connections in another way.
    connect: Callable[[Server], socket.socket] | None = None

    def _opened(self, server: Server) -> Iterator[socket.socket]:
        for _ in range(self.connections):
            if self.connect is not None:
                yield self.connect(server)
                continue
            connection = server.connect()
            # A server that has no room may have dropped it already.
            with contextlib.suppress(OSError):
                connection.sendall(self.opening)
            yield connection

    def _begin(self, server: Server, honest: Client) -> tuple[list[socket.socket], int, int]:
        """Lets all attackers come, and then the honest client ask."""
        attackers = list(self._opened(server))
        for attacker in attackers:
            attacker.setblocking(False)
        served = lost = 0
        for number in range(HONEST):
            if number % 2:
                another = server.client(self.token)
                served += another.check("honest")["allowed"]
                another.close()
                continue
            try:
                served += honest.check("honest")["allowed"]
            except (ConnectionError, http.client.HTTPException):
                # As every client does that keeps connections.
                lost += 1
                honest.close()
                served += honest.check("honest")["allowed"]
        return attackers, served, lost

    def run(self, data_dir: Path) -> Outcome:
        """The whole attack."""
        env = {} if self.token is None else {"FLINT_TOKEN": self.token}
        with serving(data_dir, "--sync", "batch", *self.options, env=env) as server:
            with TURN:
                honest = server.client(self.token)
                honest.post("/v1/limits", {"key": "honest", "rate": 10**6, "per": "52w"})
                attackers, served, lost = self._begin(server, honest)
                held = sum(map(is_open, attackers))
            received = endured(attackers, (bytes([byte]) for byte in self.drip)) if self.is_dropped else []
            counts = server.client(self.token)
            timed_out = counts.metric("flint_server_connections_timed_out_total")
            evicted = counts.metric("flint_server_connections_evicted_total")
            return Outcome(served, held, lost, received, timed_out, evicted)


def served_once(server: Server) -> socket.socket:
    """Asks once, takes the answer, and stays."""
    connection = server.connect(request("GET", "/v1/health"))
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    return connection


def reader_that_never_reads(server: Server) -> socket.socket:
    """Asks for large answers, again and again, and takes none."""
    connection = server.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        connection.sendall(request("GET", "/v1/openapi.json") * 400)
    return connection


JSON = "Content-Type: application/json"
ATTACKS = {
    # Nothing is ever said.
    "silence": Attack(1000, b""),
    # One request, and then nothing: more connections than there is room for.
    "idling": Attack(1000, b"", is_dropped=False, connect=served_once),
    "slow head": Attack(100, b"GET /v1/health HTTP/1.1\r\nX-Slow: ", b"x" * BYTES_AT_MOST),
    "slow request line": Attack(100, b"GET /v1/", b"x" * BYTES_AT_MOST),
    "endless headers": Attack(50, b"GET /v1/health HTTP/1.1\r\n", b"a:b\r\n" * BYTES_AT_MOST),
    "slow body": Attack(100, request("POST", "/v1/check", JSON, "Content-Length: 1000"), b" " * BYTES_AT_MOST),
    "no body": Attack(50, request("POST", "/v1/check", JSON, "Content-Length: 1000")),
    "slow chunks": Attack(
        50, request("POST", "/v1/check", JSON, "Transfer-Encoding: chunked"), b"1\r\n \r\n" * BYTES_AT_MOST
    ),
    "slow limit-many": Attack(
        50, request("POST", "/v1/limit-many", JSON, "Content-Length: 9999999"), b" " * BYTES_AT_MOST
    ),
    # After a request that was all right.
    "slow second head": Attack(100, request("GET", "/v1/health") + b"GET /v1", b"x" * BYTES_AT_MOST),
    "without a token": Attack(
        600, request("POST", "/v1/check", JSON, "Content-Length: 1000"), b" " * BYTES_AT_MOST, token=STRONG
    ),
    "nothing is read": Attack(20, b"", connect=reader_that_never_reads),
}


def all_at_once(directory: Path) -> dict[str, Outcome]:
    """Every attack, all at the same time: most of it is waiting for the server's bounds."""
    with ThreadPoolExecutor(len(ATTACKS)) as pool:
        running = {
            name: pool.submit(attack.run, directory / name.replace(" ", "-")) for name, attack in ATTACKS.items()
        }
        return {name: future.result() for name, future in running.items()}
