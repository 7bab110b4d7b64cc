"""`flint log …`: compact, print and verify the log."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from flint import _native
from flint.cli import doctor, output
from flint.cli.arguments import Json, sequence_number
from flint.cli.errors import CommandError
from flint.cli.session import session_of

_POLL_S = 0.25

app = typer.Typer(help="Compact, print and verify the log.", rich_markup_mode=None)


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
    session.require_directory()

    def show(record: dict[str, Any]) -> bool:
        output.line(json.dumps(record) if session.json else _describe(record))
        return True

    newest = _native.dump(session.data_dir, after, show)
    # The records end where one is invalid. Whether that is the log's end or damage in its midst is for doctor to tell.
    problems = _native.doctor(session.data_dir)["problems"]
    if problems:
        raise CommandError(f"the log may go on after what is shown: {problems[0]}", name="CorruptData")
    while follow:
        output.flush()
        output.wait(_POLL_S)
        newest = max(newest, _native.dump(session.data_dir, newest, show))


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
