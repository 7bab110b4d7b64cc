"""Whoever reads that the server listens may send it signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_S = 60


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_right_after_the_start_is_heard(end: signal.Signals, tmp_path: Path) -> None:
    flint = str(Path(sys.executable).parent / "flint")
    for _ in range(5):
        with subprocess.Popen(
            [flint, "--data-dir", str(tmp_path / "data"), "server", "start", "--unix", str(tmp_path / "s")],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            assert "listening on" in process.stderr.readline()
            process.send_signal(signal.SIGHUP)
            process.send_signal(end)
            _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        assert "shutting down" in said
