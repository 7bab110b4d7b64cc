"""A process is forked whatever its limiter is doing: the child can do nothing to it, and the parent loses nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.python.evidence import record
from tests.python.system.support import ended, opened_when_free, state, worker

import flint

# The parent reaches a state in which some thread is inside the named operation, and forks twice: one child tries
# everything and ends, the other runs until it is asked to end. Where the state has to last, strace delays the system
# calls of the operation, and `lasts` tells after the fork that it was not over before.
SCRIPT = """
import flint, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later advise against forking with threads
base, state, sync, end, held = *sys.argv[1:5], int(sys.argv[5])
data = base + "/data"
limiter = flint.Limiter(data, sync=sync, flush_every_ms=3_600_000, flush_every_events=10**9)
taken = [3]
deadline = time.monotonic() + 40

def until(reached):
    while not reached():
        assert time.monotonic() < deadline, f"{state} was never reached"

def beside(act):
    done = threading.Event()
    def run():
        act()
        done.set()
    threading.Thread(target=run, daemon=True).start()
    return lambda: not done.is_set()

def check():
    limiter.check("a")
    taken[0] += 1

stop = threading.Event()
lasts = lambda: True
if state == "idle":
    check()
elif state == "fsync":
    before = limiter.counters()["syncs"]
    lasts = beside(check)
    until(lambda: limiter.counters()["syncs"] > before)
elif state == "flush":
    for _ in range(100): check()
    before = limiter.counters()["syncs"]
    lasts = beside(limiter.flush)
    until(lambda: limiter.counters()["syncs"] > before)
elif state == "compaction":
    lasts = beside(limiter.compact)
    until(lambda: os.path.exists(data + "/flint-snapshot.tmp"))
elif state == "spare":
    while limiter.counters()["log_bytes"] < 5 << 18: check()
    spare = data + "/flint-spare.tmp"
    until(lambda: os.path.exists(spare))
    lasts = lambda: os.path.getsize(spare) < 4 << 20
elif state == "closing":
    # One that closes is known by its last record, which is synced before the lock goes.
    check()
    lasts = beside(limiter.close)
    def refused_as_closed():
        try:
            limiter.peek("a")
        except flint.ClosedError:
            return True
    until(refused_as_closed)
elif state == "opening":
    limiter.close()
    limiter = None
    def reopen():
        global limiter
        limiter = flint.Limiter(data, sync=sync)
    lasts = beside(reopen)
    until(lambda: open(data + "/flint.lock").read().startswith(str(os.getpid())))
elif state == "closed":
    limiter.close()
elif state == "read only":
    limiter.close()
    limiter = flint.Limiter(data, read_only=True)
elif state == "checking":
    def many():
        while not stop.is_set(): limiter.check("a")
    crew = [threading.Thread(target=many, daemon=True) for _ in range(4)]
    for one in crew: one.start()
    until(lambda: limiter.status("a").total_allowed > 100)
else:
    raise AssertionError(state)

def tries():
    if limiter is not None:
        uses = [
            lambda: limiter.check("a"), lambda: limiter.check_all(["a"]), lambda: limiter.limit("b", "1/m"),
            lambda: limiter.reset("a"), lambda: limiter.delete("a"), lambda: limiter.peek("a"),
            lambda: limiter.status("a"), limiter.list, limiter.top, lambda: limiter.history("a"), limiter.flush,
            limiter.compact, limiter.doctor, limiter.counters,
        ]
        for number, use in enumerate(uses):
            try:
                use()
            except flint.ForkedError as error:
                assert "gunicorn --preload" in str(error), error
            else:
                raise AssertionError(f"use {number} was not refused")
        limiter.close()
    with flint.Limiter(base + "/own", sync=sync) as own:
        crew = [threading.Thread(target=lambda: [own.check("a") for _ in range(5)]) for _ in range(3)]
        for one in crew: one.start()
        for one in crew: one.join()
        own.flush()

def forks():
    global during, first, second
    first = os.fork()
    if first == 0:
        signal.alarm(20)
        code = 70
        try:
            tries()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    second = os.fork()
    if second == 0:
        signal.alarm(60)
        os.read(held, 1)
        os._exit(0)
    during = lasts()

if end == "killed":
    # Any thread may be the one that forks.
    forking = threading.Thread(target=forks)
    forking.start()
    forking.join()
    os.write(1, f"{os.getpid()} {second} {during} {taken[0]}\\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
forks()
assert during, "the state was over before the fork"
os.close(held)
_, status = os.waitpid(first, 0)
assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"
until(lambda: state in ("idle", "closed", "read only", "checking") or not lasts())
stop.set()
if state == "checking":
    for one in crew: one.join()
    taken[0] = limiter.status("a").total_allowed
elif state not in ("closing", "closed", "read only"):
    until(lambda: limiter is not None)
    check()
limiter.close()
os.write(1, f"{os.getpid()} {second} {during} {taken[0]}\\n".encode())
sys.stdin.read()
"""

# What strace delays, in which file, so that a state lasts.
DELAYED = {
    "fsync": ("fdatasync", "flint-00000000000000000001.aof", "600000"),
    "flush": ("fdatasync", "flint-00000000000000000001.aof", "600000"),
    "closing": ("fdatasync", "flint-00000000000000000001.aof", "600000"),
    "opening": ("fdatasync", "flint-00000000000000000001.aof", "600000"),
    "compaction": ("fdatasync", "flint-snapshot.tmp", "600000"),
    "spare": ("pwrite64", "flint-spare.tmp", "50000:when=100+100"),
}
LASTING = ["idle", "closed", "read only", "checking"]
STATES = [
    *((state, sync) for state in LASTING for sync in ("always", "batch")),
    *(
        pytest.param(state, sync, marks=pytest.mark.system)
        for state, sync in [
            ("fsync", "always"),
            ("flush", "batch"),
            ("closing", "always"),
            ("closing", "batch"),
            ("opening", "always"),
            ("compaction", "always"),
            ("compaction", "batch"),
            ("spare", "batch"),
        ]
    ),
]


@pytest.mark.parametrize("end", ["goes on", "killed"])
@pytest.mark.parametrize(("doing", "sync"), STATES)
def test_fork_while(doing: str, sync: str, end: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("data", "own"):
        with flint.Limiter(tmp_path / name) as limiter:
            limiter.limit("a", 10**9, "52w", algorithm="fixed_window_counter")
            for _ in range(3):
                limiter.check("a")
    wrapper = []
    if doing in DELAYED:
        syscall, name, delay = DELAYED[doing]
        wrapper = ["strace", "-f", "--seccomp-bpf", "-o", str(tmp_path / "strace"), "-P", str(data / name)]
        wrapper += ["-e", f"trace={syscall}", "-e", f"inject={syscall}:delay_enter={delay}"]
    held, release = os.pipe()
    with (
        open(release, "wb") as holding,
        worker(SCRIPT, tmp_path, doing, sync, end, held, pass_fds=[held], wrapper=wrapper) as process,
    ):
        os.close(held)
        reported = process.line().split()
        if len(reported) != 4:
            holding.close()
            pytest.fail(process.end().err)
        parent, second, taken = int(reported[0]), int(reported[1]), int(reported[3])
        assert reported[2] == "True", "the state was over before the fork"
        if end == "killed":
            ended(parent)
        os.kill(second, 0)  # This child is still there.
        # The child closes its copy of the lock's descriptor as soon as it runs, which may be after its parent's end.
        with opened_when_free(data, sync=sync) as limiter:
            if doing != "opening":
                # One that was killed while it opened may have written something, or not yet.
                assert limiter.recovery.clean == (end == "goes on" or doing in ("closed", "read only"))
            status = limiter.status("a")
            assert status is not None
            # A check that was under way when the process died may count.
            assert taken <= status.total_allowed
            if doing != "checking":
                assert status.total_allowed <= taken + (end == "killed" and doing == "fsync")
            assert status.remaining == 10**9 - status.total_allowed
            limiter.check("a")
            before = state(limiter)
        with flint.Limiter(data, sync=sync) as limiter:
            assert limiter.recovery.clean
            assert state(limiter) == before
        os.kill(second, 0)
        holding.close()
        ran = process.end()
        # strace may have something to say of a process that is killed while it is delayed.
        assert [line for line in ran.err.splitlines() if not line.startswith("strace: ")] == []
        assert ran.status == (0 if end == "goes on" else -signal.SIGKILL)
    with opened_when_free(tmp_path / "own") as own:
        status = own.status("a")
        assert status is not None
        assert status.total_allowed == 18, "what the first child could do in a directory of its own"
    record("forks", 2)
