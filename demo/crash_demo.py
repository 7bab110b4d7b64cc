"""Kills real processes while they work and shows that no acknowledged check is lost.

For each sync mode a worker process opens a directory and consumes quotas on several threads. Every allowed check is
acknowledged on a pipe, after the call returned and before the thread makes its next one. After a random number of
acknowledgements the worker is killed with SIGKILL. The next worker opens the same directory, reports its state and
continues; the parent compares the report with the acknowledgements one by one:

- a key that only one thread uses must hold exactly the acknowledged costs, in order, and at most one more: the check
  that was in flight when the process was killed;
- a key that all threads share must hold the acknowledged ones, at most one more per thread, and never over its quota;
- the two keys of a multi-key check must hold the same number of checks;
- `remaining` must agree with the consumption.

Exit status 0 only if every comparison of every run held.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import flint

MODES = ("always", "batch")
CAPACITY = 1_000_000
TEN_YEARS = "520w"
TEN_YEARS_S = 520 * 7 * 86_400
QUOTA = 400
# Threads by what they consume; each has keys of its own, and all share "quota".
JOBS = {
    "token_bucket": ("tokens",),
    "sliding_window_log": ("sliding",),
    "fixed_window_counter": ("fixed",),
    "pair": ("user", "org"),
}
KEYS = tuple(key for keys in JOBS.values() for key in keys)
ALGORITHM = {"sliding": "sliding_window_log", "fixed": "fixed_window_counter", "quota": "fixed_window_counter"}


def cost_of(number: int) -> int:
    """The cost of a job's check; it varies, so that a wrong order of checks is detected."""
    return 1 + number % 3


# --- the worker -------------------------------------------------------------------------------------------------------


def work(directory: Path, mode: str) -> None:
    """Reports the state of the directory, then consumes until killed."""
    limiter = flint.Limiter(directory, sync=mode)
    report: dict[str, Any] = {key: found(limiter, key) for key in (*KEYS, "quota")}
    report["recovery"] = repr(limiter.recovery)
    acknowledge(json.dumps(report))
    limiter.limit_many(
        {
            "key": key,
            "rate": QUOTA if key == "quota" else CAPACITY,
            "per": TEN_YEARS,
            "algorithm": ALGORITHM.get(key, "token_bucket"),
        }
        for key in (*KEYS, "quota")
    )
    threads = [threading.Thread(target=consume, args=(limiter, keys)) for keys in JOBS.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def consume(limiter: flint.Limiter, keys: tuple[str, ...]) -> None:
    """One thread: checks of its own keys, and one token of the shared quota with every fourth check."""
    status = limiter.status(keys[0])
    number = status.total_allowed if status else 0
    while True:
        cost = cost_of(number)
        if len(keys) == 1:
            allowed = limiter.check(keys[0], cost).allowed
        else:
            allowed = limiter.check_all([(key, cost) for key in keys]).allowed
        if not allowed:
            break
        acknowledge(f"{keys[0]} {cost}")
        number += 1
        if number % 4 == 0 and limiter.allow("quota"):
            acknowledge("quota 1")


def acknowledge(text: str) -> None:
    """Writes one line to the parent. Once write() has returned, the pipe holds it even if this process is killed."""
    data = text.encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def found(limiter: flint.Limiter, key: str) -> dict[str, Any] | None:
    """The stored state of a key, with the cost of each allowed check in order."""
    status = limiter.status(key)
    if status is None:
        return None
    events = limiter.history(key, limit=10 * CAPACITY)
    return {
        "allowed": status.total_allowed,
        "cost": status.total_allowed_cost,
        "remaining": status.remaining,
        "costs": [event.cost for event in events if event.type in ("ALLOW", "ALLOW_ALL")],
    }


# --- the parent -------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """The report of one worker and the checks that it acknowledged."""

    report: dict[str, Any] | None
    acknowledged: list[tuple[str, int]]


def run_worker(directory: Path, mode: str, kill_after: int) -> Run:
    """Runs a worker, kills it after that many acknowledgements, and reads the rest of its output."""
    command = [sys.executable, __file__, "--worker", mode, "--directory", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        first = worker.stdout.readline()
        lines: list[bytes] = []
        while first and len(lines) < kill_after:
            line = worker.stdout.readline()
            if not line:
                break
            lines.append(line)
        worker.kill()
        lines += worker.stdout.readlines()
    if worker.returncode != -9:
        print(f"{mode}: the worker ended by itself with status {worker.returncode}", file=sys.stderr)
        return Run(None, [])
    # Several threads write to the pipe, each line in one write; the kill can truncate only the last line.
    whole = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return Run(json.loads(first), [(key, int(cost)) for key, cost in whole])


@dataclass
class Expected:
    """The expected state of one directory: all acknowledgements so far. Compares the store with it."""

    mode: str
    started: float = field(default_factory=time.monotonic)
    costs: dict[str, list[int]] = field(default_factory=lambda: {key: [] for key in (*KEYS, "quota")})
    compared: int = 0
    problems: list[str] = field(default_factory=list)

    def acknowledge(self, acknowledged: list[tuple[str, int]]) -> None:
        """Adds the acknowledgements of one worker."""
        for key, cost in acknowledged:
            self.costs[key].append(cost)
            if key == "user":
                self.costs["org"].append(cost)

    def compare(self, report: dict[str, Any]) -> None:
        """Compares the store with the expected state, then adds the checks in flight at the kill that did count."""
        for key, acknowledged in self.costs.items():
            store = report[key]
            if store is None:
                # The worker was killed before it could configure the key.
                self._expect(not acknowledged, f"{key} is gone with {len(acknowledged)} acknowledged checks")
                continue
            in_flight = len(JOBS) if key == "quota" else 1
            acknowledged_count, stored_count = len(acknowledged), len(store["costs"])
            self._expect(
                acknowledged_count <= stored_count <= acknowledged_count + in_flight,
                f"{key}: {acknowledged_count} checks acknowledged, {stored_count} in the store",
            )
            for number, (cost, stored) in enumerate(zip(acknowledged, store["costs"], strict=False)):
                self.compared += 1
                self._expect(cost == stored, f"{key}: check {number} acknowledged at cost {cost}, stored as {stored}")
            self._expect(store["allowed"] == len(store["costs"]), f"{key}: total {store['allowed']} is not the log's")
            self._expect(store["cost"] == sum(store["costs"]), f"{key}: total cost {store['cost']} is not the log's")
            self._remaining(key, store)
            self.costs[key] = list(store["costs"])
        self._expect(
            len(self.costs["user"]) == len(self.costs["org"]), "a multi-key check was stored for one of its keys only"
        )

    def _remaining(self, key: str, store: dict[str, Any]) -> None:
        capacity = QUOTA if key == "quota" else CAPACITY
        left = capacity - store["cost"]
        # Only a token bucket refills before its period is over.
        refilled = 0
        if key not in ALGORITHM:
            refilled = 1 + int((time.monotonic() - self.started) * CAPACITY / TEN_YEARS_S)
        self._expect(
            max(left, 0) <= store["remaining"] <= min(left + refilled, capacity),
            f"{key}: {store['cost']} of {capacity} consumed, yet {store['remaining']} remain",
        )

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(f"{self.mode}: {problem}")


def kill_and_compare(directory: Path, mode: str, rounds: int, acks: int, dice: random.Random, forge: bool) -> Expected:
    """All runs of one mode; the last report comes from this process, which is not killed."""
    expected = Expected(mode)
    for number in range(1, rounds + 1):
        run = run_worker(directory, mode, dice.randint(1, acks))
        if run.report is None:
            expected.problems.append(f"{mode}: worker {number} failed")
            return expected
        expected.compare(run.report)
        expected.acknowledge(run.acknowledged)
        print(f"{mode:6}  run {number}: killed after {len(run.acknowledged)} acknowledged checks", flush=True)
    if forge:
        expected.acknowledge([("tokens", 1)] * 2)
    with flint.Limiter(directory, sync=mode) as limiter:
        expected.compare({key: found(limiter, key) for key in expected.costs})
    return expected


def time_per_check(directory: Path, mode: str, checks: int) -> float:
    """Microseconds of one check on one thread: the median over 20 runs of that many checks, each run's mean."""
    with flint.Limiter(directory, sync=mode) as limiter:
        limiter.limit("speed", CAPACITY, "1s")
        means = []
        for _ in range(20):
            started = time.perf_counter_ns()
            for _ in range(checks):
                limiter.check("speed")
            means.append((time.perf_counter_ns() - started) / checks / 1000)
        return statistics.median(means)


def main() -> int:
    """Parses the command line and runs the demonstration or, inside it, a worker."""
    parser = argparse.ArgumentParser(description="kill workers while they work and count what survives")
    parser.add_argument("--directory", type=Path, default=Path(__file__).parent.parent / ".flint-demo")
    parser.add_argument("--rounds", type=int, default=5, help="kills per mode")
    parser.add_argument("--acks", type=int, default=None, help="most acknowledgements before a kill")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--worker", choices=MODES, help=argparse.SUPPRESS)
    # Acknowledgements that never happened are added, to show that a loss would be detected.
    parser.add_argument("--forge", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.directory, options.worker)
        return 0

    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    dice = random.Random(seed)
    print(f"seed {seed}", flush=True)
    shutil.rmtree(options.directory, ignore_errors=True)
    options.directory.mkdir(parents=True)
    problems: list[str] = []
    for mode, most in (("always", 2_000), ("batch", 20_000)):
        expected = kill_and_compare(
            options.directory / mode, mode, options.rounds, options.acks or most, dice, options.forge
        )
        print(
            f"{mode:6}  {expected.compared} comparisons with the store, {len(expected.problems)} differences",
            flush=True,
        )
        problems += expected.problems
    for problem in problems[:20]:
        print(f"LOST: {problem}", file=sys.stderr)
    if problems:
        return 1

    for mode in MODES:
        arguments = ["--data-dir", str(options.directory / mode), "limit", "list"]
        print("\nflint", *arguments, flush=True)
        subprocess.run([sys.executable, "-m", "flint", *arguments], check=True)
    always = time_per_check(options.directory / "always", "always", 50)
    batch = time_per_check(options.directory / "batch", "batch", 10_000)
    print(f"\nnothing was lost; time per check: always {always:.1f} us, batch {batch:.2f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
