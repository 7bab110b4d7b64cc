"""`flint log verify`: is every record of log and snapshot in order?"""

from __future__ import annotations

import click

from flint.cli import doctor
from flint.cli.commands import Command
from flint.cli.session import Session


@click.command("verify", cls=Command)
@click.pass_obj
def command(session: Session) -> None:
    """Verify every record of log and snapshot; changes nothing."""
    doctor.examine(session, "verified")
