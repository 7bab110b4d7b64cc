"""`flint doctor`: examine the data directory, or write a repaired copy of it."""

from __future__ import annotations

import click

from flint.cli import output
from flint.cli import repair as repairing
from flint.cli.commands import Command
from flint.cli.errors import STORAGE
from flint.cli.session import Session, directory


@click.command("doctor", cls=Command)
@click.option("--repair", is_flag=True, help="Write a repaired copy of a directory that does not open.")
@click.option(
    "--output", "output_dir", metavar="DIR", help="With --repair: where the copy goes; default: DATA_DIR.repaired."
)
@click.pass_obj
def command(session: Session, repair: bool, output_dir: str | None) -> None:
    """Examine the data directory; changes nothing in it.

    It may be open in a running application.
    """
    if output_dir is not None and not repair:
        raise click.UsageError("--output goes with --repair: flint doctor --repair --output DIR")
    if output_dir is not None:
        output_dir = directory("--output", output_dir)
    if repair:
        session.require_local("doctor --repair")
        repairing.repair(session, output_dir)
    else:
        examine(session, "healthy")


def examine(session: Session, verdict: str) -> None:
    """Prints the report; exit status 3 if there is a problem. `verdict` is the last line if there is none."""
    report = session.examined()
    if not report["ok"]:
        session.status = STORAGE
    if session.json:
        output.document(dict(report))
        return
    place = ("directory", session.data_dir) if session.remote is None else ("server", session.remote.url)
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
        # A new or mistyped directory is neither damaged nor healthy.
        output.line(verdict if report["format"] != "none" else "there is no store in this directory")
        return
    output.line(f"{len(report['problems'])} problem(s) found; nothing was changed")
    output.line("`flint doctor --repair` writes a repaired copy next to the original and lists what the copy lacks")
