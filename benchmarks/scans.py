"""Calls that scan all keys of a store with a million, and checks at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from measure import alternately, each_call, once
from stores import KEY, PLENTY, Bench, key_of

import flint


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
