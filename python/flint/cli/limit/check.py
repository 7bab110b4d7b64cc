"""`flint limit check`: take tokens. A denial is exit status 1."""

from __future__ import annotations

import click

import flint
from flint import _native
from flint.cli import describe
from flint.cli.commands import Command
from flint.cli.parameters import cost_option, key_argument, rate_option
from flint.cli.session import Session


@click.command("check", cls=Command)
@key_argument
@cost_option
@rate_option
@click.pass_obj
def command(session: Session, key: str, cost: int, limit: str | None) -> None:
    """Take tokens of a key if there are enough."""
    if limit is not None:
        _require_possible(key, cost, flint.Limit(limit))
    with session.writing(create=limit is not None) as limiter:
        result = limiter.check(key, cost, limit=limit)
    session.status = describe.print_decision(session.json, result)


def _require_possible(key: str, cost: int, limit: flint.Limit) -> None:
    """Refuses what the check would refuse, before a directory is made for it."""
    _native.validate_key(key)
    if not 1 <= cost <= limit.capacity:
        raise flint.InvalidCost(
            f"{cost} is not accepted; a cost is 1 to the limit's capacity of {limit.capacity}, such as 1"
        )
