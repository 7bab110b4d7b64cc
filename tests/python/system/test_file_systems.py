"""Full disks of every kind: a call that finds no room raises and changes nothing, and no store kills the process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.python.evidence import record
from tests.python.system.support import FILE_SYSTEMS, on_file_system, run

# Those that overwrite a block where it is.
IN_PLACE = {"ext4", "xfs", "tmpfs"}

each_file_system = pytest.mark.parametrize("kind", FILE_SYSTEMS)
each_mode = pytest.mark.parametrize("log_io", ["auto", "pwrite"])
pytestmark = pytest.mark.system

PRELUDE = """
import errno, flint, os, subprocess, sys
base, log_io, in_place = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
data = base + "/data"
YEAR = flint.Limit(10**9, "52w", algorithm="fixed_window_counter")

def opened(path=data, **more):
    return flint.Limiter(path, log_io=log_io, **more)

def is_mapped(path=data):
    return any(f"{path}/flint-" in line for line in open("/proc/self/maps"))

def fill():
    # Smaller and smaller pieces, each on disk before the next, again and again: what is delayed, or was allocated
    # ahead, counts too.
    for number in range(20):
        written = 0
        for size in (1 << 20, 1 << 16, 4096):
            try:
                with open(f"{base}/filler{number}.{size}", "wb", buffering=0) as filler:
                    while True:
                        written += filler.write(bytes(size))
                        os.fsync(filler)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
        if written == 0:
            return

def drain():
    for name in os.listdir(base):
        if name.startswith("filler"):
            os.unlink(f"{base}/{name}")
    os.sync()

def refused(call):
    try:
        call()
    except flint.StorageError as error:
        assert error.errno == errno.ENOSPC, error
        assert error.filename.startswith(base), error.filename
        return True
    return False

def state(limiter):
    return [(s.key, s.rate, s.remaining, s.total_allowed) for s in limiter.list()]

def take(limiter, most):
    # Checks up to the first that finds no room; how many there were.
    before = limiter.status("a").total_allowed
    for taken in range(most):
        if refused(lambda: limiter.check("a")):
            status = limiter.status("a")
            assert (status.total_allowed, status.remaining) == (before + taken, 10**9 - before - taken), "it counted"
            return taken
    return most
"""

FULL = """
limiter = opened(sync=sys.argv[4])
for key in "abcd": limiter.limit(key, YEAR)
assert is_mapped() == (in_place and log_io == "auto"), "mapped" if is_mapped() else "not mapped"
for _ in range(50): limiter.check("b")
backups = []
def back_up():
    # What docs/recovery.md says. Where files can share blocks, each copy makes the live ones shared.
    path = f"{base}/backup{len(backups)}"
    subprocess.run(["cp", "-a", data, path], check=True)
    backups.append((path, state(limiter)))

back_up()
take(limiter, 100)
back_up()
fill()
full = state(limiter)
# In `always` the rest of a segment takes too long.
taken = take(limiter, 70_000 if sys.argv[4] == "batch" else 300)
if not in_place:
    # XFS allocates blocks for a copy on write ahead of it.
    assert taken < 3000, f"{taken} checks found room for the blocks that the backup shares"
elif sys.argv[4] == "batch":
    assert 50_000 < taken < 70_000, taken
now = state(limiter)
if not in_place:
    for call in (
        lambda: limiter.check("b"),
        lambda: limiter.check_all(["a", "b"]),
        lambda: limiter.limit("new", "1/m"),
        lambda: limiter.limit_many([{"key": "new", "rate": "1/m"}, {"key": "newer", "rate": "1/m"}]),
        lambda: limiter.check("new", limit="1/m"),
        lambda: limiter.check_all(["a", {"key": "new", "limit": "1/m"}]),
        lambda: limiter.reset("c"),
        lambda: limiter.delete("c"),
    ):
        # What is shorter than the check may fit into the page that the check did not.
        if refused(call):
            assert state(limiter) == now
        now = state(limiter)
    # XFS gives up what it allocated ahead when it finds nothing else.
    assert sys.argv[4] != "batch" or refused(lambda: [limiter.check("b") for _ in range(70_000)])
    now = state(limiter)
assert limiter.peek("b").allowed and limiter.doctor()["ok"]
with flint.Limiter(data, read_only=True) as looking:
    assert state(looking) == now
drain()
assert limiter.check("a").allowed
limiter.check("new", limit="5/day")
limiter.limit("e", YEAR)
limiter.delete("d")
now = state(limiter)
limiter.close()
with opened() as limiter:
    assert limiter.recovery.clean and limiter.doctor()["ok"]
    assert state(limiter) == now
for path, then in backups:
    with opened(path) as copy:
        assert state(copy) == then, path
"""


@each_mode
@each_file_system
def test_a_full_disk_kills_no_process(kind: str, log_io: str, tmp_path: Path) -> None:
    wrapper = on_file_system(kind, tmp_path / "disk")
    for sync in ("batch", "always")[: 1 if kind in IN_PLACE else 2]:
        run(PRELUDE + FULL, tmp_path / "disk", log_io, kind in IN_PLACE, sync, wrapper=wrapper).ok()
        if kind == "tmpfs":
            continue
        wrapper = on_file_system(kind, tmp_path / "disk")
    record("file_systems", 1)


# A backup with holes in place of zeros, as `cp --sparse=always`, `rsync --sparse` and archives make it.
SPARSE = """
with opened() as limiter:
    limiter.limit("a", YEAR)
    for _ in range(100): limiter.check("a")
    then = state(limiter)

def copied(name):
    os.mkdir(f"{base}/{name}")
    for file in os.listdir(data):
        content = open(f"{data}/{file}", "rb").read()
        with open(f"{base}/{name}/{file}", "wb") as copy:
            copy.truncate(len(content))
            for at in range(0, len(content), 4096):
                if any(block := content[at : at + 4096]):
                    copy.seek(at)
                    copy.write(block)
            os.fsync(copy)
    segment = os.stat(f"{base}/{name}/flint-00000000000000000001.aof")
    assert segment.st_blocks * 512 < segment.st_size, "the copy has no holes"
    return f"{base}/{name}"

# With room the holes are filled.
path = copied("roomy")
limiter = opened(path, sync="batch")
assert is_mapped(path) == (in_place and log_io == "auto")
if in_place:
    segment = os.stat(path + "/flint-00000000000000000001.aof")
    assert segment.st_blocks * 512 >= segment.st_size, "the holes are still there"
fill()
taken = take(limiter, 70_000)
assert taken > 50_000 if in_place else taken < 70_000, taken
drain()
limiter.close()

# Without, the store opens all the same, and writes what fits.
path = copied("tight")
fill()
try:
    limiter = opened(path, sync="batch")
except flint.StorageError as error:
    assert error.errno == errno.ENOSPC and not in_place, error
    limiter = None
else:
    assert not is_mapped(path)
    assert state(limiter) == then
    taken = take(limiter, 70_000)
    assert taken < 1000, taken
with flint.Limiter(path, read_only=True) as looking:
    assert looking.status("a").total_allowed == then[0][3] + (taken if limiter else 0)
drain()
if limiter is None:
    limiter = opened(path)
    assert state(limiter) == then
limiter.check("a")
now = state(limiter)
limiter.close()
with opened(path) as limiter:
    assert state(limiter) == now and limiter.recovery.clean
"""


@each_mode
@each_file_system
def test_a_sparse_copy_kills_no_process(kind: str, log_io: str, tmp_path: Path) -> None:
    wrapper = on_file_system(kind, tmp_path / "disk")
    run(PRELUDE + SPARSE, tmp_path / "disk", log_io, kind in IN_PLACE, wrapper=wrapper).ok()
    record("file_systems", 1)
