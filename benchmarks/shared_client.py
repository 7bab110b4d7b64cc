"""flint.SharedLimiter compared with redis-py: one client, and eight processes at a time.

Run as a program it is one of the eight: it prints that it is ready, waits for a line, and counts its calls for some
seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import redis
from measure import alternately, per_call
from processes import Server, ended, flint_server, pin, redis_server
from stores import KEY, PLENTY, Bench

import flint

WORKERS = 8


def redis_py() -> str:
    return f"redis-py {version('redis')} with hiredis {version('hiredis')}: INCR over TCP"


def clients(bench: Bench) -> None:
    """A check over either socket compared with an INCR, on one CPU and on all."""
    calls, rounds = 1_000, bench.scale(30, 6)
    every = os.sched_getaffinity(0)
    with (
        flint_server(bench.directory(), "batch") as server,
        redis_server(bench.directory(), "everysec") as reference,
        flint.SharedLimiter(f"unix://{server.socket}") as local,
        flint.SharedLimiter(f"http://127.0.0.1:{server.port}") as tcp,
        redis.Redis(port=reference.port) as counter,
        redis.Redis(unix_socket_path=str(reference.socket)) as local_counter,
    ):
        local.limit(KEY, PLENTY)
        for place, cpus in (("one CPU", {min(every)}), ("unpinned", every)):
            pin([server, reference], cpus)
            try:
                unix, http, other, local_other = alternately(
                    rounds,
                    lambda: per_call(local.check, KEY, calls=calls),
                    lambda: per_call(tcp.check, KEY, calls=calls),
                    lambda: per_call(counter.incr, KEY, calls=calls),
                    lambda: per_call(local_counter.incr, KEY, calls=calls),
                )
            finally:
                pin([server, reference], every)
            same = sorted(own / its for own, its in zip(unix, local_other, strict=True))[len(unix) // 2]
            note = f"{same:.2f}x the time of an INCR over redis's Unix socket"
            for what, own, most, also in (("the Unix socket", unix, 0.45, note), ("TCP", http, 0.75, "")):
                bench.report.ratio(
                    f"SharedLimiter.check over {what}, batch, {place}",
                    own,
                    redis_py(),
                    other,
                    at_most=most,
                    also=(True, also),
                )


def together(kind: str, server: Server, seconds: float) -> float:
    """Nanoseconds per call of all workers together."""
    address = f"unix://{server.socket}" if kind == "flint" else str(server.port)
    command = [sys.executable, __file__, kind, address, str(seconds)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None) for _ in range(WORKERS)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"ready\n", "a worker did not start"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        calls = sum(int(worker.communicate(timeout=seconds + 60)[0]) for worker in workers)
    finally:
        for worker in workers:
            if worker.poll() is None:
                ended(worker)
    return seconds * 1e9 / calls


def processes(bench: Bench) -> None:
    """Eight processes that check one key, compared with eight that increment one counter."""
    seconds = bench.scale(2, 1)
    with flint_server(bench.directory(), "batch") as server, redis_server(bench.directory(), "everysec") as reference:
        with flint.SharedLimiter(f"unix://{server.socket}") as limiter:
            limiter.limit(KEY, PLENTY)
        own, other = alternately(
            bench.scale(7, 3),
            lambda: together("flint", server, seconds),
            lambda: together("redis", reference, seconds),
        )
    bench.report.ratio(
        f"SharedLimiter.check over the Unix socket, batch, {WORKERS} processes: time per check of all",
        own,
        f"{WORKERS} processes, {redis_py()}",
        other,
        at_least=2.5,
    )


def work(call: Callable[[str], object], seconds: float) -> None:
    """One worker."""
    for _ in range(100):
        call(KEY)
    print("ready", flush=True)
    sys.stdin.readline()
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(20):
            call(KEY)
        done += 20
    print(done)


def main() -> None:
    kind, address, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if kind == "flint":
        with flint.SharedLimiter(address) as limiter:
            work(limiter.check, seconds)
    else:
        with redis.Redis(port=int(address)) as counter:
            work(counter.incr, seconds)


if __name__ == "__main__":
    main()
