"""A server with a million keys, compared with one with a few."""

from __future__ import annotations

import random
import shutil
import time

from measure import Spread
from plain_http import Connection, request
from processes import Server, flint_server
from stores import Bench, fill, key_of

import flint

FEW = 100
# Bytes per key, as for the embedded limiter.
KEY_BYTES = 200
GROWTH_BYTES = 64 * 2**20


def times(connection: Connection, messages: list[bytes]) -> list[float]:
    """Nanoseconds of each check."""
    samples = []
    for message in messages:
        start = time.perf_counter_ns()
        connection.ask(message)
        samples.append(float(time.perf_counter_ns() - start))
    return samples


def many_keys(bench: Bench) -> None:
    """The 99th percentile of checks of keys at random, and the memory before and after them."""
    full, few = bench.directory(), bench.directory()
    full.mkdir(parents=True)
    # The full store is kept for other measurements.
    shutil.copytree(bench.full_store(), full / "data")
    with flint.Limiter(few / "data", sync="batch") as limiter:
        fill(limiter, FEW)
    with flint_server(full, "batch") as server, flint_server(few, "batch") as small:
        started, small_started = server.resident_bytes(), small.resident_bytes()
        dice = random.Random(1)
        own, other = Connection(server.socket), Connection(small.socket)

        def messages(keys: int) -> list[bytes]:
            return [request("/v1/check", {"key": key_of(dice.randrange(keys))}) for _ in range(2_000)]

        pairs = [
            (
                Spread.of(times(own, messages(bench.million()))).p99,
                Spread.of(times(other, messages(FEW))).p99,
            )
            for _ in range(bench.scale(31, 7))
        ][1:]
        bench.report.ratio(
            f"server with {bench.million():,} keys, batch: p99 of 2,000 checks of keys at random",
            [pair[0] for pair in pairs],
            f"the same with {FEW} keys",
            [pair[1] for pair in pairs],
            at_most=1.5,
        )
        _memory(bench, server, started - small_started, started)
        own.close()
        other.close()


def _memory(bench: Bench, server: Server, held: int, started: int) -> None:
    each = held / bench.million()
    bench.report.bound(
        f"memory of the server for each of {bench.million():,} keys",
        [each],
        f"a server with {FEW} keys",
        None,
        value=lambda spread: spread.max,
        name="resident",
        below=KEY_BYTES,
        unit="B",
    )
    bench.report.bound(
        "growth of its memory during the checks",
        [max(server.resident_bytes() - started, 0) / 2**20],
        "",
        None,
        value=lambda spread: spread.max,
        name="resident",
        below=GROWTH_BYTES / 2**20,
        unit="MiB",
    )
