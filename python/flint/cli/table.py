"""Tables: columns that shrink in order of importance on a terminal, plain ones in a pipe.

On a terminal a table fits its width. Cells of a column that may fold become longer than one line; numbers, times and
names are never broken. What does not fit even so is left out, the least important column first, and named below the
table. A pipe gets every column, one row a line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flint.cli import output

_GAP = "  "
# What a column that folds anywhere, such as that of the keys, keeps before another one is left out.
_KEPT = 24
# Less than this is no column.
_LEAST = 8

RED, YELLOW, GREEN, BOLD = "31", "33", "32", "1"


class Cell(NamedTuple):
    """A text, and its colour on a terminal."""

    text: str
    colour: str | None = None


class Column(NamedTuple):
    """One column. `rank` 0 is the most important one and is never left out."""

    title: str
    rank: int
    # Set flush right.
    numeric: bool = False
    # "no": never broken; "words": folded between words; "anywhere": folded where it has to be.
    folds: str = "no"


def width_of(text: str) -> int:
    """The columns of a terminal that `text` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def terminal_width() -> int:
    """The columns of the terminal, or what the variable COLUMNS says."""
    try:
        named = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        named = 0
    if named > 0:
        return named
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


class Layout:
    """The widths of the columns that are shown, from their titles and the rows of the first page."""

    def __init__(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], available: int | None) -> None:
        held = list(rows)
        self.columns = columns
        self.widths = [
            max([width_of(column.title), *(width_of(row[place].text) for row in held)])
            for place, column in enumerate(columns)
        ]
        self.shown = list(range(len(columns)))
        if available is not None:
            self._fit(held, available)

    @property
    def left_out(self) -> list[str]:
        """The titles of the columns that did not fit."""
        return [column.title for place, column in enumerate(self.columns) if place not in self.shown]

    def _excess(self, available: int) -> int:
        return sum(self.widths[place] for place in self.shown) + len(_GAP) * (len(self.shown) - 1) - available

    def _fit(self, rows: Sequence[Sequence[Cell]], available: int) -> None:
        by_rank = sorted(self.shown, key=lambda place: -self.columns[place].rank)
        for place in by_rank:
            self._narrow(place, self._least(place, rows), available)
        for place in by_rank:
            if self._excess(available) > 0 and self.columns[place].rank > 0:
                self.shown.remove(place)
        for place in by_rank:
            if self.columns[place].folds != "no":
                self._narrow(place, _LEAST, available)
        # What was left out may have made more room than was missing.
        for place in reversed(by_rank):
            spare = -self._excess(available)
            if place in self.shown and spare > 0 and self.columns[place].folds != "no":
                wanted = max([width_of(self.columns[place].title), *(width_of(row[place].text) for row in rows)])
                self.widths[place] = min(wanted, self.widths[place] + spare)

    def _narrow(self, place: int, least: int, available: int) -> None:
        excess = self._excess(available)
        if place in self.shown and excess > 0:
            title = width_of(self.columns[place].title)
            self.widths[place] = min(self.widths[place], max(least, title, self.widths[place] - excess))

    def _least(self, place: int, rows: Sequence[Sequence[Cell]]) -> int:
        folds = self.columns[place].folds
        if folds == "no":
            return self.widths[place]
        if folds == "anywhere":
            return _KEPT
        return max((width_of(word) for row in rows for word in row[place].text.split(" ")), default=0)

    def header(self, coloured: bool) -> str:
        """The line of titles."""
        cells = [Cell(column.title, BOLD) for column in self.columns]
        return self.row(cells, coloured)

    def row(self, cells: Sequence[Cell], coloured: bool) -> str:
        """One row, of as many lines as its longest cell needs."""
        folded = {
            place: _fold(cells[place].text, self.widths[place], self.columns[place].folds) for place in self.shown
        }
        lines = []
        for number in range(max(map(len, folded.values()))):
            parts = []
            for place in self.shown:
                text = folded[place][number] if number < len(folded[place]) else ""
                blank = " " * (self.widths[place] - width_of(text))
                shade = cells[place].colour
                painted = paint(text, shade) if coloured and shade is not None and text else text
                parts.append(blank + painted if self.columns[place].numeric else painted + blank)
            lines.append(_GAP.join(parts).rstrip())
        return "\n".join(lines)


def _fold(text: str, width: int, folds: str) -> list[str]:
    """The lines of a cell. A word that is longer than the column is broken only where that is allowed."""
    if width_of(text) <= width or folds == "no":
        return [text]
    if folds == "anywhere":
        return _cut(text, width)
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width_of(lines[-1]) + 1 + width_of(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return [piece for each in lines for piece in _cut(each, width)]


def _cut(text: str, width: int) -> list[str]:
    lines, line, used = [], "", 0
    for character in text:
        wide = width_of(character)
        if line and used + wide > width:
            lines.append(line)
            line, used = "", 0
        line += character
        used += wide
    return [*lines, line]


def paint(text: str, colour: str) -> str:
    """`text` in a colour of the terminal."""
    return f"\x1b[{colour}m{text}\x1b[0m"


def in_colour() -> bool:
    """Whether standard output shows colours: a terminal, unless NO_COLOR or TERM=dumb asks for none."""
    return output.is_terminal(sys.stdout) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Table:
    """A table that is written in pieces. The first one decides on the columns and their widths."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._layout: Layout | None = None

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Writes some rows, with the titles in front of the first."""
        held = list(rows)
        coloured = in_colour()
        lines = []
        if self._layout is None:
            available = terminal_width() if output.is_terminal(sys.stdout) else None
            self._layout = Layout(self._columns, held, available)
            lines.append(self._layout.header(coloured))
        lines += [self._layout.row(row, coloured) for row in held]
        output.write("".join(f"{line}\n" for line in lines))

    def finish(self) -> None:
        """Names the columns that were left out."""
        if self._layout is not None and self._layout.left_out:
            output.line(note_of(self._layout))


def note_of(layout: Layout) -> str:
    """The line below a table that lacks columns."""
    return f"not shown: {', '.join(layout.left_out)} (a wider terminal, or --json)"


def write(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
    """Writes a whole table."""
    table = Table(columns)
    table.write(rows)
    table.finish()


def screen(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> str:
    """The same as text, for a terminal that is redrawn."""
    held = list(rows)
    layout = Layout(columns, held, terminal_width())
    coloured = in_colour()
    lines = [layout.header(coloured), *(layout.row(row, coloured) for row in held)]
    return "\n".join([*lines, note_of(layout)] if layout.left_out else lines)
