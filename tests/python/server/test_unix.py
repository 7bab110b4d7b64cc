"""The Unix socket: for its owner alone, there as long as the server."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.python.server.support import STRONG, command, refused, running, serving, short_directory

import flint


@pytest.fixture
def path() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "flint.sock"


def test_it_is_for_its_owner_and_goes_with_the_server(path: Path, tmp_path: Path) -> None:
    # Whatever the mask, no other user can connect.
    wide_open = ["sh", "-c", 'umask 0; exec "$@"', "sh"]
    with serving(tmp_path / "data", "--unix", path, wrapper=wide_open) as server:
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.listdir(path.parent) == [path.name]
        client = server.unix_client()
        client.post("/v1/limits", {"key": "k", "rate": "5/52w"})
        assert client.check()["allowed"]
        # No web page reaches it, so any host will do.
        assert client.ask("GET", "/v1/health", headers={"Host": "anything.example"}).status == 200
        assert not [line for line in server.log if "warning" in line]
    assert os.listdir(path.parent) == []


def test_a_token_counts_there_too(path: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--unix", path, env={"FLINT_TOKEN": STRONG}) as server:
        server.unix_client().ask("GET", "/v1/health").problem(401, "unauthorized")
        assert server.unix_client(STRONG).ask("GET", "/v1/health").status == 200
        assert not [line for line in server.log if "warning" in line], "nothing goes over a network"


def test_a_token_that_others_may_learn_is_warned_of(path: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--unix", path, "--token", "dev-secret") as server:
        warnings = [line for line in server.log if "warning" in line]
        assert len(warnings) == 2
        assert "guessed" in warnings[0]
        assert "ps" in warnings[1]


def test_the_url_in_the_log_is_what_clients_need(path: Path, tmp_path: Path) -> None:
    with (
        serving(tmp_path / "data", "--unix", path.name, wrapper=["env", "-C", str(path.parent)]) as server,
        flint.SharedLimiter(f"unix://{server.path}") as client,
    ):
        assert server.path == str(path)
        client.limit("k", "1/s")


def test_a_path_that_cannot_be_a_socket_s(path: Path, tmp_path: Path) -> None:
    assert "name one of at most 99" in refused(tmp_path / "data", "--unix", path.parent / ("s" * 150))


def test_beside_tcp(path: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--unix", path, "--bind", "127.0.0.1:0") as server:
        server.client().post("/v1/limits", {"key": "k", "rate": "1/52w"})
        assert server.unix_client().check()["allowed"]
        assert not server.client().check()["allowed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_removed_at_the_end(path: Path, tmp_path: Path, number: int) -> None:
    with serving(tmp_path / "data", "--unix", path) as server:
        server.end(number)
        assert not path.exists()


def test_what_a_killed_server_left_is_replaced(path: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--unix", path) as server:
        server.process.kill()
        server.wait()
        assert path.exists()
    with serving(tmp_path / "data", "--unix", path) as server:
        assert server.unix_client().ask("GET", "/v1/health").status == 200


def test_what_is_in_use_or_something_else_is_not(path: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--unix", path) as server:
        assert "another server listens" in refused(tmp_path / "other", "--unix", path)
        assert server.unix_client().ask("GET", "/v1/health").status == 200
    path.write_text("precious")
    assert "is no socket" in refused(tmp_path / "data", "--unix", path)
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert "is no socket" in refused(tmp_path / "data", "--unix", path)
    assert path.is_symlink()


def test_another_server_that_took_the_place_keeps_it(path: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--unix", path) as server:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            server.end()
        assert path.exists()


def test_without_any_option_it_listens_on_loopback(tmp_path: Path) -> None:
    with socket.socket() as probe:
        # Another process may use the port already; then the error says so, which shows the same.
        free = probe.connect_ex(("127.0.0.1", 7878)) != 0
    if not free:
        assert "127.0.0.1:7878" in refused(tmp_path / "data")
        return
    with running(command(tmp_path / "data")) as server:
        server.until(r"listening on http://127\.0\.0\.1:7878$")
