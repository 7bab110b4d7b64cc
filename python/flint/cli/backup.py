"""`flint backup`: a consistent copy of the data directory, which an application may have open."""

from __future__ import annotations

import click

from flint import _native
from flint.cli import output
from flint.cli.commands import Argument, Command
from flint.cli.session import Session, directory


@click.command("backup", cls=Command)
@click.argument("dest", cls=Argument, metavar="DEST", help="Where the copy goes: a directory that does not exist yet.")
@click.pass_obj
def command(session: Session, dest: str) -> None:
    """Copy the data directory while applications use it.

    The copy has the state and history of one moment. It is read back before it
    gets its name.
    """
    session.require_local("backup")
    target = _native.absolute_path(directory("DEST", dest))
    session.require_store()
    with output.working(f"copying {session.data_dir}"):
        report = _native.backup(session.data_dir, target)
    if session.json:
        output.document({"backup": report["path"], "bytes": report["bytes"], "seq": report["seq"]})
    else:
        path = output.printable(report["path"])
        output.line(f"backup  {path}  {report['bytes']} bytes  up to record {report['seq']}  verified")
