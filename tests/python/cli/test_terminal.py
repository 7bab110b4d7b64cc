"""The same commands on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flint
from flint.cli import output

if TYPE_CHECKING:
    from tests.python.cli.conftest import Environment


CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal of 60 columns and whatever was written to it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))

    def read(self) -> str:
        """Everything written until all writers have closed."""
        os.close(self.theirs)
        parts = []
        while True:
            try:
                part = os.read(self.ours, 65536)
            except OSError:
                break
            if not part:
                break
            parts.append(part)
        os.close(self.ours)
        return b"".join(parts).decode()


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def on(terminal: Terminal, command: list[str], environment: Environment, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, *arguments],
        env={**environment, "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=terminal.theirs,
        stderr=terminal.theirs,
    )


def test_tables_fold_and_lose_nothing(
    terminal: Terminal, command: list[str], environment: Environment, data_dir: Path
) -> None:
    key = "".join(f"{number:03}" for number in range(50))
    with flint.Limiter(data_dir) as limiter:
        limiter.limit(key, 1, "1d")
    with on(terminal, command, environment, "limit", "list") as process:
        assert process.wait(60) == 0
    shown = CONTROL.sub("", terminal.read())
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 60
    assert "\u2026" not in shown
    assert "".join(line[: len(line) - len(line.lstrip("0123456789"))] for line in lines[1:]) == key


def test_watch_redraws_in_place(
    terminal: Terminal, command: list[str], environment: Environment, data_dir: Path
) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("\x1b[31mkey", 1, "1d")
        limiter.check("\x1b[31mkey")
        arguments = ("limit", "top", "--by", "allowed", "--watch", "--rounds", "2")
        with on(terminal, command, environment, *arguments) as process:
            assert process.wait(60) == 0
    shown = terminal.read()
    assert shown.count("\\x1b[31mkey") >= 2
    assert "\x1b[31mkey" not in shown
    assert re.search(r"\x1b\[[0-9]*A", shown), "no cursor movement: nothing was redrawn"


def test_json_is_plain_on_a_terminal_too(
    terminal: Terminal, command: list[str], environment: Environment, data_dir: Path
) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("k", 1, "1d")
    with on(terminal, command, environment, "limit", "list", "--json") as process:
        assert process.wait(60) == 0
    assert "\x1b" not in terminal.read()


@pytest.mark.parametrize(("after", "shown"), [(0.0, True), (3600.0, False)])
def test_progress_is_shown_for_slow_work_only(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, after: float, shown: bool
) -> None:
    monkeypatch.setattr(output, "_PROGRESS_AFTER_S", after)
    monkeypatch.setenv("TERM", "xterm-256color")
    with open(os.dup(terminal.theirs), "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with output.working("slow \x1b[31mwork"):
            deadline = time.monotonic() + 10
            while shown and time.monotonic() < deadline and not _written(terminal):
                time.sleep(0.01)
    written = terminal.read()
    assert ("slow \\x1b[31mwork" in written) == shown
    assert "\x1b[31mwork" not in written


def _written(terminal: Terminal) -> bool:
    count = struct.unpack("i", fcntl.ioctl(terminal.ours, termios.FIONREAD, b"\0" * 4))[0]
    return bool(count)


def test_no_progress_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(output, "_PROGRESS_AFTER_S", 0.0)
    with output.working("slow work"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""
