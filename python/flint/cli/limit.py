"""`flint limit …`: configure and look at limits."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Annotated

import typer

import flint
from flint import _native
from flint.cli import check, describe, output, top
from flint.cli.arguments import Json, Key, count, integer
from flint.cli.errors import UnknownKeyError
from flint.cli.session import AnyLimiter, session_of

_PAGE = 1000

app = typer.Typer(help="Configure, check and look at limits.", rich_markup_mode=None)


class Algorithm(str, Enum):
    """The algorithms, as options name them."""

    TOKEN_BUCKET = "token_bucket"  # noqa: S105 - a token of a bucket
    SLIDING_WINDOW_LOG = "sliding_window_log"
    FIXED_WINDOW_COUNTER = "fixed_window_counter"


class OnChange(str, Enum):
    """What a new limit does to what was already used."""

    KEEP = "keep"
    RESET = "reset"


@app.command()
def add(
    context: typer.Context,
    key: Key,
    grammar: Annotated[
        str | None, typer.Argument(metavar="RATE", help='The rate, such as "100/minute" or "10/s; 1000/day".')
    ] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", metavar="N", parser=integer, help="Tokens per period; goes with --per.")
    ] = None,
    per: Annotated[
        str | None, typer.Option("--per", metavar="PERIOD", help='The period, such as "1m" or "250ms".')
    ] = None,
    algorithm: Annotated[Algorithm, typer.Option("--algorithm", help="How the rate is enforced.")] = (
        Algorithm.TOKEN_BUCKET
    ),
    burst: Annotated[
        int | None,
        typer.Option("--burst", metavar="N", parser=integer, help="Tokens that may be taken at once."),
    ] = None,
    on_change: Annotated[
        OnChange, typer.Option("--on-change", help="Whether a changed limit keeps what was used or starts afresh.")
    ] = OnChange.KEEP,
    as_json: Json = False,
) -> None:
    """Set a key's limit; makes the data directory if there is none."""
    session = session_of(context, as_json)
    if (grammar is None) == (rate is None and per is None):
        raise typer.BadParameter('give the rate either as "100/minute" or as --rate 100 --per 1m', context)
    amount = rate if grammar is None else grammar
    if amount is None or (rate is None) != (per is None):
        raise typer.BadParameter("--rate and --per go together: --rate 100 --per 1m", context)
    limit = flint.Limit(amount, per, algorithm=algorithm.value, burst=burst)
    _native.validate_key(key)
    with session.writing(create=True) as limiter:
        limiter.limit(key, limit, on_change=on_change.value)
        status = limiter.status(key)
    if status is not None:
        _show(session.json, status)


@app.command("list")
def list_(
    context: typer.Context,
    prefix: Annotated[
        str | None, typer.Option("--prefix", metavar="TEXT", help="Only keys that begin with this.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", parser=count, help="At most so many keys.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="KEY", help="Only keys that come after this one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List limits in the order of their keys."""
    session = session_of(context, as_json)
    with session.reading() as limiter:
        pages = _pages(limiter, prefix, limit, after)
        if session.json:
            output.documents(output.jsonable(status) for page in pages for status in page)
            return
        for number, page in enumerate(pages):
            if number == 0 and not page:
                output.line("no limits" if prefix is None and after is None else "no such limits")
            else:
                # Each page has its own column widths: a million keys must not be held to align the first.
                output.table(describe.STATUS_HEADER, map(describe.status_row, page), describe.STATUS_NUMERIC)


def _pages(
    limiter: AnyLimiter, prefix: str | None, limit: int | None, after: str | None
) -> Iterator[list[flint.LimitStatus]]:
    """The listing in pieces of bounded size; the first may be empty, no other is."""
    left = limit
    first = True
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        with output.working("reading limits"):
            page = limiter.list(prefix=prefix, limit=size, after=after)
        if page or first:
            yield page
        if len(page) < size:
            return
        first = False
        after = page[-1].key
        left = None if left is None else left - size


@app.command()
def status(context: typer.Context, key: Key, as_json: Json = False) -> None:
    """Show one limit, what is left of it, and its totals."""
    session = session_of(context, as_json)
    with session.reading() as limiter:
        found = limiter.status(key)
    if found is None:
        raise UnknownKeyError(key)
    _show(session.json, found)


def _show(as_json: bool, status: flint.LimitStatus) -> None:
    if as_json:
        output.document(output.jsonable(status))
        return
    totals = f"{status.total_allowed} allowed (cost {status.total_allowed_cost}), "
    totals += f"{status.total_denied} denied (cost {status.total_denied_cost})"
    facts = [
        ("key", output.printable_key(status.key)),
        ("limit", describe.rates(status)),
        ("algorithm", describe.algorithms(status)),
        ("remaining", str(status.remaining)),
        ("full again", output.moment(status.reset_at)),
        ("checks", totals),
        ("last allowed", output.moment(status.last_allowed_at)),
        ("last denied", output.moment(status.last_denied_at)),
        ("last reset", output.moment(status.last_reset_at)),
    ]
    output.facts(facts)


@app.command()
def reset(context: typer.Context, key: Key, as_json: Json = False) -> None:
    """Refill a key: forget what was used, keep its limit and totals."""
    session = session_of(context, as_json)
    with session.writing() as limiter:
        limiter.reset(key)
    if session.json:
        output.document({"key": key, "reset": True})
    else:
        output.line(f"reset  {output.printable_key(key)}")


@app.command()
def delete(context: typer.Context, key: Key, as_json: Json = False) -> None:
    """Forget a key and its limit."""
    session = session_of(context, as_json)
    with session.writing() as limiter:
        limiter.delete(key)
    if session.json:
        output.document({"key": key, "deleted": True})
    else:
        output.line(f"deleted  {output.printable_key(key)}")


@app.command()
def history(
    context: typer.Context,
    key: Key,
    limit: Annotated[int, typer.Option("--limit", metavar="N", parser=count, help="At most so many events.")] = 100,
    as_json: Json = False,
) -> None:
    """Show a key's newest events, oldest first."""
    session = session_of(context, as_json)
    with session.reading() as limiter:
        with output.working("reading the log"):
            events = limiter.history(key, limit=limit)
        if not events and limiter.status(key) is None:
            raise UnknownKeyError(key)
    if session.json:
        output.documents(map(output.jsonable, events))
        return
    rows = (
        (
            output.moment(event.at),
            event.type,
            str(event.cost or "-"),
            str(event.count),
            "-" if event.remaining is None else str(event.remaining),
        )
        for event in events
    )
    output.table(("AT", "EVENT", "COST", "COUNT", "REMAINING"), rows, frozenset({2, 3, 4}))


app.command("check")(check.check)
app.command("check-all")(check.check_all)
app.command("peek")(check.peek)
app.command("top")(top.top)
