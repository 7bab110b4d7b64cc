"""The server's budgets: python benchmarks/server.py [--quick] [--dir DIR] [--json FILE] [WORD]

Like python_api.py, beside Redis in place of a library. Every server is a process of its own, started here on sockets of
its own and ended here.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from abuse import abuse
from many_keys import many_keys
from measure import alternately
from plain_http import Connection, request
from processes import Server, flint_server, redis_server
from shared_client import clients, processes
from stores import KEY, PLENTY, Bench

CONNECTIONS = 64
SCRIPT = Path(__file__).with_name("check.lua")


class Load:
    """Requests by a program that only makes requests, and what each cost the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cpu_ns: list[float] = []

    def measured(self, command: list[str], requests: str, rate: str) -> float:
        """Nanoseconds a request. `requests` and `rate` find both in the output of the command."""
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
        """The median over the rounds that count."""
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
    """Many keep-alive connections that check one key, beside as many that increment one counter."""
    seconds = bench.scale(3, 1)
    for sync, appendfsync, requests in (
        ("batch", "everysec", 60_000 * seconds),
        ("always", "always", 15_000 * seconds),
    ):
        with (
            flint_server(bench.directory(), sync) as server,
            redis_server(bench.directory(), appendfsync) as beside,
        ):
            setter = Connection(server.port)
            setter.ask(request("/v1/limits", {"key": KEY, "rate": PLENTY}))
            setter.close()
            own, other = Load(server), Load(beside)
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
                also=(True, f"CPU per request {own.cpu_us():.1f} us beside redis {other.cpu_us():.1f} us"),
            )


GROUPS = (throughput, clients, processes, many_keys, abuse)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the budgets of Flint's server.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller stores")
    parser.add_argument("--dir", default=".", help="where to make the data directories (a real disk; default: here)")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too")
    parser.add_argument("only", nargs="*", metavar="WORD", help=", ".join(group.__name__ for group in GROUPS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".flint-bench-", dir=options.dir) as root:
        bench = Bench(Path(root).resolve(), options.quick)
        print(f"minimum / median / p99; {'quick, ' if options.quick else ''}in {root}")
        for group in GROUPS:
            if not options.only or any(word in group.__name__ for word in options.only):
                group(bench)
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    bench.report.finish(options.json, {"quick": options.quick, "redis": redis})


if __name__ == "__main__":
    main()
