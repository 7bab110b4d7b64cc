"""`flint limit history`: the events of a key."""

from __future__ import annotations

import click

from flint.cli import output
from flint.cli.commands import Command
from flint.cli.errors import UnknownKeyError
from flint.cli.parameters import count_option, json_option, key_argument
from flint.cli.session import Session


@click.command("history", cls=Command)
@key_argument
@count_option("events", default=100)
@json_option
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
    rows = (
        (
            output.moment(event.at),
            event.type,
            str(event.cost or "-"),
            str(event.count),
            "-" if event.remaining is None else str(event.remaining),
        )
        for event in events
    )
    output.table(("AT", "EVENT", "COST", "COUNT", "REMAINING"), rows, frozenset({2, 3, 4}))
