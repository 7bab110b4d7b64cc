"""`flint limit delete`: forget a key."""

from __future__ import annotations

import click

from flint.cli import output
from flint.cli.commands import Command
from flint.cli.parameters import key_argument
from flint.cli.session import Session


@click.command("delete", cls=Command)
@key_argument
@click.pass_obj
def command(session: Session, key: str) -> None:
    """Forget a key and its limit."""
    with session.writing() as limiter:
        limiter.delete(key)
    if session.json:
        output.document({"key": key, "deleted": True})
    else:
        output.line(f"deleted  {output.printable_key(key)}")
