"""What several suites share: a data directory, a clock that stands still, a limiter, and processes of their own.

`make test` runs files in parallel (pytest-xdist): see `tests/python/parallel.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flint
from flint.testing import ManualClock

pytest_plugins = ["tests.python.parallel"]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def limiter(data_dir: Path, clock: ManualClock) -> Iterator[flint.Limiter]:
    with flint.Limiter(data_dir, sync="batch", clock=clock) as limiter:
        yield limiter


@pytest.fixture
def run(data_dir: Path) -> Run:
    """Runs a program in a Python process of its own; `DIR` in it is the data directory."""

    def run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
        text = f"DIR = {os.fspath(data_dir)!r}\n" + textwrap.dedent(program)
        command = [sys.executable, "-W", "error", *options, "-c", text]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run
