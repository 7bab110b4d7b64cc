"""The root of the command line: its options and the table of its commands."""

from __future__ import annotations

import click

import flint
from flint.cli import output
from flint.cli.commands import Group
from flint.cli.root_options import root_options
from flint.cli.session import session_of

# Each is the attribute `command` of the module or package of that name in flint.cli.
COMMANDS = ("limit", "log", "server", "backup", "restore", "doctor")


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    if session_of(context).json:
        output.document({"version": flint.__version__})
    else:
        output.line(f"flint {flint.__version__}")
    context.exit()


def _set_up_completion(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is None or context.resilient_parsing:
        return
    from flint.cli import completion

    if parameter.name == "install_completion":
        output.line(completion.install(shell))
    else:
        output.write(completion.script(shell))
    context.exit()


@click.group(
    "flint",
    cls=Group,
    package="flint.cli",
    names=COMMANDS,
    epilog="Exit status: 0 allowed or done, 1 denied, 2 usage or unknown key, 3 storage, data, server or any "
    "unexpected error.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.option(
    "--install-completion",
    metavar="[SHELL]",
    is_flag=False,
    flag_value="",
    is_eager=True,
    expose_value=False,
    callback=_set_up_completion,
    help="Set up completion for bash, zsh or fish; by default for the shell in use.",
)
@click.option(
    "--show-completion",
    metavar="[SHELL]",
    is_flag=False,
    flag_value="",
    is_eager=True,
    expose_value=False,
    callback=_set_up_completion,
    help="Print the completion script instead of setting it up.",
)
def root() -> None:
    """Rate limits that survive restarts, crashes and power cuts."""


root.params[:0] = root_options(at_root=True)
