"""Servers that pages start: `flint … server start` in a block of shell serves the blocks behind it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

# What pages call their places, and which places they get while they are tested.
ADDRESS = "127.0.0.1:7878"
RUN_DIR = "/run/flint"
START = re.compile(r"flint .*\bserver start\b")
TIMEOUT_S = 60


def free_address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


class PageServer:
    """At most one server at a time, as the page says: a further `server start` follows the end of the one before."""

    def __init__(self, cwd: Path, env: dict[str, str]) -> None:
        self._cwd = cwd
        self._env = env
        self._address = free_address()
        self._process: subprocess.Popen[str] | None = None

    def placed(self, text: str) -> str:
        """`text` with the places of this test."""
        return text.replace(ADDRESS, self._address).replace(RUN_DIR, str(self._cwd))

    def start(self, line: str) -> None:
        """Run `line` and wait until it listens."""
        self.close()
        self._process = subprocess.Popen(
            ["sh", "-c", f"exec {line}"],
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        said = ""
        for report in self._process.stderr:
            said += report
            if "listening on" in report:
                return
        raise AssertionError(f"{line}\n{said}")

    def close(self) -> None:
        """End the server as an operator does; it has to end well."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, said
