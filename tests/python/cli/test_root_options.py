"""The options that `flint` and all its commands have: where they may be, and which of them count."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A directory with one key, which no variable names."""
    with flint.Limiter(tmp_path / "other") as limiter:
        limiter.limit("there", 1, "1d")
    return tmp_path / "other"


@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_before_in_and_after_the_command(cli: Cli, other: Path, place: int) -> None:
    words: list[str | Path] = ["limit", "list", "--prefix", "th"]
    words[place:place] = ["--data-dir", other, "--json"]
    ran = cli(*words)
    assert (ran.status, ran.err) == (0, "")
    assert [status["key"] for status in ran.json] == ["there"]


def test_the_last_one_counts(cli: Cli, other: Path, tmp_path: Path) -> None:
    assert "there" in cli("--data-dir", tmp_path / "none", "limit", "list", "--data-dir", other).out
    assert cli("--data-dir", other, "limit", "list", "--data-dir", tmp_path / "none").status == 3


def test_a_server_after_the_command(cli: Cli, other: Path, tmp_path: Path) -> None:
    ran = cli("limit", "list", "--url", NOWHERE)
    assert (ran.status, ran.out) == (3, "")
    assert NOWHERE in ran.err
    ran = cli("--data-dir", other, "limit", "list", "--url", NOWHERE)
    assert ran.status == 2
    assert "--url and --data-dir exclude each other" in ran.err
    # A directory behind the command precedes a server in a variable, as one before it does.
    assert "there" in cli("limit", "list", "--data-dir", other, FLINT_URL=NOWHERE, FLINT_DATA_DIR="").out
    ran = cli("limit", "list", "--token-file", tmp_path / "token")
    assert "--token-file goes with --url" in ran.err


@pytest.mark.parametrize("url", ["http://host", "https://host:7878", "unix:///run/flint.sock", "unix:/s", "redis://h"])
@pytest.mark.parametrize(
    "command", [("limit", "add", "k", "5/m"), ("limit", "list"), ("server", "start"), ("doctor",), ("log", "dump")]
)
def test_a_url_is_no_directory(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, command: tuple[str, ...]
) -> None:
    """It would be a new directory of that name, with fresh limits."""
    monkeypatch.chdir(tmp_path)
    for ran, named in (
        (cli("--data-dir", url, *command), "--data-dir"),
        (cli(*command, "--data-dir", url), "--data-dir"),
        (cli(*command, FLINT_DATA_DIR=url), "FLINT_DATA_DIR"),
    ):
        assert (ran.status, ran.out) == (2, "")
        assert f"{named} must name a directory, and {url!r} is a URL" in ran.err
        assert "--url or FLINT_URL" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_repair_goes_to_no_url(cli: Cli, other: Path, tmp_path: Path) -> None:
    ran = cli("--data-dir", other, "doctor", "--repair", "--output", "http://host")
    assert (ran.status, ran.out) == (2, "")
    assert "--output must name a directory, and 'http://host' is a URL" in ran.err


def test_limit_counts_lines_and_rate_is_a_limit(cli: Cli) -> None:
    assert cli("limit", "check", "k", "--rate", "5/minute").status == 0
    assert cli("limit", "peek", "new", "--rate", "5/minute").status == 0
    assert cli("limit", "add", "a", "--rate", "5/minute").status == 0
    assert cli("limit", "add", "b", "--rate", "5", "--per", "1m").status == 0
    for command in (("limit", "list"), ("limit", "top"), ("limit", "history", "k")):
        assert cli(*command, "--limit", "1").status == 0
        ran = cli(*command, "--limit", "0")
        assert (ran.status, ran.out) == (2, "")
        assert "0 is out of range; accepted is a number from 1 to 18446744073709551615, such as 10" in ran.err
    assert cli("limit", "check", "k", "--limit", "5/minute").status == 2
