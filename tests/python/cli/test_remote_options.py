"""The server that commands work on, its token, and the messages where that fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.python.certificates import Files
from tests.python.served import TOKEN, Served, serving

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli

LOOK = "ffeeddccbbaa99887766554433221100"
NOWHERE = "http://127.0.0.1:1"


def private(path: Path, content: str) -> str:
    path.touch(0o600)
    path.write_text(content)
    return str(path)


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    """A server's file, whose first token may do everything."""
    content = f"# ours\n\n{TOKEN} check configure admin metrics\n{LOOK} check\n"
    return private(tmp_path / "tokens", content)


@pytest.fixture
def guarded(data_dir: Path, tokens: str) -> Iterator[Served]:
    with serving(data_dir, "--sync", "batch", "--token-file", tokens) as served:
        yield served


def test_the_ways_to_give_a_token(cli: Cli, guarded: Served, tokens: str, tmp_path: Path) -> None:
    alone = private(tmp_path / "alone", f"{TOKEN}\n")
    bare = private(tmp_path / "bare", TOKEN)
    add = ("limit", "add", "k", "9/day")
    for file in (tokens, alone, bare):
        assert cli("--url", guarded.url, "--token-file", file, *add).status == 0, file
    assert cli("--url", guarded.url, *add, FLINT_TOKEN=TOKEN).status == 0
    # A named file takes precedence over the variable.
    assert cli("--url", guarded.url, "--token-file", alone, *add, FLINT_TOKEN="wrong").status == 0
    file = private(tmp_path / "look", f"{LOOK} check\n")
    assert cli("--url", guarded.url, "--token-file", file, *add, FLINT_TOKEN=TOKEN).status == 3


@pytest.mark.parametrize("variables", [{}, {"FLINT_TOKEN": ""}, {"FLINT_TOKEN": "wrong"}])
def test_without_a_valid_token(cli: Cli, guarded: Served, variables: dict[str, str]) -> None:
    for command in (("limit", "list"), ("doctor",), ("log", "dump"), ("limit", "add", "k", "1/s")):
        ran = cli("--url", guarded.url, *command, **variables)
        assert (ran.status, ran.out) == (3, "")
        assert "--token-file" in ran.err
        assert "FLINT_TOKEN" in ran.err
    ran = cli("--url", guarded.url, "limit", "list", "--json", **variables)
    assert ran.json["error"]["type"] == "FlintServerError"


def test_a_token_that_may_not_do_that(cli: Cli, guarded: Served) -> None:
    assert cli("--url", guarded.url, "limit", "list", FLINT_TOKEN=LOOK).status == 0
    for command in (("limit", "add", "k", "1/s"), ("log", "compact"), ("doctor",), ("log", "flush")):
        ran = cli("--url", guarded.url, *command, FLINT_TOKEN=LOOK)
        assert (ran.status, ran.out) == (3, ""), command
        assert "scope" in ran.err
        assert LOOK not in ran.err


@pytest.mark.parametrize(
    ("content", "mode", "part"),
    [
        (f"{TOKEN}\n", 0o640, "chmod 600"),
        (f"{TOKEN}\n", 0o604, "chmod 600"),
        ("", 0o600, "no token"),
        ("# nothing\n \n", 0o600, "no token"),
        ("tök\n", 0o600, "visible ASCII"),
        ("x" * 70_000, 0o600, "larger than"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_token_file_that_is_not_accepted(cli: Cli, tmp_path: Path, content: str | None, mode: int, part: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        private(file, content)
        file.chmod(mode)
    ran = cli("--url", NOWHERE, "--token-file", file, "limit", "list")
    assert (ran.status, ran.out) == (2, "")
    assert f"token file {file}: " in ran.err
    assert part in ran.err
    assert TOKEN not in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_directory_is_no_token_file(cli: Cli, tmp_path: Path) -> None:
    ran = cli("--url", NOWHERE, "--token-file", tmp_path, "limit", "list")
    assert (ran.status, ran.out) == (2, "")
    assert "Is a directory" in ran.err


def test_a_server_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    with socket.socket() as bound:
        # Bound and not listening: no other process can take the port.
        bound.bind(("127.0.0.1", 0))
        urls = [f"http://127.0.0.1:{bound.getsockname()[1]}", f"unix://{tmp_path}/none.sock"]
        for url in urls:
            for command in (("limit", "list"), ("limit", "check", "k"), ("log", "dump"), ("log", "verify")):
                ran = cli("--url", url, *command)
                assert (ran.status, ran.out) == (3, ""), command
                assert url in ran.err
                assert ran.err.count("server start") == 1
                assert "FLINT_URL" in ran.err
            assert cli("--url", url, "doctor", "--json").json["error"]["type"] == "FlintConnectionError"


def test_a_certificate_of_an_authority_of_ones_own(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    files, others = Files(tmp_path), tmp_path / "others"
    others.mkdir()
    with serving(data_dir, *files.options, FLINT_TOKEN=TOKEN) as served:
        assert served.url.startswith("https://")
        add = ("--url", served.url, "limit", "add", "k", "9/day")
        assert cli(*add, FLINT_TOKEN=TOKEN, SSL_CERT_FILE=str(files.ca)).status == 0
        for variables in ({}, {"SSL_CERT_FILE": str(Files(others).ca)}):
            ran = cli(*add, FLINT_TOKEN=TOKEN, **variables)
            assert (ran.status, ran.out) == (3, "")
            assert served.url in ran.err
            assert "CERTIFICATE_VERIFY_FAILED" in ran.err
            assert "SSL_CERT_FILE" in ran.err
            assert TOKEN not in ran.err


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:7878", "ftp://h", "http://", "http://h/path", "unix://relative", "http://u:secret@h"]
)
def test_what_is_no_url(cli: Cli, url: str) -> None:
    ran = cli("--url", url, "limit", "list")
    assert (ran.status, ran.out) == (2, "")
    assert "secret" not in ran.err
    assert "Traceback" not in ran.err


def test_a_server_or_a_directory(cli: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("here", 1, "1d")
    on_both = cli("--url", NOWHERE, "--data-dir", data_dir, "limit", "list")
    assert (on_both.status, on_both.out) == (2, "")
    assert "--url and --data-dir exclude each other" in on_both.err
    in_both = cli("limit", "list", FLINT_URL=NOWHERE)
    assert (in_both.status, in_both.out) == (2, "")
    assert "FLINT_URL and FLINT_DATA_DIR exclude each other" in in_both.err
    # The command line takes precedence over the environment.
    assert "here" in cli("--data-dir", data_dir, "limit", "list", FLINT_URL=NOWHERE, FLINT_DATA_DIR="").out
    assert NOWHERE in cli("--url", NOWHERE, "limit", "list").err
    assert "here" in cli("limit", "list", FLINT_URL="").out


def test_a_token_file_belongs_to_a_server(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    file = private(tmp_path / "token", TOKEN)
    for command in (("limit", "list"), ("server", "start")):
        ran = cli("--token-file", file, *command)
        assert (ran.status, ran.out) == (2, "")
        assert "--token-file goes with --url" in ran.err
    assert not data_dir.exists()


def test_what_needs_the_directory_says_so(cli: Cli) -> None:
    ran = cli("--url", NOWHERE, "doctor", "--repair")
    assert (ran.status, ran.out) == (2, "")
    assert "doctor --repair needs the data directory itself" in ran.err
    assert "--data-dir" in ran.err


def test_a_held_directory_leads_to_its_server(cli: Cli, guarded: Served, data_dir: Path) -> None:
    ran = cli("limit", "add", "k", "1/s")
    assert (ran.status, ran.out) == (3, "")
    assert f"{data_dir} is held by process" in ran.err
    assert "server start" in ran.err
    assert "flint --url URL" in ran.err


def test_keys_are_completed_from_the_server(cli: Cli, data_dir: Path) -> None:
    def completed(line: str, **more: str) -> list[str]:
        variables = {"_FLINT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        return cli(**variables, **more).out.split()

    with serving(data_dir) as served:
        with flint.SharedLimiter(served.url) as limiter:
            limiter.limit_many({"key": key, "rate": 1, "per": "1d"} for key in ("user-1", "user-2", "org"))
        assert completed(f"flint --url {served.url} limit status user-") == ["user-1", "user-2"]
        assert completed("flint limit status o", FLINT_URL=served.url, FLINT_DATA_DIR="") == ["org"]
    assert completed(f"flint --url {served.url} limit status user-") == []
