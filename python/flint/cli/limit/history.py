"""`flint limit history`: the events of a key."""

from __future__ import annotations

import click

import flint
from flint.cli import describe, output, table
from flint.cli.commands import Command
from flint.cli.errors import UnknownKeyError
from flint.cli.parameters import count_option, key_argument
from flint.cli.session import Session
from flint.cli.table import RED, Cell, Column

_COLUMNS = (
    Column("AT", 0),
    Column("EVENT", 1),
    Column("COST", 2, numeric=True),
    Column("COUNT", 4, numeric=True),
    Column("REMAINING", 3, numeric=True),
    Column("LIMIT", 5, folds="words"),
)


@click.command("history", cls=Command)
@key_argument
@count_option("events", default=100)
@click.pass_obj
def command(session: Session, key: str, most: int) -> None:
    """Show a key's newest events, oldest first."""
    with session.reading() as limiter:
        with output.working("reading the log"):
            events = limiter.history(key, limit=most)
        if not events and limiter.status(key) is None:
            raise UnknownKeyError(key)
    if session.json:
        output.documents(event.to_dict() for event in events)
        return
    table.write(_COLUMNS, map(_row, events))


def _row(event: flint.Event) -> tuple[Cell, ...]:
    return (
        Cell(describe.when(event.at, event.at_ns)),
        Cell(event.type, RED if event.type == "DENY" else None),
        Cell(str(event.cost or "-")),
        Cell(str(event.count)),
        Cell("-" if event.remaining is None else str(event.remaining)),
        Cell("-" if event.rates is None else describe.rates(event.rates)[0]),
    )
