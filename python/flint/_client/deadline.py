"""How long a call has left. Deadlines are by `time.monotonic()`."""

from __future__ import annotations

from time import monotonic


def exceeded() -> TimeoutError:
    """The error of a call that has no time left."""
    return TimeoutError("the timeout of the call is over")


def remaining(deadline: float) -> float:
    """The seconds until `deadline`, more than 0. Raises TimeoutError."""
    left = deadline - monotonic()
    if left <= 0:
        raise exceeded()
    return left
