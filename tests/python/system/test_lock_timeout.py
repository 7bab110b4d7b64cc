"""Waiting for a directory that another writer is about to release."""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.python.system.support import run, worker

import flint
from flint import InvalidArgument

HOLDER = """
import flint, sys
limiter = flint.Limiter(sys.argv[1])
limiter.limit("a", "100/hour", algorithm="fixed_window_counter")
limiter.check("a")
print("open", flush=True)
sys.stdin.readline()
limiter.check("a")
limiter.close()
print("closed", flush=True)
sys.stdin.readline()
"""
WAITER = """
import flint, sys
print("waiting", flush=True)
with flint.Limiter(sys.argv[1], lock_timeout=float(sys.argv[2])) as limiter:
    print(limiter.check("a").remaining, flush=True)
"""


def sleeps(pid: int) -> bool:
    """Whether some thread of the process sleeps for a while, which is neither a lock of the file nor a busy loop."""
    return any("nanosleep" in (task / "wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


def test_the_waiter_opens_when_the_holder_closes(tmp_path: Path) -> None:
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        with worker(WAITER, tmp_path, "inf") as waiter:
            assert waiter.line() == "waiting"
            with pytest.raises(flint.DataDirLocked) as refused:
                flint.Limiter(tmp_path)
            assert refused.value.pid == holder.pid
            holder.say()
            assert holder.line() == "closed"
            # The holder lives on: its lock ended with its limiter.
            assert waiter.line() == "97"
            assert waiter.end().ok().err == ""
        assert holder.end().ok().err == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_waiter_opens_when_the_holder_is_killed(number: int, tmp_path: Path) -> None:
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        with worker(WAITER, tmp_path, "60") as waiter:
            assert waiter.line() == "waiting"
            holder.kill(number)
            assert waiter.line() == "98"
            assert waiter.end().ok().err == ""


def test_the_error_says_how_long_it_waited_and_for_whom(tmp_path: Path) -> None:
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        began = time.monotonic()
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path, lock_timeout=0.25)
        assert time.monotonic() - began >= 0.25
        expected = rf"is held by process {holder.pid} \(.*\), and still was after ([0-9.]+) s \(lock_timeout\): "
        found = re.search(expected, str(refused.value))
        assert found, refused.value
        assert float(found[1]) >= 0.25
        assert refused.value.pid == holder.pid
        with pytest.raises(flint.DataDirLocked) as refused:
            flint.Limiter(tmp_path)
        assert "lock_timeout" not in str(refused.value)
        holder.say()
        assert holder.line() == "closed"


def test_ctrl_c_ends_the_wait(tmp_path: Path) -> None:
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        with worker(WAITER, tmp_path, "1e9") as waiter:
            assert waiter.line() == "waiting"
            while not sleeps(waiter.pid):
                time.sleep(0.001)
            waiter.process.send_signal(signal.SIGINT)
            ran = waiter.end()
            assert ran.status == -signal.SIGINT
            assert "KeyboardInterrupt" in ran.err
            assert "DataDirLocked" not in ran.err


def test_a_handler_runs_and_the_wait_goes_on(tmp_path: Path) -> None:
    code = """
    import signal
    signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
    """
    with worker(HOLDER, tmp_path) as holder:
        assert holder.line() == "open"
        with worker(_lines(code) + WAITER, tmp_path, "60") as waiter:
            assert waiter.line() == "waiting"
            while not sleeps(waiter.pid):
                time.sleep(0.001)
            waiter.process.send_signal(signal.SIGUSR1)
            assert waiter.line() == "handled"
            holder.say()
            assert waiter.line() == "97"
            assert waiter.end().ok().err == ""


def _lines(code: str) -> str:
    return "\n".join(line.strip() for line in code.splitlines())


def test_other_threads_run_while_one_waits(tmp_path: Path) -> None:
    """The lock is not released by the system, but by a thread of this process, which needs the interpreter for it."""
    first = flint.Limiter(tmp_path)
    opened: list[flint.Limiter] = []
    waiting = threading.Thread(target=lambda: opened.append(flint.Limiter(tmp_path, lock_timeout=60)))
    waiting.start()
    while not sleeps(os.getpid()):
        time.sleep(0.001)
    with pytest.raises(
        flint.DataDirLocked, match=r"in this process .*, and still was after 0\.0[0-9]+ s \(lock_timeout\)"
    ):
        flint.Limiter(tmp_path, lock_timeout=0.01)
    first.close()
    waiting.join()
    opened[0].limit("a", "1/m")
    opened[0].close()


def test_every_restart_of_many_gets_in(tmp_path: Path) -> None:
    """Each new process waits for the one before: no restart fails, none is in while another is, nothing is lost."""
    code = """
    import flint, sys
    for _ in range(5):
        with flint.Limiter(sys.argv[1], lock_timeout=60) as limiter:
            limiter.limit("a", "1000/52w", algorithm="fixed_window_counter")
            limiter.check("a")
    """
    with worker(code, tmp_path) as a, worker(code, tmp_path) as b, worker(code, tmp_path) as c:
        for process in (a, b, c):
            process.end().ok()
    with flint.Limiter(tmp_path) as limiter:
        status = limiter.status("a")
        assert status is not None
        assert status.total_allowed == 15


def test_where_it_means_nothing(tmp_path: Path) -> None:
    with flint.Limiter(tmp_path) as limiter:
        limiter.limit("a", "1/m")
        with flint.Limiter(tmp_path, read_only=True, lock_timeout=math.inf) as looking:
            assert looking.status("a") is not None
    with flint.connect(tmp_path, lock_timeout=1) as limiter:
        assert limiter.status("a") is not None


@pytest.mark.parametrize("bad", [-1, -0.001, math.nan, "1", None, True, [1]])
def test_what_is_no_number_of_seconds(bad: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"lock_timeout must be a number of seconds, 0 or more, such as 30, not "):
        flint.Limiter(tmp_path / "data", lock_timeout=bad)  # type: ignore[arg-type]
    assert not (tmp_path / "data").exists()


def test_a_server_waits_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with worker(HOLDER, data) as holder:
        assert holder.line() == "open"
        options = ("--data-dir", data, "server", "start", "--unix", data / "s.sock", "--lock-timeout")
        refused = run(_COMMAND, *options, "0.1")
        assert refused.status == 3
        assert "(lock_timeout)" in refused.err
        assert run(_COMMAND, *options, "soon").status == 2
        with worker(_COMMAND, *options, "60") as server:
            while not sleeps(server.pid):
                time.sleep(0.001)
            holder.say()
            assert holder.line() == "closed"
            while not (data / "s.sock").exists():
                assert server.process.poll() is None
                time.sleep(0.001)
            with flint.SharedLimiter(f"unix://{data}/s.sock") as limiter:
                assert limiter.peek("a").remaining == 97
            assert server.kill(signal.SIGTERM) == 0


_COMMAND = "import runpy; runpy.run_module('flint', run_name='__main__')"


def test_an_event_loop_opens_in_a_thread(tmp_path: Path) -> None:
    async def main() -> None:
        first = flint.Limiter(tmp_path)
        opening = asyncio.create_task(asyncio.to_thread(flint.Limiter, tmp_path, lock_timeout=60))
        while not sleeps(os.getpid()):
            await asyncio.sleep(0.001)
        first.close()
        (await opening).close()

    asyncio.run(main())
