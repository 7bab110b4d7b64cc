"""docs/benchmarks.md has the lines that `make bench` prints: a comparison with the source of the benchmarks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
# Lines that the page leaves out, or shows one for several of.
SUMMARISED = {
    "honest checks during .+",
    "growth of the server's memory during .+",
    "growth of its memory during the checks",
    "await acheck, always, one task",
}


def printed() -> Iterator[str]:
    """A pattern for the name of each line that the benchmarks report; a placeholder stands for anything."""
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("ratio", "bound")
            ):
                name = node.args[0]
                parts = name.values if isinstance(name, ast.JoinedStr) else [name]
                yield "".join(
                    re.escape(str(part.value)).replace(r"\ ", " ").replace(r"\-", "-")
                    if isinstance(part, ast.Constant)
                    else ".+"
                    for part in parts
                )


def rows() -> list[list[str]]:
    """The cells of all tables, without their headers."""
    lines = [line.strip("|").split("|") for line in PAGE.splitlines() if re.match(r"\| (?!line )", line)]
    return [[cell.strip() for cell in line] for line in lines]


def test_every_row_is_a_line_of_the_benchmarks() -> None:
    patterns = [pattern for pattern in printed() if pattern != "what"]
    assert len(rows()) >= 35
    for line, *_ in rows():
        assert any(re.fullmatch(pattern, line) for pattern in patterns), line


def test_every_line_of_the_benchmarks_is_on_the_page() -> None:
    for pattern in printed():
        simple = pattern.replace("\\", "")
        assert simple in SUMMARISED or any(re.fullmatch(pattern, line) for line, *_ in rows()), pattern


def test_a_missed_budget_says_so_first() -> None:
    for line, _, budget, measured in rows():
        assert budget.startswith(("at ", "p99")), line
        assert "missed" not in measured or measured.startswith("**missed**: "), line


def test_the_figures_of_the_readme_are_those_of_the_page() -> None:
    measured = {line: text for line, _, _, text in rows()}
    embedded = re.search(r"(\d+) ns", measured["check, batch, hot key"])
    shared = re.search(r"([\d.]+) us", measured["SharedLimiter.check over the Unix socket, batch, one CPU"])
    assert embedded is not None
    assert shared is not None
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    figures = re.findall(r"^\| \*\*Flint\*\*, .*\| ([\d.]+) µs \|$", readme, re.MULTILINE)
    assert figures == [f"{int(embedded[1]) / 1000:.1f}", f"{float(shared[1]):.0f}"]
