"""Real ASGI servers for the tests of this folder."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
from tests.python.system.support import TIMEOUT_S, environment

PORT = re.compile(r"(?:running on|Listening at:) http://127\.0\.0\.1:(\d+)")
READY = re.compile(r"Application startup complete|ASGI server listening")


class Server:
    """A running server that tells its messages line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output: list[str] = []

    def until(self, pattern: str | re.Pattern[str], since: int = 0) -> re.Match[str]:
        """Finds the first of its messages that matches, from the one of number `since` on, and waits for it."""
        for line in itertools.chain(self.output[since:], self._more()):
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"the server never said {pattern!r}:\n" + "".join(self.output))

    def _more(self) -> Iterator[str]:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.output.append(line)
            yield line

    def serving(self) -> str:
        """Waits until it takes requests at a port that it chose; gives its address."""
        port = self.until(PORT)[1]
        self.until(READY)
        return f"http://127.0.0.1:{port}"

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends it a signal, reads the rest of its messages and gives its exit status."""
        self.process.send_signal(number)
        for _ in self._more():
            pass
        return self.process.wait()


@contextlib.contextmanager
def started(*command: str, base: Path, program: str) -> Iterator[Server]:
    """Runs `python command` in a directory that has `program` as main.py; all its processes are dead at the end."""
    (base / "main.py").write_text(program)
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=base,
        # Messages appear when they are made, also those of workers.
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Its group has its workers and no other process.
        start_new_session=True,
    ) as process:

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        watchdog = threading.Timer(TIMEOUT_S, kill)
        watchdog.start()
        try:
            yield Server(process)
        finally:
            watchdog.cancel()
            kill()


def uvicorn(base: Path, program: str, *options: str) -> contextlib.AbstractContextManager[Server]:
    """Starts uvicorn on a free port."""
    return started("-m", "uvicorn", "main:app", "--port", "0", "--no-access-log", *options, base=base, program=program)


def gunicorn(base: Path, program: str, *options: str) -> contextlib.AbstractContextManager[Server]:
    """Starts gunicorn on a free port."""
    command = ["-m", "gunicorn", "--no-control-socket", "--worker-tmp-dir", str(base), "--bind", "127.0.0.1:0"]
    return started(*command, *options, "main:app", base=base, program=program)


def get(address: str, path: str = "/", **options: object) -> httpx.Response:
    """One request over a connection of its own."""
    return httpx.get(address + path, timeout=TIMEOUT_S, trust_env=False, **options)  # type: ignore[arg-type]
