"""The demonstration itself: it must pass, and it must be able to fail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[3] / "demo" / "crash_demo.py"


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEMO), "--directory", str(directory), "--rounds", "2", "--acks", "300", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_nothing_is_lost(tmp_path: Path) -> None:
    done = run(tmp_path / "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"nothing was lost; time per check: always [0-9.]+ us, batch [0-9.]+ us", lines[-1])
    assert sum(line.startswith("tokens ") for line in lines) == 2, "the listing of both directories"
    assert sum("killed after" in line for line in lines) == 4


def test_a_loss_is_noticed(tmp_path: Path) -> None:
    done = run(tmp_path / "demo", "--forge")
    assert done.returncode == 1
    assert "LOST: always: tokens: " in done.stderr
    assert "nothing was lost" not in done.stdout
