"""A process that reads that the server listens may send it signals."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.python import installed

import flint

TIMEOUT_S = 60


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_right_after_the_start_is_heard(end: signal.Signals, tmp_path: Path) -> None:
    for _ in range(5):
        with subprocess.Popen(
            [installed.flint(), "--data-dir", str(tmp_path / "data"), "server", "start", "--unix", str(tmp_path / "s")],
            env=installed.environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            assert "listening on" in process.stderr.readline()
            process.send_signal(signal.SIGHUP)
            process.send_signal(end)
            _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, said
        assert "shutting down" in said


SLOW_SCRAPES = """
import os, sys, time
import flint, flint.cli
def slow(limiter, **options):
    os.write(1, b"scraping\\n")
    while True:
        time.sleep(0.001)
flint.prometheus_metrics = slow
sys.exit(flint.cli.main(["--data-dir", sys.argv[1], "server", "start", "--unix", sys.argv[2]]))
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_scrapes_that_do_not_end_do_not_keep_the_server_or_abort_it(end: signal.Signals, tmp_path: Path) -> None:
    """Each is a thread in Python, which the end of the interpreter would end in the middle of native code."""
    data_dir, place = str(tmp_path / "data"), str(tmp_path / "s")
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_SCRAPES, data_dir, place],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "listening on" in process.stderr.readline()
        clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for client in clients:
            client.connect(place)
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        # Two run at a time, the others wait for their turn.
        for _ in range(2):
            assert process.stdout.readline() == "scraping\n"
        with flint.SharedLimiter(f"unix://{place}") as limiter:
            assert limiter.check("k", limit="5/day").allowed
        for client in clients:
            client.close()
        process.send_signal(end)
        _, said = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, said) == (0, "flint: shutting down\n")
    with flint.Limiter(data_dir) as opened:
        assert opened.recovery.clean
        status = opened.status("k")
        assert status is not None
        assert status.remaining == 4
