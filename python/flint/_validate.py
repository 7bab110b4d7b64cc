"""Arguments that more than one module accepts. Each function returns the value in the type that its callers use.

Each raises InvalidArgument, or the error that its docstring names; the message has the argument's name, the value, what
is accepted, and an example. Keys, costs and limits of single calls are not here: the native half validates them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from flint._errors import InvalidArgument, InvalidCost, InvalidLimit
from flint._native import Limit

if TYPE_CHECKING:
    from flint._types import Period, RateLike

T = TypeVar("T")

# The longest time that every operating system can wait for.
_MAX_SECONDS = 365 * 86_400.0
# Longer than the wait for any limit: 292 years, which every event loop and lock can wait for.
_MAX_WAIT_SECONDS = 2.0**63 / 1e9
_MAX_TOKEN = 4096


def wait_timeout(timeout: object) -> float | None:
    """How long acquire() may wait: None, or seconds from 0 on."""
    if timeout is None:
        return None
    seconds = _seconds(timeout)
    if seconds is None or seconds < 0:
        raise InvalidArgument(f"timeout must be None or a number of seconds, 0 or more, such as 2.5, not {timeout!r}")
    return min(seconds, _MAX_WAIT_SECONDS)


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


def limit_of_calls(
    rate: RateLike | None, per: Period | None, burst: int | None, algorithm: str, *, owner: str = "invalid limit"
) -> Limit | None:
    """The limit that comes with each call of a decorated function or each request; None without a rate.

    owner: what the message begins with. Raises InvalidLimit.
    """
    # Limit() refuses an algorithm together with a flint.Limit, which has its own, so the default is left out.
    named = {} if algorithm == "token_bucket" else {"algorithm": algorithm}
    if rate is not None:
        return Limit(rate, per, burst=burst, **named)
    for name, value in {"per": per, "burst": burst, **named}.items():
        if value is not None:
            raise InvalidLimit(
                f"{owner}: {name} was given without rate; give both, as in rate='9/minute', burst=9, or neither for a "
                "key whose limit was set with limit()"
            )
    return None


def cost_of_calls(cost: object, limit: Limit | None, *, owner: str = "invalid cost") -> int:
    """The cost of each call or request: an integer from 1 to the capacity of its limit.

    owner: what the message begins with. Raises InvalidCost.
    """
    capacity = 2**64 - 1 if limit is None else limit.capacity
    try:
        number = 0 if isinstance(cost, bool) else operator.index(cost)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if not 1 <= number <= capacity:
        bound = "the limit's capacity" if limit is None else f"the limit's capacity of {capacity}"
        raise InvalidCost(f"{owner}: {cost!r} is not accepted; a cost is an integer from 1 to {bound}, such as 1")
    return number


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
