"""`flint limit top`: the keys with the largest totals, once or continuously."""

from __future__ import annotations

import sys

import click

import flint
from flint.cli import describe, output
from flint.cli.commands import Command
from flint.cli.parameters import COUNT, count_option, json_option
from flint.cli.session import Session

_TOTALS = ("allowed", "denied", "allowed_cost", "denied_cost")
_HEADER = ("KEY", "LIMIT", "REMAINING", "ALLOWED", "ALLOWED COST", "DENIED", "DENIED COST")
_NUMERIC = frozenset({2, 3, 4, 5, 6})
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
@json_option
@click.pass_obj
def command(session: Session, by: str, most: int, watch: bool, rounds: int | None) -> None:
    """Show the keys with the largest totals.

    Keys with a total of zero are left out.
    """
    if not watch:
        _print(session, _look(session, by, most))
    elif session.json or not output.is_terminal(sys.stdout):
        _watch_plainly(session, by, most, rounds)
    else:
        _watch_live(session, by, most, rounds)


def _look(session: Session, by: str, most: int) -> list[flint.LimitStatus]:
    """The store is opened anew for each look: a read-only limiter shows the moment at which it was opened."""
    with session.reading() as limiter, output.working("reading limits"):
        return limiter.top(by=by, limit=most)


def _row(status: flint.LimitStatus) -> tuple[str, ...]:
    return (
        output.printable_key(status.key),
        describe.rates(status.rates)[0],
        str(status.remaining),
        str(status.total_allowed),
        str(status.total_allowed_cost),
        str(status.total_denied),
        str(status.total_denied_cost),
    )


def _print(session: Session, found: list[flint.LimitStatus]) -> None:
    if session.json:
        output.document([status.to_dict() for status in found])
    elif found:
        output.table(_HEADER, map(_row, found), _NUMERIC)
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

    seen = 0
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while rounds is None or seen < rounds:
            if seen:
                output.wait(_REFRESH_S)
            found = _look(session, by, most)
            live.update(output.rich_table(_HEADER, map(_row, found), _NUMERIC), refresh=True)
            seen += 1
