"""`flint limit top`: the keys with the largest totals, once or continuously."""

from __future__ import annotations

import sys

import click

import flint
from flint.cli import describe, output, table
from flint.cli.commands import Command
from flint.cli.parameters import COUNT, count_option
from flint.cli.session import Session
from flint.cli.table import Cell, Column

_TOTALS = ("allowed", "denied", "allowed_cost", "denied_cost")
_COLUMNS = (
    describe.KEY,
    describe.LIMIT,
    describe.REMAINING,
    describe.ALLOWED,
    Column("ALLOWED COST", 6, numeric=True),
    describe.DENIED_TOTAL,
    Column("DENIED COST", 5, numeric=True),
)
_REFRESH_S = 1.0


@click.command("top", cls=Command)
@click.option(
    "--by",
    metavar="TOTAL",
    type=click.Choice(_TOTALS),
    default="denied",
    show_default=True,
    help=f"The total to sort by, largest first: {', '.join(_TOTALS[:-1])} or {_TOTALS[-1]}.",
)
@count_option("keys", default=10)
@click.option("--watch", is_flag=True, help="Look again every second, until interrupted.")
@click.option("--rounds", metavar="N", type=COUNT, help="With --watch: stop after this many looks.")
@click.pass_obj
def command(session: Session, by: str, most: int, watch: bool, rounds: int | None) -> None:
    """Show the keys with the largest totals.

    Keys with a total of zero are left out.
    """
    if not watch:
        found = _look(session, by, most)
        _print(session, found)
        if not session.json:
            describe.note_others(found)
    elif session.json or not output.is_terminal(sys.stdout):
        _watch_plainly(session, by, most, rounds)
    else:
        _watch_live(session, by, most, rounds)


def _look(session: Session, by: str, most: int) -> list[flint.LimitStatus]:
    """The store is opened anew for each look: a read-only limiter shows the moment at which it was opened."""
    with session.reading() as limiter, output.working("reading limits"):
        return limiter.top(by=by, limit=most)


def _row(status: flint.LimitStatus) -> tuple[Cell, ...]:
    return (
        Cell(output.printable_key(status.key)),
        describe.limit(status),
        describe.remaining(status),
        Cell(str(status.total_allowed)),
        Cell(str(status.total_allowed_cost)),
        describe.denials(status.total_denied),
        describe.denials(status.total_denied_cost),
    )


def _print(session: Session, found: list[flint.LimitStatus]) -> None:
    if session.json:
        output.document([status.to_dict() for status in found])
    elif found:
        table.write(_COLUMNS, map(_row, found))
    else:
        output.line("nothing counted yet")


def _watch_plainly(session: Session, by: str, most: int, rounds: int | None) -> None:
    """A table, or with --json one array on one line, for every look."""
    seen = 0
    while rounds is None or seen < rounds:
        if seen:
            output.wait(_REFRESH_S)
        _print(session, _look(session, by, most))
        output.flush()
        seen += 1


def _watch_live(session: Session, by: str, most: int, rounds: int | None) -> None:
    """A table that is redrawn in place."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    seen = 0
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while rounds is None or seen < rounds:
            if seen:
                output.wait(_REFRESH_S)
            found = _look(session, by, most)
            live.update(Text.from_ansi(table.screen(_COLUMNS, map(_row, found))), refresh=True)
            seen += 1
