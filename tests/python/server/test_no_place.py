"""More than the server takes at a time: a refused client gets 503 and when to try again."""

from __future__ import annotations

import http.client
import json
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.python.server import support

import flint
from flint._native import Server

# Of crates/flint-server/src/blocking_pool.rs: how many calls that scan all keys may wait for their thread.
QUEUE = 64


class Held:
    """The text of /metrics, which is not returned before it is released."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> str:
        self.started.set()
        assert self.go_on.wait(60)
        return "# held\n"


@contextmanager
def serving(data_dir: Path, held: Held, **bounds: Any) -> Iterator[str]:
    with ExitStack() as stack:
        limiter = stack.enter_context(flint.Limiter(data_dir, sync="batch"))
        server = Server(limiter, bind="127.0.0.1:0", metrics=held, **bounds)
        thread = threading.Thread(target=server.serve)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.stop)
        stack.callback(held.go_on.set)
        yield urlsplit(server.urls[0]).netloc


def asked(place: str, path: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(place, timeout=30)
    connection.request("GET", path)
    return connection


def refused(response: http.client.HTTPResponse) -> None:
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(response.read())["code"] == "busy"


def test_a_connection_too_many_while_all_others_are_answered(data_dir: Path) -> None:
    held = Held()
    with serving(data_dir, held, max_connections=1) as place, closing(asked(place, "/metrics")) as first:
        assert held.started.wait(30)
        # Nothing is asked: it is turned away as it comes.
        with closing(http.client.HTTPConnection(place, timeout=30)) as second:
            second.connect()
            response = http.client.HTTPResponse(second.sock)
            response.begin()
            refused(response)
            assert response.headers["Connection"] == "close"
            response.close()
        held.go_on.set()
        assert first.getresponse().status == 200


def test_a_call_too_many_for_the_threads_while_checks_go_on(data_dir: Path) -> None:
    held = Held()
    with serving(data_dir, held, max_blocking=1) as place, ExitStack() as stack:
        # One at work, as many as may wait, and one more: whichever is read last.
        connections = [stack.enter_context(closing(asked(place, "/metrics"))) for _ in range(1 + QUEUE + 1)]
        (answered, *others), _, _ = select.select([each.sock for each in connections], [], [], 30)
        assert others == []
        (turned_away,) = (each for each in connections if each.sock is answered)
        refused(turned_away.getresponse())
        with closing(asked(place, "/v1/health")) as health:
            assert health.getresponse().status == 200
        held.go_on.set()
        rest = [each.getresponse().status for each in connections if each is not turned_away]
        assert rest == [200] * (1 + QUEUE)


@pytest.mark.parametrize(("threads", "status"), [(1, 503), (2, 200)])
def test_the_command_line_sets_how_many_threads_there_are(data_dir: Path, threads: int, status: int) -> None:
    with flint.Limiter(data_dir, sync="batch") as limiter:
        # So many keys that the text of /metrics takes far longer than reading all the requests below.
        limiter.limit_many({"key": f"user-{number}", "rate": 1, "per": "1d"} for number in range(100_000))
    with support.serving(data_dir, "--sync", "batch", "--max-blocking", threads) as server, ExitStack() as stack:
        host, port = server.address
        server.freeze()
        # They come all at once: places for two threads, and one too many for a single one.
        connections = [stack.enter_context(closing(asked(f"{host}:{port}", "/metrics"))) for _ in range(2 + QUEUE)]
        server.send(signal.SIGCONT)
        ready, _, _ = select.select([each.sock for each in connections], [], [], 30)
        # A refused request is answered before the text of any other is there.
        started = {each: each.sock.recv(12, socket.MSG_PEEK) for each in connections if each.sock in ready}
        turned_away = [each for each, line in started.items() if line == b"HTTP/1.1 503"]
        assert len(turned_away) == (status == 503)
        for each in turned_away:
            refused(each.getresponse())


def test_fewer_files_than_connections(tmp_path: Path) -> None:
    """The limit of open files is raised as far as it may be; below that, connections make room as for fewer places."""
    few = ["sh", "-c", 'ulimit -n 90; exec "$@"', "sh"]
    with support.serving(tmp_path / "data", wrapper=few) as server:
        (warning,) = [line for line in server.log if "warning" in line]
        assert "room for 26 connections instead of 512" in warning
        idle = [server.connect() for _ in range(60)]
        assert server.client().ask("GET", "/v1/health").status == 200
        assert not [line for line in server.log if "cannot accept" in line]
        assert len(idle) == 60
    # One whose answers are not read takes a second file while it waits.
    with support.short_directory() as place:
        listening = ("--bind", "127.0.0.1:0", "--unix", place / "s")
        with support.serving(tmp_path / "data", *listening, wrapper=few) as server:
            (warning,) = [line for line in server.log if "warning" in line]
            assert "room for 13 connections instead of 512" in warning
    raised = ["sh", "-c", 'ulimit -Sn 90; exec "$@"', "sh"]
    with support.serving(tmp_path / "data", wrapper=raised) as server:
        assert not [line for line in server.log if "warning" in line]
        for _ in range(200):
            server.connect()
        assert server.client().metric("flint_server_connections") == 201
