"""The exceptions of Flint.

Each message says what happened, to what, and what is accepted or can be done.

    FlintError
    ├── RateLimitExceeded                  a limit denied the call, where a denial is an exception
    │   └── AcquireTimeout (TimeoutError)  the wait for a limit would take too long
    ├── LimitNotFound (LookupError)        no limit is set for the key and the call has none
    ├── InvalidLimit (ValueError)          invalid input of the caller; nothing was written
    ├── InvalidCost (ValueError)
    ├── InvalidKey (ValueError)
    ├── InvalidArgument (ValueError)       any other setting or argument
    ├── StorageError                       a disk error; a stopped or read-only limiter; an unsupported format
    │   └── CorruptData                    the files contradict each other; nothing was changed
    ├── DataDirLocked                      another writer has locked the directory
    ├── ClosedError                        the limiter was closed
    ├── ForkedError                        the process was forked after the limiter was opened
    ├── FlintConnectionError               a server could not be reached
    └── FlintServerError                   a server answered with an error

An argument of the wrong type (a key that is not a str) raises TypeError. All exceptions can be pickled.
"""

from __future__ import annotations

# Type checkers take the name for typing.TYPE_CHECKING; importing that module would double the time to import flint.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from flint._native import CheckResult


class FlintError(Exception):
    """Base of every error of Flint."""

    __module__ = "flint"


def capacity_of(result: CheckResult) -> int:
    """The tokens that the most restrictive rate of a result holds when it is full."""
    for rate in result.rates:
        if (rate.rate, rate.remaining) == (result.limit, result.remaining):
            return rate.burst
    return result.limit


class RateLimitExceeded(FlintError):
    """A limit denied the call.

    Attributes:
        result: the CheckResult of the denied check; the other attributes are taken from it.
        key: the key.
        cost: tokens that were requested.
        limit: tokens per period of the most restrictive rate.
        remaining: tokens left.
        retry_after: seconds until the same call would be allowed, rounded up.
        reset_at: when the full limit is back, an aware UTC datetime.
    """

    __module__ = "flint"

    def __init__(self, result: CheckResult) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        if self.result.degraded:
            return f"no server answered, so {self.key!r} is denied as on_error says; retry after {self.retry_after:g} s"
        return (
            f"rate limit exceeded for {self.key!r}: {self.cost} requested, {self.remaining} of "
            f"{capacity_of(self.result)} left, retry after {self.retry_after:g} s"
        )

    @property
    def key(self) -> str:
        """The key."""
        return self.result.key

    @property
    def cost(self) -> int:
        """Tokens that were requested."""
        return self.result.cost

    @property
    def limit(self) -> int:
        """Tokens per period of the most restrictive rate."""
        return self.result.limit

    @property
    def remaining(self) -> int:
        """Tokens left."""
        return self.result.remaining

    @property
    def retry_after(self) -> float:
        """Seconds until the same call would be allowed, rounded up."""
        return self.result.retry_after

    @property
    def reset_at(self) -> datetime:
        """When the full limit is back, an aware UTC datetime."""
        return self.result.reset_at


class AcquireTimeout(RateLimitExceeded, TimeoutError):
    """The wait for a limit would take longer than the caller's timeout.

    Attributes:
        result: a denied CheckResult; its retry_after is the whole wait, that of all earlier callers included.
        time_left: seconds that were left of the timeout, or None where that is not known.
    """

    __module__ = "flint"

    def __init__(self, result: CheckResult, *, time_left: float | None = None) -> None:
        super().__init__(result)
        self.time_left = time_left

    def __str__(self) -> str:
        if self.result.degraded:
            return f"no server answered before the wait for {self.key!r} was over"
        than = "the timeout" if self.time_left is None else f"the {self.time_left:g} s left of the timeout"
        return (
            f"the wait for {self.key!r} would take {self.retry_after:g} s, longer than {than}: cost {self.cost}, "
            f"{self.remaining} of {capacity_of(self.result)} tokens left"
        )


class LimitNotFound(FlintError, LookupError):
    """No limit is set for the key and the call has none.

    Attributes:
        key: the key of the call, or None.
    """

    __module__ = "flint"

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class InvalidLimit(FlintError, ValueError):
    """A rate, period, burst or algorithm that cannot be parsed or is out of range."""

    __module__ = "flint"


class InvalidCost(FlintError, ValueError):
    """A cost that could never succeed: not an integer from 1 to the limit's capacity."""

    __module__ = "flint"


class InvalidKey(FlintError, ValueError):
    """A key that is not 1 to 512 bytes of UTF-8, or that appears twice where it may appear once."""

    __module__ = "flint"


class InvalidArgument(FlintError, ValueError):
    """A setting or argument, other than key, limit and cost, that is not accepted."""

    __module__ = "flint"


class StorageError(FlintError):
    """A disk error, a limiter that an earlier failure stopped, a read-only limiter, or an unsupported format.

    Attributes:
        errno: the operating system's error number, or None.
        filename: the file or directory concerned, or None.
    """

    __module__ = "flint"

    def __init__(self, message: str, *, errno: int | None = None, filename: str | None = None) -> None:
        super().__init__(message)
        self.errno = errno
        self.filename = filename


class CorruptData(StorageError):
    """A file is damaged, contradicts another file, or is missing. Nothing was changed.

    Attributes:
        path: the file.
        offset: the first byte that cannot be trusted.
    """

    __module__ = "flint"

    def __init__(self, message: str, *, path: str = "", offset: int = 0) -> None:
        super().__init__(message, filename=path)
        self.path = path
        self.offset = offset


class DataDirLocked(FlintError):
    """Another writer has locked the directory.

    Attributes:
        path: the directory.
        pid: the process that has locked it; None if it is unknown, or in another PID namespace, such as a container's.
    """

    __module__ = "flint"

    def __init__(self, message: str, *, path: str | None = None, pid: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.pid = pid


class ClosedError(FlintError):
    """The limiter was closed."""

    __module__ = "flint"


class ForkedError(FlintError):
    """The process was forked after the limiter was opened: create it after the fork."""

    __module__ = "flint"


class FlintConnectionError(FlintError):
    """A Flint server could not be reached, or its answer did not arrive completely and in time."""

    __module__ = "flint"


class FlintServerError(FlintError):
    """A Flint server answered with an error that is not about the call's arguments.

    Attributes:
        status: the HTTP status.
        code: the server's name for the error, such as "unauthorized" or "busy"; "" if the answer has none.
    """

    __module__ = "flint"

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
