"""No memory left, no mapping to be had: the process may die of it, what it acknowledged does not."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.python.evidence import record
from tests.python.system.support import run, state

import flint

# Adds keys, a hundred a call in "always", until there is no memory for more. What Python notices is a MemoryError; what
# the engine cannot map is a StorageError; after both the same limiter goes on when there is memory. What the engine
# cannot allocate ends the process, as Rust does then.
ADDING = """
import errno, flint, os, resource, sys
data, sync, room, how = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
limiter = flint.Limiter(data, sync=sync)
LIMIT = flint.Limit(1000, "52w", algorithm="fixed_window_counter")
each = 1 if sync == "batch" else 100
n = 0
def key(number): return f"{number}:".ljust(450, "x")
def add():
    if each == 1:
        limiter.check(key(n), limit=LIMIT)
    else:
        limiter.limit_many([{"key": key(n + i), "rate": LIMIT} for i in range(each)])
add()
n += each
os.write(1, b"%d\\n" % n)
pages = int(open("/proc/self/statm").read().split()[0])
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, hard))
def go_on():
    # Nothing is wrong with the limiter: with memory it goes on.
    global n
    if limiter.status(key(n)) is None:
        add()
    n += each
    os.write(1, b"%d\\n" % n)
    if how == "close": limiter.close()
try:
    while True:
        add()
        n += each
        os.write(1, b"%d\\n" % n)
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    go_on()
    sys.stderr.write("MemoryError\\n")
except flint.StorageError as error:
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    assert error.errno == errno.ENOMEM, error
    assert limiter.status(key(n)) is None, "the call that raised changed something"
    go_on()
    sys.stderr.write("StorageError\\n")
sys.stderr.flush()
os._exit(0)
"""
MIB = 1 << 20


def compare(data_dir: Path, acknowledged: int, each: int, checked: int) -> None:
    """Everything acknowledged is there, and at most one call more; then it is used, closed, opened and compared."""
    with flint.Limiter(data_dir) as limiter:
        found = {int(status.key.split(":")[0]): status for status in limiter.list()}
        assert sorted(found) == list(range(len(found))), "a key is missing"
        assert acknowledged <= len(found) <= acknowledged + each
        assert len(found) % each == 0, "a part of a call"
        assert all((status.rate, status.total_allowed) == (1000, checked) for status in found.values())
        limiter.check("0:".ljust(450, "x"))
        before = state(limiter)
    with flint.Limiter(data_dir) as limiter:
        assert limiter.recovery.clean
        assert state(limiter) == before


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_adding_keys_until_memory_is_exhausted(sync: str, tmp_path: Path) -> None:
    ends: Counter[str] = Counter()
    rooms = [0, MIB, 2 * MIB, 3 * MIB, 5 * MIB, 9 * MIB, 16 * MIB]
    for number, room in enumerate(rooms):
        data_dir = tmp_path / str(room)
        ran = run(ADDING, data_dir, sync, room, "close" if number % 2 else "leave")
        if ran.status == 0:
            ends[ran.err.splitlines()[-1]] += 1
        else:
            # 127 is the C library's: no memory for a new thread's variables. Python ends with 1 when there is not even
            # enough to handle it.
            last = ran.err.rstrip().rpartition("\n")[2]
            assert ran.status in (-signal.SIGABRT, 127) or (ran.status == 1 and last.startswith("MemoryError")), ran
            ends[f"status {ran.status}"] += 1
        print(sync, room, ran.status, ran.err.strip()[:150], len(ran.out.split()))
        acknowledged = [int(line) for line in ran.out.split()]
        compare(data_dir, acknowledged[-1], 1 if sync == "batch" else 100, checked=sync == "batch")
    print(sync, dict(ends))
    record("out_of_memory", len(rooms))
    record("out_of_memory_resumed", ends["MemoryError"] + ends["StorageError"])
    assert len(ends) >= 2, "memory always ended at the same place"


# Opens, then checks until it fails; says how far it came and what stopped it.
MAPPING = """
import errno, flint, os, sys
data, sync = sys.argv[1:]
acknowledged = 0
stopped = "opening"
try:
    limiter = flint.Limiter(data, sync=sync)
    stopped = "checking"
    limiter.limit_many([{"key": f"{n}:".ljust(450, "x"), "rate": 1, "per": "1h"} for n in range(2500)])
    while acknowledged < 200_000:
        limiter.check("a", limit="1000000000/52w")
        acknowledged += 1
except flint.StorageError as error:
    assert error.errno == errno.ENOMEM, error
    assert os.strerror(errno.ENOMEM) in str(error), error
    assert os.path.basename(error.filename).startswith("flint-"), error.filename
else:
    raise AssertionError("a segment was mapped all the same")
print(stopped, acknowledged)
if stopped == "checking":
    try:
        limiter.close()
    except flint.StorageError as error:
        assert error.errno == errno.ENOMEM, error
    try:
        limiter.check("a")
    except flint.ClosedError:
        pass
"""


@pytest.mark.system
@pytest.mark.parametrize("sync", ["always", "batch"])
@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("opening", "flint-spare.tmp"),
        ("opening", "flint-00000000000000000001.aof"),
        ("checking", "flint-spare.tmp"),
    ],
)
def test_a_failed_mapping_is_reported_and_loses_nothing(what: str, name: str, sync: str, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    new = what == "opening" and name == "flint-spare.tmp"
    if not new:
        with flint.Limiter(data_dir) as limiter:
            limiter.limit("a", 10**9, "52w", algorithm="fixed_window_counter")
            limiter.check("a", 5)
    log = tmp_path / "strace"
    wrapper = ["strace", "-f", "--seccomp-bpf", "-o", str(log), "-P", str(data_dir / name), "-e", "trace=mmap"]
    ran = run(MAPPING, data_dir, sync, wrapper=[*wrapper, "-e", "inject=mmap:error=ENOMEM"]).ok()
    assert ran.err == ""
    assert log.read_text().count("INJECTED") >= 1
    stopped, count = ran.out.split()
    assert stopped == what
    acknowledged = int(count) + (not new)
    with flint.Limiter(data_dir) as limiter:
        status = limiter.status("a")
        assert limiter.recovery.created == new
        assert (status.total_allowed if status else 0) in (acknowledged, acknowledged + (what == "checking"))
        limiter.check("a", limit="1000000000/52w")
        before = state(limiter)
    with flint.Limiter(data_dir) as limiter:
        assert limiter.recovery.clean
        assert state(limiter) == before
    record("failed_mappings", 1)


# What stays beside the keys that are alive (docs/deployment.md): tables that do not shrink further, parts of chunks,
# memory that the allocator still has, and pages of the log.
FLOOR = 16 * MIB
# Of a key of the test, at most.
KEY_BYTES = 200

FREED = """
import flint, sys, time
data, what, bound = sys.argv[1], sys.argv[2], int(sys.argv[3])
limiter = flint.Limiter(data, sync="batch")
LIMIT = flint.Limit("5/hour")

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) << 10

limiter.allow("first", limit=LIMIT)
before = resident()
most = 0
def fill_and_delete(count, key, kept):
    global most
    for number in range(count):
        limiter.allow(key(number), limit=LIMIT)
    most = max(most, resident() - before)
    for number in range(count):
        if number % kept:
            limiter.delete(key(number))

if what == "generations":
    # Each has keys of another length.
    for generation in range(60):
        fill_and_delete(10_000, lambda number: f"{generation}:".ljust(20 + generation * 7) + str(number), 10_000)
else:
    fill_and_delete(300_000, lambda number: f"key:{number:012}", 20)
# The worker gives it back a slice at a time.
deadline = time.monotonic() + 20
while resident() - before > bound and time.monotonic() < deadline:
    time.sleep(0.01)
print(len(limiter.list()), most, resident() - before)
"""


@pytest.mark.parametrize(("what", "alive"), [("generations", 61), ("at once", 15_001)])
def test_memory_of_deleted_keys_is_returned_to_the_system(what: str, alive: int, tmp_path: Path) -> None:
    bound = 2 * KEY_BYTES * alive + FLOOR
    found, most, left = map(int, run(FREED, tmp_path / "data", what, bound).ok().out.split())
    print(what, f"{most / MIB:.1f} MiB, then {left / MIB:.1f} MiB")
    assert found == alive
    assert left <= bound, f"{left / MIB:.1f} MiB"
    if what == "at once":
        # 300,000 keys took that much more.
        assert most > 2 * bound
