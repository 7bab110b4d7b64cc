"""`flint limit list`: limits in the order of their keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

import flint
from flint.cli import describe, output
from flint.cli.commands import Command
from flint.cli.parameters import count_option
from flint.cli.session import Session
from flint.cli.table import Table

if TYPE_CHECKING:
    from flint._backend import Inspects

_PAGE = 1000


@click.command("list", cls=Command)
@click.option("--prefix", metavar="TEXT", help="Only keys that begin with this.")
@count_option("keys")
@click.option("--after", metavar="KEY", help="Only keys that come after this one.")
@click.pass_obj
def command(session: Session, prefix: str | None, most: int | None, after: str | None) -> None:
    """List limits in the order of their keys."""
    with session.reading() as limiter:
        pages = _pages(limiter, prefix, most, after)
        if session.json:
            output.documents(status.to_dict() for page in pages for status in page)
            return
        # The first page decides on the widths: a million keys must not be held to align it with the last.
        shown = Table(describe.STATUS)
        several: list[flint.LimitStatus] = []
        for number, page in enumerate(pages):
            if number == 0 and not page:
                output.line("no limits" if prefix is None and after is None else "no such limits")
            else:
                shown.write(map(describe.status_row, page))
                several = several or [status for status in page if len(status.counters) > 1][:1]
        shown.finish()
        describe.note_others(several)


def _pages(
    limiter: Inspects, prefix: str | None, most: int | None, after: str | None
) -> Iterator[list[flint.LimitStatus]]:
    """The listing in pieces of bounded size; the first may be empty, no other is."""
    left = most
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
