"""A real server process, `flint server start`, and clients that use nothing but sockets."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import IO, Any

from tests.python import installed

# Nothing here waits this long unless something hangs; then the test fails.
TIMEOUT_S = 30.0

STRONG = "0123456789abcdef0123456789abcdef"
LISTENING = re.compile(r"listening on (http|https|unix)://(\S+?)(?:\"|$)")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    def __post_init__(self) -> None:
        # Every answer has them, also those of the HTTP library.
        for name, value in (("X-Content-Type-Options", "nosniff"), ("Cross-Origin-Resource-Policy", "same-origin")):
            assert self.headers[name] == value, (self.status, str(self.headers))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def ok(self) -> Any:
        """The JSON of an answer that has to be a success."""
        assert self.status == 200, (self.status, self.body)
        assert self.headers["Content-Type"] == "application/json", self.headers["Content-Type"]
        return self.json

    def problem(self, status: int, code: str) -> str:
        """The sentence of an answer that has to be this problem."""
        assert (self.status, self.headers["Content-Type"]) == (status, "application/problem+json"), self
        problem = self.json
        assert (problem["status"], problem["code"]) == (status, code), problem
        assert problem["title"]
        assert set(problem) <= {"title", "status", "code", "detail", "key"}, problem
        return str(problem["detail"])


class UnixConnection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


class Client:
    """One connection that is kept alive."""

    def __init__(self, connection: http.client.HTTPConnection, token: str | None = None) -> None:
        self.connection = connection
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends `body` as JSON, or as it is where it is bytes."""
        sent = {**self.headers, **(headers or {})}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        # A server that refuses the head of a request does not wait for its body.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.request(method, path, body=data, headers=sent)
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def get(self, path: str) -> Any:
        return self.ask("GET", path).ok()

    def post(self, path: str, body: object = None) -> Any:
        return self.ask("POST", path, body).ok()

    def check(self, key: str = "k", cost: int = 1) -> Any:
        return self.post("/v1/check", {"key": key, "cost": cost})

    def metric(self, name: str) -> int:
        """One number of the server's own metrics."""
        text = self.ask("GET", "/metrics").body.decode()
        found = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
        assert found, text
        return int(found[1])

    def close(self) -> None:
        self.connection.close()


@dataclass
class Server:
    """A running server, with its log lines."""

    process: subprocess.Popen[bytes]
    log: list[str] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.log.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self.ended = True
            self._news.notify_all()

    def until(self, pattern: str | re.Pattern[str], since: int = 0) -> re.Match[str]:
        """The first log line from number `since` on that matches; waits for it."""
        with self._news:
            for number in itertools.count(since):
                while len(self.log) <= number and not self.ended and self._news.wait(TIMEOUT_S):
                    pass
                if len(self.log) <= number:
                    break
                if found := re.search(pattern, self.log[number]):
                    return found
        raise AssertionError(f"the server logged no line that matches {pattern!r}: {self.log}")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens on TCP."""
        host, _, port = self.until(r"listening on https?://([^\s\"]+)")[1].rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def path(self) -> str:
        """Where its Unix socket is."""
        return self.until(r"listening on unix://([^\s\"]+)")[1]

    def client(self, token: str | None = None) -> Client:
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT_S)
        return self._open.enter_context(contextlib.closing(Client(connection, token)))

    def unix_client(self, token: str | None = None) -> Client:
        return self._open.enter_context(contextlib.closing(Client(UnixConnection(self.path), token)))

    def connect(self, data: bytes = b"") -> socket.socket:
        """A bare TCP connection, over which `data` was sent."""
        connection = self._open.enter_context(socket.create_connection(self.address, timeout=TIMEOUT_S))
        connection.sendall(data)
        return connection

    def forget(self) -> None:
        """Closes every connection to it."""
        self._open.close()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stops it where it is, until SIGCONT."""
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def wait(self) -> int:
        """Waits for its end and gives the exit status."""
        status = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return status

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ends it in good order."""
        self.send(number)
        assert self.wait() == 0, self.log
        assert not [line for line in self.log if "panic" in line or "Traceback" in line], self.log


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """As bare as a service's."""
    return {**installed.environment(), **(more or {})}


def command(data_dir: Path, *options: object) -> list[str]:
    """The command line of a server, which is that of the installed wheel."""
    return [str(installed.flint()), "--data-dir", str(data_dir), "server", "start", *map(str, options)]


@contextlib.contextmanager
def running(
    argv: Sequence[str], env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> Iterator[Server]:
    """Runs a server's command line. If it still runs when the block ends, it has to end in good order.

    A test that kills its server need not wait for that.
    """
    process = subprocess.Popen(
        argv,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
    )
    server = Server(process)
    try:
        yield server
        if process.poll() is None:
            server.end()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        server.wait()
        server.forget()
        assert process.stderr is not None
        process.stderr.close()


@contextlib.contextmanager
def serving(
    data_dir: Path, *options: object, env: Mapping[str, str] | None = None, wrapper: Sequence[str] = ()
) -> Iterator[Server]:
    """A server that listens, on 127.0.0.1 unless the options say something else."""
    chosen = () if {"--bind", "--unix", "--systemd"} & set(options) else ("--bind", "127.0.0.1:0")
    with running([*wrapper, *command(data_dir, *chosen, *options)], env) as server:
        server.until(LISTENING)
        yield server


def refused(data_dir: Path, *options: object, env: Mapping[str, str] | None = None) -> str:
    """What a server says that does not start."""
    done = subprocess.run(
        command(data_dir, *options),
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode != 0, done.stderr
    assert "listening" not in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A directory for Unix sockets, whose paths may not be long."""
    directory = tempfile.mkdtemp(prefix="flint-")
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory)


def read_answer(stream: IO[bytes]) -> Answer | None:
    """The next answer on a connection; None when it was closed instead."""
    line = stream.readline()
    if not line:
        return None
    status = int(line.split()[1])
    headers = http.client.parse_headers(stream)
    return Answer(status, headers, stream.read(int(headers["Content-Length"])))


def answers(connection: socket.socket) -> list[Answer]:
    """All answers until the server closes the connection."""
    with connection, connection.makefile("rb") as stream:
        found = []
        with contextlib.suppress(ConnectionResetError):
            while (answer := read_answer(stream)) is not None:
                found.append(answer)
        return found


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """A request as bytes, with nothing but what is given."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode() + body


def posted(path: str, body: object, *headers: str) -> bytes:
    """A POST of JSON as bytes."""
    data = json.dumps(body).encode()
    return request("POST", path, "Content-Type: application/json", f"Content-Length: {len(data)}", *headers, body=data)
