"""Calls that scan all keys of a store, or read long sliding logs, and checks meanwhile; memory after deletions."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta

from measure import alternately, each_call, once
from stores import KEY, PLENTY, Bench, key_of

import flint
import flint.testing


def scans(bench: Bench) -> None:
    """list() compared with writing a snapshot, a scrape without key labels, and checks during each."""
    keys = bench.million()
    share = keys / 1_000_000
    with flint.Limiter(bench.full_store(), sync="batch") as limiter:
        limiter.limit(KEY, PLENTY)

        def compact() -> float:
            limiter.check(key_of(0))
            return once(limiter.compact)

        def paged() -> None:
            page = limiter.list(limit=10_000)
            while page:
                page = limiter.list(limit=10_000, after=page[-1].key)

        listed, pages, written = alternately(
            bench.scale(4, 3), lambda: once(limiter.list), lambda: once(paged), compact
        )
        snapshot = "compact() of the same keys"
        bench.report.ratio(f"list() of {keys:,} keys", listed, snapshot, written, at_most=3)
        bench.report.ratio(f"list() of {keys:,} keys in pages of 10,000", pages, snapshot, written, at_most=5)

        def scrape() -> str:
            return flint.prometheus_metrics(limiter, include_key_label=False)

        scraped, topped = alternately(
            bench.scale(10, 3), lambda: once(scrape), lambda: once(lambda: limiter.top("allowed", 10))
        )
        bench.report.bound(
            f"Prometheus metrics of {keys:,} keys without key labels",
            scraped,
            "top() of the same keys",
            topped,
            value=lambda spread: spread.median,
            name="median",
            below=100e6 * share,
        )
        for what, scan in (("list() in pages", paged), ("list()", limiter.list), ("scrapes", scrape)):
            during = _checks_during(limiter, scan, bench.scale(3, 1))
            bench.report.bound(
                f"check, batch, during {what} of {keys:,} keys",
                during,
                "the same without a scan",
                each_call(limiter.check, KEY, calls=len(during)),
                value=lambda spread: spread.p999,
                name="p99.9",
                below=5e6,
            )


def long_logs(bench: Bench) -> None:
    """Checks of another key during the calls that read or replace eight long sliding logs."""
    runs = bench.scale(400_000, 50_000)
    clock = flint.testing.ManualClock()
    logs = [f"log-{number}" for number in range(8)]
    with bench.limiter("batch", clock=clock) as limiter:
        limiter.limit(KEY, PLENTY)
        limiter.limit_many([{"key": key, "rate": "1000000/day", "algorithm": "sliding_window_log"} for key in logs])
        for _ in range(runs):
            clock.advance(ms=1)
            for key in logs:
                limiter.allow(key)
        idle = each_call(limiter.check, KEY, calls=20_000)

        def compact() -> None:
            limiter.check(KEY)
            limiter.compact()

        rates = itertools.cycle(["100/minute", "200/minute"])
        others = bench.scale(100_000, 20_000)

        def limit_many() -> None:
            rate = next(rates)
            limiter.limit_many(
                [{"key": key_of(number), "rate": rate} for number in range(bench.scale(100_000, 20_000))]
            )

        def peek() -> None:
            for key in logs * 200:
                limiter.peek(key, 900_000)

        for what, call in (
            ("compact()", compact),
            ("list()", limiter.list),
            (f"limit_many() of {others:,} other keys", limit_many),
            ("peek() of the logs", peek),
        ):
            bench.report.bound(
                f"check, batch, during {what} with eight sliding logs of {runs:,} runs",
                _checks_during(limiter, call, bench.scale(5, 2)),
                "the same without it",
                idle,
                value=lambda spread: spread.p999,
                name="p99.9",
                below=5e6,
            )
        # Half of the runs have expired, which a decision must not add up.
        clock.advance(timedelta(days=1, milliseconds=-runs // 2))
        bench.report.bound(
            f"peek() of a sliding log of {runs:,} runs, half of them expired",
            each_call(limiter.peek, logs[0], 900_000, calls=1_000),
            "peek() of a token bucket",
            each_call(limiter.peek, KEY, calls=1_000),
            value=lambda spread: spread.median,
            name="median",
            below=100e3,
        )


def deleted_keys(bench: Bench) -> None:
    """The memory of a process whose keys were deleted, and that of one through which many generations of keys went."""
    keys = bench.scale(2_000_000, 200_000)
    generations = bench.scale(200, 50)
    for what, script in (
        (f"after {keys:,} keys were deleted", _DELETED.format(keys=keys)),
        (
            f"after {generations} generations of 10,000 keys of different lengths",
            _GENERATIONS.format(generations=generations),
        ),
    ):
        command = [sys.executable, "-c", _RESIDENT + script, str(bench.directory())]
        grown = float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        bench.report.bound(
            f"growth of the process {what}",
            [grown / 2**20],
            "",
            None,
            value=lambda spread: spread.max,
            name="resident",
            below=64,
            unit="MiB",
        )


_RESIDENT = """
import sys, time, flint

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def settled():
    # Memory is given back by a thread of its own.
    least = resident()
    for _ in range(20):
        time.sleep(0.1)
        least = min(least, resident())
    return least

limiter = flint.Limiter(sys.argv[1], sync="batch")
limiter.limit("warm", "1/day")
before = resident()
"""
_DELETED = """
for start in range(0, {keys}, 50_000):
    keys = [f"tenant-{{n % 97:02d}}:user-{{n:08d}}" for n in range(start, start + 50_000)]
    limiter.limit_many([{{"key": key, "rate": "1/day"}} for key in keys])
for n in range({keys}):
    limiter.delete(f"tenant-{{n % 97:02d}}:user-{{n:08d}}")
print(settled() - before)
"""
_GENERATIONS = """
for generation in range({generations}):
    names = [f"{{generation}}:{{n:0{{5 + generation % 100}}d}}" for n in range(10_000)]
    limiter.limit_many([{{"key": name, "rate": "1/day"}} for name in names])
    for name in names:
        limiter.delete(name)
print(settled() - before)
"""


def _checks_during(limiter: flint.Limiter, scan: Callable[[], object], rounds: int) -> list[float]:
    """Nanoseconds of each check in one thread while another scans."""
    samples: list[float] = []
    for _ in range(rounds):
        thread = threading.Thread(target=scan)
        thread.start()
        while thread.is_alive():
            samples += each_call(limiter.check, KEY, calls=200)
        thread.join()
    return samples
