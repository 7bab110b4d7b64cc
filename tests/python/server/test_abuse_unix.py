"""Attacks over the Unix socket, which has a stream of its own: all at once on one server with short bounds."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.python.server.attacks import HONEST, JSON, endured, is_open
from tests.python.server.support import TIMEOUT_S, Client, UnixConnection, request, short_directory

import flint
from flint._native import Server

BOUNDS_MS: dict[str, Any] = {"header_timeout_ms": 6000, "request_timeout_ms": 7000}
# Attackers of each kind: those that say nothing, those whose body does not come, those that take no answer.
SILENT, SLOW, GREEDY = 100, 100, 20
# The answers are many times what a socket holds, and so are the questions.
QUESTIONS = request("GET", "/v1/openapi.json") * 20_000


@dataclass(frozen=True)
class Outcome:
    """What became of the attackers and of the honest client."""

    # Requests of the honest client that were answered, and attackers that were connected all that time.
    served: int
    held: int
    # What each client that sends too little received, until the server dropped it; None for one that it did not drop.
    silent: list[bytes | None]
    slow: list[bytes | None]
    # How many bytes of questions were taken from each that takes no answer, and whether the server let go of it.
    taken: list[int]
    hung_up: list[bool]
    timed_out: int
    evicted: int


def is_hung_up(connection: socket.socket) -> bool:
    """Whether the other end is gone; takes nothing of what came from there."""
    poll = select.poll()
    # The end of the stream is always reported.
    poll.register(connection, 0)
    return bool(poll.poll(0))


def taken(connections: list[socket.socket]) -> list[int]:
    """Asks until no more is taken; how many bytes were, of each."""
    sent = dict.fromkeys(connections, 0)
    while ready := select.select([], [each for each in sent if sent[each] < len(QUESTIONS)], [], 0.3)[1]:
        for connection in ready:
            sent[connection] += connection.send(QUESTIONS[sent[connection] :])
    return list(sent.values())


def attacked(path: Path, stack: contextlib.ExitStack) -> Outcome:
    def connected(data: bytes = b"") -> socket.socket:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(path))
        connection.sendall(data)
        connection.setblocking(False)
        return connection

    def client() -> Client:
        return stack.enter_context(contextlib.closing(Client(UnixConnection(str(path)))))

    honest = client()
    honest.post("/v1/limits", {"key": "honest", "rate": 10**6, "per": "52w"})
    greedy = [connected() for _ in range(GREEDY)]
    sent = taken(greedy)
    silent = [connected() for _ in range(SILENT)]
    slow = [connected(request("POST", "/v1/check", JSON, "Content-Length: 1000")) for _ in range(SLOW)]
    served = sum((client() if number % 2 else honest).check("honest")["allowed"] for number in range(HONEST))
    held = sum(map(is_open, [*silent, *slow])) + GREEDY - sum(map(is_hung_up, greedy))
    received = endured([*silent, *slow], ())
    deadline = time.monotonic() + TIMEOUT_S
    while not all(map(is_hung_up, greedy)) and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    return Outcome(
        served,
        held,
        received[:SILENT],
        received[SILENT:],
        sent,
        list(map(is_hung_up, greedy)),
        honest.metric("flint_server_connections_timed_out_total"),
        honest.metric("flint_server_connections_evicted_total"),
    )


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    with contextlib.ExitStack() as stack:
        limiter = stack.enter_context(flint.Limiter(tmp_path_factory.mktemp("attacked") / "data", sync="batch"))
        path = stack.enter_context(short_directory()) / "flint.sock"
        server = Server(limiter, unix=path, **BOUNDS_MS)
        thread = threading.Thread(target=server.serve)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.stop)
        yield attacked(path, stack)


def test_the_honest_client_is_served_while_all_attacks_last(outcome: Outcome) -> None:
    assert outcome.served == HONEST
    assert outcome.held == SILENT + SLOW + GREEDY, "an attack was over before the honest client was done"


def test_a_head_that_does_not_come_is_not_answered(outcome: Outcome) -> None:
    assert outcome.silent == [b""] * SILENT


def test_a_body_that_does_not_come_is_answered(outcome: Outcome) -> None:
    for received in outcome.slow:
        assert received is not None
        assert received.startswith(b"HTTP/1.1 408"), received


def test_no_more_is_read_from_a_client_that_reads_no_answer_and_it_is_dropped(outcome: Outcome) -> None:
    assert max(outcome.taken) < len(QUESTIONS)
    assert outcome.hung_up == [True] * GREEDY


def test_no_connection_was_evicted(outcome: Outcome) -> None:
    assert (outcome.timed_out, outcome.evicted) == (SILENT + GREEDY, 0)
