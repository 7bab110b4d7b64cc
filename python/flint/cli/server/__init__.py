"""`flint server …`. A command is a module of this package."""

from __future__ import annotations

from flint.cli.commands import Group

command = Group(
    "server",
    package=__name__,
    names=("start",),
    help="Share the limits of one data directory between processes.",
)
