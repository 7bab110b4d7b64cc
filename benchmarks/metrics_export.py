"""The metrics of many keys, and the delay of an event loop while a thread renders them."""

from __future__ import annotations

import asyncio
import time

from async_api import lateness
from measure import alternately, once
from prometheus_client.exposition import generate_latest
from stores import Bench, fill, key_of

import flint
from flint.prometheus import FlintCollector


def prometheus(bench: Bench) -> None:
    """Text for Prometheus, compared with generate_latest of prometheus_client for the same numbers."""
    keys = bench.scale(100_000, 20_000)
    with bench.limiter("batch") as limiter:
        fill(limiter, keys)
        for number in range(keys):
            limiter.check(key_of(number))
        collector = FlintCollector(limiter)
        own, reference = alternately(
            bench.scale(10, 3),
            lambda: once(lambda: flint.prometheus_metrics(limiter)),
            lambda: once(lambda: generate_latest(collector)),  # type: ignore[arg-type]
        )
        bench.report.bound(
            f"Prometheus metrics of {keys:,} keys, at most 10,000 series of each",
            own,
            "prometheus_client's generate_latest of the same collector",
            reference,
            value=lambda spread: spread.median,
            name="median",
            below=1e9,
        )
        rendering: list[float] = []
        idle: list[float] = []
        for _ in range(bench.scale(10, 3)):
            rendering += asyncio.run(
                lateness(60, lambda: asyncio.ensure_future(asyncio.to_thread(flint.prometheus_metrics, limiter)))
            )
            idle += asyncio.run(lateness(60, lambda: asyncio.ensure_future(asyncio.to_thread(time.sleep, 0.5))))
    bench.report.bound(
        f"event loop while {keys:,} keys are rendered: delay of a timer of 1 ms",
        rendering,
        "the same timer while nothing is rendered",
        idle,
        value=lambda spread: spread.p99,
        name="p99",
        below=20e6,
    )
