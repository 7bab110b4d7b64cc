"""`flint limit check-all`: take tokens of several keys, or of none. A denial is exit status 1."""

from __future__ import annotations

import click

from flint.cli import describe, output
from flint.cli.commands import Argument, Command
from flint.cli.errors import DENIED
from flint.cli.parameters import INTEGER, suggest_keys
from flint.cli.session import Session


@click.command("check-all", cls=Command)
@click.argument(
    "keys",
    cls=Argument,
    metavar="KEY...",
    nargs=-1,
    required=True,
    shell_complete=suggest_keys,
    help="The limits' keys.",
)
@click.option(
    "--cost", "costs", metavar="KEY=N", multiple=True, help="The cost for one of the keys; may be repeated; default 1."
)
@click.pass_obj
def command(session: Session, keys: tuple[str, ...], costs: tuple[str, ...]) -> None:
    """Take tokens of several keys, all or none."""
    cost_of = _costs(keys, costs)
    with session.writing() as limiter:
        result = limiter.check_all([(key, cost_of.get(key, 1)) for key in keys])
    session.status = 0 if result.allowed else DENIED
    if session.json:
        output.document(result.to_dict())
        return
    for each in result.results:
        output.line(describe.decision(each))
    if result.allowed:
        output.line("allowed, all together")
    else:
        key = output.printable_key(result.denied_key or "")
        output.line(f"denied by {key}, nothing taken  retry after {describe.seconds(result.retry_after)}")


def _costs(keys: tuple[str, ...], texts: tuple[str, ...]) -> dict[str, int]:
    """The costs by key. A key may contain "=" itself: the last one divides."""
    costs: dict[str, int] = {}
    for text in texts:
        key, divider, number = text.rpartition("=")
        if not divider:
            raise click.UsageError(f"--cost {text!r} is not of the form KEY=N, such as user-42=5")
        if key not in keys:
            raise click.UsageError(f"--cost names {key!r}, which is not one of the keys to check")
        if key in costs:
            raise click.UsageError(f"--cost is set twice for {key!r}; each key has one cost")
        costs[key] = INTEGER.convert(number, None, None)
    return costs
