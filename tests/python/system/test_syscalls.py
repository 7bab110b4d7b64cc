"""What reaches the kernel, seen and tampered with through strace."""

from __future__ import annotations

import errno
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.python.system.support import run, state

import flint

pytestmark = pytest.mark.system

FILES = (
    "openat,mkdirat,renameat,renameat2,rename,unlinkat,unlink,fsync,fdatasync,pwrite64,write,ftruncate,flock,mmap,close"
)


def strace(log: Path, trace: str, *more: str) -> list[str]:
    """A wrapper for `run` that writes down some system calls, with the path of each descriptor.

    The process stops at these calls alone, not at all of them. Signals cannot be injected that way.
    """
    return [
        "strace",
        "-f",
        "-y",
        "--seccomp-bpf",
        "-s",
        "64",
        "-o",
        str(log),
        "-e",
        f"trace={trace}",
        *more,
    ]


def mark(name: str) -> str:
    """A line of a script that is found again in the trace: a write to a descriptor that is not open."""
    return f'\ntry: os.write(999, b"{name}")\nexcept OSError: pass\n'


class Trace:
    """The system calls of one process, in order, each as (thread, name, arguments, result)."""

    def __init__(self, log: Path) -> None:
        self.calls: list[tuple[int, str, str, str]] = []
        unfinished: dict[int, str] = {}
        for line in log.read_text(errors="replace").splitlines():
            thread, text = line.split(None, 1)
            if text.endswith("<unfinished ...>"):
                unfinished[int(thread)] = text.removesuffix("<unfinished ...>").rstrip()
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
                text = unfinished.pop(int(thread)) + resumed[1]
            # A thread's memory is mapped whenever it first needs some; only files are of interest.
            if (call := re.match(r"(\w+)\((.*)\)\s+= (.*)", text)) and "MAP_ANONYMOUS" not in call[2]:
                self.calls.append((int(thread), call[1], call[2], call[3]))

    def between(self, start: str, end: str) -> list[tuple[int, str, str, str]]:
        """The calls between two marks."""
        found = {
            name: index
            for index, (_, call, arguments, _) in enumerate(self.calls)
            for name in (start, end)
            if call == "write" and arguments.startswith("999") and f'"{name}"' in arguments
        }
        return self.calls[found[start] + 1 : found[end]]


def syncs(calls: Sequence[tuple[int, str, str, str]]) -> Counter[str]:
    return Counter(name for _, name, _, _ in calls if name in ("fsync", "fdatasync"))


PRELUDE = """
import flint, os, sys, threading, time
FIXED = "fixed_window_counter"
"""


def test_always_costs_one_fdatasync_a_call_and_denials_none(tmp_path: Path) -> None:
    steps = {
        "check": 'limiter.check("a")',
        "allow": 'limiter.allow("a", 2)',
        "check_all": 'limiter.check_all(["a", "b", ("c", 2)])',
        "given": 'limiter.check("new", limit="5/m")',
        "limit": 'limiter.limit("d", "1/m")',
        "limit_many": 'limiter.limit_many([{"key": f"m{n}", "rate": "1/m"} for n in range(1000)])',
        "reset": 'limiter.reset("a")',
        "delete": 'limiter.delete("d")',
        "the same limit": 'limiter.limit("c", "10/52w")',
        "denied": "for _ in range(500): assert not limiter.allow('none')",
        "denied check_all": 'assert not limiter.check_all(["a", "none"]).allowed',
        "reads": 'limiter.status("a"), limiter.list(), limiter.top(), limiter.peek("a"), limiter.counters()',
        "flush": "limiter.flush()",
    }
    code = PRELUDE + 'limiter = flint.Limiter(sys.argv[1])\nfor key in "abc": limiter.limit(key, "10/52w")\n'
    code += 'limiter.limit("none", 1, "52w", algorithm=FIXED)\nlimiter.check("none")\n'
    for name, step in steps.items():
        code += mark(f"before {name}") + step + mark(f"after {name}")
    code += "limiter.close()"
    log = tmp_path / "strace"
    run(code, tmp_path / "data", wrapper=strace(log, "fsync,fdatasync,write,pwrite64")).ok()
    trace = Trace(log)
    costs = {name: syncs(trace.between(f"before {name}", f"after {name}")) for name in steps}
    free = {"the same limit", "denied", "denied check_all", "reads", "flush"}
    assert costs == {name: Counter() if name in free else Counter(fdatasync=1) for name in steps}
    for name in steps:
        written = [
            call for _, call, arguments, _ in trace.between(f"before {name}", f"after {name}") if call == "pwrite64"
        ]
        assert not written, f"{name} writes through the mapping"


def test_batch_never_syncs_in_the_calling_thread(tmp_path: Path) -> None:
    code = PRELUDE + 'limiter = flint.Limiter(sys.argv[1], sync="batch", flush_every_ms=1, flush_every_events=10)\n'
    code += 'limiter.limit("a", 10**9, "1d", algorithm=FIXED)\n' + mark("start")
    code += 'for _ in range(3000): limiter.check("a")\n'
    code += "until = time.monotonic() + 30\n"
    code += 'while limiter.counters()["durable_seq"] < limiter.counters()["seq"] and time.monotonic() < until: pass\n'
    code += mark("end") + 'assert limiter.counters()["durable_seq"] == limiter.counters()["seq"]'
    log = tmp_path / "strace"
    run(code, tmp_path / "data", wrapper=strace(log, "fsync,fdatasync,write")).ok()
    trace = Trace(log)
    main = trace.calls[0][0]
    calls = trace.between("start", "end")
    assert not [call for call in calls if call[0] == main and call[1] in ("fsync", "fdatasync")]
    assert 1 <= syncs(calls)["fdatasync"] <= 400


def test_batch_syncs_after_so_many_events_or_so_long(tmp_path: Path) -> None:
    code = (
        PRELUDE
        + """
events = flint.Limiter(sys.argv[1] + "/events", sync="batch", flush_every_ms=3_600_000, flush_every_events=50)
events.limit("a", 10**9, "1d")
moments = flint.Limiter(sys.argv[1] + "/moments", sync="batch", flush_every_ms=20, flush_every_events=10**9)
moments.limit("a", 10**9, "1d")
for limiter in (events, moments):
    limiter.flush()
    before = limiter.counters()
    for _ in range(50): limiter.check("a")
    # The test does not flush; the flusher does, or this never ends.
    while limiter.counters()["durable_seq"] < before["seq"] + 50: time.sleep(0.001)
    assert limiter.counters()["syncs"] > before["syncs"]
    limiter.close()
"""
    )
    run(code, tmp_path).ok()


def test_a_denial_of_service_writes_and_syncs_nothing(tmp_path: Path) -> None:
    code = (
        PRELUDE
        + 'limiter = flint.Limiter(sys.argv[1])\nlimiter.limit("a", 1, "52w", algorithm=FIXED)\nlimiter.check("a")\n'
    )
    code += 'bytes_before = limiter.counters()["log_bytes"]' + mark("start")
    code += 'for _ in range(20_000): limiter.check("a")' + mark("end")
    code += 'assert limiter.counters()["log_bytes"] == bytes_before'
    log = tmp_path / "strace"
    run(code, tmp_path / "data", wrapper=strace(log, FILES)).ok()
    assert Trace(log).between("start", "end") == []


def test_names_are_durable_and_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "deep" / "data"
    code = (
        "import os; os.umask(0)\n"
        + PRELUDE
        + mark("open")
        + 'limiter = flint.Limiter(sys.argv[1], sync="batch", history_bytes=0)\n'
    )
    code += 'FIXED = flint.Limit(10**9, "1d", algorithm=FIXED)\n' + mark("work")
    # Some segments, a snapshot, and the removal of what it replaces.
    code += 'for _ in range(160_000): limiter.check("a", limit=FIXED)\n' + mark("compact") + "limiter.compact()\n"
    code += (
        mark("again") + 'limiter.check("a")\nlimiter.compact()\n' + mark("close") + "limiter.close()\n" + mark("end")
    )
    log = tmp_path / "strace"
    run(code, data_dir, wrapper=strace(log, FILES)).ok()
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(data_dir.parent.stat().st_mode) == 0o700
    for path in data_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name

    trace = Trace(log)
    made = [arguments for _, name, arguments, result in trace.calls if name == "mkdirat" and result == "0"]
    assert len(made) == 2
    # Each new directory's parent is synced before anything else is made in it.
    opening = [
        (name, arguments) for _, name, arguments, result in trace.between("open", "work") if not result.startswith("-1")
    ]
    parents = [arguments for name, arguments in opening if name == "fsync"]
    for parent in (tmp_path, data_dir.parent, data_dir):
        assert any(f"<{parent}>" in arguments for arguments in parents), parent

    # What gets a lasting name, or loses it, is followed by an fsync of the directory, and preceded by one of the file.
    renames = removals = 0
    synced: set[str] = set()
    pending: set[str] = set()
    for _, name, arguments, result in trace.between("open", "end"):
        if result.startswith("-1"):
            continue
        if name in ("fdatasync", "fsync"):
            (path,) = re.findall(r"<([^>]+)>", arguments)
            if path == str(data_dir):
                pending.clear()
            else:
                synced.add(Path(path).name)
        elif name == "renameat":
            source, target = re.findall(r'"([^"]+)"', arguments)
            renames += 1
            assert source in synced, f"{source} was not synced before it became {target}"
            synced.discard(source)
            pending.add(target)
        elif name == "unlinkat":
            (gone,) = re.findall(r'"([^"]+)"', arguments)
            if not gone.endswith(".tmp"):
                removals += 1
                pending.add(gone)
        elif name == "pwrite64" and (written := re.match(r"\d+<([^>]+)>", arguments)):
            synced.discard(Path(written[1]).name)
    assert renames >= 5
    assert removals >= 2
    assert not pending


def test_a_snapshot_appears_only_when_the_log_is_durable(tmp_path: Path) -> None:
    code = (
        PRELUDE
        + 'limiter = flint.Limiter(sys.argv[1], sync="batch", flush_every_ms=3_600_000, flush_every_events=10**9)\n'
    )
    code += 'limiter.limit("a", "10/m")\nlimiter.check("a")\n' + mark("compact") + "limiter.compact()\n" + mark("end")
    log = tmp_path / "strace"
    run(code, tmp_path / "data", wrapper=strace(log, FILES)).ok()
    order = [
        "log" if ".aof>" in arguments else "snapshot" if "flint-snapshot.tmp" in arguments else "directory"
        for _, name, arguments, _ in Trace(log).between("compact", "end")
        if name in ("fdatasync", "fsync", "renameat")
    ]
    assert order[:4] == ["log", "snapshot", "snapshot", "directory"], order


# --- failures ---------------------------------------------------------------------------------------------------------

FAILING_SYNC = """
limiter = flint.Limiter(sys.argv[1], sync=sys.argv[2], flush_every_ms=1, flush_every_events=1)
limiter.limit("a", 10**9, "1d", algorithm=FIXED)
acknowledged = 0
try:
    while True:
        limiter.check("a")
        acknowledged += 1
        # Leaves the flusher time for its calls before the log is long.
        time.sleep(0.0005 if sys.argv[2] == "batch" else 0)
except flint.StorageError as error:
    assert error.errno == 5 and "Input/output error" in str(error), error
MARK_FAILED
calls = {
    "check": lambda: limiter.check("a"), "check_all": lambda: limiter.check_all(["a"]), "flush": limiter.flush,
    "limit": lambda: limiter.limit("b", "1/m"), "status": lambda: limiter.status("a"), "list": limiter.list,
    "compact": limiter.compact, "reset": lambda: limiter.reset("a"), "peek": lambda: limiter.peek("a"),
}
for name, call in calls.items():
    try:
        call()
    except flint.StorageError as error:
        assert error.errno == 5 and "stopped" in str(error) and "open the directory again" in str(error), (name, error)
    else:
        raise AssertionError(f"{name} worked on a stopped limiter")
try:
    limiter.close()
except flint.StorageError as error:
    assert error.errno == 5, error
else:
    raise AssertionError("close() kept quiet")
limiter.close()
MARK_CLOSED
again = flint.Limiter(sys.argv[1])
taken = again.status("a").total_allowed
# What failed may or may not count; what was acknowledged counts.
assert acknowledged <= taken <= acknowledged + (1 if sys.argv[2] == "always" else 5_000), (acknowledged, taken)
again.check("a")
again.close()
"""


# strace counts per thread: these are calls of the main thread in "always", and of the flusher in "batch".
@pytest.mark.parametrize(("sync", "when"), [("always", 5), ("always", 9), ("batch", 10), ("batch", 14)])
def test_a_failed_fdatasync_stops_the_limiter_until_it_is_reopened(sync: str, when: int, tmp_path: Path) -> None:
    code = PRELUDE + FAILING_SYNC.replace("MARK_FAILED", mark("failed")).replace("MARK_CLOSED", mark("closed"))
    log = tmp_path / "strace"
    inject = ["-e", f"inject=fdatasync:error=EIO:when={when}"]
    ran = run(code, tmp_path / "data", sync, wrapper=strace(log, "fsync,fdatasync,write", *inject)).ok()
    assert ran.err == ""
    trace = Trace(log)
    failed = [index for index, call in enumerate(trace.calls) if call[1] == "fdatasync" and "EIO" in call[3]]
    assert len(failed) == 1
    # Never tried again: a second one might say that all is well.
    # (A spare segment may be in the making in the background.)
    assert not syncs([call for call in trace.between("failed", "closed") if "flint-spare.tmp" not in call[2]])


CALLS_BEFORE_FAILURE = """
import logging
limiter = None
acknowledged = {}
try:
    limiter = flint.Limiter(sys.argv[1], sync="always", history_bytes=0)
    limiter.limit("a", 10**9, "1d", algorithm=FIXED)
    acknowledged["a"] = 0
    for n in range(40):
        limiter.check("a")
        acknowledged["a"] += 1
        if n % 10 == 5: limiter.compact()
    limiter.close()
except flint.FlintError as error:
    assert isinstance(error, flint.StorageError), repr(error)
    assert error.errno == int(sys.argv[2]), (error.errno, error)
    assert error.filename and error.filename.startswith(sys.argv[1]), error.filename
    print("failed", error)
print(acknowledged.get("a", -1))
if limiter is not None:
    try:
        limiter.close()
    except flint.StorageError:
        pass
    del limiter
os.environ["done"] = "1"
"""


def reopen(data_dir: Path, acknowledged: int, extra: int = 1) -> None:
    """Opens what is left, compares, writes, closes, opens again, compares."""
    with flint.Limiter(data_dir) as limiter:
        status = limiter.status("a")
        if acknowledged >= 0 or status is not None:
            assert status is not None, f"{acknowledged} checks were acknowledged, and the key is gone"
            assert max(acknowledged, 0) <= status.total_allowed <= max(acknowledged, 0) + extra
        limiter.limit("a", 10**9, "1d", algorithm="fixed_window_counter")
        limiter.check("a")
        before = state(limiter)
    with flint.Limiter(data_dir) as limiter:
        assert limiter.recovery.clean
        assert state(limiter) == before


def injections() -> Iterator[tuple[str, str, int]]:
    for syscall, errors, last in [
        ("renameat", ("ENOSPC", "EIO"), 4),
        ("unlinkat", ("EIO",), 2),
        ("pwrite64", ("ENOSPC", "EIO"), 1030),
        ("ftruncate", ("EIO",), 1),
        ("fsync", ("EIO",), 4),
        ("mkdirat", ("ENOSPC", "EACCES"), 1),
        ("flock", ("ENOLCK",), 1),
    ]:
        for error in errors:
            for when in {1, 2, 3, last} if last < 10 else {1, 700, 1025, 1026, last}:
                if when <= last:
                    yield syscall, error, when


@pytest.mark.parametrize(("syscall", "error", "when"), sorted(injections()))
def test_a_failing_system_call_is_reported_and_harms_nothing(
    syscall: str, error: str, when: int, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    # -P limits the injection to the data directory, where it lies, and what is in it.
    names = ["flint-spare.tmp", "flint.lock", "flint-snapshot.tmp", "flint-00000000000000000001.aof"]
    paths = [argument for name in ("", *names) for argument in ("-P", str(data_dir / name))]
    inject = [*paths, "-P", str(tmp_path), "-e", f"inject={syscall}:error={error}:when={when}"]
    number = getattr(errno, error)
    log = tmp_path / "strace"
    ran = run(PRELUDE + CALLS_BEFORE_FAILURE, data_dir, number, wrapper=strace(log, syscall, *inject)).ok()
    assert ran.err == ""
    assert "INJECTED" in log.read_text(), "the call was never made"
    reopen(data_dir, int(ran.out.splitlines()[-1]))


@pytest.mark.parametrize("when", range(1, 13))
def test_a_failing_openat_is_reported_and_harms_nothing(when: int, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    log = tmp_path / "strace"
    error = ("EIO", "EMFILE")[when % 2]
    wrapper = strace(log, "openat", "-P", str(data_dir), "-e", f"inject=openat:error={error}:when={when}")
    ran = run(PRELUDE + CALLS_BEFORE_FAILURE, data_dir, getattr(errno, error), wrapper=wrapper).ok()
    assert ran.err == ""
    assert "INJECTED" in log.read_text(), "the call was never made"
    reopen(data_dir, int(ran.out.splitlines()[-1]))
