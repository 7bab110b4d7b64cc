"""The data directories of the benchmarks and their content."""

from __future__ import annotations

from pathlib import Path

import limits
from measure import Report

import flint

PLENTY = "1000000000000/hour"
KEY = "api:user-42"
RECORD_BYTES = 64
LIMITS_HIT = f"limits {limits.__version__}: FixedWindowRateLimiter.hit on MemoryStorage"


def key_of(number: int) -> str:
    """A key of 21 bytes."""
    return f"tenant-{number % 97:02d}:user-{number:06d}"


class Bench:
    """The data directories of one run, its report, and how much it measures."""

    def __init__(self, root: Path, quick: bool) -> None:
        self.root = root
        self.quick = quick
        self.report = Report()
        self._count = 0
        self._full: Path | None = None

    def scale(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def directory(self) -> Path:
        self._count += 1
        return self.root / f"store-{self._count}"

    def limiter(self, sync: str, **options: object) -> flint.Limiter:
        return flint.Limiter(self.directory(), sync=sync, **options)

    def full_store(self) -> Path:
        """A closed store with a million keys in its snapshot, each configured and checked once. Made on first use."""
        if self._full is None:
            self._full = self.directory()
            with flint.Limiter(self._full, sync="batch") as limiter:
                fill(limiter, self.million())
                for number in range(self.million()):
                    limiter.check(key_of(number))
                limiter.compact()
        return self._full

    def million(self) -> int:
        return self.scale(1_000_000, 200_000)


def fill(limiter: flint.Limiter, keys: int) -> None:
    for start in range(0, keys, 50_000):
        limiter.limit_many([{"key": key_of(n), "rate": "100/minute"} for n in range(start, min(start + 50_000, keys))])
