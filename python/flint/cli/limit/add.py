"""`flint limit add`: set a key's limit."""

from __future__ import annotations

from typing import get_args

import click

import flint
from flint import _native
from flint._types import Algorithm
from flint.cli import describe
from flint.cli.commands import Argument, Command
from flint.cli.parameters import INTEGER, key_argument
from flint.cli.session import session_of

_ALGORITHMS: tuple[str, ...] = get_args(Algorithm)


@click.command("add", cls=Command)
@key_argument
@click.argument(
    "grammar",
    cls=Argument,
    metavar="[RATE]",
    required=False,
    help='The rate, such as "100/minute" or "10/s; 1000/day".',
)
@click.option("--rate", metavar="RATE", help="The same as an option; or, with --per, the tokens per period.")
@click.option("--per", metavar="PERIOD", help='The period, such as "1m" or "250ms".')
@click.option(
    "--algorithm",
    metavar="NAME",
    type=click.Choice(_ALGORITHMS),
    default=_ALGORITHMS[0],
    show_default=True,
    help=f"How the rate is enforced: {', '.join(_ALGORITHMS[:-1])} or {_ALGORITHMS[-1]}.",
)
@click.option("--burst", metavar="N", type=INTEGER, help="Tokens that may be taken at once.")
@click.option(
    "--on-change",
    type=click.Choice(("keep", "reset")),
    default="keep",
    show_default=True,
    help="Whether a changed limit keeps what was used or starts afresh.",
)
@click.pass_context
def command(
    context: click.Context,
    key: str,
    grammar: str | None,
    rate: str | None,
    per: str | None,
    algorithm: str,
    burst: int | None,
    on_change: str,
) -> None:
    """Set a key's limit; makes the data directory if there is none."""
    if (grammar is None) == (rate is None and per is None):
        raise click.UsageError('pass the rate either as "100/minute" or as --rate 100 --per 1m')
    amount: str | int | None = rate if grammar is None else grammar
    if amount is None or (rate is None and per is not None) or (per is None and str(rate).isdigit()):
        raise click.UsageError("--rate and --per go together: --rate 100 --per 1m")
    if per is not None:
        amount = INTEGER.convert(amount, None, context)
    session = session_of(context)
    # Both are checked before a directory is made for them.
    limit = flint.Limit(amount, per, algorithm=algorithm, burst=burst)
    _native.validate_key(key)
    with session.writing(create=True) as limiter:
        limiter.limit(key, limit, on_change=on_change)
        status = limiter.status(key)
    if status is not None:
        describe.print_status(session.json, status)
