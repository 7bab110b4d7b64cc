"""How fast the command line starts: python benchmarks/cli_start.py [--quick] [--dir DIR] [--json FILE]

Whole processes, measured alternately with `python -c "import flint"`, which is the least that a command can take. The
verdict rests on the median of the ratios.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from measure import Report, alternately, once

import flint

YARDSTICK = 'python -c "import flint"'
BUDGET = 3.0
KEYS = 100


def process(*command: str | Path) -> Callable[[], float]:
    """Measures one run of a program, which has to succeed."""

    def run() -> float:
        return once(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast the command line starts.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--dir", default=".", help="where to make the data directory (a real disk; default: here)")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too")
    options = parser.parse_args()
    flint_command = Path(sys.executable).with_name("flint")
    report = Report()
    with tempfile.TemporaryDirectory(prefix=".flint-bench-", dir=options.dir) as root:
        store = Path(root) / "store"
        with flint.Limiter(store) as limiter:
            limiter.limit_many({"key": f"user-{number}", "rate": 10**9, "per": "1h"} for number in range(KEYS))
        commands = {
            "flint --version": process(flint_command, "--version"),
            f"flint limit check, {KEYS} keys": process(flint_command, "--data-dir", store, "limit", "check", "user-1"),
        }
        yardstick, *columns = alternately(
            10 if options.quick else 40, process(sys.executable, "-c", "import flint"), *commands.values()
        )
        for name, column in zip(commands, columns, strict=True):
            report.ratio(name, column, YARDSTICK, yardstick, at_most=BUDGET)
    report.finish(options.json, {"quick": options.quick})


if __name__ == "__main__":
    main()
