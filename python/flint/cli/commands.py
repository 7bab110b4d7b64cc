"""Groups that import a command when it runs, and help with a section for arguments."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import click

from flint.cli import output
from flint.cli.root_options import RootOption, root_options
from flint.cli.session import session_of

# Two matches are a help, more are a guess.
_SUGGESTIONS = 2
# The name of the whole command line.
ROOT = "flint"


class Argument(click.Argument):
    """An argument that the help of its command explains."""

    def __init__(self, declarations: Sequence[str], *, help: str, metavar: str, **attributes: Any) -> None:
        super().__init__(declarations, metavar=metavar, **attributes)
        self.explanation = help


class Command(click.Command):
    """One command."""

    def __init__(self, name: str | None, **attributes: Any) -> None:
        super().__init__(name, add_help_option=False, **attributes)
        self.params += root_options(at_root=False, taken=[str(each.name) for each in self.params])
        self.params.append(_help_option())

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command, once all options are known."""
        session_of(ctx).settle()
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections on arguments and on options."""
        arguments = [(each.metavar or "", each.explanation) for each in self.params if isinstance(each, Argument)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        _format_options(self, ctx, formatter)


class Group(click.Group):
    """Commands by name. The module of a command is imported when the command runs, or when a help text lists it.

    The command `check-all` of the package `flint.cli.limit` is the attribute `command` of `flint.cli.limit.check_all`.
    """

    def __init__(self, name: str | None, *, package: str, names: Iterable[str], **attributes: Any) -> None:
        super().__init__(name, add_help_option=False, no_args_is_help=False, **attributes)
        if name != ROOT:
            self.params += root_options(at_root=False)
        self.params.append(_help_option())
        self.package = package
        self.names = tuple(names)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections on options and on commands."""
        _format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with this name."""
        if cmd_name not in self.names:
            return None
        module = importlib.import_module(f"{self.package}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises UsageError, with the names that come close, if there is no such command.
        """
        name = args[0]
        if name not in self.names and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {name!r}{self._suggestion(ctx, name)}")
        return super().resolve_command(ctx, args)

    def _suggestion(self, context: click.Context, name: str) -> str:
        from difflib import get_close_matches

        groups = {each: command for each in self.names if isinstance(command := self.get_command(context, each), Group)}
        # The name of a command of a group comes before one that is only similar.
        found = [f"{each} {name}" for each, group in groups.items() if name in group.names]
        if not found:
            found = get_close_matches(name, self.names, _SUGGESTIONS)
        if not found:
            found = [
                f"{each} {match}" for each, group in groups.items() for match in get_close_matches(name, group.names, 1)
            ]
        if not found:
            return f"; the commands are {', '.join(self.names)}"
        return f"; did you mean {' or '.join(repr(each) for each in found[:_SUGGESTIONS])}?"


def _format_options(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """Writes the options of a command, and apart from them those that every command has."""
    own: list[tuple[str, str]] = []
    everywhere: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            (everywhere if isinstance(parameter, RootOption) and command.name != ROOT else own).append(record)
    for title, records in (("Options", own), ("Options of every command", everywhere)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def _help_option() -> click.Option:
    return click.Option(
        ["--help"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_help,
        help="Show this message and exit.",
    )


def _print_help(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        output.line(context.get_help())
        context.exit()
