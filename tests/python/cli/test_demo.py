"""The demonstration itself: it must pass, and it must be able to fail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "demo"
DEMO = FOLDER / "crash_demo.py"
WEB_DEMO = FOLDER / "web_demo.py"
SHARED_DEMO = FOLDER / "shared_demo.py"


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


def run_web(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(WEB_DEMO), "--directory", str(directory), "--kills", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_web_application_goes_on_where_it_was(tmp_path: Path) -> None:
    done = run_web(tmp_path / "web")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert sum("killed after" in line for line in lines) == 2
    assert lines[-1].startswith("web     after 2 kills each client got its 200 requests per day and no more")


def test_a_web_application_that_forgets_is_noticed(tmp_path: Path) -> None:
    done = run_web(tmp_path / "web", "--forget")
    assert done.returncode == 1
    assert "LOST: ada got" in done.stderr


def run_shared(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SHARED_DEMO), "--directory", str(directory), "--kills", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_workers_share_one_limit_while_their_server_is_killed(tmp_path: Path) -> None:
    done = run_shared(tmp_path / "shared")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert sum("the server was killed after" in line for line in lines) == 2
    assert re.fullmatch(
        r"shared  the workers answered 400 requests together, of 400 allowed: (\d+ \d+, ){3}\d+ \d+", lines[-2]
    )
    assert lines[-1] == "shared  after 2 kills of the server no request failed, and none was charged twice"


def test_a_server_that_forgets_is_noticed(tmp_path: Path) -> None:
    done = run_shared(tmp_path / "shared", "--forget")
    assert done.returncode == 1
    assert re.search(r"WRONG: \d+ requests were allowed, not 400", done.stderr), done.stderr
