"""Every command of the command line, with its click object."""

from __future__ import annotations

from collections.abc import Iterator

import click

from flint.cli.app import root
from flint.cli.commands import Group


def _below(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _below(child, (*path, name))


def everything() -> dict[tuple[str, ...], click.Command]:
    """Groups and commands by their path; the root is at ()."""
    return dict(_below(root, ()))


def commands() -> set[tuple[str, ...]]:
    """The paths of the commands, without groups."""
    return {path for path, command in everything().items() if not isinstance(command, Group)}
