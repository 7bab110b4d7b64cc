"""A client that asks without end and reads no answer: the server keeps few answers for it and goes on with others."""

from __future__ import annotations

import http.client
import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BODY = b'{"key":"k","limit":"1000000/second"}'
HEAD = b"POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHECK = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
GROWTH_BYTES = 32 * 2**20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The pid of a server and its port."""
    command = [sys.executable, "-m", "flint", "--data-dir", str(tmp_path / "data"), "server", "start"]
    command += ["--bind", "127.0.0.1:0", "--sync", "batch"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                port = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
                if port is not None:
                    yield process.pid, int(port[1])
                    break
            else:
                pytest.fail("the server did not start")
        finally:
            process.terminate()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_answers_that_nobody_reads_are_not_collected(server: tuple[int, int]) -> None:
    pid, port = server
    before = resident_bytes(pid)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as greedy:
        greedy.setblocking(False)
        sent, most = 0, 32 * 2**20
        while sent < most:
            # The server stops reading from whoever does not read.
            if not select.select([], [greedy], [], 2)[1]:
                break
            sent += greedy.send(CHECK * 500)
        grown = resident_bytes(pid) - before
        honest = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        honest.request("POST", "/v1/check", b'{"key":"other","limit":"5/day"}', {"Content-Type": "application/json"})
        assert honest.getresponse().status == 200
        honest.close()
    assert grown < GROWTH_BYTES, f"{grown} bytes for {sent} bytes of requests"
