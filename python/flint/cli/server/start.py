"""`flint server start`: one process owns the data directory, others share its limits over HTTP or a Unix socket."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import click

import flint
from flint import _native
from flint.cli import output
from flint.cli.commands import Command
from flint.cli.errors import CommandError
from flint.cli.parameters import INTEGER, SECONDS
from flint.cli.remote import TOKEN_VARIABLE
from flint.cli.session import Session

_LOOPBACK = "127.0.0.1:7878"


@click.command("start", cls=Command)
@click.option("--bind", metavar="ADDRESS:PORT", help=f"Listen on TCP; without --unix and --systemd on {_LOOPBACK}.")
@click.option("--unix", metavar="PATH", help="Listen on a Unix socket that only its owner can connect to.")
@click.option("--systemd", "activated", is_flag=True, help="Take the sockets that systemd passes.")
@click.option(
    "--token", metavar="TEXT", help="Require this token, with all scopes. Visible in ps: prefer FLINT_TOKEN or a file."
)
@click.option("--token-file", metavar="FILE", help="Require one of these tokens; read again on SIGHUP.")
@click.option(
    "--max-blocking",
    metavar="N",
    type=INTEGER,
    default=128,
    show_default=True,
    help="Threads for calls that read files.",
)
@click.option(
    "--max-connections", metavar="N", type=INTEGER, default=512, show_default=True, help="Connections open at a time."
)
@click.option("--sync", metavar="always|batch", default="always", show_default=True, help="When a check is durable.")
@click.option(
    "--flush-every-ms",
    metavar="MS",
    type=INTEGER,
    default=100,
    show_default=True,
    help="Batch: longest wait for an fsync.",
)
@click.option(
    "--flush-every-events",
    metavar="N",
    type=INTEGER,
    default=100,
    show_default=True,
    help="Batch: checks up to an fsync.",
)
@click.option(
    "--lock-timeout",
    metavar="SECONDS",
    type=SECONDS,
    default=0,
    show_default=True,
    help="Wait so long for a directory that another process holds.",
)
@click.option(
    "--log-io",
    metavar="auto|pwrite",
    default="auto",
    show_default=True,
    help="Map the log where that is safe, or never.",
)
@click.option("--tls-cert", metavar="PEM", help="Speak TLS over TCP with this certificate.")
@click.option("--tls-key", metavar="PEM", help="The certificate's private key.")
@click.option("--require-tls", is_flag=True, help="Refuse to start on TCP without TLS.")
@click.option(
    "--allowed-host",
    metavar="HOST",
    multiple=True,
    help="Without a token: one more Host that requests may name; may be repeated.",
)
@click.option(
    "--log-format", metavar="text|json", default="text", show_default=True, help="The format of reports on stderr."
)
@click.pass_obj
def command(
    session: Session,
    bind: str | None,
    unix: str | None,
    activated: bool,
    token: str | None,
    token_file: str | None,
    max_blocking: int,
    max_connections: int,
    sync: str,
    flush_every_ms: int,
    flush_every_events: int,
    lock_timeout: float,
    log_io: str,
    tls_cert: str | None,
    tls_key: str | None,
    require_tls: bool,
    allowed_host: tuple[str, ...],
    log_format: str,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Open requests are then finished and the log is flushed.
    """
    session.require_local("server start")
    if token is not None and token_file is not None:
        raise click.UsageError("--token and --token-file exclude each other")
    if bind is None and unix is None and not activated:
        bind = _LOOPBACK
    if activated and (bind is not None or unix is not None):
        raise click.UsageError("--systemd takes sockets instead of --bind and --unix")
    if unix is not None:
        _require_place(unix, session.data_dir)
    secret = token
    if token is None and token_file is None:
        secret = os.environ.get(TOKEN_VARIABLE)
    with ExitStack() as held:
        limiter: flint.Limiter | None = None

        def opened() -> flint.Limiter:
            """Called once all settings are accepted: a start that is refused leaves no directory behind."""
            nonlocal limiter
            limiter = held.enter_context(
                flint.Limiter(
                    session.data_dir,
                    sync=sync,
                    flush_every_ms=flush_every_ms,
                    flush_every_events=flush_every_events,
                    lock_timeout=lock_timeout,
                    log_io=log_io,
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
            allowed_hosts=list(allowed_host),
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
    # The limiter is closed, which ends the scans of scrapes.
    if served.scraping:
        output.flush()
        # Everything is on disk, and nothing is left to do. The end of the interpreter would end the scrape's thread in
        # the middle of native code, which aborts the process.
        os._exit(session.status)


def _require_place(unix: str, data_dir: str) -> None:
    """Raises CommandError if the socket has no directory; the data directory itself may still be created."""
    # Importing it takes time, which no other command needs to spend.
    from pathlib import Path

    place = str(Path(unix).absolute().parent)
    if not os.path.isdir(place) and place != _native.absolute_path(data_dir):
        raise CommandError(
            f"there is no directory {output.printable(place)} for the Unix socket; create it (`mkdir -m 700`; below "
            "/run as root), or use one of your own, such as $XDG_RUNTIME_DIR or the data directory"
        )
