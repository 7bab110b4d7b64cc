"""The entry: runs one command and maps every outcome to an exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import click

from flint.cli import output
from flint.cli.app import root
from flint.cli.errors import INTERRUPTED, CommandError, ReaderGoneError, failure_of
from flint.cli.session import NoticeHandler, Session

# The variable that completion scripts set.
_COMPLETION = "_FLINT_COMPLETE"


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
    except KeyboardInterrupt:
        _discard_output()
        return INTERRUPTED
    except BaseException as error:  # the native module's panics are no Exceptions
        failure = failure_of(error)
        output.report(failure.message)
        try:
            if session.json:
                output.document({"error": failure.as_json()})
            output.flush()
        except (ReaderGoneError, CommandError):
            _discard_output()
        return failure.status


def _execute(session: Session, argv: Sequence[str]) -> int:
    if _COMPLETION in os.environ:
        from flint.cli import completion

        return completion.run(root, session, os.environ[_COMPLETION])
    try:
        with root.make_context("flint", list(argv) or ["--help"], obj=session) as context:
            root.invoke(context)
    except click.exceptions.Exit:
        # After --help and --version.
        pass
    return session.status


def _discard_output() -> None:
    """Discards what is still buffered: the interpreter would fail to write it at its exit, with a traceback."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass


def _asks_for_json(argv: Sequence[str]) -> bool:
    """Whether JSON is wanted. Errors of the parser itself come before any option has a value."""
    options = list(argv)
    if "--" in options:
        del options[options.index("--") :]
    return "--json" in options
