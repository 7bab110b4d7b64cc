"""What integrations ask of a limiter: no more than these methods, so that every kind of limiter will do.

flint.Limiter has them all. Nothing in an integration depends on that class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from flint._native import CheckResult, Limit, LimitStatus, MultiCheckResult

LimitLike: TypeAlias = str | Limit
Item: TypeAlias = str | tuple[str, int] | Mapping[str, Any]


class Checks(Protocol):
    """Decides, and takes what it allows."""

    def check(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Take `cost` tokens of `key` if they are there."""

    def peek(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """What `check` would say; takes and counts nothing."""


class ChecksAsync(Protocol):
    """The same for coroutines."""

    async def acheck(self, key: str, cost: int = 1, *, limit: LimitLike | None = None) -> CheckResult:
        """Take `cost` tokens of `key` if they are there."""

    async def acheck_all(self, items: Iterable[Item]) -> MultiCheckResult:
        """Take tokens of several keys, all or nothing."""


class Acquires(Checks, ChecksAsync, Protocol):
    """Decides, or waits until it can allow."""

    def acquire(
        self, key: str, cost: int = 1, *, limit: LimitLike | None = None, timeout: float | None = None
    ) -> CheckResult:
        """Wait until `cost` tokens of `key` are there and take them."""

    async def aacquire(
        self, key: str, cost: int = 1, *, limit: LimitLike | None = None, timeout: float | None = None
    ) -> CheckResult:
        """Wait until `cost` tokens of `key` are there and take them."""


class Reports(Protocol):
    """Tells what was decided."""

    def list(self, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> list[LimitStatus]:
        """Statuses in the order of the keys."""

    def counters(self) -> Mapping[str, Any]:
        """Totals since opening."""
