"""An application with the middleware, started in every way people start one.

It works, or the first line of the error says why and what to do.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from tests.python.system.support import PATIENCE_S, environment

APP = """
import os, sys
from fastapi import FastAPI
import flint
from flint.fastapi import FlintRateLimitMiddleware

MAKE

@app.get("/")
async def hello():
    return {"pid": os.getpid()}

if __name__ == "__main__":
    import uvicorn
    uvicorn.run(SERVED, port=int(sys.argv[1]), log_level="warning")
"""
AT_IMPORT = """
limiter = flint.Limiter("data")
app = FastAPI()
app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key="all", rate=3, per="1d")
"""
# As docs/deployment.md says for servers that fork: made when the worker starts.
IN_LIFESPAN = """
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(app):
    with flint.Limiter("data") as app.state.limiter:
        yield

app = FastAPI(lifespan=lifespan)
app.add_middleware(FlintRateLimitMiddleware, key="all", rate=3, per="1d")
"""


def write_app(directory: Path, make: str = AT_IMPORT, served: str = '"main:app"') -> None:
    (directory / "main.py").write_text(APP.replace("MAKE", make).replace("SERVED", served))


class Server:
    """A server, its address and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.url = ""

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Waits until it has printed something."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.log)):
            assert time.monotonic() < deadline, f"{pattern} is not in\n{self.log}"
            time.sleep(0.02)
        return found

    def statuses(self, count: int) -> list[int]:
        """The statuses of so many requests, each on a connection of its own."""
        return [httpx.get(self.url).status_code for _ in range(count)]


@contextlib.contextmanager
def serving(directory: Path, command: Sequence[str], listening: str) -> Iterator[Server]:
    """Runs `command` in `directory`; its log says what port it chose, in the first group of `listening`."""
    log = directory / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, *command],
            cwd=directory,
            env={**environment(), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        server = Server(process, log)
        try:
            server.url = f"http://127.0.0.1:{server.wait_for(listening)[1]}/"
            yield server
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


UVICORN = ("-m", "uvicorn", "main:app", "--port", "0")
UVICORN_LISTENS = r"running on http://127\.0\.0\.1:(\d+)"
GUNICORN = (
    "-m",
    "gunicorn",
    "main:app",
    "-k",
    "uvicorn.workers.UvicornWorker",
    "-b",
    "127.0.0.1:0",
    "--log-level",
    "info",
)
GUNICORN_LISTENS = r"Listening at: http://127\.0\.0\.1:(\d+)"


def test_one_worker_and_a_restart(tmp_path: Path) -> None:
    write_app(tmp_path)
    with serving(tmp_path, UVICORN, UVICORN_LISTENS) as server:
        server.wait_for("startup complete")
        assert server.statuses(2) == [200, 200]
    with serving(tmp_path, UVICORN, UVICORN_LISTENS) as server:
        server.wait_for("startup complete")
        assert server.statuses(2) == [200, 429], "the limit went on after the restart"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_second_worker_says_who_holds_the_directory_and_what_to_do(tmp_path: Path) -> None:
    write_app(tmp_path)
    with serving(tmp_path, (*UVICORN, "--workers", "2"), UVICORN_LISTENS) as server:
        error = server.wait_for(r"flint\.DataDirLocked: .*")[0]
        started = server.wait_for(r"Started server process \[(\d+)\]")[1]
        assert f"held by process {started}" in error
        assert "run one worker, or one Flint server with SharedLimiter" in error
        server.wait_for("startup complete")
        # The first worker serves, and its limit is the limit.
        assert server.statuses(4) == [200, 200, 200, 429]


def test_reload_hands_the_directory_over(tmp_path: Path) -> None:
    write_app(tmp_path)
    with serving(tmp_path, (*UVICORN, "--reload"), UVICORN_LISTENS) as server:
        server.wait_for("startup complete")
        assert server.statuses(2) == [200, 200]
        main = tmp_path / "main.py"
        main.write_text(main.read_text() + "\n# changed\n")
        server.wait_for("(?s)startup complete.*Reloading.*startup complete")
        assert server.statuses(2) == [200, 429]
        assert "DataDirLocked" not in server.log


def test_a_module_that_is_imported_twice_is_named(tmp_path: Path) -> None:
    write_app(tmp_path)
    done = subprocess.run(
        [sys.executable, "main.py", "0"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    error = next(line for line in done.stderr.splitlines() if line.startswith("flint."))
    assert error.startswith("flint.DataDirLocked: ")
    assert "already open for writing in this process" in error
    assert "its module may have been imported twice" in error


def test_a_main_module_that_serves_its_own_application_works(tmp_path: Path) -> None:
    write_app(tmp_path, served="app")
    text = (tmp_path / "main.py").read_text().replace('log_level="warning"', 'log_level="info"')
    (tmp_path / "main.py").write_text(text)
    with serving(tmp_path, ("main.py", "0"), UVICORN_LISTENS) as server:
        assert server.statuses(4) == [200, 200, 200, 429]


def test_gunicorn_without_preload_works(tmp_path: Path) -> None:
    write_app(tmp_path)
    with serving(tmp_path, GUNICORN, GUNICORN_LISTENS) as server:
        server.wait_for("startup complete")
        assert server.statuses(4) == [200, 200, 200, 429]


def test_gunicorn_with_preload_says_where_to_make_the_limiter(tmp_path: Path) -> None:
    write_app(tmp_path)
    with serving(tmp_path, (*GUNICORN, "--preload"), GUNICORN_LISTENS) as server:
        server.wait_for("startup complete")
        assert server.statuses(1) == [500]
        error = server.wait_for(r"flint\.ForkedError: .*")[0]
        assert "create it after the fork (with gunicorn --preload: in post_fork, not at import)" in error


def test_gunicorn_with_preload_works_with_a_limiter_of_the_worker(tmp_path: Path) -> None:
    write_app(tmp_path, IN_LIFESPAN)
    with serving(tmp_path, (*GUNICORN, "--preload"), GUNICORN_LISTENS) as server:
        server.wait_for("startup complete")
        assert server.statuses(4) == [200, 200, 200, 429]
