"""The command line as processes: python benchmarks/cli_start.py [--quick] [--dir DIR] [--json FILE] [WORD]

The start is measured alternately with `python -c "import flint"`, which is the least that a command can take; the
verdict rests on the median of the ratios. A listing of a million keys has an absolute budget.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import command
from measure import alternately, once
from stores import Bench

import flint

YARDSTICK = 'python -c "import flint"'
AT_MOST = 3.0
KEYS = 100


def process(*arguments: str | Path) -> Callable[[], float]:
    """Measures one run of a program, which has to succeed."""

    def run() -> None:
        subprocess.run(arguments, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True)

    return lambda: once(run)


def start(bench: Bench) -> None:
    """The version, and a check in a small store."""
    program = Path(sys.executable).with_name("flint")
    store = bench.directory()
    with flint.Limiter(store) as limiter:
        limiter.limit_many({"key": f"user-{number}", "rate": 10**9, "per": "1h"} for number in range(KEYS))
    version, check, yardstick = alternately(
        bench.scale(40, 10),
        process(program, "--version"),
        process(program, "--data-dir", store, "limit", "check", "user-1"),
        process(sys.executable, "-c", "import flint"),
    )
    bench.report.ratio("flint --version", version, YARDSTICK, yardstick, at_most=AT_MOST)
    bench.report.ratio(f"flint limit check, {KEYS} keys", check, YARDSTICK, yardstick, at_most=AT_MOST)


def listing(bench: Bench) -> None:
    """All limits of a large store, as text to a pipe."""
    program = Path(sys.executable).with_name("flint")
    measure = process(program, "--data-dir", bench.full_store(), "limit", "list")
    bench.report.bound(
        f"flint limit list, {bench.million():,} keys",
        [measure() for _ in range(bench.scale(3, 1))],
        "",
        None,
        value=lambda spread: spread.median,
        name="median",
        below=6e9,
    )


if __name__ == "__main__":
    command.run("Measure the command line.", [start, listing], dict)
