#!/usr/bin/env python3
"""Print the parts of a test run that took longest, Rust programs and Python files together.

    slowest_parts.py FILE [--most 10]

FILE has a line `seconds cpu-seconds name` for each part, as the tests wrote it; lines of one name add up.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path


def read_times(path: Path) -> dict[str, tuple[float, float]]:
    """Seconds and CPU seconds of each part."""
    times: defaultdict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            seconds, cpu_seconds, name = line.split(" ", 2)
            before = times[name]
            times[name] = (before[0] + float(seconds), before[1] + float(cpu_seconds))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {line!r} is not seconds, CPU seconds and a name") from error
    return dict(times)


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; exit status 1 if the file cannot be read."""
    parser = argparse.ArgumentParser(description="Print the parts of a test run that took longest.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--most", type=int, default=10, help="how many parts to print")
    options = parser.parse_args(arguments)
    try:
        times = read_times(options.file)
    except (OSError, ValueError) as error:
        print(f"slowest_parts: {error}", file=sys.stderr)
        return 1
    slowest = sorted(times, key=lambda name: -times[name][0])[: options.most]
    print(f"{'seconds':>9}  {'CPU':>7}  slowest parts of {len(times)}")
    for name in slowest:
        seconds, cpu_seconds = times[name]
        print(f"{seconds:9.1f}  {cpu_seconds:7.1f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
