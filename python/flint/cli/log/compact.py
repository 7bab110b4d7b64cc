"""`flint log compact`: write a snapshot and drop the log that it replaces."""

from __future__ import annotations

import click

from flint.cli import output
from flint.cli.commands import Command
from flint.cli.session import Session


@click.command("compact", cls=Command)
@click.pass_obj
def command(session: Session) -> None:
    """Write a snapshot and drop the log that it replaces.

    The next start is then quick.
    """
    with session.writing() as limiter:
        with output.working("compacting"):
            limiter.compact()
        with output.working("verifying"):
            report = limiter.doctor()
    facts = {"compacted": True, "limits": report["limits"], "log_bytes": report["aof_bytes"]}
    if session.json:
        output.document(facts)
    else:
        output.line(f"compacted  {facts['limits']} limits in the snapshot  {facts['log_bytes']} bytes of log kept")
