from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.python.command_tree import commands

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli


# Every command, with arguments that make it succeed in a directory that has the key "k".
COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("limit", "add"): ("new", "1/s"),
    ("limit", "list"): (),
    ("limit", "status"): ("k",),
    ("limit", "check"): ("k",),
    ("limit", "check-all"): ("k",),
    ("limit", "peek"): ("k",),
    ("limit", "reset"): ("k",),
    ("limit", "delete"): ("k",),
    ("limit", "history"): ("k",),
    ("limit", "top"): (),
    ("log", "flush"): (),
    ("log", "compact"): (),
    ("log", "dump"): (),
    ("log", "verify"): (),
    ("doctor",): (),
}


def test_every_command_is_listed_here() -> None:
    # A server prints nothing while it runs; its reports have --log-format. The other two are in test_backup.py.
    assert set(commands()) == {*COMMANDS, ("server", "start"), ("backup",), ("restore",)}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_json_before_or_after_the_command(cli: Cli, data_dir: Path, path: tuple[str, ...]) -> None:
    for arguments in (("--json", *path, *COMMANDS[path]), (*path, *COMMANDS[path], "--json")):
        with flint.Limiter(data_dir) as limiter:
            limiter.limit("k", 10, "1d")
        ran = cli(*arguments)
        assert (ran.status, ran.err) == (0, "")
        documents = ran.out.splitlines() if path == ("log", "dump") else [ran.out]
        assert documents
        for document in documents:
            json.loads(document)
        assert ran.out.isascii()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_errors_as_json(cli: Cli, tmp_path: Path, path: tuple[str, ...]) -> None:
    file = tmp_path / "a file"
    file.touch()
    ran = cli("--data-dir", file, *path, *COMMANDS[path], "--json")
    assert ran.status == 3
    assert ran.json["error"]["exit_status"] == 3
    assert ran.json["error"]["type"]
    assert str(file) in ran.json["error"]["message"]
    assert str(file) in ran.err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("limit", "check", "unknown"), "LimitNotFound"),
        (("limit", "status", "unknown"), "LimitNotFound"),
        (("limit", "check", "k", "--cost", "99"), "InvalidCost"),
        (("limit", "check", ""), "InvalidKey"),
        (("limit", "add", "k", "1/fortnight"), "InvalidLimit"),
        (("limit", "check"), "UsageError"),
        (("limit", "nothing"), "UsageError"),
        (("limit", "check", "k", "--nothing"), "UsageError"),
        (("limit",), "UsageError"),
    ],
)
def test_error_types(cli: Cli, arguments: tuple[str, ...], name: str) -> None:
    cli("limit", "add", "k", "10/day")
    ran = cli("--json", *arguments)
    assert (ran.status, ran.json["error"]["type"]) == (2, name)


def test_version(cli: Cli) -> None:
    assert cli("--version", "--json").json == cli("--json", "--version").json == {"version": flint.__version__}


def test_json_after_two_dashes_is_a_key(cli: Cli) -> None:
    cli("limit", "add", "k", "10/day")
    ran = cli("limit", "status", "--", "--json")
    assert (ran.status, ran.out) == (2, "")


def test_results_hold_what_the_library_says(cli: Cli, data_dir: Path) -> None:
    cli("limit", "add", "k", "10/day")
    shown = cli("limit", "status", "k", "--json").json
    with flint.Limiter(data_dir, read_only=True) as limiter:
        status = limiter.status("k")
        assert status is not None
        expected = status.to_dict()
    assert shown.keys() == expected.keys()
    assert shown["key"] == "k"
    assert shown["per_millis"] == 86_400_000
    assert shown["reset_at"].endswith("Z")
