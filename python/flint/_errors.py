"""Everything that Flint raises of its own.

Each message says what was wrong, where, and what is accepted or can be done.

    FlintError
    ├── RateLimitExceeded                  a limit said no, where saying no is an exception
    │   └── AcquireTimeout (TimeoutError)  the wait for a limit would take too long
    ├── LimitNotFound (LookupError)        no limit is set for the key and none came with the call
    ├── InvalidLimit (ValueError)          the caller's input; nothing was written
    ├── InvalidCost (ValueError)
    ├── InvalidKey (ValueError)
    ├── InvalidArgument (ValueError)       any other setting or argument
    ├── StorageError                       the disk said no; a stopped or read-only limiter; an unsupported format
    │   └── CorruptData                    the files contradict themselves; nothing was changed
    ├── DataDirLocked                      another writer holds the directory
    ├── ClosedError                        the limiter was closed
    ├── ForkedError                        the process was forked after the limiter was opened
    ├── FlintConnectionError               a server could not be reached
    └── FlintServerError                   a server answered with an error

Beside these, an argument of the wrong type (a key that is no str) is a TypeError. All can be pickled.
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


class RateLimitExceeded(FlintError):
    """A limit said no.

    Attributes:
        result: the CheckResult of the denied check; the other attributes are its.
        key: the key.
        cost: tokens that were asked for.
        limit: tokens per period of the rate that binds.
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
            f"rate limit exceeded for {self.key!r}: {self.cost} asked for, {self.remaining} of {self.limit} left, "
            f"retry after {self.retry_after:g} s"
        )

    @property
    def key(self) -> str:
        """The key."""
        return self.result.key

    @property
    def cost(self) -> int:
        """Tokens that were asked for."""
        return self.result.cost

    @property
    def limit(self) -> int:
        """Tokens per period of the rate that binds."""
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
        result: a denied CheckResult; its retry_after is the whole wait, everybody who came before included.
    """

    __module__ = "flint"

    def __str__(self) -> str:
        if self.result.degraded:
            return f"no server answered before the wait for {self.key!r} was over"
        return (
            f"the wait for {self.key!r} would take {self.retry_after:g} s, longer than the timeout: {self.cost} asked "
            f"for, {self.remaining} of {self.limit} left"
        )


class LimitNotFound(FlintError, LookupError):
    """No limit is set for the key and none came with the call.

    Attributes:
        key: the key that was asked for, or None.
    """

    __module__ = "flint"

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class InvalidLimit(FlintError, ValueError):
    """A rate, period, burst or algorithm that is not understood or outside what can be represented."""

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
    """The disk said no, an earlier failure stopped the limiter, it only reads, or the format is not supported.

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
    """A file contradicts itself or its neighbours, or is missing. Nothing was changed.

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
    """Another writer holds the directory.

    Attributes:
        path: the directory.
        pid: the process that holds it, or None where that could not be found out.
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
    """A Flint server could not be reached, or its answer did not arrive whole and in time."""

    __module__ = "flint"


class FlintServerError(FlintError):
    """A Flint server answered with an error that is not about the call's arguments.

    Attributes:
        status: the HTTP status.
        code: the server's name for the error, such as "unauthorized" or "busy"; "" where none came.
    """

    __module__ = "flint"

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
