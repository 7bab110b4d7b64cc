"""Keys that share their labels, as one row of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flint._native import CounterStatus, LimitStatus, Rate, _limit_of
from flint._types import Aggregate


@dataclass(frozen=True)
class RateSeries:
    """One rate of a limit. `text` distinguishes it from the limit's other rates and is None where there are none."""

    algorithm: str
    text: str | None
    rate: int
    per_millis: int


class CounterSeries:
    """One counter of a key that has several."""

    __slots__ = ("algorithm", "allowed", "denied", "limit", "remaining")

    def __init__(self, counter: CounterStatus) -> None:
        # Both texts together name each rate, in order, so that no two counters of a key share their labels.
        self.limit = str(_limit_of(counter.rates))
        self.algorithm = ",".join(rate.algorithm for rate in counter.rates)
        self.remaining = counter.remaining
        self.allowed = counter.total_allowed
        self.denied = counter.total_denied


class Spec:
    """The rates of a limit, and the label `algorithm` of what concerns all of them."""

    def __init__(self, rates: Iterable[Rate]) -> None:
        # A limit may name the same rate twice.
        distinct = list(dict.fromkeys(rates))
        several = len(distinct) > 1
        self.algorithm = ",".join(dict.fromkeys(rate.algorithm for rate in distinct))
        self.series = [
            RateSeries(rate.algorithm, str(_limit_of([rate])) if several else None, rate.rate, rate.per_millis)
            for rate in distinct
        ]
        self.one = None if several else self.series[0]


class Row:
    """Keys that share their labels.

    `spec` is None where their limits differ. `rate` and `per_millis` are what their limits have in common: None where
    they differ or where a limit has several rates. `counters` are those of a single key, if it has several.
    """

    __slots__ = (
        "algorithm",
        "allowed",
        "allowed_cost",
        "counters",
        "denied",
        "denied_cost",
        "keys",
        "label",
        "per_millis",
        "rate",
        "remaining",
        "reset_at_ns",
        "spec",
    )

    def __init__(
        self, label: str | None, spec: Spec, status: LimitStatus, counters: tuple[CounterStatus, ...] = ()
    ) -> None:
        self.label = label
        self.counters = [CounterSeries(counter) for counter in counters] if len(counters) > 1 else []
        self.algorithm = spec.algorithm
        self.spec: Spec | None = spec
        self.rate = spec.one.rate if spec.one else None
        self.per_millis = spec.one.per_millis if spec.one else None
        self.keys = 1
        self.remaining = status.remaining
        self.reset_at_ns = status.reset_at_ns
        self.allowed = status.total_allowed
        self.denied = status.total_denied
        self.allowed_cost = status.total_allowed_cost
        self.denied_cost = status.total_denied_cost

    def add(self, spec: Spec, status: LimitStatus) -> None:
        """Adds a key with these labels."""
        if spec is not self.spec:
            self.spec = None
            self.rate = self.rate if spec.one and spec.one.rate == self.rate else None
            self.per_millis = self.per_millis if spec.one and spec.one.per_millis == self.per_millis else None
        self.keys += 1
        self.remaining = min(self.remaining, status.remaining)
        self.reset_at_ns = max(self.reset_at_ns, status.reset_at_ns)
        self.allowed += status.total_allowed
        self.denied += status.total_denied
        self.allowed_cost += status.total_allowed_cost
        self.denied_cost += status.total_denied_cost

    @classmethod
    def of_sums(cls, sums: Aggregate) -> Row:
        """Keys that were added up already, without a label."""
        row = cls.__new__(cls)
        row.label = None
        row.algorithm, rates, row.rate, row.per_millis, row.keys, row.remaining, row.reset_at_ns, *totals = sums
        row.spec = None if rates is None else Spec(rates)
        row.counters = []
        row.allowed, row.denied, row.allowed_cost, row.denied_cost = totals
        return row

    @property
    def series(self) -> int:
        """The largest number of series that this row has in one metric."""
        return max(1 if self.spec is None else len(self.spec.series), len(self.counters))
