from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Ran:
    """A command that has run."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Environment = dict[str, str]
Cli = Callable[..., Ran]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def environment(tmp_path: Path, data_dir: Path) -> Environment:
    """As bare as a service's: no terminal settings, no colours."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(tmp_path), "LANG": "C.UTF-8", "FLINT_DATA_DIR": str(data_dir)}


@pytest.fixture
def command() -> list[str]:
    return [sys.executable, "-m", "flint"]


@pytest.fixture
def cli(command: list[str], environment: Environment) -> Cli:
    """Runs the command line in a process of its own. Whatever it does, it must not print a traceback."""

    def run(*arguments: str | bytes | Path, **more: str) -> Ran:
        done = subprocess.run(
            [*command, *arguments],
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in ran.err, ran.err
        assert "\x1b" not in ran.out + ran.err
        return ran

    return run
