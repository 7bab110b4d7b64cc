"""Arguments that more than one module accepts. Each function returns the value in the type that its callers use.

Each raises InvalidArgument, whose message has the argument's name, the value, what is accepted, and an example. Keys,
costs and limits are not here: the native half validates them.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable
from typing import TypeVar

from flint._errors import InvalidArgument

T = TypeVar("T")

# The longest time that every operating system can wait for.
_MAX_SECONDS = 365 * 86_400.0
_MAX_TOKEN = 4096


def wait_timeout(timeout: object) -> float | None:
    """How long acquire() may wait: None, or seconds from 0 on."""
    if timeout is None:
        return None
    seconds = _seconds(timeout)
    if seconds is None or seconds < 0:
        raise InvalidArgument(f"timeout must be None or a number of seconds, 0 or more, such as 2.5, not {timeout!r}")
    return seconds


def call_timeout(timeout: object) -> float:
    """How long a call to a server may take: seconds above 0."""
    seconds = _seconds(timeout)
    if seconds is None or seconds <= 0:
        raise InvalidArgument(f"timeout must be a number of seconds above 0, such as 2.5, not {timeout!r}")
    return float(min(seconds, _MAX_SECONDS))


def _seconds(value: object) -> float | None:
    """The value, if it is a finite number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return value if -math.inf < value < math.inf else None


def one_of(name: str, value: T, accepted: Iterable[T]) -> T:
    """The value, which has to be among `accepted`."""
    known = tuple(accepted)
    if value not in known:
        *others, last = map(repr, known)
        raise InvalidArgument(f"{name} must be {', '.join(others)} or {last}, not {value!r}")
    return value


def integer(name: str, value: object, least: int, most: int) -> int:
    """An integer from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise InvalidArgument(f"{name} must be an integer from {least} to {most}, such as {least}, not {value!r}")
    return value


def bearer_token(token: object) -> str | None:
    """A server's token. The messages do not contain it."""
    if token is None:
        return None
    if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN:
        raise InvalidArgument(
            f"token must be None or a str of 1 to {_MAX_TOKEN} characters, such as the content of the server's "
            "token file without its newline"
        )
    if any(not "!" <= character <= "~" for character in token):
        raise InvalidArgument(
            "token must consist of visible ASCII characters, and this one has others; if it was read from a file, "
            "remove the trailing newline with token.strip()"
        )
    return token


def tls_context(context: object, *, tls: bool) -> ssl.SSLContext | None:
    """What connections to a server are encrypted with; None where its URL is not https://."""
    if not tls:
        if context is not None:
            raise InvalidArgument(f"ssl_context must be None unless the URL begins with https://, not {context!r}")
        return None
    if context is None:
        return ssl.create_default_context()
    if not isinstance(context, ssl.SSLContext):
        raise InvalidArgument(
            f"ssl_context must be None or an ssl.SSLContext, such as ssl.create_default_context(), not {context!r}"
        )
    return context
