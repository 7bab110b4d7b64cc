"""However a limiter ends: flushed, unlocked, and the process' exit status as it would have been."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flint

from .conftest import Run

OPEN = """
import flint
limiter = flint.Limiter(DIR, sync="batch", flush_every_ms=3_600_000, flush_every_events=1_000_000)
limiter.limit("k", "100/day")
for _ in range(7):
    assert limiter.allow("k")
"""


def assert_closed_cleanly(data_dir: Path, allowed: int = 7) -> None:
    with flint.Limiter(data_dir) as limiter:
        assert limiter.recovery.clean
        status = limiter.status("k")
        assert status is not None
        assert status.total_allowed == allowed


ENDINGS: dict[str, tuple[str, int, str]] = {
    "end of the program": ("", 0, ""),
    "del": ("del limiter", 0, ""),
    "close": ("limiter.close()", 0, ""),
    "close twice": ("limiter.close(); limiter.close()", 0, ""),
    "with": ("with limiter: pass", 0, ""),
    "sys.exit": ("import sys; sys.exit(5)", 5, ""),
    "exception": ("raise ValueError('boom')", 1, "ValueError: boom"),
    "exception in with": ("with limiter: raise ValueError('boom')", 1, "ValueError: boom"),
    "keyboard interrupt": ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
    "reference cycle": ("import gc; cycle = [limiter]; cycle.append(cycle); del limiter, cycle; gc.collect()", 0, ""),
    "uncollected cycle": ("import gc; gc.disable(); cycle = [limiter]; cycle.append(cycle); del limiter, cycle", 0, ""),
    "held by a module": ("import sys; sys.kept = limiter", 0, ""),
    "held by a thread-local": ("import threading; local = threading.local(); local.kept = limiter; del limiter", 0, ""),
    "atexit handler of the application": (
        "import atexit; atexit.register(lambda: limiter.status('k').total_allowed == 7 or print('lost'))",
        0,
        "",
    ),
    "another thread": (
        """
import threading
kept = [limiter]
del limiter
thread = threading.Thread(target=kept.clear)
thread.start()
thread.join()
""",
        0,
        "",
    ),
    "sleeping daemon thread": (
        """
import threading
threading.Thread(target=lambda kept: threading.Event().wait(), args=(limiter,), daemon=True).start()
""",
        0,
        "",
    ),
    "collected while an exception is on its way": (
        """
def work(kept):
    raise ValueError("boom")
try:
    work([limiter])
except ValueError as error:
    del limiter
    kept = str(error)
assert kept == "boom"
""",
        0,
        "",
    ),
}


@pytest.mark.parametrize(("ending", "status", "stderr"), ENDINGS.values(), ids=ENDINGS)
def test_every_ending_flushes_and_unlocks(run: Run, data_dir: Path, ending: str, status: int, stderr: str) -> None:
    done = run(OPEN + ending)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    if stderr:
        assert done.stderr.strip().endswith(stderr)
    else:
        assert done.stderr == ""
    assert_closed_cleanly(data_dir)


def test_busy_daemon_threads_do_not_hinder_the_end(run: Run, data_dir: Path) -> None:
    done = run("""
        import sys, threading
        import flint

        limiter = flint.Limiter(DIR, sync="always")
        limiter.limit("k", "1000000/day")
        warm = threading.Barrier(5)

        def work():
            limiter.check("k")
            warm.wait()
            try:
                while True:
                    limiter.check("k")
            except flint.ClosedError:
                pass

        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        warm.wait()
        sys.exit(3)
    """)
    assert done.returncode == 3, done.stderr
    assert done.stderr == ""
    with flint.Limiter(data_dir) as limiter:
        assert limiter.recovery.clean


def test_dropping_the_last_reference_unlocks_at_once(data_dir: Path) -> None:
    for _ in range(3):
        limiter = flint.Limiter(data_dir)
        reference = weakref.ref(limiter)
        del limiter
        assert reference() is None


def test_a_bound_method_keeps_it_open(data_dir: Path) -> None:
    check = flint.Limiter(data_dir).check
    gc.collect()
    assert check("k", limit="1/s").allowed


def test_a_failed_constructor_leaves_nothing_behind(data_dir: Path) -> None:
    with flint.Limiter(data_dir), pytest.raises(flint.DataDirLocked):
        flint.Limiter(data_dir)
    with flint.Limiter(data_dir):
        pass


CALLS: dict[str, Callable[[flint.Limiter], object]] = {
    "check": lambda limiter: limiter.check("k"),
    "check with limit": lambda limiter: limiter.check("k", limit="1/s"),
    "allow": lambda limiter: limiter.allow("k"),
    "check_all": lambda limiter: limiter.check_all(["k"]),
    "allow_all": lambda limiter: limiter.allow_all(["k"]),
    "peek": lambda limiter: limiter.peek("k"),
    "limit": lambda limiter: limiter.limit("k", "1/s"),
    "limit_many": lambda limiter: limiter.limit_many([{"key": "k", "rate": "1/s"}]),
    "status": lambda limiter: limiter.status("k"),
    "list": lambda limiter: limiter.list(),
    "top": lambda limiter: limiter.top(),
    "history": lambda limiter: limiter.history("k"),
    "reset": lambda limiter: limiter.reset("k"),
    "delete": lambda limiter: limiter.delete("k"),
    "flush": lambda limiter: limiter.flush(),
    "compact": lambda limiter: limiter.compact(),
    "doctor": lambda limiter: limiter.doctor(),
}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_use_after_close(data_dir: Path, call: Callable[[flint.Limiter], object], read_only: bool) -> None:
    flint.Limiter(data_dir).close()
    limiter = flint.Limiter(data_dir, read_only=read_only)
    limiter.close()
    limiter.close()
    assert limiter.closed
    with pytest.raises(flint.ClosedError):
        call(limiter)


def test_use_before_initialisation() -> None:
    limiter = flint.Limiter.__new__(flint.Limiter)
    assert "not initialised" in repr(limiter)
    with pytest.raises(RuntimeError):
        limiter.check("k")


@pytest.mark.parametrize("attempt", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_limiter_is_neither_copied_nor_pickled(limiter: flint.Limiter, attempt: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match="SharedLimiter"):
        attempt(limiter)


def test_every_call_in_a_forked_child_is_refused(run: Run, data_dir: Path) -> None:
    names = sorted(CALLS)
    done = run(f"""
        import gc, os, warnings
        import flint
        from tests.python.test_lifetime import CALLS

        warnings.simplefilter("ignore", DeprecationWarning)
        limiter = flint.Limiter(DIR, sync="batch", flush_every_ms=3_600_000)
        limiter.limit("k", "100/day")
        for _ in range(7):
            limiter.check("k")
        pid = os.fork()
        if pid == 0:
            for name in {names!r}:
                try:
                    CALLS[name](limiter)
                except flint.ForkedError as error:
                    assert "after the fork" in str(error)
                else:
                    os._exit(1)
            limiter.close()
            del limiter
            gc.collect()
            # The child leaves as any program does: atexit and all.
            raise SystemExit(42)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
        try:
            flint.Limiter(DIR)
        except flint.DataDirLocked:
            pass
        else:
            raise AssertionError("the child unlocked the parent's directory")
        assert limiter.check("k").remaining == 92
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert_closed_cleanly(data_dir, allowed=8)


def test_a_forked_child_opens_a_directory_of_its_own(run: Run, data_dir: Path) -> None:
    done = run("""
        import os, warnings
        import flint

        warnings.simplefilter("ignore", DeprecationWarning)
        limiter = flint.Limiter(DIR)
        pid = os.fork()
        if pid == 0:
            with flint.Limiter(DIR + "-child") as own:
                assert own.check("k", limit="1/s")
            raise SystemExit(0)
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """)
    assert (done.returncode, done.stderr) == (0, "")
    with flint.Limiter(f"{data_dir}-child") as limiter:
        assert limiter.recovery.clean


def test_calls_from_many_threads_are_all_counted(data_dir: Path) -> None:
    limiter = flint.Limiter(data_dir, sync="always")
    limiter.limit("k", "100/day")
    allowed: list[bool] = []

    def work() -> None:
        for _ in range(20):
            allowed.append(limiter.allow("k"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (allowed.count(True), allowed.count(False)) == (100, 60)
    status = limiter.status("k")
    assert status is not None
    assert (status.total_allowed, status.total_denied) == (100, 60)


def test_other_threads_run_while_one_waits_for_the_disk(data_dir: Path) -> None:
    """Group commit needs the waiting callers to release the GIL: with it held, every check would cost one sync."""
    with flint.Limiter(data_dir, sync="always") as limiter:
        limiter.limit("k", "1000000/day")
        before = limiter.counters()["syncs"]
        gate = threading.Barrier(16)

        def work() -> None:
            gate.wait()
            for _ in range(50):
                limiter.check("k")

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert limiter.counters()["allowed"] == 800
        assert limiter.counters()["syncs"] - before < 800


def test_the_process_may_end_without_python_s_leave(run: Run, data_dir: Path) -> None:
    done = run(OPEN + "import os; os._exit(9)")
    assert done.returncode == 9
    with flint.Limiter(data_dir) as limiter:
        assert not limiter.recovery.clean
        status = limiter.status("k")
        assert status is not None
        assert status.total_allowed == 7


def test_signals_are_not_in_the_way(run: Run, data_dir: Path) -> None:
    done = run(OPEN + f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})")
    assert done.returncode == -signal.SIGTERM
    with flint.Limiter(data_dir) as limiter:
        status = limiter.status("k")
        assert status is not None
        assert status.total_allowed == 7
    assert os.path.isdir(data_dir)
