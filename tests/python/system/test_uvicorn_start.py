"""Ways to start a FastAPI application: each works, or its error says why and what to do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.python.system.support import TIMEOUT_S, environment, opened_when_free
from tests.python.system.uvicorn_support import Server, get, gunicorn, started, uvicorn

AT_IMPORT = """
import os, flint
from fastapi import FastAPI
from flint.fastapi import FlintRateLimitMiddleware

limiter = flint.Limiter("data")
app = FastAPI()
app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key="all", rate="5/day")

@app.get("/")
async def index():
    return os.getpid()
"""
IN_LIFESPAN = """
import contextlib, os, flint
from fastapi import FastAPI
from flint.fastapi import FlintRateLimitMiddleware

@contextlib.asynccontextmanager
async def lifespan(app):
    async with flint.Limiter("data") as app.state.limiter:
        yield

app = FastAPI(lifespan=lifespan)
app.add_middleware(FlintRateLimitMiddleware, key="all", rate="5/day")

@app.get("/")
async def index():
    return os.getpid()
"""
RUNS_ITSELF = """
if __name__ == "__main__":
    import uvicorn
    uvicorn.run("main:app", port=0, access_log=False)
"""
each_place = pytest.mark.parametrize("program", [AT_IMPORT, IN_LIFESPAN], ids=["at import", "in the lifespan"])


def counted(base: Path) -> int:
    """How many requests the directory holds."""
    with opened_when_free(base / "data") as limiter:
        status = limiter.status("all")
        return 0 if status is None else status.total_allowed


def asked(address: str, count: int) -> Counter[int]:
    return Counter(get(address).status_code for _ in range(count))


@each_place
def test_one_worker(tmp_path: Path, program: str) -> None:
    for expected in ({200: 3}, {200: 2, 429: 1}, {429: 3}):
        with uvicorn(tmp_path, program) as server:
            assert asked(server.serving(), 3) == expected
            server.end()
    assert counted(tmp_path) == 5


@each_place
def test_of_two_workers_the_error_of_the_second_says_what_to_do(tmp_path: Path, program: str) -> None:
    # So long uvicorn waits for a sign of a worker that may just have ended, and hears no signal meanwhile.
    with uvicorn(tmp_path, program, "--workers", "2", "--timeout-worker-healthcheck", "15") as server:
        message = server.until(r"flint\.DataDirLocked: (.*)")[1]
        holder = re.search(r"data is held by process (\d+)", message)
        assert holder is not None
        assert int(holder[1]) != server.process.pid
        assert "run one worker" in message
        assert "SharedLimiter" in message
        if program == AT_IMPORT:
            # The first one serves, and uvicorn goes on trying to start the second.
            answer = get(server.serving())
            assert (answer.status_code, answer.json()) == (200, int(holder[1]))
        server.end()


@contextlib.contextmanager
def touching(path: Path) -> Iterator[None]:
    """Changes a file's time again and again: uvicorn takes what its first look after a start finds for unchanged."""
    seen = threading.Event()

    def touch() -> None:
        while not seen.wait(0.5):
            path.touch()

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        yield
    finally:
        seen.set()
        thread.join()


@each_place
def test_reload(tmp_path: Path, program: str) -> None:
    with uvicorn(tmp_path, program, "--reload") as server:
        address = server.serving()
        first = get(address).json()
        for _ in range(2):
            before = len(server.output)
            (tmp_path / "main.py").write_text(program + "# changed\n" * before)
            with touching(tmp_path / "main.py"):
                server.until("detected changes", since=before)
            server.until("Application startup complete", since=before)
            answer = get(address)
            assert answer.status_code == 200
            assert answer.json() != first
        assert get(address).headers["x-ratelimit-remaining"] == "1"
        server.end()
    assert counted(tmp_path) == 4


def test_the_error_of_a_program_that_is_imported_twice_says_so(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(AT_IMPORT + RUNS_ITSELF)
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode != 0
    message = done.stderr.splitlines()[-1]
    assert message.startswith("flint.DataDirLocked: ")
    assert "already open for writing in this process" in message
    assert "its module may have been imported twice" in message


@pytest.mark.parametrize(
    "program",
    [AT_IMPORT + RUNS_ITSELF.replace('"main:app"', "app"), IN_LIFESPAN + RUNS_ITSELF],
    ids=["the application itself", "the limiter in the lifespan"],
)
def test_ways_for_a_program_to_run_itself(tmp_path: Path, program: str) -> None:
    with started("main.py", base=tmp_path, program=program) as server:
        assert asked(server.serving(), 6) == {200: 5, 429: 1}
        server.end()
    assert counted(tmp_path) == 5


# gunicorn's own worker for ASGI, and uvicorn's.
each_worker = pytest.mark.parametrize("worker", ["asgi", "uvicorn.workers.UvicornWorker"])


def worker_of(server: Server) -> int:
    return int(server.until(r"Booting worker with pid: (\d+)")[1])


@each_worker
@each_place
@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_gunicorn(tmp_path: Path, program: str, worker: str, preload: bool) -> None:
    options = ["--worker-class", worker, *(["--preload"] if preload else [])]
    # What the logger `flint` logs appears where a handler is set.
    program += "\nimport logging; logging.basicConfig()\n"
    with gunicorn(tmp_path, program, *options) as server:
        address = server.serving()
        if preload and program.startswith(AT_IMPORT):
            answer = get(address)
            assert answer.status_code == 500
            message = server.until("ERROR:flint:FlintRateLimitMiddleware: (.*)")[1]
            assert "ForkedError: " in message
            assert "create it after the fork" in message
            assert "gunicorn --preload" in message
            server.end()
            assert counted(tmp_path) == 0
            return
        answer = get(address)
        assert (answer.status_code, answer.json()) == (200, worker_of(server))
        assert asked(address, 5) == {200: 4, 429: 1}
        server.end()
    assert counted(tmp_path) == 5


@each_worker
@each_place
def test_of_two_workers_of_gunicorn_the_error_of_the_second_says_what_to_do(
    tmp_path: Path, program: str, worker: str
) -> None:
    with gunicorn(tmp_path, program, "--worker-class", worker, "--workers", "2") as server:
        message = server.until(r"data is held by process .*")[0]
        assert "run one worker" in message
        assert "SharedLimiter" in message
        server.end(signal.SIGTERM)


def test_a_worker_of_gunicorn_that_is_killed_has_a_successor_that_goes_on(tmp_path: Path) -> None:
    with gunicorn(tmp_path, IN_LIFESPAN, "--worker-class", "asgi", "--preload") as server:
        address = server.serving()
        assert asked(address, 3) == {200: 3}
        before = len(server.output)
        first = get(address).json()
        os.kill(first, signal.SIGKILL)
        server.until("ASGI server listening", since=before)
        answers: list[httpx.Response] = [get(address) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert answers[0].json() != first
        server.end()
    assert counted(tmp_path) == 5
