"""`flint log …`: flush, compact, print and verify the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from flint import _native
from flint.cli import doctor, output
from flint.cli.arguments import Json, sequence_number
from flint.cli.errors import CommandError
from flint.cli.remote import Remote
from flint.cli.session import session_of

# Between looks at a log that did not grow, and at one that did: a long pause lets more be removed before it is read.
_POLL_S = 0.25
_BUSY_POLL_S = 0.01
# Records in one answer of a server.
_PAGE = 5_000

app = typer.Typer(help="Flush, compact, print and verify the log.", rich_markup_mode=None)


@app.command()
def flush(context: typer.Context, as_json: Json = False) -> None:
    """Have everything so far on disk."""
    session = session_of(context, as_json)
    with session.writing() as limiter, output.working("flushing"):
        limiter.flush()
    if session.json:
        output.document({"flushed": True})
    else:
        output.line("flushed")


@app.command()
def compact(context: typer.Context, as_json: Json = False) -> None:
    """Write a snapshot, so that the next start is quick, and drop the log that it replaces."""
    session = session_of(context, as_json)
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


@app.command()
def dump(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is written, until interrupted.")] = False,
    after: Annotated[
        int,
        typer.Option(
            "--after", metavar="SEQ", parser=sequence_number, help="Only records with a higher sequence number."
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Print the log's records, oldest first; with --json one JSON object a line."""
    session = session_of(context, as_json)
    grew = False
    verified = False

    def show(record: dict[str, Any]) -> bool:
        nonlocal grew
        grew = True
        if session.json:
            output.line(json.dumps(record))
        elif record["type"] == "GAP":
            output.complain(
                f"records {record['from']} to {record['to']} were removed by compaction before they were read"
            )
        else:
            output.line(_describe(record))
        return True

    def idle() -> bool:
        nonlocal grew, verified
        if not verified:
            verified = True
            # The records end where one is invalid. Whether that is the log's end or damage is for doctor to tell.
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
    """As the native dump: every record to `show`, and on while `idle`, called at the log's end, says so."""
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


@app.command()
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Read every record of log and snapshot and check that they hold together; changes nothing."""
    doctor.examine(session_of(context, as_json), "verified")
