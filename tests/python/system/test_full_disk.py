"""A full disk, a file size limit: the call that needs room fails, nothing else does, and with room it goes on."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest
from tests.python.evidence import record
from tests.python.system.support import mounting_is_allowed, on_full_disk, on_small_disk, run, state

import flint

each_disk = pytest.mark.parametrize("disk", [pytest.param("tmpfs", marks=pytest.mark.system), "file size"])

# What the scripts share. A disk gets full by a file beside the data directory, and has room again when that is gone.
PRELUDE = """
import errno, flint, logging, os, resource, signal, sys, threading, time
base = sys.argv[1]
data = base + "/data"
notices = []
class Collect(logging.Handler):
    def emit(self, record):
        notices.append((record.levelname, record.getMessage()))
logging.getLogger("flint").addHandler(Collect())

# Without a mount, files that cannot grow take the place of a full disk. Python ignores SIGXFSZ by itself.
MOUNTED = os.path.ismount(base)
FULL = errno.ENOSPC if MOUNTED else errno.EFBIG

def allow_files_of(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def fill(leave=0):
    if not MOUNTED:
        return allow_files_of(leave)
    with open(base + "/filler", "ab", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(65536))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
    free = os.statvfs(base)
    assert free.f_bavail == 0, free
    if leave:
        os.truncate(base + "/filler", os.path.getsize(base + "/filler") // 4096 * 4096 - leave)

def drain():
    if not MOUNTED:
        return allow_files_of(resource.RLIM_INFINITY)
    os.unlink(base + "/filler")

def fails(use, wanted=FULL):
    try:
        use()
    except flint.StorageError as error:
        assert error.errno == wanted, (error.errno, error)
        assert os.strerror(wanted) in str(error), error
        assert error.filename.startswith(data), error.filename
        return error
    raise AssertionError("no StorageError")

def state(limiter):
    # What is left refills while time passes; fixed windows of a year do not.
    return [
        (s.key, s.rate, s.remaining, s.total_allowed, s.total_denied, s.total_allowed_cost)
        for s in limiter.list()
    ]

def until_full(limiter, wanted=FULL):
    # The active segment has room for 4 MiB of log; then a call needs a new segment. Large calls first, then small ones.
    for size in (100, 10, 1):
        for number in range(100):
            before = len(limiter.list())
            specs = [{"key": f"{size}:{number}:{n}:".ljust(450, "x"), "rate": 1, "per": "1h"} for n in range(size)]
            try:
                limiter.limit_many(specs)
            except flint.StorageError as error:
                assert error.errno == wanted, error
                assert len(limiter.list()) == before, "a part of the failed call happened"
                break
    for taken in range(100_000):
        try:
            limiter.check("a")
        except flint.StorageError as error:
            assert error.errno == wanted, error
            status = limiter.status("a")
            assert (status.total_allowed, status.remaining) == (taken, 10**9 - taken), "the failed call counted"
            return taken
    raise AssertionError("never full")

YEAR = flint.Limit(10**9, "52w", algorithm="fixed_window_counter")

def prepared(sync):
    limiter = flint.Limiter(data, sync=sync)
    for key in "abc":
        limiter.limit(key, YEAR)
    return limiter
"""

GOES_ON = """
limiter = prepared(sys.argv[2])
for _ in range(100): limiter.check("b")
fill()
taken = until_full(limiter)
full = state(limiter)
# Everything that writes fails in the same way; everything that reads works.
fails(lambda: limiter.check("b"))
fails(lambda: limiter.allow("b"))
fails(lambda: limiter.check_all(["a", "b"]))
fails(lambda: limiter.limit("new", "1/m"))
fails(lambda: limiter.limit_many([{"key": "new", "rate": "1/m"}, {"key": "newer", "rate": "1/m"}]))
fails(lambda: limiter.check("new", limit="1/m"))
# Small enough for what may be left of the segment, once or twice.
fails(lambda: [limiter.reset("c") for _ in range(5)])
fails(lambda: limiter.delete("c"))
assert state(limiter) == full, [pair for pair in zip(state(limiter), full) if pair[0] != pair[1]]
assert limiter.status("a").total_allowed == taken, (limiter.status("a"), taken)
assert limiter.status("new") is None
assert limiter.peek("b").allowed
assert len(limiter.history("b", 10)) == 10
assert limiter.doctor()["ok"]
assert limiter.top("allowed")[0].key == "b"
limiter.flush()
with flint.Limiter(data, read_only=True) as looking:
    assert state(looking) == full
drain()
# There is room again: the same limiter goes on.
for _ in range(20): limiter.check("a")
limiter.limit("new", "1/m")
limiter.check_all(["b", "c"])
after = state(limiter)
limiter.close()
with flint.Limiter(data) as limiter:
    assert limiter.recovery.clean
    assert state(limiter) == after
assert not [notice for notice in notices if notice[0] == "ERROR"], notices
"""


@each_disk
@pytest.mark.parametrize("sync", ["always", "batch"])
def test_calls_fail_without_effect_and_resume_with_room(disk: str, sync: str, tmp_path: Path) -> None:
    run(PRELUDE + GOES_ON, tmp_path, sync, wrapper=on_full_disk(disk, tmp_path, "size=9m")).ok()


CLOSES = """
limiter = prepared(sys.argv[2])
limiter.limit("denied", flint.Limit(1, "52w", algorithm="fixed_window_counter"))
for _ in range(3): limiter.check("denied")
fill()
until_full(limiter)
for _ in range(5): limiter.check("denied")
full = state(limiter)
# Room for denial totals and for the close record was kept.
limiter.close()
# It is still full, and opens all the same: to look, and to write what fits.
with flint.Limiter(data, read_only=True) as looking:
    assert looking.recovery.clean
    assert state(looking) == full, (state(looking), full)
if MOUNTED:
    limiter = flint.Limiter(data, sync=sys.argv[2])
    assert limiter.recovery.clean
    assert state(limiter) == full, [pair for pair in zip(state(limiter), full) if pair[0] != pair[1]]
    fails(lambda: [limiter.check("a") for _ in range(100)])
    limiter.close()
else:
    # Opening writes behind the log's end, which lies beyond what a file may have here.
    fails(lambda: flint.Limiter(data, sync=sys.argv[2]))
drain()
with flint.Limiter(data) as limiter:
    assert state(limiter) == full
    assert limiter.check("a").allowed
"""


@each_disk
@pytest.mark.parametrize("sync", ["always", "batch"])
def test_close_and_open_on_a_full_disk(disk: str, sync: str, tmp_path: Path) -> None:
    run(PRELUDE + CLOSES, tmp_path, sync, wrapper=on_full_disk(disk, tmp_path, "size=9m")).ok()


NEW = """
fill()
for _ in range(3):
    fails(lambda: flint.Limiter(data))
for leave in range(4096, 5 * 4096, 4096):
    fill(leave)
    fails(lambda: flint.Limiter(data))
drain()
with flint.Limiter(data) as limiter:
    assert limiter.recovery.created
    limiter.limit("a", "1/m")
    assert limiter.allow("a")
"""


@each_disk
def test_a_new_directory_on_a_full_disk(disk: str, tmp_path: Path) -> None:
    run(PRELUDE + NEW, tmp_path, wrapper=on_full_disk(disk, tmp_path, "size=6m")).ok()


INODES = """
import itertools
made = []
try:
    for number in itertools.count():
        os.mkdir(f"{base}/{number}")
        made.append(f"{base}/{number}")
except OSError as error:
    assert error.errno == errno.ENOSPC
fails(lambda: flint.Limiter(data))
os.rmdir(made.pop())
# The directory alone can be made now, and nothing in it.
fails(lambda: flint.Limiter(data))
for name in made: os.rmdir(name)
flint.Limiter(data).close()
"""


@pytest.mark.system
def test_no_inodes_are_left(tmp_path: Path) -> None:
    run(PRELUDE + INODES, tmp_path, wrapper=on_small_disk(tmp_path, "size=6m,nr_inodes=12")).ok()


COMPACTION = """
limiter = prepared("batch")
limiter.limit_many([{"key": f"key:{n:05}" + "x" * 200, "rate": YEAR} for n in range(3000)])
fill()
before = state(limiter)
error = fails(limiter.compact)
assert "snapshot" in error.filename, error.filename
assert not any(name.endswith(".snapshot") or "snapshot.tmp" in name for name in os.listdir(data)), os.listdir(data)
assert state(limiter) == before
assert limiter.check("a").allowed
drain()
limiter.compact()
assert any(name.endswith(".snapshot") for name in os.listdir(data))
after = state(limiter)
limiter.close()
with flint.Limiter(data) as limiter:
    assert state(limiter) == after
assert not notices, notices
"""


@each_disk
def test_compact_on_a_full_disk(disk: str, tmp_path: Path) -> None:
    run(PRELUDE + COMPACTION, tmp_path, wrapper=on_full_disk(disk, tmp_path, "size=12m")).ok()


BACKGROUND = """
# One segment of log, a spare, and no room for the snapshot that the growing log asks for.
limiter = prepared("batch")
limiter.limit_many([{"key": f"key:{n:05}" + "x" * 480, "rate": YEAR} for n in range(5000)])
while not (os.path.exists(data + "/flint-spare.tmp") and os.path.getsize(data + "/flint-spare.tmp") == 4 << 20):
    limiter.check("a")
fill()
# A full segment may fail to be sealed first, which is a warning, too.
def compaction_failed():
    return any("compaction failed" in message and os.strerror(FULL) in message for _, message in notices)

# On a full disk it gives up the spare and the reserve, for a snapshot of 3 MiB; what limits files has no such remedy.
def compacted():
    return any(name.endswith(".snapshot") for name in os.listdir(data))

done = compacted if MOUNTED else compaction_failed
deadline = time.monotonic() + 30
while not done() and time.monotonic() < deadline:
    try:
        limiter.check("a")
    except flint.StorageError as error:
        assert error.errno == FULL, error
levels = {level for level, _ in notices}
assert levels <= {"WARNING"}, notices
assert done(), (notices, os.listdir(data))
before = state(limiter)
drain()
limiter.check("a")
limiter.compact()
limiter.close()
with flint.Limiter(data) as limiter:
    assert limiter.status("a").total_allowed == before[0][3] + 1
"""


@each_disk
def test_a_compaction_in_the_background_warns_and_the_store_goes_on(disk: str, tmp_path: Path) -> None:
    run(PRELUDE + BACKGROUND, tmp_path, wrapper=on_full_disk(disk, tmp_path, "size=15m")).ok()


FULL_LOG = """
import re
limiter = prepared("batch")
fill()

def until_refused():
    for number in range(1_000_000):
        try:
            limiter.check("a")
        except flint.StorageError as error:
            assert error.errno == FULL, error
            return number
    raise AssertionError("never full")

# Not even what is reserved for a compaction could be made.
assert until_refused() > 50_000
before, files = state(limiter), sorted(os.listdir(data))
for _ in range(3):
    error = fails(limiter.compact)
    needed, free = map(int, re.search(r"needs (\\d+) bytes, and (\\d+) are free", str(error)).groups())
    assert free < needed < 1 << 20, error
    assert "snapshot" in error.filename and sorted(os.listdir(data)) == files, os.listdir(data)
assert state(limiter) == before
if sys.argv[2] == "reopened":
    limiter.close()
    limiter = flint.Limiter(data, sync="batch")
# Less than a segment.
os.truncate(base + "/filler", os.path.getsize(base + "/filler") // 4096 * 4096 - (1 << 20))
limiter.compact()
assert [name for name in os.listdir(data) if "snapshot" in name] != []
assert state(limiter) == before
# The full segment is gone: from now on the log goes on for as long as its snapshot is small.
refused, wanted, deadline = 0, limiter.status("a").total_allowed + 300_000, time.monotonic() + 40
while limiter.status("a").total_allowed < wanted:
    assert time.monotonic() < deadline, (limiter.status("a"), os.listdir(data), notices)
    try:
        for _ in range(100): limiter.check("a")
    except flint.StorageError as error:
        assert error.errno == FULL, error
        refused += 1
before = state(limiter)
limiter.close()
assert sum(name.endswith(".snapshot") for name in os.listdir(data)) == 1, os.listdir(data)
with flint.Limiter(data) as limiter:
    assert limiter.recovery.clean and state(limiter) == before and limiter.doctor()["ok"]
assert not [notice for notice in notices if notice[0] == "ERROR"], notices
"""


@pytest.mark.system
@pytest.mark.parametrize("when", ["at once", "reopened"])
def test_a_full_log_is_compacted_with_little_room(when: str, tmp_path: Path) -> None:
    run(PRELUDE + FULL_LOG, tmp_path, when, wrapper=on_small_disk(tmp_path, "size=9m")).ok()


RESERVED = """
limiter = prepared("batch")
names = ("flint-spare.tmp", "flint-reserve.tmp")
def made():
    return all(os.path.exists(f"{data}/{name}") and os.path.getsize(f"{data}/{name}") == 4 << 20 for name in names)
while not made():
    limiter.check("a")
if sys.argv[2] == "reopened":
    limiter.close()
    assert os.path.getsize(data + "/flint-reserve.tmp") == 4 << 20
    fill()
    limiter = flint.Limiter(data, sync="batch")
else:
    fill()
# The reserve lets the log be compacted again and again, although nothing is free.
wanted, deadline = limiter.status("a").total_allowed + 300_000, time.monotonic() + 40
while limiter.status("a").total_allowed < wanted:
    assert time.monotonic() < deadline, (limiter.status("a"), os.listdir(data), notices)
    try:
        for _ in range(100): limiter.check("a")
    except flint.StorageError as error:
        assert error.errno == FULL, error
before = state(limiter)
limiter.close()
with flint.Limiter(data) as limiter:
    assert limiter.recovery.clean and state(limiter) == before and limiter.doctor()["ok"]
assert not [notice for notice in notices if notice[0] == "ERROR"], notices
"""


@pytest.mark.system
@pytest.mark.parametrize("when", ["at once", "reopened"])
def test_what_is_reserved_lets_a_full_log_be_compacted(when: str, tmp_path: Path) -> None:
    run(PRELUDE + RESERVED, tmp_path, when, wrapper=on_small_disk(tmp_path, "size=16m")).ok()


# --- room for a part of what an operation needs ----------------------------------------------------------------------

# Each operation is tried with so many bytes of room, from none to enough. What fails changes nothing that can be read,
# and with room the same operation works; then the store is written to, closed, opened and compared once more.
SWEEP = """
import shutil
from datetime import datetime, timezone
from flint.testing import ManualClock
operation, sync, sample, rooms = sys.argv[2], sys.argv[3], sys.argv[4], map(int, sys.argv[5:])
clock = ManualClock(datetime(2040, 1, 1, tzinfo=timezone.utc))
# Room under a mount is what is left of the disk; otherwise it is how long a file may get.
def opened(**more):
    return flint.Limiter(data, sync=sync, clock=clock, **more)

def look():
    with opened(read_only=True) as looking:
        return state(looking)

def killed(act):
    if (pid := os.fork()) == 0:
        try:
            act()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

def write(keys):
    limiter = opened()
    for key in "abc": limiter.limit(key, YEAR)
    if keys: limiter.limit_many([{"key": f"key:{n:05}" + "x" * 200, "rate": YEAR} for n in range(keys)])
    for _ in range(100): limiter.check("b", 2)
    return limiter

outcomes = []
for room in rooms:
    limiter = None
    if operation == "migration":
        shutil.copytree(sample, data)
        old = {name: open(f"{data}/{name}", "rb").read() for name in os.listdir(data) if name != "flint.lock"}
    elif operation == "open after a kill":
        killed(lambda: write(0))
    elif operation == "open of a new one":
        pass
    else:
        limiter = write(3000 if operation == "compaction" else 0)
        if operation == "close":
            limiter.limit("denied", flint.Limit(1, "52w", algorithm="fixed_window_counter"))
            for _ in range(5): limiter.check("denied")
    before = state(limiter) if limiter else [] if operation == "open of a new one" else look()
    fill(room)
    failed = None
    try:
        if operation == "compaction":
            limiter.compact()
        elif operation == "rotation":
            fails(lambda: [limiter.limit_many([{"key": f"{number}:{n}:".ljust(450, "x"), "rate": 1, "per": "1h"}
                                               for n in range(100)]) for number in range(200)])
            before = state(limiter)
            raise fails(lambda: [limiter.check("a") for _ in range(70_000)])
        elif operation == "close":
            limiter.close()
        else:
            limiter = opened()
    except flint.StorageError as error:
        assert error.errno == FULL, (room, error)
        assert error.filename.startswith(data), error.filename
        failed = os.path.basename(error.filename)
    outcomes.append(failed)
    if operation == "rotation":
        # The checks that went through count, the one that did not does not.
        taken = limiter.status("a").total_allowed
        before = [(*s[:2], 10**9 - taken, taken, 0, taken) if s[0] == "a" else s for s in before]
    if limiter and operation != "close":
        assert state(limiter) == before, room
    if operation == "migration" and failed:
        kept = {}
        for folder in (data + "/legacy", data):
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                if name in old: kept.setdefault(name, open(f"{folder}/{name}", "rb").read())
        assert kept == old, room
    if operation != "open of a new one":
        assert look() == before, room
        # Without this line, losing all other files would not be noticed.
        assert operation == "migration" or "\\nstore " in open(data + "/flint.lock").read(), room
    drain()
    if operation == "compaction":
        limiter.compact()
        assert any(name.endswith(".snapshot") for name in os.listdir(data)), room
    if limiter is None:
        limiter = opened()
        assert state(limiter) == before, room
    for round in range(2):
        if not limiter.closed:
            limiter.limit("after", YEAR)
            limiter.check("after")
            before = state(limiter)
            limiter.close()
        limiter = opened()
        assert limiter.recovery.clean, room
        assert state(limiter) == before, room
    limiter.close()
    limiter = None
    shutil.rmtree(data)
assert not [notice for notice in notices if notice[0] == "ERROR"], notices
for failed in outcomes:
    print(failed or "-")
"""

PAGE = 4096
# What a segment and the files around it need is in the middle of these.
AROUND = [0, PAGE, 100 * PAGE, 1020 * PAGE, *range(1023 * PAGE, 1042 * PAGE, PAGE), 1100 * PAGE]
SIZES = [0, 1, 100, PAGE, 1 << 20, (4 << 20) - 1, 4 << 20]
SWEEPS = {
    "rotation": ([0, PAGE, 500 * PAGE, 1023 * PAGE, 1024 * PAGE], [1, PAGE, 2 << 20, (4 << 20) - 1]),
    "compaction": ([0, PAGE, 64 * PAGE, 128 * PAGE, 1000 * PAGE], [1, PAGE, 1 << 18, 8 << 20]),
    "close": ([0, PAGE], [1, PAGE]),
    "open of a new one": (AROUND, SIZES),
    "open after a kill": ([0, PAGE, 1024 * PAGE], SIZES),
    "migration": (AROUND, SIZES),
}
# Which file has too little room; "-" is none. The second is for a limited file size.
SEGMENT, MIGRATING = "flint-00000000000000000001.aof", "flint-00000000000000000001.aof.migrating"
SPARE, SNAPSHOT, RESERVE = "flint-spare.tmp", "flint-snapshot.tmp", "flint-reserve.tmp"
FAILS = {
    "rotation": ({RESERVE, SPARE}, {RESERVE}),
    "compaction": ({SNAPSHOT, "-"}, {SNAPSHOT, "-"}),
    "close": ({"-"}, {"-"}),
    "open of a new one": ({SPARE, "-"}, {SPARE, "-"}),
    "open after a kill": ({"-"}, {SEGMENT, "-"}),
    "migration": ({MIGRATING, SNAPSHOT, SPARE, "-"}, {MIGRATING, "-"}),
}


@each_disk
@pytest.mark.parametrize("operation", SWEEPS)
def test_with_too_little_room(operation: str, disk: str, tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "legacy-data/v0_2_snapshot_and_tail/data"
    wrapper = on_full_disk(disk, tmp_path, "size=16m")
    rooms = SWEEPS[operation][0 if wrapper else 1]
    ran = run(PRELUDE + SWEEP, tmp_path, operation, "batch", sample, *rooms, wrapper=wrapper).ok()
    outcomes = ran.out.split()
    print(operation, disk, dict(zip(rooms, outcomes, strict=True)))
    record("full_disk_rooms", len(outcomes))
    assert len(outcomes) == len(rooms)
    assert set(outcomes) == FAILS[operation][0 if wrapper else 1]


def test_without_a_mount_a_file_size_limit_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\necho unshare: Operation not permitted >&2\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    mounting_is_allowed.cache_clear()
    try:
        with monkeypatch.context() as patched:
            patched.setenv("PATH", str(tmp_path), prepend=os.pathsep)
            assert not mounting_is_allowed()
            assert on_full_disk("tmpfs", tmp_path, "size=1m") == []
    finally:
        mounting_is_allowed.cache_clear()
    assert "Operation not permitted" in capsys.readouterr().out
    code = "assert not MOUNTED and FULL == errno.EFBIG\nfill()\nfails(lambda: flint.Limiter(data))"
    run(PRELUDE + code, tmp_path / "data").ok()


# What the first segment needs is allowed, more is not: the second cannot be made. Python ignores SIGXFSZ by itself.
FILE_SIZE = """
if sys.argv[3] == "default":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
limiter = prepared(sys.argv[2])
allow_files_of(1 << 20)
taken = until_full(limiter, errno.EFBIG)
full = state(limiter)
fails(lambda: limiter.check("b"), errno.EFBIG)
fails(lambda: limiter.limit("new", "1/m"), errno.EFBIG)
assert state(limiter) == full, [pair for pair in zip(state(limiter), full) if pair[0] != pair[1]]
allow_files_of(resource.RLIM_INFINITY)
for _ in range(20): limiter.check("a")
allow_files_of(4096)
error = fails(limiter.compact, errno.EFBIG)
assert "snapshot" in error.filename, error.filename
after = state(limiter)
limiter.close()
allow_files_of(resource.RLIM_INFINITY)
with flint.Limiter(data) as limiter:
    assert limiter.recovery.clean
    assert state(limiter) == after
allow_files_of(1 << 20)
data += "/another"
fails(lambda: flint.Limiter(data), errno.EFBIG)
allow_files_of(resource.RLIM_INFINITY)
flint.Limiter(data).close()
"""


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_a_file_size_limit(sync: str, tmp_path: Path) -> None:
    run(PRELUDE + FILE_SIZE, tmp_path, sync, "ignored").ok()


def test_a_signal_for_a_file_size_limit_is_a_death_like_another(tmp_path: Path) -> None:
    ran = run(PRELUDE + FILE_SIZE, tmp_path, "always", "default")
    assert ran.status == -signal.SIGXFSZ
    with flint.Limiter(tmp_path / "data") as limiter:
        assert not limiter.recovery.clean
        before = state(limiter)
        assert len(before) > 1000
        limiter.check("c")
        after = state(limiter)
    with flint.Limiter(tmp_path / "data") as limiter:
        assert limiter.recovery.clean
        assert state(limiter) == after != before


@pytest.mark.system
def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    code = """
    import errno, flint, os, subprocess, sys
    base = sys.argv[1]
    with flint.Limiter(base + "/data") as limiter:
        limiter.limit("a", "1/m")
    del limiter
    before = {name: open(f"{base}/data/{name}", "rb").read() for name in os.listdir(base + "/data")}
    subprocess.run(["mount", "-o", "remount,ro", base], check=True)
    for name in ("data", "new"):
        try:
            flint.Limiter(f"{base}/{name}")
        except flint.StorageError as error:
            assert error.errno == errno.EROFS, error.errno
            assert error.filename.startswith(base), error.filename
            assert "Read-only file system" in str(error), error
        else:
            raise AssertionError("opened")
    # To look is possible.
    with flint.Limiter(base + "/data", read_only=True) as limiter:
        assert limiter.status("a").rate == 1
        assert limiter.doctor()["ok"]
    assert before == {name: open(f"{base}/data/{name}", "rb").read() for name in os.listdir(base + "/data")}
    """
    run(code, tmp_path, wrapper=on_small_disk(tmp_path, "size=9m")).ok()


@pytest.mark.parametrize("kind", ["file", "inside a file", "dangling link", "link to a file", "too long", "no path"])
def test_a_path_that_can_be_no_directory(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "deeper")
    path = {
        "file": tmp_path / "file",
        "inside a file": tmp_path / "file" / "data",
        "dangling link": tmp_path / "dangling",
        "link to a file": tmp_path / "link",
        "too long": tmp_path / ("x" * 300),
        "no path": Path("/proc/self/nothing/data"),
    }[kind]
    code = """
    import flint, sys
    for read_only in (False, True):
        try:
            flint.Limiter(sys.argv[1], read_only=read_only)
        except flint.StorageError as error:
            print(error.errno, sys.argv[1] in str(error), error.filename == sys.argv[1])
    """
    wanted = {
        "file": (errno.ENOTDIR, errno.ENOTDIR),
        "inside a file": (errno.ENOTDIR, errno.ENOTDIR),
        "dangling link": (errno.ENOENT, errno.ENOENT),
        "link to a file": (errno.ENOTDIR, errno.ENOTDIR),
        "too long": (errno.ENAMETOOLONG, errno.ENAMETOOLONG),
        "no path": (errno.EINVAL, errno.ENOENT),
    }[kind]
    assert run(code, path).ok().out == "".join(f"{number} True True\n" for number in wanted)
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
