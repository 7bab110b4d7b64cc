"""`flint doctor`: is the data directory in order, and what can be saved of one that is not?"""

from __future__ import annotations

from typing import Annotated

import typer

from flint.cli import output
from flint.cli import repair as repairing
from flint.cli.arguments import Json
from flint.cli.errors import STORAGE
from flint.cli.session import Session, session_of


def doctor(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write a repaired copy of a directory that does not open beside it.")
    ] = False,
    output_dir: Annotated[
        str | None,
        typer.Option("--output", metavar="DIR", help="Where the copy goes; by default beside it, with .repaired."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Examine the data directory, beside a running application too; changes nothing in it."""
    session = session_of(context, as_json)
    if output_dir is not None and not repair:
        raise typer.BadParameter("--output belongs to --repair", context)
    if output_dir == "":
        raise typer.BadParameter("--output must name a directory; it is empty", context)
    if repair:
        session.require_local("doctor --repair")
        repairing.repair(session, output_dir)
    else:
        examine(session, "healthy")


def examine(session: Session, verdict: str) -> None:
    """Reads and reports; exit status 3 when something is wrong. `verdict` is the word for a directory in order."""
    report = session.examined()
    if not report["ok"]:
        session.status = STORAGE
    if session.json:
        output.document(dict(report))
        return
    place = ("directory", str(session.data_dir)) if session.remote is None else ("server", session.remote.url)
    facts = [
        (place[0], output.printable(place[1])),
        ("limits", str(report["limits"])),
        ("history events", str(report["history_events"])),
        ("log bytes", str(report["aof_bytes"])),
        ("snapshot", "yes" if report["snapshot_exists"] else "no"),
    ]
    output.facts(facts)
    for note in report.get("notes", ()):
        output.line(f"note: {output.printable(str(note))}")
    for problem in report["problems"]:
        output.line(f"problem: {output.printable(str(problem))}")
    if report["ok"]:
        # A new or mistyped directory is not damaged, and not in order either.
        output.line(verdict if report["format"] != "none" else "there is no store in this directory")
        return
    output.line(f"{len(report['problems'])} problem(s) found; nothing was changed")
    output.line("docs/recovery.md says what to do; `flint doctor --repair` writes a repaired copy beside the original")
