"""Two ways to run a command: `cli` calls the entry point in this process, `cli_process` starts a process.

A process is for what only a process shows: signals, closed pipes, terminals, a second holder of a directory. Everything
else is called here, which takes milliseconds.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flint.cli


@dataclass(frozen=True)
class Ran:
    """A command that has run."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def checked(self) -> Ran:
        """Whatever a command does, it prints no traceback, and without a terminal no escapes."""
        assert "Traceback" not in self.err, self.err
        assert "\x1b" not in self.out + self.err
        return self


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


def heed_interrupts() -> None:
    """Before a child's program starts: a shell's background jobs, such as these tests, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def streams(encoding: str) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Standard streams that are files, as those of a process whose output is redirected; nothing is on the input."""
    before = sys.stdin, sys.stdout, sys.stderr
    with (
        open(os.devnull) as nothing,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        io.TextIOWrapper(out, encoding=encoding, write_through=False) as text_out,
        io.TextIOWrapper(err, encoding=encoding, errors="backslashreplace", line_buffering=True) as text_err,
    ):
        sys.stdin, sys.stdout, sys.stderr = nothing, text_out, text_err
        try:
            yield text_out, text_err
        finally:
            sys.stdin, sys.stdout, sys.stderr = before


@contextmanager
def variables(environment: Environment) -> Iterator[None]:
    """These environment variables and no others."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def written(stream: io.TextIOWrapper) -> str:
    """What has been written, as another process would read it."""
    stream.flush()
    return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0).decode()


@pytest.fixture
def cli(environment: Environment) -> Cli:
    """Runs the command line in this process, with files for streams."""

    def run(*arguments: str | bytes | Path, **more: str) -> Ran:
        everything = {**environment, **more}
        with variables(everything), streams(everything.get("PYTHONIOENCODING", "utf-8")) as (out, err):
            status = flint.cli.main([os.fsdecode(each) for each in arguments])
            ran = Ran(status, written(out), written(err))
        return ran.checked()

    return run


@pytest.fixture
def cli_process(command: list[str], environment: Environment) -> Cli:
    """Runs the command line in a process of its own."""

    def run(*arguments: str | bytes | Path, **more: str) -> Ran:
        done = subprocess.run(
            [*command, *arguments],
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode()).checked()

    return run
