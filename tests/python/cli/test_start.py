"""What a run imports: only what its command needs, so that it starts fast. benchmarks/cli_start.py measures that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flint

# A run of the command line that then prints what it imported.
PROGRAM = "import sys; from flint.cli import main; s = main(sys.argv[1:]); print(*sys.modules); sys.exit(s)"
SLOW = {
    "asyncio",
    "dataclasses",
    "ssl",
    "importlib.metadata",
    "rich",
    "prometheus_client",
    "pathlib",
    "difflib",
    "unicodedata",
}
COMMANDS = {"flint.cli.limit", "flint.cli.log", "flint.cli.server", "flint.cli.doctor", "flint.cli.completion"}


def imported(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_version_imports_no_command() -> None:
    found = imported("--version")
    assert not found & (SLOW | COMMANDS)


@pytest.mark.parametrize("command", ["check", "status", "list"])
def test_a_command_imports_its_own_module_alone(data_dir: Path, command: str) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", "9/day")
    found = imported("--data-dir", str(data_dir), "limit", command, *(["k"] if command != "list" else []))
    assert {name for name in found if name.startswith("flint.cli.limit.")} == {f"flint.cli.limit.{command}"}
    assert not found & (SLOW | COMMANDS - {"flint.cli.limit"})
