"""The tree of commands and its root options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import flint
from flint.cli import doctor, limit, log, output, server
from flint.cli.arguments import Json
from flint.cli.remote import named_server, origin
from flint.cli.session import session_of

app = typer.Typer(
    name="flint",
    help="Rate limits that survive restarts, crashes and power cuts.",
    epilog="Exit status: 0 allowed or done, 1 denied, 2 usage or unknown key, 3 storage, data, server or any "
    "unexpected error.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(limit.app, name="limit")
app.add_typer(log.app, name="log")
app.add_typer(server.app, name="server")
app.command("doctor")(doctor.doctor)


def _print_version(context: typer.Context, wanted: bool) -> None:
    if not wanted:
        return
    if session_of(context).json:
        output.document({"version": flint.__version__})
    else:
        output.line(f"flint {flint.__version__}")
    raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    data_dir: Annotated[
        str,
        typer.Option("--data-dir", metavar="DIR", envvar="FLINT_DATA_DIR", help="The data directory."),
    ] = ".flint",
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", envvar="FLINT_URL", help="A server instead: http://, https:// or unix:///path."
        ),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", metavar="FILE", help="With --url: the token, or else the variable FLINT_TOKEN."),
    ] = None,
    as_json: Json = False,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Rate limits that survive restarts, crashes and power cuts."""
    session = session_of(context, as_json)
    if not data_dir:
        raise typer.BadParameter("--data-dir must name a directory; it is empty", context)
    session.data_dir = Path(data_dir)
    if url == "":
        raise typer.BadParameter("--url must name a server; it is empty", context)
    if url is not None and origin(context, "url") == origin(context, "data_dir"):
        named = "--url and --data-dir" if origin(context, "url") == "COMMANDLINE" else "FLINT_URL and FLINT_DATA_DIR"
        raise typer.BadParameter(f"{named} exclude each other: commands work on a server or on a directory", context)
    session.remote = named_server(context)
    if token_file is not None and session.remote is None:
        raise typer.BadParameter(
            "--token-file goes with --url; the one of `flint server start` stands behind the command", context
        )
