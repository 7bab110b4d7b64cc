"""Parameter types, options and arguments that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import click

import flint
from flint.cli.commands import Argument
from flint.cli.errors import CommandError
from flint.cli.session import session_of

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

# Generic since click 8.5.
if TYPE_CHECKING:
    from flint._backend import Inspects

    _ParamType = click.ParamType[int]
    _SecondsType = click.ParamType[float]
else:
    _ParamType = _SecondsType = click.ParamType

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_SUGGESTED_KEYS = 50
# Completion must not make the shell wait for a slow server.
_COMPLETION_TIMEOUT_S = 1.0


class Integer(_ParamType):
    """A decimal integer in ASCII digits, in a range if there is one; without a range the library checks the value."""

    name = "integer"

    def __init__(self, smallest: int | None = None, largest: int | None = None, written: str = "") -> None:
        """`written` says what is accepted, with an example."""
        self.smallest = smallest
        self.largest = largest
        self.range = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The integer that the text is; defaults are passed through."""
        if isinstance(value, int):
            return value
        if _INTEGER.fullmatch(value) is None:
            self.fail(f"{value!r} is not an integer, such as 10", param, ctx)
        number = int(value)
        if self.smallest is not None and self.largest is not None and not self.smallest <= number <= self.largest:
            self.fail(f"{number} is out of range; accepted is {self.range}", param, ctx)
        return number


class Seconds(_SecondsType):
    """A number of seconds, for which the library knows the range."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that the text is; defaults are passed through."""
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds, such as 2.5", param, ctx)


INTEGER = Integer()
SECONDS = Seconds()
# The number of a log record; 0 is before the first one.
SEQUENCE_NUMBER = Integer(0, 2**64 - 1, "a number from 0 to 18446744073709551615, such as 42")
# A number of lines to print.
COUNT = Integer(1, 2**64 - 1, "a number from 1 to 18446744073709551615, such as 10")


def suggest_keys(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Keys of the store that begin with the text typed so far, for completion; none if the store cannot be read.

    Keys with characters that do not print are left out: they come from clients, and a shell shows them as they are.
    """
    try:
        with _limiter_for_completion(context) as limiter:
            found = [status.key for status in limiter.list(prefix=incomplete or None, limit=_SUGGESTED_KEYS)]
    except (flint.FlintError, click.UsageError, CommandError, OSError):
        return []
    return [key for key in found if key.isprintable()]


def _limiter_for_completion(context: click.Context) -> AbstractContextManager[Inspects]:
    session = session_of(context)
    session.settle()
    if session.remote is not None:
        return session.remote.opened(timeout=_COMPLETION_TIMEOUT_S)
    return flint.Limiter(session.data_dir, read_only=True)


def key_argument(function: Decorated) -> Decorated:
    """The key that a command is about."""
    return click.argument("key", cls=Argument, metavar="KEY", shell_complete=suggest_keys, help="The limit's key.")(
        function
    )


def cost_option(function: Decorated) -> Decorated:
    """The cost of one check."""
    return click.option(
        "--cost",
        metavar="N",
        type=INTEGER,
        default=1,
        show_default=True,
        help="Tokens that the check takes.",
    )(function)


def rate_option(function: Decorated) -> Decorated:
    """The limit that a check brings along."""
    return click.option(
        "--rate", "limit", metavar="RATE", help='A limit for a key that has none, such as "100/minute".'
    )(function)


def count_option(what: str, default: int | None = None) -> Callable[[Decorated], Decorated]:
    """At most so many lines of a listing."""
    return click.option(
        "--limit",
        "most",
        metavar="N",
        type=COUNT,
        default=default,
        show_default=default is not None,
        help=f"At most this many {what}.",
    )
