"""A process that reads that the server listens may send it signals."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from tests.python import installed

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
