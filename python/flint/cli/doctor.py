"""`flint doctor`: is the data directory in order?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from flint import _native
from flint.cli import output
from flint.cli.arguments import Json
from flint.cli.errors import STORAGE
from flint.cli.session import Session, session_of


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Examine the data directory, beside a running application too; changes nothing."""
    examine(session_of(context, as_json), "healthy")


def examine(session: Session, verdict: str) -> None:
    """Reads and reports; exit status 3 when something is wrong. `verdict` is the word for a directory in order."""
    session.require_directory()
    with output.working(f"examining {session.data_dir}"):
        report: Mapping[str, Any] = _native.doctor(session.data_dir)
    if not report["ok"]:
        session.status = STORAGE
    if session.json:
        output.document(dict(report))
        return
    facts = [
        ("directory", output.printable(str(session.data_dir))),
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
    output.line(verdict if report["ok"] else f"{len(report['problems'])} problem(s) found; nothing was changed")
