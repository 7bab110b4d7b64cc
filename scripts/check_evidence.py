#!/usr/bin/env python3
"""Say what the tests really did, and fail if it is less than tests/minimums.toml asks for.

    check_evidence.py FILE [--no-system | --soak]

FILE has a line `name count` for each time that something was counted; lines of one name add up. With --no-system the
names in the table [system] are not required: only tests that need system tools count them. With --soak the file is that
of the long run, whose minimums are in the table [soak].
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

MINIMUMS = Path(__file__).resolve().parents[1] / "tests" / "minimums.toml"
SYSTEM = "system"
SOAK = "soak"


class Unreadable(Exception):
    """A file that does not say what was counted or asked for."""


def read_counts(path: Path) -> dict[str, int]:
    """The sum of the counts of each name."""
    counts: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        name, _, count = line.partition(" ")
        if not (name and count.isascii() and count.isdigit()):
            raise Unreadable(f"{path}:{number}: {line!r} is not a name and a count")
        counts[name] = counts.get(name, 0) + int(count)
    return counts


def read_minimums(path: Path, soak: bool) -> tuple[dict[str, int], set[str]]:
    """The minimum of each name, and which of them are asked for only where there are system tests."""
    toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        table = toml.loads(path.read_text(encoding="utf-8"))
    except toml.TOMLDecodeError as error:
        raise Unreadable(f"{path}: {error}") from error
    system, long_run = table.pop(SYSTEM, {}), table.pop(SOAK, {})
    if both := table.keys() & system.keys():
        raise Unreadable(f"{path}: {min(both)} stands in [{SYSTEM}] and outside of it")
    minimums: dict[str, int] = {}
    for name, minimum in (long_run if soak else {**table, **system}).items():
        if type(minimum) is not int or minimum < 1:
            raise Unreadable(f"{path}: the minimum of {name} is not a number above 0: {minimum!r}")
        minimums[name] = minimum
    if not minimums:
        raise Unreadable(f"{path}: no minimums")
    return minimums, set() if soak else set(system)


def report(counts: dict[str, int], minimums: dict[str, int], optional: set[str]) -> tuple[list[str], bool]:
    """The lines of the table, and whether there was enough of everything that is not optional."""
    rows = [("what", "really done", "minimum", "")]
    enough = True
    for name in sorted(counts.keys() | minimums.keys()):
        count, minimum = counts.get(name), minimums.get(name)
        verdict = ""
        if minimum is not None and (count is None or count < minimum):
            if name in optional:
                verdict = "not required without system tests"
            else:
                verdict = "MISSING" if count is None else "TOO FEW"
                enough = False
        done = "-" if count is None else f"{count:,}"
        rows.append((name, done, "-" if minimum is None else f"{minimum:,}", verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{name:{widths[0]}}  {done:>{widths[1]}}  {minimum:>{widths[2]}}  {verdict}".rstrip()
        for name, done, minimum, verdict in rows
    ]
    return lines, enough


def main(arguments: list[str] | None = None, minimums_path: Path = MINIMUMS) -> int:
    """Exit status 0 when there was enough, 1 when not, or when the files cannot be read."""
    parser = argparse.ArgumentParser(description="Compare what tests did with tests/minimums.toml.")
    parser.add_argument("file", type=Path)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--no-system", action="store_true", help="do not require what only system tests count")
    which.add_argument("--soak", action="store_true", help="the file is that of the long run")
    options = parser.parse_args(arguments)
    try:
        counts = read_counts(options.file)
        minimums, system = read_minimums(minimums_path, options.soak)
    except (OSError, Unreadable) as error:
        print(f"check_evidence: {error}", file=sys.stderr)
        return 1
    lines, enough = report(counts, minimums, system if options.no_system else set())
    print("\n".join(lines))
    if not enough:
        print(f"check_evidence: less was tested than {minimums_path.name} asks for", file=sys.stderr)
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
