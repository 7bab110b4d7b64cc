"""`flint limit reset`: refill a key."""

from __future__ import annotations

import click

from flint.cli import output
from flint.cli.commands import Command
from flint.cli.parameters import key_argument
from flint.cli.session import Session


@click.command("reset", cls=Command)
@key_argument
@click.pass_obj
def command(session: Session, key: str) -> None:
    """Refill a key: forget what was used, keep its limit and totals."""
    with session.writing() as limiter:
        limiter.reset(key)
    if session.json:
        output.document({"key": key, "reset": True})
    else:
        output.line(f"reset  {output.printable_key(key)}")
