"""An answer that takes longer than a request may: the caller gets it, and no other call waits."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

from tests.python.backends import running
from tests.python.server.support import Client, UnixConnection

import flint
from flint._native import Server

LONG_ENOUGH_S = 60.0


def test_an_answer_that_takes_too_long_is_a_problem(limiter: flint.Limiter, place: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    def metrics() -> str:
        started.set()
        go_on.wait(LONG_ENOUGH_S)
        return "# late\n"

    limiter.limit("k", "10/day")
    server = Server(limiter, unix=place / "s", metrics=metrics, request_timeout_ms=300)
    with running(server) as url, closing(Client(UnixConnection(str(place / "s")))) as client:
        client.ask("GET", "/metrics").problem(503, "timeout")
        assert started.is_set()
        # On the same connection, and on another one.
        assert client.check()["remaining"] == 9
        with flint.SharedLimiter(url) as other:
            assert other.check("k").remaining == 8
        go_on.set()
        while (answer := client.ask("GET", "/metrics")).status != 200:
            answer.problem(503, "timeout")
        assert answer.body.startswith(b"# late\n")
