"""Servers that benchmarks start and measure: Flint and Redis."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 60
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    process: subprocess.Popen[bytes]
    port: int
    socket: Path

    def cpu_ns(self) -> float:
        """CPU time of all its threads so far, to a hundredth of a second."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1e9 / TICKS_PER_S

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def forget_peak(self) -> None:
        """Resets what peak_bytes() returns."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The peak of resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(kilobytes) * 1024


def pin(servers: Sequence[Server], cpus: set[int]) -> None:
    """Pins this process and all threads of the servers to these CPUs."""
    os.sched_setaffinity(0, cpus)
    for server in servers:
        for thread in Path(f"/proc/{server.process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cpus)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def ended(process: subprocess.Popen[bytes]) -> None:
    """Ends a process: SIGTERM, and SIGKILL after 20 seconds."""
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def flint_server(directory: Path, sync: str, *options: str) -> Iterator[Server]:
    """`flint server start` over a data directory, on a loopback port and a Unix socket of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    path, log = directory / "flint.sock", directory / "server.log"
    command = [sys.executable, "-m", "flint", "--data-dir", str(directory / "data"), "server", "start"]
    command += ["--bind", "127.0.0.1:0", "--unix", str(path), "--sync", sync, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLINT_")}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file, env=environment)
    try:
        yield Server(process, _listening(process, log), path)
    finally:
        ended(process)


def _listening(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        text = log.read_text()
        port = re.search(r"listening on http://127\.0\.0\.1:(\d+)", text)
        if port is not None and "listening on unix:" in text:
            return int(port[1])
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the server did not start: {text}")
        time.sleep(0.02)


@contextmanager
def redis_server(directory: Path, appendfsync: str) -> Iterator[Server]:
    """A Redis that writes each change to its append-only file, on a loopback port and a Unix socket of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    port, path = free_port(), directory / "redis.sock"
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "unixsocket": str(path),
        "dir": str(directory),
        "save": "",
        "appendonly": "yes",
        "appendfsync": appendfsync,
        # No rewrite in the middle of a measurement.
        "auto-aof-rewrite-percentage": "0",
    }
    command = ["redis-server", *[word for name, value in settings.items() for word in (f"--{name}", value)]]
    with (directory / "redis.log").open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        _answers(process, port)
        yield Server(process, port, path)
    finally:
        ended(process)


def _answers(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit("redis-server did not start")
        time.sleep(0.02)
