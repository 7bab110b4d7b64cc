"""`flint limit status`: one limit and its totals."""

from __future__ import annotations

import click

from flint.cli import describe
from flint.cli.commands import Command
from flint.cli.errors import UnknownKeyError
from flint.cli.parameters import key_argument
from flint.cli.session import Session


@click.command("status", cls=Command)
@key_argument
@click.pass_obj
def command(session: Session, key: str) -> None:
    """Show one limit, what is left of it, and its totals."""
    with session.reading() as limiter:
        found = limiter.status(key)
    if found is None:
        raise UnknownKeyError(key)
    describe.print_status(session.json, found)
