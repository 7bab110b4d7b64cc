"""The end of a server, in good order or not: what was answered is there afterwards."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.python.server.support import Server, answers, posted, refused, request, serving

import flint

CLIENTS = 8
# Enough that the end comes while all of them ask.
BEFORE = 300


class Load:
    """Clients that check without a pause until the server is gone."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.allowed = [0] * CLIENTS
        self.strange: list[object] = []
        self.enough = threading.Event()
        self._threads = [threading.Thread(target=self._check, args=(number,)) for number in range(CLIENTS)]
        setup = server.client()
        for number in range(CLIENTS):
            setup.post(
                "/v1/limits", {"key": f"k{number}", "rate": 10**9, "per": "52w", "algorithm": "fixed_window_counter"}
            )
        for thread in self._threads:
            thread.start()

    def _check(self, number: int) -> None:
        client = self.server.client()
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            while True:
                answer = client.ask("POST", "/v1/check", {"key": f"k{number}"})
                if answer.status != 200 or not answer.json["allowed"]:
                    self.strange.append(answer)
                    return
                self.allowed[number] += 1
                if sum(self.allowed) >= BEFORE:
                    self.enough.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def load() -> Iterator[Callable[[Server], Load]]:
    made: list[Load] = []

    def start(server: Server) -> Load:
        made.append(Load(server))
        return made[-1]

    yield start
    for one in made:
        one.join()


def totals(data_dir: Path) -> list[int]:
    with flint.Limiter(data_dir, read_only=True) as limiter:
        return [limiter.status(f"k{number}").total_allowed for number in range(CLIENTS)]  # type: ignore[union-attr]


@pytest.mark.parametrize("sync", ["batch", "always"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load(tmp_path: Path, load: Callable[[Server], Load], number: int, sync: str) -> None:
    with serving(tmp_path / "data", "--sync", sync) as server:
        clients = load(server)
        assert clients.enough.wait(30)
        server.end(number)
        # Before their connections are closed on this side, which none of them expects.
        clients.join()
    assert clients.strange == []
    # Every answer counts, and nothing was taken without an answer: every request was answered.
    assert totals(tmp_path / "data") == clients.allowed
    with flint.Limiter(tmp_path / "data") as limiter:
        assert limiter.recovery.clean
    # Another one goes on from there.
    with serving(tmp_path / "data", "--sync", sync) as server:
        assert server.client().check("k0")["remaining"] == 10**9 - clients.allowed[0] - 1


@pytest.mark.parametrize("sync", ["batch", "always"])
def test_a_kill_under_load(tmp_path: Path, load: Callable[[Server], Load], sync: str) -> None:
    with serving(tmp_path / "data", "--sync", sync) as server:
        clients = load(server)
        assert clients.enough.wait(30)
        server.process.kill()
        server.wait()
        clients.join()
    assert clients.strange == []
    for there, allowed in zip(totals(tmp_path / "data"), clients.allowed, strict=True):
        # The last check of each may have been decided and not answered.
        assert allowed <= there <= allowed + 1
    with serving(tmp_path / "data", "--sync", sync) as server:
        assert server.client().check("k0")["allowed"]


def refuses(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(address) != 0


def test_requests_in_flight_finish_and_no_other_client_is_accepted(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--sync", "batch") as server:
        server.client().post("/v1/limits", {"key": "k", "rate": "5/52w"})
        address = server.address
        whole = posted("/v1/check", {"key": "k"})
        # One has sent its head, and a part of its body; others have done with theirs, and are silent.
        asking, silent, served = server.connect(whole[:-3]), server.connect(), server.client()
        served.get("/v1/health")
        server.send(signal.SIGTERM)
        server.until("shutting down")
        # Idle ones are dropped, which shows that the end has started.
        assert answers(silent) == []
        while not refuses(address):
            pass
        asking.sendall(whole[-3:])
        (answer,) = answers(asking)
        assert answer.ok()["allowed"]
        assert answer.headers["Connection"] == "close"
        assert server.wait() == 0
        assert not [line for line in server.log if "dropped" in line]


def test_what_does_not_finish_is_dropped(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        length = "Content-Length: 10"
        held = [
            server.connect(request("POST", "/v1/check", "Content-Type: application/json", length)) for _ in range(3)
        ]
        # A head that is not complete has asked for nothing yet.
        held.append(server.connect(b"GET /v1/health HTTP/1.1\r\nHost: loc"))
        server.client().get("/v1/health")
        server.end()
        assert [line for line in server.log if "connections were dropped" in line]
        assert [answers(connection) for connection in held] == [[]] * 4


def test_a_signal_right_after_the_start(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        with serving(tmp_path / "data") as server:
            server.end(number)


def test_the_error_of_a_second_server_names_the_process_that_has_the_directory(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert str(server.pid) in refused(tmp_path / "data", "--bind", "127.0.0.1:0")
        host, port = server.address
        assert "another server listens there" in refused(tmp_path / "other", "--bind", f"{host}:{port}")
        server.client().get("/v1/health")
