"""`flint limit check`, `check-all` and `peek`: decisions. A denial is exit status 1."""

from __future__ import annotations

from typing import Annotated

import typer

import flint
from flint import _native
from flint.cli import describe, output
from flint.cli.arguments import Cost, Json, Key, WithLimit, integer, suggest_keys
from flint.cli.errors import DENIED
from flint.cli.session import Session, session_of


def check(context: typer.Context, key: Key, cost: Cost = 1, limit: WithLimit = None, as_json: Json = False) -> None:
    """Ask for tokens and take them if there are enough."""
    session = session_of(context, as_json)
    if limit is not None:
        _require_possible(key, cost, flint.Limit(limit))
    with session.writing(create=limit is not None) as limiter:
        result = limiter.check(key, cost, limit=limit)
    _tell(session, result)


def _require_possible(key: str, cost: int, limit: flint.Limit) -> None:
    """Refuses what the check would refuse, before a directory is made for it."""
    _native.validate_key(key)
    if not 1 <= cost <= limit.capacity:
        raise flint.InvalidCost(f"{cost} can never succeed; a cost is 1 to the capacity, {limit.capacity}")


def peek(context: typer.Context, key: Key, cost: Cost = 1, limit: WithLimit = None, as_json: Json = False) -> None:
    """Say what a check would answer; take nothing."""
    session = session_of(context, as_json)
    with session.reading() as limiter:
        result = limiter.peek(key, cost, limit=limit)
    _tell(session, result)


def _tell(session: Session, result: flint.CheckResult) -> None:
    session.status = 0 if result.allowed else DENIED
    if session.json:
        output.document(output.jsonable(result))
    else:
        output.line(describe.decision(result))


def check_all(
    context: typer.Context,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="The limits' keys.", autocompletion=suggest_keys)],
    cost: Annotated[
        list[str] | None,
        typer.Option("--cost", metavar="KEY=N", help="What one key's check takes; once for each key, default 1."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask for tokens of several keys and take them all, or none."""
    session = session_of(context, as_json)
    costs = _costs(context, keys, cost or [])
    with session.writing() as limiter:
        result = limiter.check_all([(key, costs.get(key, 1)) for key in keys])
    session.status = 0 if result.allowed else DENIED
    if session.json:
        output.document(output.jsonable(result))
        return
    for each in result.results:
        output.line(describe.decision(each))
    if result.allowed:
        output.line("allowed, all together")
    else:
        key = output.printable_key(result.denied_key or "")
        output.line(f"denied by {key}, nothing taken  retry after {describe.seconds(result.retry_after)}")


def _costs(context: typer.Context, keys: list[str], texts: list[str]) -> dict[str, int]:
    """The costs by key. A key may hold "=" itself: the last one divides."""
    costs: dict[str, int] = {}
    for text in texts:
        key, divider, number = text.rpartition("=")
        if not divider:
            raise typer.BadParameter(f"--cost {text!r} is not of the form KEY=N", context)
        if key not in keys:
            raise typer.BadParameter(f"--cost names {key!r}, which is not one of the keys to check", context)
        if key in costs:
            raise typer.BadParameter(f"--cost is given twice for {key!r}", context)
        costs[key] = integer(number)
    return costs
