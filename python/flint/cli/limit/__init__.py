"""`flint limit …`: configure, check and look at limits. A command is a module of this package."""

from __future__ import annotations

from flint.cli.commands import Group

command = Group(
    "limit",
    package=__name__,
    names=("add", "list", "status", "reset", "delete", "history", "check", "check-all", "peek", "top"),
    help="Configure, check and look at limits.",
)
