"""`flint log flush`: make everything so far durable."""

from __future__ import annotations

import click

from flint.cli import output
from flint.cli.commands import Command
from flint.cli.session import Session


@click.command("flush", cls=Command)
@click.pass_obj
def command(session: Session) -> None:
    """Make everything so far durable."""
    with session.writing() as limiter, output.working("flushing"):
        limiter.flush()
    if session.json:
        output.document({"flushed": True})
    else:
        output.line("flushed")
