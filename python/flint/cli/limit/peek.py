"""`flint limit peek`: a check that takes nothing. A denial is exit status 1."""

from __future__ import annotations

import click

from flint.cli import describe
from flint.cli.commands import Command
from flint.cli.parameters import cost_option, key_argument, rate_option
from flint.cli.session import Session


@click.command("peek", cls=Command)
@key_argument
@cost_option
@rate_option
@click.pass_obj
def command(session: Session, key: str, cost: int, limit: str | None) -> None:
    """Show what a check would return; take nothing."""
    with session.reading() as limiter:
        result = limiter.peek(key, cost, limit=limit)
    session.status = describe.print_decision(session.json, result)
