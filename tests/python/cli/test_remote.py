"""Every command against a real server process."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.python.served import Served, serving

import flint
from flint.cli.limit import top

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli, Ran

COMMANDS = [
    ("limit", "add", "a", "100/day"),
    ("limit", "add", "b", "--rate", "7", "--per", "1d", "--burst", "9"),
    ("limit", "add", "c/ %\n\u20ac", "3/day; 100/10d", "--algorithm", "fixed_window_counter"),
    ("limit", "add", "b", "8/day", "--on-change", "reset"),
    ("limit", "check", "a", "--cost", "5"),
    ("limit", "check", "new", "--rate", "3/10d"),
    ("limit", "check", "b", "--cost", "8"),
    ("limit", "check", "b"),
    ("limit", "check-all", "a", "c/ %\n\u20ac", "--cost", "a=10"),
    ("limit", "check-all", "a", "b"),
    ("limit", "peek", "a", "--cost", "50"),
    ("limit", "peek", "other", "--rate", "3/day"),
    ("limit", "status", "c/ %\n\u20ac"),
    ("limit", "list"),
    ("limit", "list", "--prefix", "c/", "--limit", "1"),
    ("limit", "list", "--after", "b"),
    ("limit", "top", "--by", "denied_cost"),
    ("limit", "reset", "b"),
    ("limit", "history", "a", "--limit", "3"),
    ("limit", "delete", "new"),
    ("log", "dump", "--after", "3"),
    ("log", "flush"),
    ("log", "compact"),
    ("log", "verify"),
    ("doctor",),
    # Wrong ones.
    ("limit", "status", "missing"),
    ("limit", "check", "missing"),
    ("limit", "reset", "missing"),
    ("limit", "delete", "missing"),
    ("limit", "history", "missing"),
    ("limit", "status", ""),
    ("limit", "check", "a", "--cost", "101"),
    ("limit", "check", "a", "--cost", "0"),
    ("limit", "check", "new", "--cost", "4", "--rate", "3/day"),
    ("limit", "check-all", "a", "a"),
    ("limit", "add", "a", "1/fortnight"),
]
# What differs between two runs of the same commands: times, where it is all kept, and how often denials are written.
TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-]\d\d:\d\d)")
WAITS = re.compile(r"retry after [^\n]*")
PLACE = re.compile(r"^(?:directory|server) .*$", re.MULTILINE)
BYTES = re.compile(r"((?:log bytes|history events) +|snapshot  )\d+")
CLOCKWORK = {"retry_after", "reset_after", "aof_bytes", "log_bytes", "history_events"}


@pytest.fixture
def served(data_dir: Path) -> Iterator[Served]:
    with serving(data_dir, "--sync", "batch") as served:
        yield served


def plain(text: str) -> str:
    return PLACE.sub("PLACE", BYTES.sub(r"\1N", WAITS.sub("WAIT", TIMES.sub("TIME", text))))


def settled(value: object) -> object:
    """JSON without times and waits."""
    if isinstance(value, dict):
        return {
            name: settled(each) for name, each in value.items() if name not in CLOCKWORK and not name.endswith("_ns")
        }
    if isinstance(value, list):
        return [settled(each) for each in value]
    return TIMES.sub("TIME", value) if isinstance(value, str) else value


def both(cli: Cli, served: Served, there: Path, command: tuple[str, ...], *options: str) -> tuple[Ran, Ran]:
    """The command on a directory and on a server, one right after the other."""
    local = cli("--data-dir", there, *options, *command)
    return local, cli("--url", served.url, *options, *command)


def is_of_records(command: tuple[str, ...]) -> bool:
    return command[:2] == ("log", "dump")


def test_every_command_says_the_same_as_on_a_directory(cli: Cli, served: Served, tmp_path: Path) -> None:
    for command in COMMANDS:
        local, remote = both(cli, served, tmp_path / "local", command)
        assert remote.status == local.status, (command, remote)
        assert plain(remote.err) == plain(local.err), command
        assert (remote.out == "") == (local.out == ""), command
        if not is_of_records(command):
            assert plain(remote.out) == plain(local.out), command


def test_every_command_gives_the_same_json(cli: Cli, served: Served, tmp_path: Path) -> None:
    for command in COMMANDS:
        local, remote = both(cli, served, tmp_path / "local", command, "--json")
        assert remote.status == local.status, (command, remote)
        if not is_of_records(command):
            assert settled(remote.json) == settled(local.json), command


def records(ran: Ran) -> list[dict[str, object]]:
    assert (ran.status, ran.err) == (0, "")
    return [json.loads(line) for line in ran.out.splitlines()]


def test_the_records_are_those_of_the_directory(cli: Cli, served: Served, data_dir: Path) -> None:
    remote = ("--url", served.url, "log", "dump", "--json")
    for command in COMMANDS[:10]:
        assert cli("--url", served.url, *command).status < 2
    assert records(cli(*remote)) == records(cli("log", "dump", "--json"))
    assert records(cli(*remote, "--after", "4")) == records(cli("log", "dump", "--json", "--after", "4"))
    assert records(cli(*remote, "--after", "4"))[0]["seq"] == 5
    assert cli("--url", served.url, "log", "dump").out == cli("log", "dump").out


def test_records_in_many_pages(cli: Cli, served: Served, data_dir: Path) -> None:
    with flint.SharedLimiter(served.url) as limiter:
        limiter.limit("k", 10**9, "1d")
        for _ in range(21):
            for _ in range(500):
                limiter.check("k")
    found = records(cli("--url", served.url, "log", "dump", "--json"))
    assert len(found) > 10_500
    assert [record["seq"] for record in found] == list(range(1, len(found) + 1))


def test_listing_in_pages(cli: Cli, served: Served) -> None:
    keys = [f"k{number:05}" for number in range(2_500)]
    with flint.SharedLimiter(served.url) as limiter:
        limiter.limit_many({"key": key, "rate": 1, "per": "1d"} for key in keys)
    assert [each["key"] for each in cli("--url", served.url, "limit", "list", "--json").json] == keys


def test_a_unix_socket(cli: Cli, data_dir: Path) -> None:
    with serving(data_dir, "--unix", str(data_dir / "flint.sock")) as served:
        assert served.url.startswith("unix:///")
        assert cli("--url", served.url, "limit", "add", "k", "9/day").status == 0
        assert cli("--url", served.url, "limit", "check", "k", "--cost", "9").status == 0
        assert cli("--url", served.url, "limit", "check", "k").status == 1
        assert cli("limit", "list", FLINT_URL=served.url, FLINT_DATA_DIR="").out.splitlines()[1].startswith("k ")


def test_watching(cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "_REFRESH_S", 0.01)
    cli("--url", served.url, "limit", "check", "k", "--rate", "9/day")
    watched = cli("--url", served.url, "limit", "top", "--by", "allowed", "--watch", "--rounds", "2", "--json")
    assert watched.status == 0
    looks = [json.loads(line) for line in watched.out.splitlines()]
    assert [[status["total_allowed"] for status in look] for look in looks] == [[1], [1]]


def test_nothing_is_made_here(cli: Cli, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    for command in COMMANDS[:10]:
        cli("--url", served.url, *command, FLINT_DATA_DIR="")
    assert list(empty.iterdir()) == []
