"""How fast the command line starts: python benchmarks/cli_start.py [--quick] [--dir DIR] [--json FILE] [--table FILE]

Whole processes, measured alternately with `python -c "import flint"`, which is the least that a command can take. The
verdict rests on the median of the ratios.
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


if __name__ == "__main__":
    command.run("Measure how fast the command line starts.", [start], dict)
