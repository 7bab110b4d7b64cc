"""A client that asks without end and reads no answer: the server keeps few answers for it and goes on with others."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.python.server.support import TIMEOUT_S, Server, posted, serving, short_directory

CHECK = posted("/v1/check", {"key": "k", "limit": "1000000/second"})
GROWTH_BYTES = 32 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("unread") / "data"
    with short_directory() as directory:
        options = ("--bind", "127.0.0.1:0", "--unix", directory / "flint.sock", "--sync", "batch")
        with serving(data_dir, *options) as server:
            yield server


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connected(server: Server, kind: str) -> socket.socket:
    if kind == "tcp":
        return server.connect()
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    connection.connect(server.path)
    return connection


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_answers_that_the_client_does_not_read_are_not_collected(server: Server, kind: str) -> None:
    honest = server.client() if kind == "tcp" else server.unix_client()
    honest.post("/v1/check", {"key": kind, "limit": "5/52w"})
    before = resident_bytes(server.pid)
    with connected(server, kind) as greedy:
        greedy.setblocking(False)
        sent, most = 0, 32 * 2**20
        while sent < most:
            # The server stops reading from a client that does not read.
            if not select.select([], [greedy], [], 2)[1]:
                break
            sent += greedy.send(CHECK * 500)
        grown = resident_bytes(server.pid) - before
        assert honest.post("/v1/check", {"key": kind, "limit": "5/52w"})["remaining"] == 3
    assert grown < GROWTH_BYTES, f"{grown} bytes for {sent} bytes of requests"
    assert sent < most, "the server read on"
