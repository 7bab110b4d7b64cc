"""An honest client during attacks on the server: its waiting time, and the growth of the server's memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from plain_http import Connection, request
from processes import Server, ended, flint_server
from stores import KEY, PLENTY, Bench, fill

import flint

HONEST_NS = 100e6
GROWTH_MIB = 64
ATTACKS = {
    "idle": "1,000 idle connections",
    "heads": "500 heads sent at one byte per second",
    "bodies": "500 bodies sent at one byte per second",
    "oversized": "an endless stream of heads and bodies beyond the bounds",
    "rubbish": "an endless stream of bytes that are not HTTP",
    "pipelined": "pipelined checks whose answers are not read",
    "large": "an endless stream of check-all with as many items as fit",
    "churn": "connections opened and dropped during a check, without end",
    "crafted": "limit-many of 16 MiB whose parse would take gigabytes, abandoned, without end",
    "withheld": "limit-many of 16 MiB but for the last byte, on 40 connections",
    "lists": "60 clients that ask for 10,000 keys each and do not read",
    "results": "400 clients that ask for check-all of 1,000 keys each and do not read",
    "records": "60 clients that ask for 10,000 records each and do not read",
}
# Keys of the store that is attacked: several pages, and answers of several megabytes.
KEYS = 100_000


def honest(server: Server, seconds: float) -> list[float]:
    """Nanoseconds of each check over TCP, one after the other; every tenth over a new connection."""
    samples: list[float] = []
    check = request("/v1/check", {"key": KEY})
    connection = Connection(server.port)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter_ns()
        if len(samples) % 10 == 9:
            connection.close()
            connection = Connection(server.port)
        connection.ask(check)
        samples.append(float(time.perf_counter_ns() - start))
        # An honest client pauses between its checks.
        time.sleep(0.001)
    connection.close()
    return samples


def abuse(bench: Bench) -> None:
    """Each attack runs in a process of its own against a server of its own, while the honest client makes checks."""
    seconds = bench.scale(8, 2)
    full = bench.directory()
    full.mkdir(parents=True)
    with flint.Limiter(full / "data", sync="batch") as limiter:
        fill(limiter, bench.scale(KEYS, KEYS // 10))
    for name, what in ATTACKS.items():
        directory = bench.directory()
        shutil.copytree(full, directory)
        with flint_server(directory, "batch") as server:
            setter = Connection(server.port)
            setter.ask(request("/v1/limits", {"key": KEY, "rate": PLENTY}))
            setter.close()
            alone = honest(server, 1)
            before = server.resident_bytes()
            server.forget_peak()
            command = [sys.executable, str(Path(__file__).with_name("attack.py")), name, str(server.port)]
            attacker = subprocess.Popen(command, stdout=subprocess.PIPE)
            try:
                assert attacker.stdout is not None
                assert attacker.stdout.readline() == b"started\n", f"{name} did not start"
                samples = honest(server, seconds)
                grown = max(server.peak_bytes() - before, 0) / 2**20
                assert attacker.poll() is None, f"{name} ended early"
            finally:
                ended(attacker)
        bench.report.bound(
            f"honest checks during {what}",
            samples,
            "the same client before the attack",
            alone,
            value=lambda spread: spread.p99,
            name="p99",
            below=HONEST_NS,
        )
        bench.report.bound(
            f"growth of the server's memory during {what}",
            [grown],
            "",
            None,
            value=lambda spread: spread.max,
            name="peak",
            below=GROWTH_MIB,
            unit="MiB",
        )
