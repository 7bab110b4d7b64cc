"""The root of the command line: its options and the table of its commands."""

from __future__ import annotations

import click

import flint
from flint.cli import output
from flint.cli.commands import Group
from flint.cli.parameters import json_option
from flint.cli.remote import named_server, origin
from flint.cli.session import DEFAULT_DATA_DIR, session_of, tidy

# Each is the attribute `command` of the module or package of that name in flint.cli.
COMMANDS = ("limit", "log", "server", "doctor")


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
    "--data-dir",
    metavar="DIR",
    envvar="FLINT_DATA_DIR",
    show_envvar=True,
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="The data directory.",
)
@click.option(
    "--url",
    metavar="URL",
    envvar="FLINT_URL",
    show_envvar=True,
    help="A server instead, such as http://host:port or unix:///path.",
)
@click.option(
    "--token-file", metavar="FILE", help="With --url: the file with the token; without it, the variable FLINT_TOKEN."
)
@json_option
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
@click.pass_context
def root(context: click.Context, data_dir: str, url: str | None, token_file: str | None) -> None:
    """Rate limits that survive restarts, crashes and power cuts."""
    session = session_of(context)
    if not data_dir:
        raise click.UsageError("--data-dir must name a directory, such as .flint; it is empty")
    session.data_dir = tidy(data_dir)
    if url == "":
        raise click.UsageError("--url must name a server, such as unix:///run/flint/flint.sock; it is empty")
    if url is not None and origin(context, "url") == origin(context, "data_dir"):
        named = "--url and --data-dir" if origin(context, "url") == "COMMANDLINE" else "FLINT_URL and FLINT_DATA_DIR"
        raise click.UsageError(f"{named} exclude each other: commands work on a server or on a directory")
    session.remote = named_server(context)
    if token_file is not None and session.remote is None:
        raise click.UsageError(
            "--token-file goes with --url; the token file of a server goes behind the command: "
            "`flint server start --token-file FILE`"
        )
