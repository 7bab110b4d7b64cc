"""The command line that python_api.py and server.py share."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stores import Bench

Group = Callable[[Bench], None]


def run(description: str, groups: Sequence[Group], settings: Callable[[], dict[str, Any]]) -> None:
    """Runs the groups whose name contains a word of the command line, all without one, and reports them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller stores")
    parser.add_argument("--dir", default=".", help="where to make the data directories (a real disk; default: here)")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too")
    parser.add_argument("--table", metavar="FILE", help="write the rows of docs/benchmarks.md too")
    parser.add_argument("only", nargs="*", metavar="WORD", help=", ".join(group.__name__ for group in groups))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".flint-bench-", dir=options.dir) as root:
        bench = Bench(Path(root).resolve(), options.quick)
        print(f"minimum / median / p99; {'quick, ' if options.quick else ''}in {root}")
        for group in groups:
            if not options.only or any(word in group.__name__ for word in options.only):
                group(bench)
    bench.report.finish()
    if options.json is not None:
        bench.report.write_json(options.json, {"quick": options.quick, **settings()})
    if options.table is not None:
        bench.report.write_table(options.table)
