"""`flint server start`: one process owns the data directory, others share its limits over HTTP or a Unix socket."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

import flint
from flint import _native
from flint.cli import output
from flint.cli.arguments import integer
from flint.cli.errors import CommandError
from flint.cli.remote import TOKEN_VARIABLE
from flint.cli.session import session_of

_LOOPBACK = "127.0.0.1:7878"

app = typer.Typer(help="Share the limits of one data directory between processes.", rich_markup_mode=None)


@app.callback()
def server() -> None:
    """Share the limits of one data directory between processes."""


@app.command()
def start(
    context: typer.Context,
    bind: Annotated[
        str | None,
        typer.Option("--bind", metavar="ADDRESS:PORT", help=f"Listen on TCP; {_LOOPBACK} where nothing else is named."),
    ] = None,
    unix: Annotated[
        str | None, typer.Option("--unix", metavar="PATH", help="Listen on a Unix socket that only its owner reaches.")
    ] = None,
    activated: Annotated[bool, typer.Option("--systemd", help="Take the sockets that systemd passes.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", help="Require this token, with all scopes. Visible in ps: prefer FLINT_TOKEN or a file."
        ),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", metavar="FILE", help="Require one of these tokens; read again on SIGHUP."),
    ] = None,
    max_blocking: Annotated[
        int, typer.Option("--max-blocking", metavar="N", parser=integer, help="Threads for what reads files.")
    ] = 128,
    max_connections: Annotated[
        int, typer.Option("--max-connections", metavar="N", parser=integer, help="Connections open at a time.")
    ] = 512,
    sync: Annotated[str, typer.Option("--sync", metavar="always|batch", help="When a check is on disk.")] = "always",
    flush_every_ms: Annotated[
        int, typer.Option("--flush-every-ms", metavar="MS", parser=integer, help="Batch: longest wait for an fsync.")
    ] = 100,
    flush_every_events: Annotated[
        int,
        typer.Option("--flush-every-events", metavar="N", parser=integer, help="Batch: checks up to an fsync."),
    ] = 100,
    tls_cert: Annotated[str | None, typer.Option("--tls-cert", metavar="PEM", help="Speak TLS over TCP.")] = None,
    tls_key: Annotated[str | None, typer.Option("--tls-key", metavar="PEM", help="The certificate's key.")] = None,
    require_tls: Annotated[bool, typer.Option("--require-tls", help="Refuse to start on TCP without TLS.")] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", metavar="HOST", help="Without a token: a further name that requests are for."),
    ] = None,
    log_format: Annotated[str, typer.Option("--log-format", metavar="text|json", help="Reports on stderr.")] = "text",
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is open, flush and exit."""
    session = session_of(context)
    session.require_local("server start")
    if token is not None and token_file is not None:
        raise typer.BadParameter("--token and --token-file exclude each other", context)
    if bind is None and unix is None and not activated:
        bind = _LOOPBACK
    if activated and (bind is not None or unix is not None):
        raise typer.BadParameter("--systemd takes sockets instead of --bind and --unix", context)
    if unix is not None:
        _require_place(unix, session.data_dir)
    secret = token
    if token is None and token_file is None:
        secret = os.environ.get(TOKEN_VARIABLE)
    with ExitStack() as held:
        limiter: flint.Limiter | None = None

        def opened() -> flint.Limiter:
            """Only once nothing speaks against the settings: a start that is refused leaves no directory behind."""
            nonlocal limiter
            limiter = held.enter_context(
                flint.Limiter(
                    session.data_dir, sync=sync, flush_every_ms=flush_every_ms, flush_every_events=flush_every_events
                )
            )
            return limiter

        served = _native.Server(
            opened,
            bind=bind,
            unix=unix,
            activated=activated,
            token=secret,
            token_visible=token is not None,
            token_file=token_file,
            tls_cert=tls_cert,
            tls_key=tls_key,
            require_tls=require_tls,
            allowed_hosts=allowed_host or [],
            log_format=log_format,
            metrics=lambda: "" if limiter is None else flint.prometheus_metrics(limiter, include_key_label=False),
            max_blocking=max_blocking,
            max_connections=max_connections,
        )
        output.flush()
        # The server handles them from here on. Handlers of Python would run, too, and turn a clean end into an error.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        served.serve(signals=True)


def _require_place(unix: str, data_dir: Path) -> None:
    """A Unix socket needs a directory; that of the data may still be made."""
    place = Path(unix).absolute().parent
    if not place.is_dir() and place != data_dir.absolute():
        raise CommandError(f"there is no directory {output.printable(str(place))} for the Unix socket; make it first")
