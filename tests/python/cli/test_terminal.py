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
from flint.cli import output, table

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli, Environment


CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal, of 60 columns unless it is resized, and whatever was written to it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(60)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

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
    assert "".join(line[: len(line) - len(line.lstrip("0123456789"))] for line in lines[1:-1]) == key


ALGORITHMS = ("token_bucket", "sliding_window_log", "fixed_window_counter")


@pytest.fixture
def used(data_dir: Path) -> None:
    """One used-up limit, one denied key and one that is whole, of three algorithms."""
    with flint.Limiter(data_dir) as limiter:
        for number, algorithm in enumerate(ALGORITHMS):
            limiter.limit(f"tenant:{number}:user-4242", 3, "7d", algorithm=algorithm)
        for _ in range(4):
            limiter.check("tenant:0:user-4242")
        limiter.check("tenant:1:user-4242")
        limiter.limit("many", "10/second burst 20; 1000/day; 5000/7d", algorithm="token_bucket")


def shown_at(
    columns: int, terminal: Terminal, command: list[str], environment: Environment, *arguments: str, **more: str
) -> tuple[str, str]:
    """What a command shows on a terminal of that width: with colours, and without."""
    terminal.resize(columns)
    with on(terminal, command, {**environment, **more}, *arguments) as process:
        assert process.wait(60) == 0
    raw = terminal.read()
    return raw, CONTROL.sub("", raw)


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("columns", [200, 120, 100, 80, 72, 60, 50, 40])
@pytest.mark.parametrize(
    "arguments", [("limit", "list"), ("limit", "top", "--by", "allowed"), ("limit", "history", "tenant:0:user-4242")]
)
def test_nothing_vanishes_unmarked(
    terminal: Terminal, command: list[str], environment: Environment, columns: int, arguments: tuple[str, ...]
) -> None:
    _, wide = shown_at(300, Terminal(), command, environment, *arguments)
    _, shown = shown_at(columns, terminal, command, environment, *arguments)
    titles = re.split(r"  +", wide.splitlines()[0])
    header, *rows = shown.splitlines()
    last = rows[-1] if "not shown: " in shown else ""
    # The note may be longer than a narrow terminal, which then wraps it.
    assert all(len(row.rstrip()) <= columns for row in [header, *rows] if row != last)
    missing = [title for title in titles if not re.search(rf"(^|  ){title}(  |$)", header)]
    assert re.findall(r"not shown: (.*) \(", shown) == ([", ".join(missing)] if missing else [])
    # What is shown is whole.
    if "ALGORITHM" not in missing and "list" in arguments:
        assert all(algorithm in shown.split() for algorithm in ALGORITHMS)


@pytest.mark.usefixtures("used")
def test_80_columns_keep_what_matters(terminal: Terminal, command: list[str], environment: Environment) -> None:
    _, shown = shown_at(80, terminal, command, environment, "limit", "list")
    header = shown.splitlines()[0].split("  ")
    assert {"KEY", "LIMIT", "REMAINING", "ALLOWED", "DENIED"} <= {title.strip() for title in header}
    assert "tenant:0:user-4242" in shown
    assert re.search(r"in \d d", shown)


@pytest.mark.usefixtures("used")
def test_times_are_relative_on_a_terminal(terminal: Terminal, command: list[str], environment: Environment) -> None:
    _, shown = shown_at(80, terminal, command, environment, "limit", "history", "tenant:0:user-4242")
    header, *rows = shown.splitlines()
    assert header.split()[:2] == ["AT", "EVENT"]
    assert {re.sub(r"^[\d.]+ (ms|s|min) ago  .*", "ago", row) for row in rows} == {"ago"}, shown


@pytest.mark.usefixtures("used")
def test_denials_and_used_up_limits_are_coloured(
    terminal: Terminal, command: list[str], environment: Environment
) -> None:
    raw, _ = shown_at(120, terminal, command, environment, "limit", "list")
    (used_up,) = [line for line in raw.splitlines() if "tenant:0" in line]
    assert re.search(r"\x1b\[31m0\x1b\[0m", used_up)
    assert re.search(r"\x1b\[33m1\x1b\[0m", used_up)
    (whole,) = [line for line in raw.splitlines() if "tenant:2" in line]
    assert "\x1b" not in whole
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        other = Terminal()
        with subprocess.Popen(
            [*command, "limit", "list"],
            env={**environment, "TERM": "xterm", **variables},
            stdin=subprocess.DEVNULL,
            stdout=other.theirs,
        ) as process:
            assert process.wait(60) == 0
        assert "\x1b" not in other.read()


def test_a_pipe_gets_one_header_exact_times_and_everything(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir, sync="batch") as limiter:
        limiter.limit_many({"key": f"key:{number:05}", "rate": 9, "per": "1d"} for number in range(2_500))
        limiter.check("key:00007", 2)
    ran = cli("limit", "list", COLUMNS="40")
    lines = ran.out.splitlines()
    assert len(lines) == 2_501
    assert [line for line in lines if "KEY" in line] == [lines[0]]
    assert re.search(r"token_bucket .* \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d$", lines[8])
    history = cli("limit", "history", "key:00007").out
    assert "9/day" in history
    assert len(re.findall(r"\d\d:\d\d:\d\d\.\d{3}[+-]", history)) == 2


def test_wide_characters_take_two_columns(terminal: Terminal, command: list[str], environment: Environment) -> None:
    with flint.Limiter(environment["FLINT_DATA_DIR"]) as limiter:
        limiter.limit("\u6d4b\u8bd5" * 20, 1, "1d")
        limiter.limit("a", 1, "1d")
    _, shown = shown_at(60, terminal, command, environment, "limit", "list")
    assert all(table.width_of(line.rstrip()) <= 60 for line in shown.splitlines())
    assert shown.count("\u6d4b") == 20


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
