"""Completion: what is offered, the scripts in a real shell, and calls of scripts that earlier releases installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli, Environment


def completions(cli: Cli, line: str, **more: str) -> list[str]:
    """The values for a command line up to the cursor."""
    ran = cli(_FLINT_COMPLETE="complete", _FLINT_COMPLETE_LINE=line, **more)
    assert (ran.status, ran.err) == (0, "")
    return [each.split("\t")[0] for each in ran.out.splitlines()]


@pytest.fixture
def keys(data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        names = ("user-1", "user-2", "org", "user-\x1b[0m", "api:user-42", "api:user 43", "api:*", "a=b", "it's")
        limiter.limit_many({"key": key, "rate": 1, "per": "1d"} for key in names)


def test_commands_and_options(cli: Cli) -> None:
    assert completions(cli, "flint l") == ["limit", "log"]
    assert completions(cli, "flint limit check") == ["check", "check-all"]
    assert completions(cli, "flint limit add k --algorithm f") == ["fixed_window_counter"]
    assert "denied_cost" in completions(cli, "flint limit top --by d")
    assert completions(cli, "flint limit top --wa") == ["--watch"]
    assert (
        completions(cli, "") == completions(cli, "flint ") == ["limit", "log", "server", "backup", "restore", "doctor"]
    )


def test_completions_are_described(cli: Cli) -> None:
    ran = cli(_FLINT_COMPLETE="complete", _FLINT_COMPLETE_LINE="flint lo")
    assert ran.out == "log\tFlush, compact, print and verify the log.\n"


@pytest.mark.usefixtures("keys")
def test_keys(cli: Cli, data_dir: Path) -> None:
    assert completions(cli, "flint limit status user-") == ["user-1", "user-2"]
    assert completions(cli, "flint limit check-all org api:") == ["api:*", "api:user 43", "api:user-42"]
    assert completions(cli, f"flint --data-dir {data_dir} limit check o", FLINT_DATA_DIR="/nowhere") == ["org"]
    for typed in ("'api:user 4", "'api:user ", "api:user\\ ", '"api:user 43"'):
        assert completions(cli, f"flint limit status {typed}") == ["api:user 43"]


def test_keys_of_a_directory_that_cannot_be_read(cli: Cli, data_dir: Path) -> None:
    assert completions(cli, "flint limit status u") == []
    data_dir.write_text("a file")
    assert completions(cli, "flint limit status u") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(cli: Cli, shell: str) -> None:
    ran = cli("--show-completion", shell)
    assert (ran.status, ran.err) == (0, "")
    assert "_FLINT_COMPLETE=complete" in ran.out
    assert cli(_FLINT_COMPLETE=f"source_{shell}") == ran


def test_a_shell_without_completion(cli: Cli) -> None:
    for arguments, more in ((("--show-completion", "tcsh"), {}), ((), {"_FLINT_COMPLETE": "source_tcsh"})):
        ran = cli(*arguments, **more)
        assert (ran.status, ran.out) == (2, "")
        assert "completion exists for bash, zsh and fish" in ran.err
    assert cli(_FLINT_COMPLETE="nonsense").status == 2


# A shell asks for completions as it does at the press of a key, and prints them, one a line.
BASH = """
PATH=$BIN:$PATH
source $SCRIPT
COMP_LINE=$LINE COMP_POINT=${#LINE}
_flint_completion flint
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("flint l", ["limit", "log"]),
        ("flint limit status user-", ["user-1", "user-2"]),
        # bash replaces only what is behind a colon or an equals sign.
        ("flint limit status api:user", ["user\\ 43", "user-42"]),
        ("flint limit status api:", ["\\*", "user\\ 43", "user-42"]),
        ("flint limit status a=", ["b"]),
        ("flint limit status it", ["it\\'s"]),
        ('flint limit status "api:user', ["api:user 43", "api:user-42"]),
        ("flint limit status none", [""]),
    ],
)
def test_the_script_in_bash(
    cli: Cli, command: list[str], environment: Environment, tmp_path: Path, line: str, replies: list[str]
) -> None:
    script = tmp_path / "flint.sh"
    script.write_text(cli("--show-completion", "bash").out)
    program = tmp_path / "bin" / "flint"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
    program.chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    variables = {**environment, "SCRIPT": str(script), "BIN": str(program.parent), "LINE": line}
    done = subprocess.run([bash, "-c", BASH], env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (replies, "")


@pytest.mark.parametrize(
    ("shell", "place", "settings"),
    [
        ("bash", ".bash_completions/flint.sh", ".bashrc"),
        ("zsh", ".zfunc/_flint", ".zshrc"),
        ("fish", ".config/fish/completions/flint.fish", None),
    ],
)
def test_installing(cli: Cli, tmp_path: Path, shell: str, place: str, settings: str | None) -> None:
    if settings is not None:
        (tmp_path / settings).write_text("alias ll='ls -l'")
    for arguments in (("--install-completion", shell), ("--install-completion", shell)):
        ran = cli(*arguments)
        assert (ran.status, ran.err) == (0, "")
        assert str(tmp_path / place) in ran.out
    assert (tmp_path / place).read_text() == cli("--show-completion", shell).out
    if settings is not None:
        kept, added = (tmp_path / settings).read_text().splitlines()
        assert kept == "alias ll='ls -l'"
        assert str(tmp_path / place) in added or ".zfunc" in added


def test_the_shell_in_use_is_the_default(cli_process: Cli) -> None:
    # pytest is no shell, so the login shell counts.
    assert "compdef" in cli_process("--show-completion", SHELL="/usr/bin/zsh").out
    unknown = cli_process("--show-completion", SHELL="/bin/ksh")
    assert (unknown.status, unknown.out) == (2, "")
    assert "'ksh'" in unknown.err


@pytest.mark.usefixtures("keys")
def test_scripts_of_earlier_releases(cli: Cli) -> None:
    line = "flint limit status user-"
    bash = cli(_FLINT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD="3")
    assert bash.out == "user-1\nuser-2\n"
    zsh = cli(_FLINT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="flint limit status it")
    assert zsh.out == "compadd -- 'it'\"'\"'s'\n"
    assert cli(_FLINT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="flint limit status none").out == "_files\n"
    fish = {"_FLINT_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    assert cli(**fish, _TYPER_COMPLETE_FISH_ACTION="get-args").out == "user-1\nuser-2\n"
    for words, status in ((line, 0), ("flint limit status none", 1)):
        ran = cli(**{**fish, "_TYPER_COMPLETE_ARGS": words}, _TYPER_COMPLETE_FISH_ACTION="is-args")
        assert (ran.status, ran.out) == (status, "")
