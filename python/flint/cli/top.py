"""`flint limit top`: who is allowed or denied most, once or continuously."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

import flint
from flint.cli import describe, output
from flint.cli.arguments import Json, count
from flint.cli.session import Session, session_of

_HEADER = ("KEY", "LIMIT", "REMAINING", "ALLOWED", "ALLOWED COST", "DENIED", "DENIED COST")
_NUMERIC = frozenset({2, 3, 4, 5, 6})
_REFRESH_S = 1.0


class By(str, Enum):
    """The totals that can be sorted by."""

    ALLOWED = "allowed"
    DENIED = "denied"
    ALLOWED_COST = "allowed_cost"
    DENIED_COST = "denied_cost"


def top(
    context: typer.Context,
    by: Annotated[By, typer.Option("--by", help="The total to sort by, largest first.")] = By.DENIED,
    limit: Annotated[int, typer.Option("--limit", metavar="N", parser=count, help="At most so many keys.")] = 10,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, until interrupted.")] = False,
    rounds: Annotated[
        int | None, typer.Option("--rounds", metavar="N", parser=count, help="With --watch: stop after so many looks.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the keys with the largest totals; keys without any are left out."""
    session = session_of(context, as_json)
    if not watch:
        _print(session, _look(session, by, limit))
    elif session.json or not output.is_terminal(sys.stdout):
        _watch_plainly(session, by, limit, rounds)
    else:
        _watch_live(session, by, limit, rounds)


def _look(session: Session, by: By, limit: int) -> list[flint.LimitStatus]:
    """The store is opened anew for each look: a read-only limiter shows the moment at which it was opened."""
    with session.reading() as limiter, output.working("reading limits"):
        return limiter.top(by=by.value, limit=limit)


def _row(status: flint.LimitStatus) -> tuple[str, ...]:
    return (
        output.printable_key(status.key),
        describe.rates(status),
        str(status.remaining),
        str(status.total_allowed),
        str(status.total_allowed_cost),
        str(status.total_denied),
        str(status.total_denied_cost),
    )


def _print(session: Session, found: list[flint.LimitStatus]) -> None:
    if session.json:
        output.document([output.jsonable(status) for status in found])
    elif found:
        output.table(_HEADER, map(_row, found), _NUMERIC)
    else:
        output.line("nothing counted yet")


def _watch_plainly(session: Session, by: By, limit: int, rounds: int | None) -> None:
    """A table, or with --json one array on one line, for every look."""
    seen = 0
    while rounds is None or seen < rounds:
        if seen:
            output.wait(_REFRESH_S)
        _print(session, _look(session, by, limit))
        output.flush()
        seen += 1


def _watch_live(session: Session, by: By, limit: int, rounds: int | None) -> None:
    """A table that is redrawn in place."""
    seen = 0
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while rounds is None or seen < rounds:
            if seen:
                output.wait(_REFRESH_S)
            found = _look(session, by, limit)
            live.update(output.rich_table(_HEADER, map(_row, found), _NUMERIC), refresh=True)
            seen += 1
