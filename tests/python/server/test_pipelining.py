"""Requests that a client sends together: they are answered in order, and other clients take their turn in between."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.python.server.support import Server, posted, read_answer, serving

CROWDS = 12
TOGETHER = 30
MANY = 1_000_000


def set_limit(server: Server) -> None:
    body = {"key": "k", "rate": MANY, "per": "day", "algorithm": "fixed_window_counter"}
    server.client().post("/v1/limits", body)


def test_requests_that_came_together_are_answered_in_order(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--sync", "batch") as server:
        server.client().post(
            "/v1/limits", {"key": "k", "rate": MANY, "per": "day", "algorithm": "fixed_window_counter"}
        )
        crowd = server.connect(posted("/v1/check", {"key": "k"}) * 200)
        with crowd.makefile("rb") as stream:
            left = [answer.ok()["remaining"] for _ in range(200) if (answer := read_answer(stream))]
        assert left == list(range(MANY - 1, MANY - 201, -1))


def test_the_requests_of_one_client_are_not_answered_together_while_others_wait(tmp_path: Path) -> None:
    """The position among all decisions is in the answers: what remains. The server sleeps until all have asked."""
    with serving(tmp_path / "data", "--sync", "batch") as server:
        server.client().post(
            "/v1/limits", {"key": "k", "rate": MANY, "per": "day", "algorithm": "fixed_window_counter"}
        )
        crowds = [server.connect() for _ in range(CROWDS)]
        alone = server.connect()
        for connection in [*crowds, alone]:
            # Accepted, and known to the event loop.
            connection.sendall(posted("/v1/peek", {"key": "k"}))
            with connection.makefile("rb") as stream:
                assert read_answer(stream)
        server.freeze()
        for crowd in crowds:
            crowd.sendall(posted("/v1/check", {"key": "k"}) * TOGETHER)
        alone.sendall(posted("/v1/check", {"key": "k"}))
        server.send(signal.SIGCONT)
        with alone.makefile("rb") as stream:
            answer = read_answer(stream)
        assert answer
        position = MANY - answer.ok()["remaining"]
        # One of each crowd, or two where the loop comes to a crowd twice first.
        assert position <= 3 * CROWDS, f"{position - 1} of {CROWDS * TOGETHER} came first"
