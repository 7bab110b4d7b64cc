"""`flint restore`: a data directory from a backup. It never replaces one."""

from __future__ import annotations

import os

import click

from flint import _native
from flint.cli import output
from flint.cli.commands import Argument, Command
from flint.cli.errors import CommandError
from flint.cli.session import Session, directory


@click.command("restore", cls=Command)
@click.argument("backup", cls=Argument, metavar="BACKUP", help="The directory that `flint backup` wrote.")
@click.pass_obj
def command(session: Session, backup: str) -> None:
    """Make the data directory from a backup; never overwrite one.

    The backup is verified and stays as it is.
    """
    session.require_local("restore")
    source = _native.absolute_path(directory("BACKUP", backup))
    target = _native.absolute_path(session.data_dir)
    if not os.path.isdir(source):
        raise CommandError(
            f"there is no backup directory {output.printable(source)}; name one that `flint backup` wrote"
        )
    if os.path.lexists(target) and not _is_empty(target):
        raise CommandError(
            f"{output.printable(target)} is not empty, and a restore overwrites nothing: stop the application, move it "
            f"away (`mv`), and restore again; or name another directory with --data-dir"
        )
    with output.working(f"restoring {target}"):
        report = _native.backup(source, target)
    if session.json:
        output.document({"restored": report["path"], "bytes": report["bytes"], "seq": report["seq"]})
    else:
        path = output.printable(report["path"])
        output.line(f"restored  {path}  {report['bytes']} bytes  up to record {report['seq']}  verified")


def _is_empty(path: str) -> bool:
    try:
        return not os.listdir(path)
    except OSError:
        return False
