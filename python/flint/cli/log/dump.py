"""`flint log dump`: the records of the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from flint import _native
from flint.cli import output
from flint.cli.commands import Command
from flint.cli.errors import CommandError
from flint.cli.parameters import SEQUENCE_NUMBER
from flint.cli.remote import Remote
from flint.cli.session import Session

# Between looks at a log that did not grow, and at one that did: a long pause lets more be removed before it is read.
_POLL_S = 0.25
_BUSY_POLL_S = 0.01
# Records in one answer of a server.
_PAGE = 5_000


@click.command("dump", cls=Command)
@click.option("--follow", is_flag=True, help="Go on with what is written, until interrupted.")
@click.option(
    "--after",
    metavar="SEQ",
    type=SEQUENCE_NUMBER,
    default=0,
    show_default=True,
    help="Only records with a higher sequence number.",
)
@click.pass_obj
def command(session: Session, follow: bool, after: int) -> None:
    """Print the log's records, oldest first.

    With --json each record is a JSON object on a line of its own.
    """
    grew = False
    verified = False

    def show(record: dict[str, Any]) -> bool:
        nonlocal grew
        grew = True
        if session.json:
            output.line(json.dumps(record))
        elif record["type"] == "GAP":
            output.report(
                f"records {record['from']} to {record['to']} were removed by compaction before they were read"
            )
        else:
            output.line(_describe(record))
        return True

    def idle() -> bool:
        nonlocal grew, verified
        if not verified:
            verified = True
            # The records end where one is invalid. Only doctor knows whether that is the log's end or damage.
            problems = session.examined()["problems"]
            if problems:
                raise CommandError(f"the log may go on after what is shown: {problems[0]}", name="CorruptData")
        if follow:
            output.flush()
            output.wait(_BUSY_POLL_S if grew else _POLL_S)
            grew = False
        return follow

    if session.remote is not None:
        _dump_remotely(session.remote, after, show, idle)
        return
    session.require_directory()
    _native.dump(session.data_dir, after, show, idle)


def _dump_remotely(
    remote: Remote, after: int, show: Callable[[dict[str, Any]], object], idle: Callable[[], bool]
) -> None:
    """Passes records to `show`, as the native dump does; goes on while `idle`, called at the log's end, is true."""
    with remote.opened() as limiter:
        going = True
        while going:
            records, after = limiter._log_records(after, _PAGE)
            for record in records:
                show(record)
            going = bool(records) or idle()


def _describe(record: dict[str, Any]) -> str:
    """One record on one line: what every record has, then the rest by name."""
    parts = [str(record["seq"])]
    for name in ("at", "type", "key"):
        if isinstance(record.get(name), str):
            parts.append(output.printable_key(record[name]))
    for name, value in record.items():
        if name not in ("file", "offset", "seq", "at", "type", "key"):
            text = value if isinstance(value, str) else json.dumps(value)
            parts.append(f"{name}={output.printable(text)}")
    return "  ".join(parts)
