"""`flint server start` of the installed wheel in a process of its own, for tests of what works on a server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.python import installed

TOKEN = "00112233445566778899aabbccddeeff"


@dataclass
class Served:
    """A server that listens. `said` is what it reported so far, line by line."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        return [line.split(" on ", 1)[1] for line in self.said if line.startswith("flint: listening on ")]

    @property
    def url(self) -> str:
        """The first of them."""
        return self.urls[0]

    def listen(self, count: int) -> None:
        """Waits until it listens on so many sockets."""
        assert self.process.stderr is not None
        while len(self.urls) < count:
            line = self.process.stderr.readline()
            assert line, "".join(self.said)
            self.said.append(line.rstrip("\n"))

    def end(self) -> None:
        """Ends it as a service manager does; it must end in order."""
        self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=60)
        self.said.extend(rest.splitlines())
        assert self.process.returncode == 0, self.said


def environment(**more: str) -> dict[str, str]:
    """As bare as a service's."""
    return {**installed.environment(), **more}


@contextlib.contextmanager
def serving(
    data_dir: Path,
    *options: str,
    count: int = 1,
    **variables: str,
) -> Iterator[Served]:
    """A server on `data_dir`, on a port that the system chooses unless the options say where."""
    where = () if {"--bind", "--unix"}.intersection(options) else ("--bind", "127.0.0.1:0")
    command = [str(installed.flint()), "--data-dir", os.fspath(data_dir), "server", "start", *where, *options]
    with subprocess.Popen(
        command,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        served = Served(process)
        try:
            served.listen(count)
            yield served
            if process.poll() is None:
                served.end()
        finally:
            process.kill()
