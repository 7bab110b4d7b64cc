"""As a service of systemd: its sockets, and the notifications that it gets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.python.server.support import TIMEOUT_S, Server, command, refused, running, serving, short_directory

# What systemd does: the sockets from descriptor 3 on, and the id of the process that they are for.
ACTIVATE = """
import os, sys
passed = [int(number) for number in sys.argv[1].split(",")]
for place, number in enumerate(passed):
    os.dup2(number, 100 + place)
for place in range(len(passed)):
    os.dup2(100 + place, 3 + place)
    os.close(100 + place)
os.environ["LISTEN_FDS"] = str(len(passed))
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def activated(data_dir: Path, *sockets: socket.socket) -> list[str]:
    """The command line of a server that gets these sockets."""
    numbers = []
    for passed in sockets:
        # systemd's own sockets block; the server has to see to that.
        passed.setblocking(True)
        os.set_inheritable(passed.fileno(), True)
        numbers.append(str(passed.fileno()))
    return [sys.executable, "-c", ACTIVATE, ",".join(numbers), *command(data_dir, "--systemd")]


def running_with(argv: list[str], *sockets: socket.socket) -> contextlib.AbstractContextManager[Server]:
    return running(argv, pass_fds=[passed.fileno() for passed in sockets])


class Systemd:
    """Hears what a service says of itself."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(TIMEOUT_S)
        self.environment = {"NOTIFY_SOCKET": str(path)}

    def hears(self) -> dict[str, str]:
        """The next thing that is said, apart from that the service lives."""
        while True:
            said = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n") if line)
            if said != {"WATCHDOG": "1"}:
                return said


@pytest.fixture
def systemd(directory: Path) -> Iterator[Systemd]:
    systemd = Systemd(directory / "notify")
    with systemd.socket:
        yield systemd


def test_it_takes_the_sockets_that_it_is_given(directory: Path, tmp_path: Path) -> None:
    path = directory / "flint.sock"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        address = tcp.getsockname()
        # A client that connects before the service runs is served when it does.
        early = socket.create_connection(address, timeout=TIMEOUT_S)
        early.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with running_with(activated(tmp_path / "data", tcp, unix), tcp, unix) as server:
            server.until("listening on unix")
            assert server.address == address
            with early:
                assert early.recv(4096).startswith(b"HTTP/1.1 200")
            server.client().post("/v1/limits", {"key": "k", "rate": "5/52w"})
            assert server.unix_client().check()["allowed"]
            server.end()
        # The sockets are systemd's: they stay for the next start.
        assert path.exists()
        socket.create_connection(address, timeout=TIMEOUT_S).close()


def test_without_sockets_it_does_not_start(tmp_path: Path) -> None:
    assert "systemd passed no socket" in refused(tmp_path / "data", "--systemd")
    other = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
    assert "systemd passed no socket" in refused(tmp_path / "data", "--systemd", env=other)
    assert "instead of" in refused(tmp_path / "data", "--systemd", "--bind", "127.0.0.1:0")


def test_a_socket_that_is_none_to_listen_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        with running_with(activated(tmp_path / "data", datagrams), datagrams) as server:
            server.until("socket 0 that systemd passed is neither")
            assert server.wait() != 0


def test_sockets_that_others_can_reach_need_a_token(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as tcp, running_with(activated(tmp_path / "data", tcp), tcp) as server:
        server.until("no token is set")
        assert server.wait() != 0


def test_it_tells_how_it_is(systemd: Systemd, tmp_path: Path) -> None:
    with serving(tmp_path / "data", env=systemd.environment) as server:
        assert systemd.hears() == {"READY": "1"}
        server.client().get("/v1/health")
        server.send(signal.SIGHUP)
        reloading = systemd.hears()
        assert reloading.pop("RELOADING") == "1"
        assert int(reloading.pop("MONOTONIC_USEC")) > 0
        assert reloading == {}
        assert systemd.hears() == {"READY": "1"}
        server.send(signal.SIGTERM)
        assert systemd.hears() == {"STOPPING": "1"}
        assert server.wait() == 0


def test_it_is_not_ready_before_it_listens(systemd: Systemd, tmp_path: Path) -> None:
    refused(tmp_path / "data", "--bind", "0.0.0.0:0", env=systemd.environment)
    systemd.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.hears()


def test_it_tells_that_it_lives(systemd: Systemd, tmp_path: Path) -> None:
    with serving(tmp_path / "data", env={**systemd.environment, "WATCHDOG_USEC": "300000"}) as server:
        said: list[bytes] = []
        while said.count(b"WATCHDOG=1") < 3:
            said.append(systemd.socket.recv(4096).strip())
        # A server whose loop hangs says nothing any more.
        server.freeze()
        systemd.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while systemd.socket.recv(4096):
                assert server.process.poll() is None
        server.send(signal.SIGCONT)
        systemd.socket.settimeout(TIMEOUT_S)
        assert systemd.socket.recv(4096).strip() == b"WATCHDOG=1"
