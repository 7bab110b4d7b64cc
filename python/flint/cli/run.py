"""The entry: runs one command and turns everything that can happen into an exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import typer
import typer.main

from flint.cli import output
from flint.cli.app import app
from flint.cli.errors import INTERRUPTED, USAGE, CommandError, ReaderGoneError, judge
from flint.cli.session import NoticeHandler, Session


def run(argv: Sequence[str]) -> int:
    """Runs the command `argv` and returns the exit status. Prints errors, raises nothing."""
    output.prepare_streams()
    session = Session(json=_asks_for_json(argv))
    logger = logging.getLogger("flint")
    handler = NoticeHandler(logging.WARNING)
    logger.addHandler(handler)
    try:
        return _guarded(session, argv)
    finally:
        logger.removeHandler(handler)


def _guarded(session: Session, argv: Sequence[str]) -> int:
    try:
        status = _execute(session, argv)
        output.flush()
        return status
    except ReaderGoneError:
        _discard_output()
        return session.status
    except (KeyboardInterrupt, typer.Abort):
        _discard_output()
        return INTERRUPTED
    except BaseException as error:  # the native module's panics are no Exceptions
        verdict = judge(error)
        output.complain(verdict.message)
        try:
            if session.json:
                output.document({"error": verdict.as_json()})
            output.flush()
        except (ReaderGoneError, CommandError):
            _discard_output()
        return verdict.status


def _execute(session: Session, argv: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    try:
        left = command.main(args=list(argv) or ["--help"], prog_name="flint", standalone_mode=False, obj=session)
    except SystemExit as exit_:
        left = exit_.code
    # Commands return nothing and set the session's status; a status that comes from here is the parser's own.
    if left is None or left == 0:
        return session.status
    return INTERRUPTED if left == INTERRUPTED else USAGE


def _discard_output() -> None:
    """Sends what is still buffered nowhere: the interpreter would fail over it, with a traceback, while it exits."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass


def _asks_for_json(argv: Sequence[str]) -> bool:
    """Whether errors of the parser itself, which come before any option has a value, are wanted as JSON too."""
    options = list(argv)
    if "--" in options:
        del options[options.index("--") :]
    return "--json" in options
