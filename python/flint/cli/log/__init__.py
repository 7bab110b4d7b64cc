"""`flint log …`: flush, compact, print and verify the log. A command is a module of this package."""

from __future__ import annotations

from flint.cli.commands import Group

command = Group(
    "log",
    package=__name__,
    names=("flush", "compact", "dump", "verify"),
    help="Flush, compact, print and verify the log.",
)
