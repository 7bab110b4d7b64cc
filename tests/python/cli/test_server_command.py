"""`flint server start`: accepted and refused options; a refused start leaves nothing behind."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.python.served import TOKEN, serving

import flint

if TYPE_CHECKING:
    from tests.python.cli.conftest import Cli

WRONG = [
    (["--bind", "0.0.0.0:0"], "--token-file"),
    (["--bind", "[::]:0"], "--token-file"),
    (["--bind", "0.0.0.0:0", "--token", "dev-secret"], "too weak"),
    (["--bind", "nowhere"], "ADDRESS:PORT"),
    (["--bind", "127.0.0.1"], "ADDRESS:PORT"),
    (["--bind", "127.0.0.1:65536"], "ADDRESS:PORT"),
    (["--bind", ""], "ADDRESS:PORT"),
    (["--token", ""], "the token is empty"),
    (["--token", "two words"], "no Authorization header"),
    (["--token", TOKEN, "--token-file", "tokens"], "exclude each other"),
    (["--systemd", "--bind", "127.0.0.1:0"], "instead of --bind and --unix"),
    (["--token-file", "/no/such/file"], "/no/such/file"),
    (["--require-tls"], "--tls-cert"),
    (["--tls-cert", "cert.pem"], "tls_cert and tls_key go together"),
    (["--tls-cert", "cert.pem", "--tls-key", "key.pem"], "cert.pem"),
    (["--unix", "/no/such/directory/socket"], "/no/such/directory"),
    (["--max-blocking", "0"], "max_blocking"),
    (["--max-blocking", "many"], "is not an integer"),
    (["--max-connections", "-1"], "max_connections"),
    (["--log-format", "yaml"], "log_format"),
    (["--sync", "never"], "sync"),
    (["--sync", "batch", "--flush-every-ms", "0"], "flush_every_ms"),
    (["--sync", "batch", "--flush-every-events", "0"], "flush_every_events"),
    (["--log-io", "mmap"], "log_io"),
    (["extra"], "extra"),
    (["--env-token", TOKEN], "--env-token"),
]


@pytest.mark.parametrize(("options", "part"), WRONG, ids=lambda value: " ".join(value) if type(value) is list else "")
def test_a_refused_start_says_why_and_leaves_nothing_behind(
    cli: Cli, data_dir: Path, options: list[str], part: str
) -> None:
    ran = cli("server", "start", *options)
    assert ran.status in (2, 3), ran.err
    assert ran.out == ""
    assert part in ran.err
    assert TOKEN not in ran.err
    assert "two words" not in ran.err
    assert "unexpected error" not in ran.err
    assert not data_dir.exists()


def test_usage_is_status_2_and_the_system_status_3(cli: Cli, data_dir: Path) -> None:
    assert cli("server", "start", "--bind", "0.0.0.0:0").status == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = cli("server", "start", "--bind", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (ran.status, ran.out) == (3, "")
    assert "choose another port" in ran.err
    assert not data_dir.exists()


@pytest.mark.parametrize("content", [None, "", f"{TOKEN}\n", "weak check\n", f"{TOKEN} chekc\n"])
def test_a_token_file_that_is_not_accepted(cli: Cli, data_dir: Path, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_text(f"{TOKEN} check\n" if content is None else content)
    if content is None:
        file.chmod(0o640)
    ran = cli("server", "start", "--bind", "127.0.0.1:0", "--token-file", str(file))
    assert (ran.status, ran.out) == (2, "")
    assert str(file) in ran.err
    assert TOKEN not in ran.err
    assert ("chmod 600" in ran.err) == (content is None)
    assert not data_dir.exists()


def test_an_empty_variable_is_no_way_around_a_token(cli: Cli, data_dir: Path) -> None:
    ran = cli("server", "start", "--bind", "127.0.0.1:0", FLINT_TOKEN="")
    assert (ran.status, ran.out) == (2, "")
    assert "the token is empty" in ran.err
    assert not data_dir.exists()


def test_it_needs_a_directory(cli: Cli, data_dir: Path) -> None:
    for options, more in (
        (("--url", "http://127.0.0.1:1"), {}),
        ((), {"FLINT_URL": "unix:///x", "FLINT_DATA_DIR": ""}),
    ):
        ran = cli(*options, "server", "start", **more)
        assert (ran.status, ran.out) == (2, "")
        assert "server start needs the data directory itself" in ran.err
        assert "--data-dir" in ran.err
    assert not data_dir.exists()


def test_a_directory_that_is_held(cli_process: Cli, data_dir: Path) -> None:
    with flint.Limiter(data_dir):
        ran = cli_process("server", "start", "--bind", "127.0.0.1:0")
    assert (ran.status, ran.out) == (3, "")
    assert f"{data_dir} is held by process" in ran.err
    assert "--url" in ran.err


def test_the_socket_may_lie_in_the_directory_that_it_makes(cli: Cli, data_dir: Path) -> None:
    """The command in the message about a held directory."""
    path = data_dir / "flint.sock"
    with serving(data_dir, "--unix", str(path)) as served:
        assert served.urls == [f"unix://{path}"]
        assert path.stat().st_mode & 0o777 == 0o600
        # A second server notices the first one before it touches anything.
        again = cli("server", "start", "--unix", str(path))
        assert (again.status, again.out) == (3, "")
        assert "another server listens" in again.err
        assert cli("--url", served.url, "limit", "add", "k", "9/day").status == 0
    assert not path.exists()
    assert cli("limit", "status", "k").status == 0


def test_warnings_of_tokens(data_dir: Path) -> None:
    with serving(data_dir, "--token", "dev-secret") as served:
        pass
    warnings = [line for line in served.said if line.startswith("flint: warning: ")]
    assert len(warnings) == 3
    assert not any("dev-secret" in line for line in served.said)
    with serving(data_dir, FLINT_TOKEN=TOKEN) as served:
        pass
    assert not any("command line" in line for line in served.said)
    assert not any(TOKEN in line for line in served.said)


def test_it_ends_in_order_and_its_limits_stay(cli: Cli, data_dir: Path) -> None:
    with serving(data_dir, "--sync", "batch") as served:
        assert cli("--url", served.url, "limit", "check", "k", "--rate", "9/day", "--cost", "4").status == 0
    assert served.said[-1] == "flint: shutting down"
    assert cli("limit", "status", "k", "--json").json["remaining"] == 5
