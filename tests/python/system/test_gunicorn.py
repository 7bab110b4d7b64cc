"""Under a real gunicorn: before the fork the limiter is the master's alone, after the fork it is the worker's."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.python.system.support import TIMEOUT_S, environment, state

import flint

# Each request is one check; the answer tells by whom and with what result. MADE says where the limiter comes from.
APP = """
import flint, functools, os
from pathlib import Path

def make():
    limiter = flint.Limiter(Path(__file__).parent / "data")
    limiter.limit("a", "100000/52w", algorithm="fixed_window_counter")
    return limiter

MADE

def app(environ, start_response):
    try:
        answer = str(current().check("a").remaining)
    except flint.FlintError as error:
        answer = f"{type(error).__name__} {error}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {answer}".encode()]
"""
AT_IMPORT = """
limiter = make()
limiter.check("a")
current = lambda: limiter
"""
AT_FIRST_USE = "current = functools.cache(make)"
IN_POST_FORK = "current = None"
POST_FORK = """
def post_fork(server, worker):
    import app
    limiter = app.make()
    app.current = lambda: limiter
"""


class Server:
    """A running gunicorn."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output: list[str] = []
        self.port = int(self.until(r"Listening at: http://127\.0\.0\.1:(\d+)"))

    def until(self, pattern: str) -> str:
        """Reads its messages until one matches and gives the first group."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.output.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"gunicorn never said {pattern!r}:\n" + "".join(self.output))

    def ask(self, path: str = "/") -> tuple[int, str]:
        """Makes a request; gives the worker's process id and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request("GET", path)
            pid, answer = connection.getresponse().read().decode().split(" ", 1)
        return int(pid), answer

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends the master a signal and waits for its end; gives its exit status."""
        self.process.send_signal(number)
        return self.process.wait()


@contextlib.contextmanager
def gunicorn(base: Path, made: str, *options: str, app: str = APP) -> Iterator[Server]:
    """Starts gunicorn on a free port with an application whose limiter is made in this way."""
    (base / "app.py").write_text(app.replace("MADE", made))
    (base / "settings.py").write_text(POST_FORK if made == IN_POST_FORK else "")
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--no-control-socket",
        "--chdir",
        str(base),
        "--config",
        str(base / "settings.py"),
    ]
    command += ["--worker-tmp-dir", str(base), "--bind", "127.0.0.1:0", *options, "app:app"]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            yield Server(process)
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.terminate()


def taken(base: Path, *, clean: bool) -> int:
    """How many checks the directory holds; it is then written to, closed and looked at once more."""
    with flint.Limiter(base / "data") as limiter:
        assert limiter.recovery.clean == clean
        status = limiter.status("a")
        assert status is not None
        count = status.total_allowed
        assert status.remaining == 100_000 - count
        limiter.check("a")
        before = state(limiter)
    with flint.Limiter(base / "data") as limiter:
        assert limiter.recovery.clean
        assert state(limiter) == before
        assert before[0]["total_allowed"] == count + 1
    return count


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_preload_with_a_limiter_made_at_import_is_refused_in_every_worker(end: int, tmp_path: Path) -> None:
    with gunicorn(tmp_path, AT_IMPORT, "--preload", "--workers", "2") as server:
        workers: set[int] = set()
        while len(workers) < 2:
            pid, answer = server.ask()
            workers.add(pid)
            assert answer.startswith("ForkedError "), answer
            assert "gunicorn --preload" in answer
            assert "create it after the fork" in answer
            assert "post_fork" in answer
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path / "data")
        assert refused.value.pid == server.process.pid
        assert server.process.pid not in workers
        if end == signal.SIGTERM:
            assert server.end() == 0
            assert taken(tmp_path, clean=True) == 1
            return
        for pid in workers:
            # They would end soon after the master.
            os.kill(pid, signal.SIGSTOP)
        try:
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
            # They hold nothing.
            assert taken(tmp_path, clean=False) == 1
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["post_fork", "at first use", "no preload", "threads"])
def test_a_limiter_made_after_the_fork_works_in_the_only_worker(kind: str, tmp_path: Path) -> None:
    made = {"post_fork": IN_POST_FORK, "at first use": AT_FIRST_USE}.get(kind, AT_IMPORT)
    options = [] if made == AT_IMPORT else ["--preload"]
    at_once = 8 if kind == "threads" else 1
    with gunicorn(tmp_path, made, "--workers", "1", "--threads", str(at_once), *options) as server:

        def ask_many(count: int) -> tuple[int, list[int]]:
            with ThreadPoolExecutor(at_once) as pool:
                answers = list(pool.map(lambda _: server.ask(), range(count)))
            (pid,) = {pid for pid, _ in answers}
            return pid, sorted((int(answer) for _, answer in answers), reverse=True)

        left = 100_000 - (made == AT_IMPORT)
        worker, answers = ask_many(40)
        assert answers == list(range(left - 1, left - 41, -1))
        left = answers[-1]
        # A worker that is killed is replaced, and the next one goes on where it was.
        os.kill(worker, signal.SIGKILL)
        assert int(server.until(rf"Booting worker with pid: (?!{worker}\b)(\d+)")) != worker
        successor, answers = ask_many(20)
        assert successor != worker
        left -= made == AT_IMPORT
        assert answers == list(range(left - 1, left - 21, -1))
        assert server.end() == 0
    assert taken(tmp_path, clean=True) == 100_000 - answers[-1]


def test_the_error_of_a_second_worker_says_what_to_do(tmp_path: Path) -> None:
    with gunicorn(tmp_path, AT_IMPORT, "--workers", "2") as server:
        message = server.until(r"(DataDirLocked: .*)")
        assert server.process.wait() == 3, "".join(server.output)
    for remedy in ("one worker", "SharedLimiter", "read_only=True"):
        assert remedy in message
    # The first worker's check at import, after which gunicorn ended it.
    assert taken(tmp_path, clean=True) == 1


# One request is held up until the test writes to a FIFO.
SLOW_APP = """
import flint, os
from pathlib import Path

base = Path(__file__).parent
limiter = flint.Limiter(base / "data", lock_timeout=LOCK_TIMEOUT)
limiter.limit("a", "100000/52w", algorithm="fixed_window_counter")

def app(environ, start_response):
    answer = str(limiter.check("a").remaining)
    if environ["PATH_INFO"] == "/slow":
        (base / "started").touch()
        (base / "gate").read_bytes()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {answer}".encode()]
"""


@pytest.mark.parametrize("lock_timeout", [0, 25])
def test_a_restart_while_a_request_is_in_flight(lock_timeout: int, tmp_path: Path) -> None:
    """On HUP the new worker opens the directory that the old one holds until it has answered."""
    os.mkfifo(tmp_path / "gate")
    with gunicorn(
        tmp_path, AT_IMPORT, "--workers", "1", app=SLOW_APP.replace("LOCK_TIMEOUT", str(lock_timeout))
    ) as server:
        old = int(server.until(r"Booting worker with pid: (\d+)"))
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(server.ask, "/slow")
            while not (tmp_path / "started").exists():
                assert not slow.done(), slow.result()
                time.sleep(0.001)
            server.process.send_signal(signal.SIGHUP)
            new = int(server.until(rf"Booting worker with pid: (?!{old}\b)(\d+)"))
            if lock_timeout == 0:
                assert "is held by process" in server.until(r"(DataDirLocked: .*)")
                (tmp_path / "gate").write_bytes(b"go on")
                assert server.process.wait() == 3, "".join(server.output)
                slow.exception()
                return
            # The worker that answers ends, and the other one, which waits for it, takes over.
            (tmp_path / "gate").write_bytes(b"go on")
            assert slow.result() == (old, "99999")
        assert server.ask() == (new, "99998")
        assert server.end() == 0
    assert taken(tmp_path, clean=True) == 2
