"""What waiting, decorators, metrics, web integrations and commands need of a limiter: a small protocol for each need.

`flint.Limiter` and `flint.SharedLimiter` have what concerns them. No integration depends on either class, and none
calls anything that is not in the protocol that it names, so that another kind of limiter has only these methods to
write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from flint._native import CheckResult, Event, LimitStatus, MultiCheckResult

if TYPE_CHECKING:
    import builtins

    from flint._types import Aggregate, Item, LimitLike, Period, RateLike, Report
    from flint._waiting.queue import Queues


class Checks(Protocol):
    """Decides in the calling thread."""

    def check(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Take `cost` tokens of `key` if they are there."""

    def peek(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """What `check` would return; takes and counts nothing."""


@runtime_checkable
class ChecksAsync(Protocol):
    """Decides for a coroutine."""

    async def acheck(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Take `cost` tokens of `key` if they are there."""

    async def acheck_all(self, items: Iterable[Item]) -> MultiCheckResult:
        """Take tokens of several keys, all or nothing."""


class Acquires(Checks, ChecksAsync, Protocol):
    """Decides, or waits until the call is allowed. Decorated functions need it."""

    def acquire(
        self, key: str, cost: int = 1, *, limit: LimitLike | None = None, timeout: float | None = None
    ) -> CheckResult:
        """Wait until `cost` tokens of `key` are there and take them."""

    async def aacquire(
        self, key: str, cost: int = 1, *, limit: LimitLike | None = None, timeout: float | None = None
    ) -> CheckResult:
        """Wait until `cost` tokens of `key` are there and take them."""


class Attempts(Protocol):
    """What acquire() and aacquire() are made of where no engine has a queue: `flint._waiting` calls nothing else."""

    @property
    def _queues(self) -> Queues:
        """The callers that wait, by key; the same object each time."""

    def _attempt(self, key: str, cost: int, limit: LimitLike | None, /) -> CheckResult:
        """As `check`, but a denial is not counted: the caller goes on waiting."""

    async def _aattempt(self, key: str, cost: int, limit: LimitLike | None, /) -> CheckResult:
        """The async variant of `_attempt`."""

    def _look_ahead(self, key: str, cost: int, limit: LimitLike | None, costs: list[int] | None, /) -> CheckResult:
        """A denied result whose `retry_after` is the time until `costs` could be taken, one after the other.

        Takes and counts nothing. Without `costs` its numbers do not matter: it raises what `check` would raise.
        """

    async def _alook_ahead(
        self, key: str, cost: int, limit: LimitLike | None, costs: list[int] | None, /
    ) -> CheckResult:
        """The async variant of `_look_ahead`."""

    def _count_denial(self, key: str, cost: int, limit: LimitLike | None, /) -> None:
        """Count one denial of `key`: a caller gave up waiting."""

    async def _acount_denial(self, key: str, cost: int, limit: LimitLike | None, /) -> None:
        """The async variant of `_count_denial`."""


@runtime_checkable
class Sums(Protocol):
    """Adds up all keys. Metrics without key labels use it where a limiter has it, instead of `Reports.list`."""

    def _aggregates(self) -> list[Aggregate]:
        """One tuple for each combination of algorithms."""


@runtime_checkable
class Reports(Protocol):
    """Reports what was decided. Metrics need it."""

    def list(self, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> list[LimitStatus]:
        """Statuses in the order of the keys."""

    def counters(self) -> Mapping[str, Any]:
        """Totals since opening."""


class Inspects(Protocol):
    """Shows keys. The commands that only read need it."""

    def peek(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """What `check` would return; takes and counts nothing."""

    def status(self, key: str) -> LimitStatus | None:
        """The limit of `key`, what is left of it and its totals."""

    def list(self, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> list[LimitStatus]:
        """Statuses in the order of the keys."""

    def top(self, by: str = "denied", limit: int = 10) -> builtins.list[LimitStatus]:
        """The statuses with the largest total."""

    def history(self, key: str, limit: int = 100) -> builtins.list[Event]:
        """The newest events of `key`, oldest first."""


class Administers(Inspects, Checks, Protocol):
    """Changes limits and looks after the log. The commands that write need it."""

    def check_all(self, items: Iterable[Item]) -> MultiCheckResult:
        """Take tokens of several keys, all or nothing."""

    def limit(
        self,
        key: str,
        rate: RateLike,
        per: Period | None = None,
        *,
        algorithm: str = "token_bucket",
        burst: int | None = None,
        on_change: str = "keep",
    ) -> None:
        """Set the limit of `key`."""

    def reset(self, key: str) -> None:
        """Restore the full limit of `key`."""

    def delete(self, key: str) -> None:
        """Remove `key`."""

    def flush(self) -> None:
        """Return when everything that was acknowledged so far is on disk."""

    def compact(self) -> None:
        """Write a snapshot and drop the log that it replaces."""

    def doctor(self) -> Report:
        """Verify the files; changes nothing."""


class AdministersRemotely(Administers, Protocol):
    """The limiter of a server, whose log no command can read from the disk."""

    def _log_records(self, after: int, limit: int, /) -> tuple[builtins.list[dict[str, Any]], int]:
        """Records of the log above the sequence number `after`, and the newest number among them."""
