"""How a forked child ends, what an exec leaves, and what multiprocessing makes of it: nothing to the parent's store."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.python.system.support import ended, opened_when_free, run, state, worker

import flint


def taken(data_dir: Path, *, clean: bool) -> int:
    """How many checks of "a" the directory holds; it is then written to, closed, opened and compared."""
    with flint.Limiter(data_dir) as limiter:
        assert limiter.recovery.clean == clean
        status = limiter.status("a")
        assert status is not None
        count = status.total_allowed
        limiter.check("a")
        before = state(limiter)
    with flint.Limiter(data_dir) as limiter:
        assert limiter.recovery.clean
        assert state(limiter) == before
    return count


# By the exit status that the parent sees. A program that replaces the child holds nothing of the parent's either.
ENDS = {
    "os._exit": (7, "os._exit(7)"),
    "an exception": (1, "raise RuntimeError('the end of the child')"),
    "an exception while the limiter is in use": (1, "limiter.check('a')"),
    "sys.exit in a thread of its own": (0, "t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()"),
    "SIGKILL": (-signal.SIGKILL, "os.kill(os.getpid(), signal.SIGKILL)"),
    "SIGTERM": (-signal.SIGTERM, "os.kill(os.getpid(), signal.SIGTERM)"),
    "abort()": (-signal.SIGABRT, "os.abort()"),
    "exec": (0, "os.execv(sys.executable, [sys.executable, '-c', 'pass'])"),
    "exec of one that wants the directory": (
        9,
        "os.execv(sys.executable, [sys.executable, '-c', 'import flint, os, sys\\n"
        "try: flint.Limiter(sys.argv[1])\\n"
        "except flint.DataDirLocked as error: sys.exit(9 if error.pid == os.getppid() else 8)', sys.argv[1]])",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_child_that_ends_takes_nothing_along(end: str, tmp_path: Path) -> None:
    status, act = ENDS[end]
    code = f"""
import flint, os, signal, sys, threading
limiter = flint.Limiter(sys.argv[1])
limiter.limit("a", "100/hour", algorithm="fixed_window_counter")
limiter.check("a")
if os.fork() == 0:
    signal.alarm(20)
    {act}
else:
    print(os.waitstatus_to_exitcode(os.wait()[1]))
    limiter.check("a")
    another = "import flint, sys; flint.Limiter(sys.argv[1])"
    print(os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", another, sys.argv[1]]))
    limiter.check("a")
"""
    ran = run(code, tmp_path, flags=["-W", "ignore"]).ok()
    assert ran.out == f"{status}\n1\n"
    assert ran.err.count("flint.DataDirLocked: ") == 1
    assert ran.err.count("flint.ForkedError: ") == (end == "an exception while the limiter is in use")
    assert taken(tmp_path, clean=True) == 3


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_a_process_that_becomes_another_program_lets_go(sync: str, tmp_path: Path) -> None:
    """An exec is an end without close(): the same process id may open the directory again."""
    code = """
    import flint, os, sys, threading
    limiter = flint.Limiter(sys.argv[1], sync=sys.argv[2])
    limiter.limit("a", "100/hour", algorithm="fixed_window_counter")
    for _ in range(5): limiter.check("a")
    after = "import flint, os, sys\\n"
    after += "limiter = flint.Limiter(sys.argv[1])\\n"
    after += "assert not limiter.recovery.clean\\n"
    after += "print(os.getpid(), limiter.check('a').remaining)"
    print(os.getpid(), flush=True)
    os.execv(sys.executable, [sys.executable, "-c", after, sys.argv[1]])
    """
    before, after = run(code, tmp_path, sync).ok().out.splitlines()
    assert after == f"{before} 94"
    assert taken(tmp_path, clean=True) == 6


POOL = """
import concurrent.futures, flint, multiprocessing, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)

def use(key):
    return limiter.check(key).remaining

def refused(call):
    try:
        call()
    except flint.ForkedError as error:
        assert "gunicorn --preload" in str(error), error
    else:
        raise AssertionError("not refused")

limiter = flint.Limiter(sys.argv[1])
limiter.limit("a", "100/hour", algorithm="fixed_window_counter")
context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:
    refused(lambda: pool.map(use, ["a", "a", "a"]))
    assert limiter.check("a")
    refused(lambda: pool.apply(use, ("a",)))
with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
    refused(lambda: list(pool.map(use, ["a", "a"])))
assert limiter.check("a")
"""


def test_a_pool_hands_the_error_to_the_parent(tmp_path: Path) -> None:
    assert run(POOL, tmp_path).ok().err == ""
    assert taken(tmp_path, clean=True) == 2


def test_a_forkserver_that_preloads_a_limiter(tmp_path: Path) -> None:
    """The fork server is the master then, as with gunicorn --preload."""
    (tmp_path / "preloaded.py").write_text(
        "import flint, pathlib\n"
        "limiter = flint.Limiter(pathlib.Path(__file__).parent / 'data')\n"
        "limiter.limit('a', '100/hour')\n"
        "limiter.check('a')\n"
    )
    (tmp_path / "target.py").write_text(
        "import flint, sys\n"
        "def use():\n"
        "    import preloaded\n"
        "    try:\n"
        "        preloaded.limiter.check('a')\n"
        "    except flint.ForkedError as error:\n"
        "        sys.exit(41 if 'gunicorn --preload' in str(error) else 42)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, target\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('forkserver')\n"
        "    context.set_forkserver_preload(['preloaded'])\n"
        "    children = [context.Process(target=target.use) for _ in range(3)]\n"
        "    for child in children: child.start()\n"
        "    for child in children: child.join()\n"
        "    print([child.exitcode for child in children])\n"
    )
    code = """
    import os, sys
    os.environ["PYTHONPATH"] = os.path.dirname(sys.argv[1])  # The fork server imports from there.
    os.execv(sys.executable, [sys.executable, sys.argv[1]])
    """
    ran = run(code, script).ok()
    assert ran.out == "[41, 41, 41]\n"
    with opened_when_free(tmp_path / "data") as limiter:
        status = limiter.status("a")
        assert status is not None
        assert status.total_allowed == 1
    assert taken(tmp_path / "data", clean=True) == 1


LIVES_ON = """
import flint, multiprocessing, os, signal, sys, warnings

def wait(path):
    signal.alarm(60)
    os.write(1, b"%d\\n" % os.getpid())
    open(path).read()

if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    base, method = sys.argv[1:]
    limiter = flint.Limiter(base + "/data")
    limiter.limit("a", "100000/hour", algorithm="fixed_window_counter")
    limiter.check("a")
    child = multiprocessing.get_context(method).Process(target=wait, args=(base + "/gate",))
    child.start()
    while True:
        limiter.check("a")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_parent_that_is_killed_while_a_child_of_multiprocessing_lives(method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(LIVES_ON)
    os.mkfifo(tmp_path / "gate")
    code = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    with worker(code, script, tmp_path, method) as parent:
        child = int(parent.line())
        parent.process.kill()
        ended(parent.pid)
        assert taken(tmp_path / "data", clean=False) >= 1
        os.kill(child, 0)  # It is still there.
        with open(tmp_path / "gate", "w"):
            pass
        ended(child)
