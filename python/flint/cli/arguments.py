"""Options and arguments that several commands share."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

import flint
from flint.cli.errors import CommandError
from flint.cli.remote import named_server

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_SUGGESTIONS = 50
_PATIENCE_S = 1.0


def integer(text: str | int) -> int:
    """A decimal integer, ASCII digits only; its range is the library's to judge. Defaults come as they are."""
    if isinstance(text, int):
        return text
    if _INTEGER.fullmatch(text) is None:
        raise typer.BadParameter(f"{text!r} is not an integer")
    return int(text)


def sequence_number(text: str | int) -> int:
    """The number of a log record; 0 stands before the first."""
    number = integer(text)
    if not 0 <= number < 2**64:
        raise typer.BadParameter(f"{number} is not from 0 to 2^64 - 1")
    return number


def count(text: str | int) -> int:
    """How many lines to print, 1 at least."""
    number = integer(text)
    if not 1 <= number < 2**64:
        raise typer.BadParameter(f"{number} is not from 1 to 2^64 - 1")
    return number


def suggest_keys(context: typer.Context, incomplete: str) -> list[str]:
    """Keys of the store that begin as typed so far, for shell completion; none when it cannot be read."""
    try:
        with _suggesting(context) as limiter:
            found = [status.key for status in limiter.list(prefix=incomplete or None, limit=_SUGGESTIONS)]
    except (flint.FlintError, CommandError, OSError):
        return []
    return [key for key in found if key.isprintable()]


def _suggesting(context: typer.Context) -> AbstractContextManager[flint.Limiter | flint.SharedLimiter]:
    """Where the keys are. Whoever types waits for no slow server."""
    remote = named_server(context)
    if remote is not None:
        return remote.opened(timeout=_PATIENCE_S)
    return flint.Limiter(context.find_root().params.get("data_dir") or Path(".flint"), read_only=True)


Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The limit's key.", autocompletion=suggest_keys)]
Cost = Annotated[int, typer.Option("--cost", metavar="N", parser=integer, help="Tokens that the check takes.")]
WithLimit = Annotated[
    str | None,
    typer.Option("--limit", metavar="RATE", help='A limit for a key that has none, such as "100/minute".'),
]
