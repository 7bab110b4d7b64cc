"""Flint's budgets, measured from Python: python benchmarks/python_api.py [--quick] [--dir DIR] [--json FILE] [WORD]

Each line is measured in turns with a yardstick, so that a busy or slow machine slows both. The three numbers are
minimum, median and 99th percentile; the verdict is on the median over the rounds, or on the percentile that the budget
names. A budget that is missed says MISSED. A WORD selects the groups of lines whose name contains it.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import limits
from async_api import acheck, acquire, long_calls, tasks, ticker
from command import run
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from measure import Spread, alternately, each_call, once, per_call
from metrics_export import prometheus
from scans import deleted_keys, long_logs, scans
from stores import KEY, LIMITS_HIT, PLENTY, RECORD_BYTES, Bench, fill, key_of
from web import middleware

import flint


def hot_key(bench: Bench) -> None:
    """Checks of one key in batch mode, with a sync always under way, compared with the in-memory library."""
    calls, rounds = 20_000, bench.scale(60, 10)
    strategy = FixedWindowRateLimiter(MemoryStorage())
    item = limits.RateLimitItemPerHour(10**12)
    with bench.limiter("batch") as limiter:
        limiter.limit(KEY, PLENTY)
        check, allow, reference = alternately(
            rounds,
            lambda: per_call(limiter.check, KEY, calls=calls),
            lambda: per_call(limiter.allow, KEY, calls=calls),
            lambda: per_call(strategy.hit, item, KEY, calls=calls // 4),
        )
        bench.report.ratio("check, batch, hot key", check, LIMITS_HIT, reference, at_least=6)
        bench.report.ratio("allow, batch, hot key", allow, LIMITS_HIT, reference, at_least=8)

        before = limiter.counters()["syncs"]
        own: list[float] = []
        other: list[float] = []
        for _ in range(bench.scale(30, 10)):
            own += each_call(limiter.check, KEY, calls=20_000)
            other += each_call(strategy.hit, item, KEY, calls=20_000)
        assert limiter.counters()["syncs"] > before, "no sync ran during the calls"
        bench.report.bound(
            "check, batch, hot key, p99.9 while syncs run",
            own,
            LIMITS_HIT,
            other,
            value=lambda spread: spread.p999,
            name="p99.9",
            below=1e6,
        )


def log_io(bench: Bench) -> None:
    """Checks whose log is written with pwrite, compared with the in-memory library and with a mapped log."""
    calls, rounds = 20_000, bench.scale(60, 10)
    strategy = FixedWindowRateLimiter(MemoryStorage())
    item = limits.RateLimitItemPerHour(10**12)
    with bench.limiter("batch") as mapping, bench.limiter("batch", log_io="pwrite") as writing:
        mapping.limit(KEY, PLENTY)
        writing.limit(KEY, PLENTY)
        mapped, written, reference = alternately(
            rounds,
            lambda: per_call(mapping.check, KEY, calls=calls),
            lambda: per_call(writing.check, KEY, calls=calls),
            lambda: per_call(strategy.hit, item, KEY, calls=calls // 4),
        )
        bench.report.ratio("check, batch, hot key, log_io pwrite", written, LIMITS_HIT, reference, at_least=2.5)
        bench.report.ratio(
            "check, batch, hot key, mapped where the file system allows it",
            mapped,
            "the same with log_io pwrite",
            written,
            at_most=1,
        )


def preallocated(path: Path, size: int) -> int:
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    for offset in range(0, size, 4096):
        os.pwrite(fd, bytes(4096), offset)
    os.fsync(fd)
    return fd


def always(bench: Bench) -> None:
    """A durable check compared with the least that durability can cost, and many threads compared with one."""
    size = 4 << 20
    fd = preallocated(bench.root / "preallocated", size)
    offsets = cycle(range(0, size, RECORD_BYTES))
    record = bytes(range(RECORD_BYTES))

    def write() -> None:
        os.pwrite(fd, record, next(offsets))
        os.fdatasync(fd)

    with bench.limiter("always") as limiter:
        limiter.limit(KEY, PLENTY)
        own, reference = alternately(
            bench.scale(60, 12),
            lambda: Spread.of(each_call(limiter.check, KEY, calls=100)).median,
            lambda: Spread.of(each_call(write, calls=100)).median,
        )
        os.close(fd)
        bench.report.ratio(
            "check, always, one thread: p50 of 100 calls",
            own,
            f"pwrite of {RECORD_BYTES} bytes + fdatasync, preallocated file, same directory",
            reference,
            at_most=1.15,
        )

        threads, calls = 64, 100

        def many() -> float:
            barrier = threading.Barrier(threads + 1)

            def work() -> None:
                barrier.wait()
                for _ in range(calls):
                    limiter.check(KEY)

            running = [threading.Thread(target=work) for _ in range(threads)]
            for thread in running:
                thread.start()

            def run() -> None:
                barrier.wait()
                for thread in running:
                    thread.join()

            return once(run) / (threads * calls)

        own, reference = alternately(bench.scale(10, 4), many, lambda: per_call(limiter.check, KEY, calls=500))
        bench.report.ratio(
            f"check, always, {threads} threads: time per check",
            own,
            "check, always, one thread",
            reference,
            at_least=8,
        )


def denied(bench: Bench) -> None:
    """A denial, which writes nothing, compared with an allowed check in another store."""
    calls = 20_000
    for mode in ("batch", "always"):
        with bench.limiter("batch") as allowing, bench.limiter(mode) as denying:
            allowing.limit(KEY, PLENTY)
            denying.limit(KEY, "1/week")
            denying.check(KEY)
            denying.flush()
            before = denying.counters()["syncs"]
            own, reference = alternately(
                bench.scale(40, 10),
                lambda denying=denying: per_call(denying.check, KEY, calls=calls),  # type: ignore[misc]
                lambda allowing=allowing: per_call(allowing.check, KEY, calls=calls),  # type: ignore[misc]
            )
            counters = denying.counters()
            syncs = counters["syncs"] - before
            bench.report.ratio(
                f"denied check, {mode}",
                own,
                "allowed check, batch",
                reference,
                at_most=1,
                also=(syncs == 0, f"{syncs} syncs in {counters['denied']} denials"),
            )


def check_all(bench: Bench) -> None:
    """Three keys together compared with one, in a small and in a large store; the keys change from call to call."""
    calls = 5_000
    for keys in (3, bench.scale(100_000, 20_000)):
        with bench.limiter("batch") as limiter:
            limiter.limit_many([{"key": key_of(number), "rate": PLENTY} for number in range(keys)])
            order = list(range(keys))
            random.Random(1).shuffle(order)
            names = [key_of(number) for number in order]
            triples = [
                [names[i], names[(i + keys // 3) % keys], names[(i + 2 * (keys // 3)) % keys]] for i in range(keys)
            ]
            one: Iterator[str] = cycle(names)
            three: Iterator[list[str]] = cycle(triples)
            own, reference = alternately(
                bench.scale(100, 20),
                lambda three=three: per_call(lambda: limiter.check_all(next(three)), calls=calls),  # type: ignore[misc]
                lambda one=one: per_call(lambda: limiter.check(next(one)), calls=calls),  # type: ignore[misc]
            )
            bench.report.ratio(
                f"check_all over 3 of {keys:,} keys, batch", own, "check of one of them", reference, at_most=4
            )


def compaction(bench: Bench) -> None:
    """Checks while a snapshot is written, and the same checks while none is."""
    keys = 100_000
    with bench.limiter("batch") as limiter:
        fill(limiter, keys)
        limiter.limit(KEY, PLENTY)
        own: list[float] = []
        other: list[float] = []
        for _ in range(bench.scale(12, 4)):
            limiter.check(KEY)
            compacting = threading.Thread(target=limiter.compact)
            compacting.start()
            during = 0
            while compacting.is_alive():
                own += each_call(limiter.check, KEY, calls=200)
                during += 200
            compacting.join()
            other += each_call(limiter.check, KEY, calls=during)
        bench.report.bound(
            f"check, batch, during compactions of {keys:,} keys",
            own,
            "the same without a compaction",
            other,
            value=lambda spread: spread.p999,
            name="p99.9",
            below=5e6,
        )


def million_keys(bench: Bench) -> None:
    """Opening and compacting a large store compared with hashing (and writing) the same bytes."""
    store, keys, rounds = bench.full_store(), bench.million(), bench.scale(4, 3)
    snapshot = next(store.glob("*.snapshot")).read_bytes()
    share = keys / 1_000_000

    def open_it() -> float:
        opened: list[flint.Limiter] = []
        took = once(lambda: opened.append(flint.Limiter(store)))
        opened[0].close()
        return took

    def hash_it() -> float:
        return once(lambda: hashlib.sha256(snapshot).digest())

    own, reference = alternately(rounds, open_it, hash_it)
    bench.report.bound(
        f"open with {keys:,} keys in the snapshot",
        own,
        "hashlib.sha256 of the snapshot",
        reference,
        value=lambda spread: spread.median,
        name="median",
        below=1.5e9 * share,
    )

    target = bench.root / "written"

    def write_it() -> None:
        hashlib.sha256(snapshot).digest()
        with target.open("wb") as file:
            file.write(snapshot)
            file.flush()
            os.fsync(file.fileno())

    with flint.Limiter(store) as limiter:

        def compact_it() -> float:
            limiter.check(key_of(0))
            return once(limiter.compact)

        own, reference = alternately(rounds, compact_it, lambda: once(write_it))
    target.unlink()
    bench.report.bound(
        f"compact with {keys:,} keys",
        own,
        "sha256, write and fsync of the same bytes",
        reference,
        value=lambda spread: spread.median,
        name="median",
        below=1.5e9 * share,
    )


MEMORY = """
import os, sys
sys.path.insert(0, {here!r})
from stores import key_of, PLENTY
import flint, limits
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

how, directory, keys = {how!r}, {directory!r}, {keys}
if how == "limits":
    strategy, item = FixedWindowRateLimiter(MemoryStorage()), limits.RateLimitItemPerHour(10**12)
    strategy.hit(item, "first")
    before = resident()
    for number in range(keys):
        strategy.hit(item, key_of(number))
elif how == "configured":
    limiter = flint.Limiter(directory, sync="batch")
    limiter.limit("first", PLENTY)
    before = resident()
    for number in range(keys):
        limiter.limit(key_of(number), PLENTY)
else:
    flint.Limiter(directory + "-small").close()
    before = resident()
    limiter = flint.Limiter(directory)
print((resident() - before) / keys)
"""


def memory(bench: Bench) -> None:
    """Resident memory of a process, before and after, everything that grew included."""
    if not Path("/proc/self/statm").exists():
        print("\nresident memory: not measured, this system has no /proc/self/statm")
        return

    def measure(how: str, directory: Path, keys: int) -> float:
        code = MEMORY.format(here=str(Path(__file__).parent), how=how, directory=str(directory), keys=keys)
        return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    keys = bench.million()
    reference = [measure("limits", bench.root, keys // 5)]
    for how, what, directory in (
        ("configured", "configured one by one", bench.directory()),
        ("opened", "opened from the snapshot", bench.full_store()),
    ):
        bench.report.bound(
            f"resident memory per key, {keys:,} keys of 21 bytes, {what}",
            [measure(how, directory, keys)],
            f"limits {limits.__version__}: MemoryStorage",
            reference,
            value=lambda spread: spread.median,
            name="resident",
            below=200,
            unit="bytes",
        )


def linked_copy(source: Path, target: Path) -> None:
    """A copy to open. Opening writes to the newest segment and to the lock file; the other files are hard links."""
    target.mkdir()
    newest = max(source.glob("*.aof"))
    for path in source.iterdir():
        if path == newest or path.suffix == ".lock":
            shutil.copy(path, target)
        else:
            os.link(path, target / path.name)


def replay(bench: Bench) -> None:
    """A log without a snapshot, as long as a store can only get when it cannot write snapshots."""
    records = bench.scale(4_000_000, 500_000)
    store = bench.directory()
    store.mkdir()
    # The name of the temporary snapshot is taken by a directory, so that the store cannot compact itself.
    obstacle = store / "flint-snapshot.tmp"
    obstacle.mkdir()
    with flint.Limiter(store, sync="batch") as limiter:
        names = [key_of(number) for number in range(1_000)]
        limiter.limit_many([{"key": name, "rate": PLENTY} for name in names])
        check, calls = limiter.check, cycle(names)
        for _ in range(records):
            check(next(calls))
    obstacle.rmdir()
    log = [path.read_bytes() for path in sorted(store.glob("*.aof"))]
    found = 0

    def open_it() -> float:
        nonlocal found
        target = bench.directory()
        linked_copy(store, target)
        opened: list[flint.Limiter] = []
        took = once(lambda: opened.append(flint.Limiter(target)))
        found = opened[0].recovery.records
        opened[0].close()
        shutil.rmtree(target)
        return found / (took / 1e9)

    def hash_it() -> float:
        digest = hashlib.sha256()
        took = once(lambda: [digest.update(segment) for segment in log])
        return found / (took / 1e9)

    own, reference = alternately(bench.scale(5, 3), open_it, hash_it)
    bench.report.bound(
        "replay of the log at open",
        own,
        "records per second at which hashlib.sha256 hashes the same bytes",
        reference,
        value=lambda spread: spread.median,
        name="median",
        above=8e6,
        unit="records/s",
    )


def log_bytes(store: Path) -> int:
    """Bytes of records in the log, whose preallocated rest is zeros."""
    return sum(len(path.read_bytes()[:-64].rstrip(b"\0")) for path in store.glob("*.aof"))


def disk(bench: Bench) -> None:
    """What calls leave in the log."""
    checks, denials = 20_000, bench.scale(1_000_000, 200_000)
    store = bench.directory()
    with flint.Limiter(store, sync="batch") as limiter:
        limiter.limit(KEY, PLENTY)
        limiter.limit("exhausted", "1/week")
        limiter.check("exhausted")
        limiter.flush()
        before = log_bytes(store)
        for _ in range(checks):
            limiter.check(KEY)
        limiter.flush()
        after = log_bytes(store)
        bench.report.bound(
            "log bytes per allowed check of one rate",
            [(after - before) / checks],
            "",
            None,
            value=lambda spread: spread.max,
            name="each",
            below=64,
            unit="bytes",
        )
        for _ in range(denials):
            limiter.check("exhausted")
    bench.report.bound(
        f"log bytes for {denials:,} denials of one key, after close()",
        [log_bytes(store) - after],
        "",
        None,
        value=lambda spread: spread.max,
        name="total",
        below=64 << 10,
        unit="bytes",
    )


GROUPS = (
    hot_key,
    log_io,
    always,
    denied,
    check_all,
    acheck,
    tasks,
    ticker,
    long_calls,
    acquire,
    middleware,
    prometheus,
    compaction,
    million_keys,
    scans,
    long_logs,
    deleted_keys,
    memory,
    replay,
    disk,
)


def main() -> None:
    run("Measure Flint's budgets from Python.", GROUPS, lambda: {"limits": limits.__version__})


if __name__ == "__main__":
    main()
