"""The server's budgets: python benchmarks/server.py [--quick] [--dir DIR] [--json FILE] [WORD]

Like python_api.py, with Redis as the yardstick. The benchmark starts each server as a process of its own, on free
sockets, and ends it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from abuse import abuse
from command import run
from many_keys import many_keys
from measure import alternately
from plain_http import Connection, request
from processes import Server, flint_server, redis_server
from shared_client import clients, processes
from stores import KEY, PLENTY, Bench

CONNECTIONS = 64
SCRIPT = Path(__file__).with_name("check.lua")


class Load:
    """Requests of a load generator, and the CPU time that each took in the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cpu_ns: list[float] = []

    def measured(self, command: list[str], requests: str, rate: str) -> float:
        """Nanoseconds per request. The patterns `requests` and `rate` find both in the output of the command."""
        before = self.server.cpu_ns()
        output = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        spent = self.server.cpu_ns() - before
        assert "Non-2xx" not in output, output
        per_second = re.search(rate, output)
        done = re.search(requests, output)
        assert per_second is not None, output
        assert done is not None, output
        self.cpu_ns.append(spent / int(done[1]))
        return 1e9 / float(per_second[1])

    def cpu_us(self) -> float:
        """The median over the rounds, the first one left out."""
        counted = sorted(self.cpu_ns[1:])
        return counted[len(counted) // 2] / 1e3


def wrk(load: Load, seconds: int) -> float:
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"]
    command += ["--script", str(SCRIPT), f"http://127.0.0.1:{load.server.port}/v1/check"]
    return load.measured(command, r"(\d+) requests in", r"Requests/sec:\s+([\d.]+)")


def redis_benchmark(load: Load, requests: int) -> float:
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(load.server.port), "-t", "incr"]
    command += ["-c", str(CONNECTIONS), "-n", str(requests)]
    return load.measured(command, r"(\d+) requests completed", r"throughput summary: ([\d.]+)")


def throughput(bench: Bench) -> None:
    """Many keep-alive connections that check one key, compared with as many that increment one counter."""
    seconds = bench.scale(3, 1)
    for sync, appendfsync, requests in (
        ("batch", "everysec", 60_000 * seconds),
        ("always", "always", 15_000 * seconds),
    ):
        with (
            flint_server(bench.directory(), sync) as server,
            redis_server(bench.directory(), appendfsync) as reference,
        ):
            setter = Connection(server.port)
            setter.ask(request("/v1/limits", {"key": KEY, "rate": PLENTY}))
            setter.close()
            own, other = Load(server), Load(reference)
            times, others = alternately(
                bench.scale(9, 3),
                lambda own=own: wrk(own, seconds),  # type: ignore[misc]
                lambda other=other, requests=requests: redis_benchmark(other, requests),  # type: ignore[misc]
            )
            bench.report.ratio(
                f"server, {sync}, {CONNECTIONS} keep-alive connections (wrk): time per check",
                times,
                f"redis-benchmark -t incr -c {CONNECTIONS}, appendfsync {appendfsync}",
                others,
                at_least=1.0,
                also=(True, f"CPU per request {own.cpu_us():.1f} us, Redis {other.cpu_us():.1f} us"),
            )


GROUPS = (throughput, clients, processes, many_keys, abuse)


def redis_version() -> str:
    return subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    run("Measure the budgets of Flint's server.", GROUPS, lambda: {"redis": redis_version()})


if __name__ == "__main__":
    main()
