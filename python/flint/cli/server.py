"""`flint server start`: one process owns the data directory, others share its limits over HTTP or a Unix socket."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

import flint
from flint import _native
from flint.cli import output
from flint.cli.arguments import integer
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
        typer.Option("--token", help="Require this token, with all scopes. Visible in ps: prefer the other two."),
    ] = None,
    env_token: Annotated[str | None, typer.Option(envvar="FLINT_TOKEN", hidden=True)] = None,
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
    if token is not None and token_file is not None:
        raise typer.BadParameter("--token and --token-file exclude each other", context)
    if bind is None and unix is None and not activated:
        bind = _LOOPBACK
    if activated and (bind is not None or unix is not None):
        raise typer.BadParameter("--systemd takes sockets instead of --bind and --unix", context)
    limiter = flint.Limiter(
        session.data_dir, sync=sync, flush_every_ms=flush_every_ms, flush_every_events=flush_every_events
    )
    with limiter:
        secret = token if token is not None or token_file is not None else env_token
        served = _native.Server(
            limiter,
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
            metrics=lambda: flint.prometheus_metrics(limiter, include_key_label=False),
            max_blocking=max_blocking,
            max_connections=max_connections,
        )
        output.flush()
        # The server handles them from here on. Handlers of Python would run, too, and turn a clean end into an error.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        served.serve(signals=True)
