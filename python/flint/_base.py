"""What both limiters have in common: waiting for a limit, the decorator, and the default of `algorithm`."""

from __future__ import annotations

import sys

from flint._errors import ClosedError, StorageError
from flint._native import _Specs

# Type checkers take the name for typing.TYPE_CHECKING; importing that module would double the time to import flint.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType
    from typing import Any

    from flint._backend import Acquires, Attempts
    from flint._decorator import Decorator
    from flint._native import CheckResult, _LimitManyCall
    from flint._types import LimitLike, Period, RateLike


# Limits that are parsed before the event loop goes on: about a millisecond.
_SLICE = 500


class _Default(str):
    """The text of a default, distinct from an equal str of a caller."""

    __slots__ = ()


def ended(error: ImportError) -> ClosedError:
    """What is raised for a module that cannot be imported because the interpreter is ending."""
    if not sys.is_finalizing():
        raise error
    return ClosedError("the interpreter is ending, and no call of a limiter works any more")


# The default of `algorithm`. The native half refuses an algorithm together with a flint.Limit, which has its own, also
# when it is "token_bucket"; so a default has to be left out.
TOKEN_BUCKET = _Default("token_bucket")


def named(algorithm: str) -> tuple[str, ...]:
    """The algorithm as a last positional argument, unless it is the default."""
    return () if algorithm is TOKEN_BUCKET else (algorithm,)


async def limit_many_call(specs: Iterable[Mapping[str, Any]]) -> _LimitManyCall:
    """The parsed call of alimit_many(); the event loop goes on meanwhile. Raises what the call raises for arguments."""
    parser = _Specs(specs)
    while (call := parser.parse(_SLICE)) is None:
        from asyncio import sleep

        await sleep(0)
    return call


class _Loading:
    """Around the import of a module that is loaded with the first call that needs it: before anything is consumed."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            message = f"nothing was consumed, because a part of Flint cannot be loaded: {error}"
            raise StorageError(message, errno=error.errno, filename=error.filename) from error
        if isinstance(error, ImportError):
            raise ended(error) from None


def _waiting() -> ModuleType:
    """The module that waits."""
    with _Loading():
        from flint._waiting import acquire
    return acquire


class LimiterBase:
    """The methods that a limiter has in terms of those of `flint._backend`."""

    __slots__ = ()

    def acquire(
        self: Attempts, key: str, cost: int = 1, *, limit: LimitLike | None = None, timeout: float | None = None
    ) -> CheckResult:
        """Wait until check() would allow the call, and make it.

        The threads and coroutines that wait for this key through this object are served in the order of their calls;
        the queue does not include other clients of a server. A waiting thread releases the GIL. A call that waits is
        not counted as a denial.

        timeout: seconds, 0 or more; without one the wait may take as long as the limit requires. Each request of a
            SharedLimiter is also bounded by the client's own timeout.

        Raises AcquireTimeout as soon as it is clear that the wait would take longer than `timeout` (which counts as a
        denial), and what check() raises.
        """
        result: CheckResult = _waiting().acquire(self, key, cost, limit, timeout)
        return result

    async def aacquire(
        self: Attempts, key: str, cost: int = 1, *, limit: LimitLike | None = None, timeout: float | None = None
    ) -> CheckResult:
        """Like acquire(), without holding up the event loop. Cancelling it gives up the place in the queue."""
        result: CheckResult = await _waiting().aacquire(self, key, cost, limit, timeout)
        return result

    def rate_limit(
        self: Acquires,
        key: str | Callable[..., str],
        rate: RateLike | None = None,
        per: Period | None = None,
        *,
        cost: int | Callable[..., int] = 1,
        burst: int | None = None,
        algorithm: str = "token_bucket",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Decorator:
        """Decorate a function that asks this limiter before each call.

        key, cost: a value, or a function of the call's arguments.
        rate, per, burst, algorithm: as for flint.Limit; the limit is part of each call. Without a rate the key's limit
            must have been set with limit().
        wait: wait for the limit, at most `timeout` seconds, instead of raising.

        Works for functions, methods, class and static methods, coroutines, generators and asynchronous generators
        (which ask when their first item is requested), and keeps name, signature and type. A call that raises after it
        was allowed has consumed its cost.

        The function raises RateLimitExceeded, with wait=True AcquireTimeout, and what check() raises.
        """
        with _Loading():
            from flint._decorator import rate_limit
        return rate_limit(self, key, rate, per, cost=cost, burst=burst, algorithm=algorithm, wait=wait, timeout=timeout)
