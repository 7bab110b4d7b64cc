"""The command lines of release 0.2.1's README, as printed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import flint

Shell = Callable[[str], "subprocess.CompletedProcess[str]"]

SNIPPETS = Path(__file__).parent / "snippets"
COMMANDS = (SNIPPETS / "commands.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def configured(cwd: Path) -> Path:
    """The keys that the commands name, in the default directory; one check of each was denied."""
    with flint.Limiter() as limiter:
        for key in ("user:42", "org:acme"):
            limiter.limit(key, rate=11, per="10d")
            limiter.check(key)
            limiter.check(key, cost=11)
    return cwd


def test_one_after_the_other(configured: Path, shell: Shell) -> None:
    assert len(COMMANDS) == 10
    for line in COMMANDS:
        done = shell(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout, line
        assert done.stderr == "", line
    with flint.Limiter(read_only=True) as limiter:
        org, user = limiter.status("org:acme"), limiter.status("user:42")
        assert org is not None
        assert user is not None
        assert (org.remaining, user.remaining) == (0, 9)


def _line(start: str) -> str:
    (line,) = (line for line in COMMANDS if line.startswith(start))
    return line


def test_check_is_1_when_denied(configured: Path, shell: Shell) -> None:
    shell('flint limit add "api:user-42" --rate 9 --per 10d --algorithm token_bucket')
    assert shell(_line("flint limit check ")).returncode == 0
    assert shell(_line("flint limit check ")).returncode == 1


def test_check_all_takes_all_or_nothing(configured: Path, shell: Shell) -> None:
    assert shell(_line("flint limit check-all")).returncode == 0
    assert shell(_line("flint limit check-all")).returncode == 1
    with flint.Limiter(read_only=True) as limiter:
        status = limiter.status("user:42")
        assert status is not None
        assert status.remaining == 9


def test_top_shows_the_keys_that_are_denied(configured: Path, shell: Shell) -> None:
    for _ in range(2):
        shell("flint limit check org:acme --cost 11")
    listing = shell(_line("flint limit top")).stdout
    assert listing.index("org:acme") < listing.index("user:42")


def test_doctor_tells_limits_events_log_bytes_and_snapshot(configured: Path, shell: Shell) -> None:
    report = json.loads(shell(_line("flint doctor") + " --json").stdout)
    assert report["ok"] is True
    assert report["limits"] == 2
    assert report["history_events"] == 6
    assert report["aof_bytes"] > 0
    assert report["snapshot_exists"] is False
    assert shell(_line("flint log compact")).returncode == 0
    assert json.loads(shell("flint doctor --json").stdout)["snapshot_exists"] is True
    plain = shell(_line("flint doctor")).stdout
    for name in ("limits", "history events", "log bytes", "snapshot"):
        assert name in plain


def test_another_data_directory(cwd: Path, shell: Shell) -> None:
    """As printed, below a directory that the test may write to."""
    line = (SNIPPETS / "command_data_dir.txt").read_text(encoding="utf-8").replace("/var/lib", f"{cwd}/var/lib")
    data_dir = cwd / "var/lib/myapp/flint"
    assert shell(line).returncode == 3
    assert not (cwd / "var").exists()
    data_dir.parent.mkdir(parents=True)
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("api:user-42", rate=100, per="1m")
    done = shell(line)
    assert done.returncode == 0, done.stderr
    assert "api:user-42" in done.stdout
    assert not (cwd / ".flint").exists()
