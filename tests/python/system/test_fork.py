"""A forked child can do nothing to its parent's store, says so, and never hangs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.python.system.support import run, worker

import flint

# What the scripts below share. A child that hangs is ended by its alarm clock, and its exit status tells.
PRELUDE = """
import flint, json, os, signal, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later advise against forking with threads

def forked(act):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        code = 70
        try:
            act()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"

def refused(use):
    try:
        use()
    except flint.ForkedError as error:
        return str(error)
    raise AssertionError(f"{use} was not refused")
"""

EVERY_METHOD = """
limiter = flint.Limiter(sys.argv[1], sync=sys.argv[2])
limiter.limit("a", "100/hour", algorithm="fixed_window_counter")
limiter.check("a")
looking = flint.Limiter(sys.argv[1], read_only=True)
uses = {
    "limit": lambda l: l.limit("b", "1/m"),
    "limit_many": lambda l: l.limit_many([{"key": "b", "rate": "1/m"}]),
    "check": lambda l: l.check("a"),
    "allow": lambda l: l.allow("a"),
    "check_all": lambda l: l.check_all(["a", "c"]),
    "allow_all": lambda l: l.allow_all(["a", "c"]),
    "peek": lambda l: l.peek("a"),
    "status": lambda l: l.status("a"),
    "list": lambda l: l.list(),
    "top": lambda l: l.top(),
    "history": lambda l: l.history("a"),
    "reset": lambda l: l.reset("a"),
    "delete": lambda l: l.delete("a"),
    "flush": lambda l: l.flush(),
    "compact": lambda l: l.compact(),
    "doctor": lambda l: l.doctor(),
}
def child():
    for held in (limiter, looking):
        for name, use in uses.items():
            message = refused(lambda: use(held))
            assert "gunicorn --preload" in message, (name, message)
            assert "after the fork" in message, (name, message)
    repr(limiter), limiter.recovery, limiter.data_dir, limiter.sync, limiter.read_only
    # These end something, so they are allowed and do nothing.
    limiter.close()
    with limiter:
        pass
    refused(lambda: limiter.check("a"))
forked(child)
limiter.check("a")
forked(lambda: globals().pop("limiter").close())
limiter.check("a")
looking.close()
limiter.close()
"""


def totals(data_dir: Path) -> tuple[bool, int]:
    with flint.Limiter(data_dir) as limiter:
        status = limiter.status("a")
        assert status is not None
        return limiter.recovery.clean, status.total_allowed


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_every_method_is_refused_in_the_child(sync: str, tmp_path: Path) -> None:
    ran = run(PRELUDE + EVERY_METHOD, tmp_path, sync).ok()
    assert (ran.out, ran.err) == ("", "")
    assert totals(tmp_path) == (True, 3)


def test_counters_are_refused_or_answered_but_never_hang(tmp_path: Path) -> None:
    code = """
    limiter = flint.Limiter(sys.argv[1], sync="batch")
    limiter.limit("a", 100_000_000, "1d")
    stop = threading.Event()
    def check():
        while not stop.is_set():
            limiter.list(limit=50)
            limiter.allow("a")
    limiter.limit_many([{"key": f"k{n}", "rate": "1/m"} for n in range(5000)])
    threads = [threading.Thread(target=check, daemon=True) for _ in range(3)]
    for thread in threads: thread.start()
    def child():
        try:
            limiter.counters()
        except flint.ForkedError:
            pass
    for _ in range(60): forked(child)
    stop.set()
    # A thread that is still at it when the limiter is closed at exit would raise.
    for thread in threads: thread.join()
    """
    run(PRELUDE + "if 1:" + code, tmp_path).ok()


ENDS_IN_CHILD = {
    "del": "del limiter; gc.collect(); os._exit(0)",
    "close": "limiter.close(); os._exit(0)",
    "sys.exit": "sys.exit(0)",
    "exception": "raise SystemExit(0) from None",
    "end of script": "pass",
}


@pytest.mark.parametrize("end", ENDS_IN_CHILD)
def test_the_end_of_the_child_is_nothing_to_the_parent(end: str, tmp_path: Path) -> None:
    code = f"""
import flint, gc, os, sys
limiter = flint.Limiter(sys.argv[1], sync="batch", flush_every_ms=1)
limiter.limit("a", "100/hour")
limiter.check("a")
if (pid := os.fork()) == 0:
    {ENDS_IN_CHILD[end]}
else:
    _, status = os.waitpid(pid, 0)
    print(status)
    limiter.check("a")
    # The child's end has not unlocked the directory.
    another = "import flint, sys; flint.Limiter(sys.argv[1])"
    other = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", another, sys.argv[1]])
    print(other)
    limiter.check("a")
    limiter.close()
"""
    ran = run(code, tmp_path).ok()
    assert ran.out == "0\n1\n"
    assert "DataDirLocked" in ran.err
    assert ran.err.count("Traceback") == 1
    assert totals(tmp_path) == (True, 3)


@pytest.mark.parametrize("child", ["fork", "subprocess", "posix_spawn"])
def test_a_child_that_outlives_a_killed_parent_does_not_hold_the_directory(child: str, tmp_path: Path) -> None:
    held, release = os.pipe()
    code = """
    import flint, os, subprocess, sys
    held = int(sys.argv[3])
    limiter = flint.Limiter(sys.argv[1])
    limiter.limit("a", "100/hour")
    limiter.check("a")
    wait = [sys.executable, "-c", f"import os; os.read({held}, 1)"]
    if sys.argv[2] == "fork":
        # Until the child has run for the first time, it has copies of all descriptors, that of the lock included.
        has_run, runs = os.pipe()
        if (pid := os.fork()) == 0:
            os.write(runs, b".")
            os.read(held, 1)
            os._exit(0)
        os.read(has_run, 1)
    elif sys.argv[2] == "subprocess":
        pid = subprocess.Popen(wait, close_fds=False).pid
    else:
        pid = os.posix_spawn(sys.executable, wait, os.environ)
    limiter.check("a")
    print(pid, flush=True)
    while True:
        limiter.check("a")
    """
    with worker(code, tmp_path, child, held, pass_fds=[held]) as parent:
        os.close(held)
        pid = int(parent.line())
        parent.kill()
        clean, taken = totals(tmp_path)
        assert not clean
        assert taken >= 2
        os.kill(pid, 0)  # The child is still there.
        os.close(release)


def test_the_child_opens_a_directory_of_its_own(tmp_path: Path) -> None:
    code = """
    limiter = flint.Limiter(sys.argv[1] + "/parent", sync=sys.argv[2])
    limiter.limit("a", "100/hour")
    limiter.check("a")
    def child():
        with flint.Limiter(sys.argv[1] + "/child", sync=sys.argv[2]) as own:
            own.limit("a", "100/hour")
            own.check("a")
        assert "parent" in repr(limiter)
        try:
            flint.Limiter(sys.argv[1] + "/parent")
        except flint.DataDirLocked as error:
            assert error.pid == os.getppid(), error
            assert "in this process" not in str(error), error
        else:
            raise AssertionError("the parent's directory was opened")
        with flint.Limiter(sys.argv[1] + "/parent", read_only=True) as looking:
            assert looking.status("a").total_allowed == 1
        refused(lambda: limiter.check("a"))
    forked(child)
    limiter.check("a")
    """
    for sync in ("always", "batch"):
        base = tmp_path / sync
        base.mkdir()
        ran = run(PRELUDE + "if 1:" + code, base, sync).ok()
        assert ran.err == ""
        assert totals(base / "parent") == (True, 2)
        assert totals(base / "child") == (True, 1)


FORKING_AMID_CHECKS = """
base, sync, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
limiter = flint.Limiter(base + "/parent", sync=sync, flush_every_ms=1)
limiter.limit("a", 100_000_000, "520w", algorithm="fixed_window_counter")
with flint.Limiter(base + "/child") as prepared:
    prepared.limit("a", 100_000_000, "1d")
taken = [0] * 4
stop = threading.Event()
def check(number):
    while not stop.is_set():
        limiter.check("a")
        taken[number] += 1
def compact():
    while not stop.is_set():
        limiter.compact()
threads = [threading.Thread(target=check, args=(n,), daemon=True) for n in range(4)]
threads.append(threading.Thread(target=compact, daemon=True))
for thread in threads: thread.start()
def child():
    refused(lambda: limiter.check("a"))
    refused(lambda: limiter.status("a"))
    limiter.close()
    # Its own store has locks and threads of its own, which must work whatever the parent's were doing.
    with flint.Limiter(base + "/child", sync=sync, flush_every_ms=1) as own:
        crew = [threading.Thread(target=lambda: [own.check("a") for _ in range(20)]) for _ in range(3)]
        for one in crew: one.start()
        for one in crew: one.join()
        own.flush()
for _ in range(rounds):
    forked(child)
stop.set()
for thread in threads: thread.join()
limiter.close()
print(sum(taken))
"""


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_forking_amid_checks_never_hangs_the_child(sync: str, tmp_path: Path) -> None:
    rounds = 40
    ran = run(PRELUDE + FORKING_AMID_CHECKS, tmp_path, sync, rounds).ok()
    assert ran.err == ""
    assert totals(tmp_path / "parent") == (True, int(ran.out))
    assert totals(tmp_path / "child") == (True, rounds * 60)


MULTIPROCESSING = """
import flint, multiprocessing, pathlib, sys, warnings
limiter = None

def inherited():
    try:
        limiter.check("a")
    except flint.ForkedError as error:
        assert "gunicorn --preload" in str(error)
        sys.exit(41)

def own(directory):
    with flint.Limiter(directory) as mine:
        mine.limit("a", "100/hour")
        mine.check("a")
    sys.exit(42)

def given(handed):
    sys.exit(43)

if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    base, method = sys.argv[1:]
    context = multiprocessing.get_context(method)
    limiter = flint.Limiter(base + "/parent")
    limiter.limit("a", "100/hour")
    limiter.check("a")
    if method == "fork":
        child = context.Process(target=inherited)
        child.start()
        child.join()
        assert child.exitcode == 41, child.exitcode
    child = context.Process(target=own, args=(base + "/child",))
    child.start()
    child.join()
    assert child.exitcode == 42, child.exitcode
    child = context.Process(target=given, args=(limiter,))
    try:
        child.start()
    except TypeError as error:
        assert method != "fork", error
        assert "SharedLimiter" in str(error), error
    else:
        child.join()
        assert (method, child.exitcode) == ("fork", 43)
    limiter.check("a")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MULTIPROCESSING)
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    if method == "fork":
        run(code, script, tmp_path, method).ok()
    else:
        # These start the script anew, so it has to be one.
        run("import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])", script, tmp_path, method).ok()
    assert totals(tmp_path / "parent") == (True, 2)
    assert totals(tmp_path / "child") == (True, 1)


def test_subprocesses_run_beside_checks(tmp_path: Path) -> None:
    code = """
    import flint, subprocess, sys, threading
    limiter = flint.Limiter(sys.argv[1])
    limiter.limit("a", 100_000_000, "1d", algorithm="fixed_window_counter")
    stop = threading.Event()
    def check():
        while not stop.is_set():
            limiter.check("a")
    threads = [threading.Thread(target=check, daemon=True) for _ in range(3)]
    for thread in threads: thread.start()
    for number in range(30):
        # preexec_fn makes it a fork with the interpreter running in the child; without it, a vfork.
        more = {"preexec_fn": lambda: None} if number % 2 else {}
        done = subprocess.run(["cat"], input=b"hello", capture_output=True, timeout=20, **more)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b""), done
        limiter.check("a")
    stop.set()
    for thread in threads: thread.join()
    """
    ran = run(code, tmp_path, flags=["-W", "ignore"]).ok()
    assert ran.err == ""
    clean, taken = totals(tmp_path)
    assert clean
    assert taken >= 30


def test_a_grandchild_is_a_child_too(tmp_path: Path) -> None:
    code = """
    limiter = flint.Limiter(sys.argv[1])
    limiter.limit("a", "100/hour")
    def grandchild():
        refused(lambda: limiter.check("a"))
    def child():
        own = flint.Limiter(sys.argv[1] + "/own")
        own.limit("a", "100/hour")
        def of_both():
            grandchild()
            refused(lambda: own.check("a"))
        forked(of_both)
        own.check("a")
        own.close()
    forked(child)
    limiter.check("a")
    """
    assert run(PRELUDE + "if 1:" + code, tmp_path).ok().err == ""
    assert totals(tmp_path) == (True, 1)
    assert totals(tmp_path / "own") == (True, 1)


def test_a_hanging_child_would_be_noticed() -> None:
    ran = run(PRELUDE.replace("alarm(20)", "setitimer(signal.ITIMER_REAL, 0.1)") + "forked(threading.Event().wait)")
    assert ran.status == 1
    assert f"the child ended with {-signal.SIGALRM}" in ran.err
