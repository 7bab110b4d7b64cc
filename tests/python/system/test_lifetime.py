"""However a process ends, what it acknowledged is there, the directory is free, and Flint says nothing."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.python.system.support import run, worker

import flint

# A process that does something and ends in its own way. The first argument says whether it uses Flint, so that every
# ending can be compared with what it is without: each script has the same lines in both cases.
USED = """\
import os, signal, sys, threading, warnings
if sys.argv[1] == "with":
    import flint
    limiter = flint.Limiter(sys.argv[2], sync=sys.argv[3])
    limiter.limit("a", "100/hour", algorithm="fixed_window_counter")
    for _ in range(7): limiter.check("a")
"""

ENDINGS = {
    "the script's end": "pass",
    "sys.exit()": "sys.exit()",
    "sys.exit(3)": "sys.exit(3)",
    "sys.exit(text)": "sys.exit('enough')",
    "an exception": "raise KeyError('boom')",
    "an exception in a function that holds everything": "def f(x=globals()): raise ValueError('deep')\nf()",
    "SystemExit in a thread": "threading.Thread(target=sys.exit, args=(4,)).start()",
    "an unjoined thread": "threading.Thread(target=lambda: threading.Event().wait(0.05)).start()",
    "a daemon thread that waits": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "SIGINT": "os.kill(os.getpid(), signal.SIGINT)\nthreading.Event().wait(30)",
    "a cycle": "class C: pass\nc = C(); c.me = c; c.held = globals().get('limiter'); del c; limiter = None",
    "an atexit hook that was registered first": "import atexit\natexit.register(lambda: None)",
}
ABRUPT = {
    "os._exit": "os._exit(5)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGHUP": "os.kill(os.getpid(), signal.SIGHUP)",
    "abort()": "os.abort()",
}


def open_now(data_dir: Path) -> tuple[bool, int]:
    """Whether the last session ended in order, and how many checks it left. A held lock would raise."""
    with flint.Limiter(data_dir) as limiter:
        status = limiter.status("a")
        assert status is not None
        assert status.remaining == 100 - status.total_allowed
        return limiter.recovery.clean, status.total_allowed


@pytest.mark.parametrize("sync", ["always", "batch"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_an_orderly_end_closes_and_changes_nothing_else(ending: str, sync: str, tmp_path: Path) -> None:
    code = USED + ENDINGS[ending]
    flags = ["-X", "dev", "-W", "error"]
    ran = run(code, "with", tmp_path / "data", sync, flags=flags)
    plain = run(code, "without", flags=flags)
    assert (ran.status, ran.out) == (plain.status, plain.out)
    # A thread's name and the place of a traceback are the same, as the scripts are; -X dev prints nothing more.
    assert ran.err == plain.err
    assert open_now(tmp_path / "data") == (True, 7)


@pytest.mark.parametrize("sync", ["always", "batch"])
@pytest.mark.parametrize("ending", ABRUPT)
def test_an_abrupt_end_loses_nothing(ending: str, sync: str, tmp_path: Path) -> None:
    code = USED + ABRUPT[ending]
    ran = run(code, "with", tmp_path / "data", sync)
    plain = run(code, "without")
    assert (ran.status, ran.out, ran.err) == (plain.status, plain.out, plain.err)
    assert open_now(tmp_path / "data") == (False, 7)


@pytest.mark.parametrize(
    ("number", "clean"), [(signal.SIGTERM, False), (signal.SIGINT, True)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_amid_checks(number: int, clean: bool, tmp_path: Path) -> None:
    code = """
    import flint, sys
    limiter = flint.Limiter(sys.argv[1])
    limiter.limit("a", 100_000_000, "1d", algorithm="fixed_window_counter")
    while limiter.allow("a"):
        print("taken", flush=True)
    """
    with worker(code, tmp_path) as process:
        taken = [process.line() for _ in range(20)]
        process.process.send_signal(number)
        taken += [line.decode().rstrip("\n") for line in process.lines()]
        ended = process.end()
    assert ended.status == -number
    assert ("KeyboardInterrupt" in ended.err) == clean
    assert "flint" not in ended.err.lower()
    with flint.Limiter(tmp_path) as limiter:
        status = limiter.status("a")
        assert status is not None
        assert limiter.recovery.clean == clean
        assert taken.count("taken") <= status.total_allowed <= taken.count("taken") + 1


def test_daemon_threads_that_check_at_exit(tmp_path: Path) -> None:
    code = """
    import flint, sys, threading
    limiter = flint.Limiter(sys.argv[1], sync=sys.argv[2])
    limiter.limit("a", 100_000_000, "1d", algorithm="fixed_window_counter")
    started = threading.Barrier(5)
    def check():
        started.wait()
        try:
            while True:
                limiter.check("a")
        except flint.ClosedError:
            pass
    for _ in range(4):
        threading.Thread(target=check, daemon=True).start()
    started.wait()
    limiter.check("a")
    sys.exit(6)
    """
    for number in range(6):
        ran = run(code, tmp_path / "data", ("always", "batch")[number % 2], flags=["-X", "dev", "-W", "error"])
        assert (ran.status, ran.out, ran.err) == (6, "", "")
        with flint.Limiter(tmp_path / "data") as limiter:
            assert limiter.recovery.clean


def test_a_use_in_an_atexit_hook_that_runs_later_is_refused_in_words(tmp_path: Path) -> None:
    # Registered before flint was imported, so it runs after Flint's own hook.
    code = """
    import atexit, sys
    def late():
        try:
            limiter.check("a")
        except flint.ClosedError as error:
            print(error)
    atexit.register(late)
    import flint
    limiter = flint.Limiter(sys.argv[1])
    limiter.limit("a", "1/m")
    """
    ran = run(code, tmp_path).ok()
    assert "closed" in ran.out
    assert ran.err == ""


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_dropping_the_last_reference_unlocks_at_once(sync: str, tmp_path: Path) -> None:
    for taken in range(5):
        limiter = flint.Limiter(tmp_path, sync=sync)
        limiter.limit("a", "100/hour", algorithm="fixed_window_counter")
        limiter.check("a")
        assert limiter.recovery.created == (taken == 0)
        assert limiter.recovery.clean == (taken > 0)
        del limiter
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.recovery.clean
        status = limiter.status("a")
        assert status is not None
        assert status.remaining == 95


def test_another_process_opens_at_once_after_del(tmp_path: Path) -> None:
    limiter = flint.Limiter(tmp_path)
    limiter.limit("a", "100/hour")
    del limiter
    code = "import flint, sys; print(flint.Limiter(sys.argv[1]).recovery.clean)"
    assert run(code, tmp_path).ok().out == "True\n"


def test_the_garbage_collector_closes_a_cycle(tmp_path: Path) -> None:
    class Holder:
        def __init__(self) -> None:
            self.me = self
            self.limiter = flint.Limiter(tmp_path)

    gc.disable()
    try:
        holder = Holder()
        holder.limiter.limit("a", "100/hour")
        del holder
        with pytest.raises(flint.DataDirLocked):
            flint.Limiter(tmp_path)
        gc.collect()
    finally:
        gc.enable()
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.recovery.clean
        assert limiter.status("a") is not None


def test_dropping_while_an_exception_is_on_its_way_keeps_it(tmp_path: Path) -> None:
    def fail() -> None:
        limiter = flint.Limiter(tmp_path)
        limiter.limit("a", "1/m")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        fail()
    # The traceback holds the frame, and the frame the limiter.
    del caught
    gc.collect()
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.recovery.clean


def test_a_limiter_whose_opening_failed_leaves_no_lock(tmp_path: Path) -> None:
    with flint.Limiter(tmp_path) as limiter:
        limiter.limit("a", "1/m")
    log = next(tmp_path.glob("*.aof"))
    whole = log.read_bytes()
    log.write_bytes(b"X" + whole[1:])
    for _ in range(3):
        with pytest.raises(flint.CorruptData):
            flint.Limiter(tmp_path)
    log.write_bytes(whole)
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.status("a") is not None


def test_close_twice_and_use_after_close(tmp_path: Path) -> None:
    limiter = flint.Limiter(tmp_path)
    limiter.limit("a", "1/m")
    limiter.close()
    limiter.close()
    assert limiter.closed
    assert "closed" in repr(limiter)
    uses: dict[str, Callable[[], object]] = {
        "limit": lambda: limiter.limit("b", "1/m"),
        "limit_many": lambda: limiter.limit_many([{"key": "b", "rate": "1/m"}]),
        "check": lambda: limiter.check("a"),
        "allow": lambda: limiter.allow("a"),
        "check_all": lambda: limiter.check_all(["a"]),
        "allow_all": lambda: limiter.allow_all(["a"]),
        "peek": lambda: limiter.peek("a"),
        "status": lambda: limiter.status("a"),
        "list": lambda: limiter.list(),
        "top": lambda: limiter.top(),
        "history": lambda: limiter.history("a"),
        "reset": lambda: limiter.reset("a"),
        "delete": lambda: limiter.delete("a"),
        "flush": lambda: limiter.flush(),
        "compact": lambda: limiter.compact(),
        "doctor": lambda: limiter.doctor(),
    }
    for name, use in uses.items():
        print(name)
        with pytest.raises(flint.ClosedError, match="closed"):
            use()
    limiter.close()


def test_with_closes_and_lets_the_exception_through(tmp_path: Path) -> None:
    limiter = flint.Limiter(tmp_path)

    def fail() -> None:
        with limiter as entered:
            assert entered is limiter
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert limiter.closed
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.recovery.clean


def test_many_limiters_at_interpreter_shutdown(tmp_path: Path) -> None:
    code = """
    import flint, sys
    class Holder: pass
    held = []
    for number in range(30):
        limiter = flint.Limiter(f"{sys.argv[1]}/{number}", sync=("always", "batch")[number % 2])
        limiter.limit("a", "100/hour")
        limiter.check("a")
        holder = Holder()
        holder.me, holder.limiter = holder, limiter
        (held.append(limiter) if number % 3 else None)
    del limiter, holder
    sys.modules["keeps one"] = held[0]
    """
    ran = run(code, tmp_path, flags=["-X", "dev", "-W", "error"]).ok()
    assert (ran.out, ran.err) == ("", "")
    for number in range(30):
        with flint.Limiter(tmp_path / str(number), read_only=True) as limiter:
            assert limiter.recovery.clean, number
            status = limiter.status("a")
            assert status is not None
            assert status.total_allowed == 1
