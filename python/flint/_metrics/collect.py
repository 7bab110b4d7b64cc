"""The state of a limiter's keys as rows: one for each set of labels, however many keys share it.

There may be many keys, so they are scanned in slices, between which other threads get the GIL. Where each key has a row
of its own, at most a page of keys and the exported ones are held at a time.
"""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from flint._backend import Reports
from flint._errors import InvalidArgument
from flint._native import LimitStatus, Rate, _limit_of

T = TypeVar("T")

# Each page is one pass of the engine over all of its keys, so pages are large, although their conversion into Python
# objects holds the GIL: 10,000 take a few milliseconds.
_PAGE = 10_000
_SLICE = 500
# Long enough for another thread to wake up and take the GIL; a sleep of 0 usually ends before that.
_YIELD_S = 1e-4

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Options:
    """The arguments of flint.prometheus.FlintCollector, whose docstring describes them."""

    prefix: str
    include_key_label: bool
    key_label_func: Callable[[str], str] | None
    max_series: int

    def __post_init__(self) -> None:
        _require_type("prefix", self.prefix, str)
        _require_type("include_key_label", self.include_key_label, bool)
        _require_type("max_series", self.max_series, int)
        if _PREFIX.fullmatch(self.prefix) is None:
            raise InvalidArgument(
                f"prefix must be letters, digits and underscores, and not begin with a digit: {self.prefix!r}"
            )
        if self.max_series < 1:
            raise InvalidArgument(f"max_series must be at least 1: {self.max_series}")
        if self.key_label_func is not None:
            if not callable(self.key_label_func):
                raise TypeError(f"key_label_func must be callable, not {type(self.key_label_func).__name__}")
            if not self.include_key_label:
                raise InvalidArgument("key_label_func makes the label that include_key_label=False leaves out")


def _require_type(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")


@dataclass(frozen=True)
class RateSeries:
    """One rate of a limit. `text` distinguishes it from the limit's other rates and is None where there are none."""

    algorithm: str
    text: str | None
    rate: int
    per_millis: int


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
    they differ or where a limit has several rates.
    """

    __slots__ = (
        "algorithm",
        "allowed",
        "allowed_cost",
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

    def __init__(self, label: str | None, spec: Spec, status: LimitStatus) -> None:
        self.label = label
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

    @property
    def series(self) -> int:
        """The largest number of series that this row has in one metric."""
        return 1 if self.spec is None else len(self.spec.series)


def in_slices(items: Sequence[T]) -> Iterator[T]:
    """The items; other threads get the GIL after each slice."""
    for start in range(0, len(items), _SLICE):
        yield from items[start : start + _SLICE]
        time.sleep(_YIELD_S)


def read(limiter: Reports, options: Options) -> tuple[list[Row], int]:
    """The rows, in the order of their labels, and the number of keys that max_series left out."""
    specs: dict[tuple[Rate, ...], Spec] = {}

    def spec_of(status: LimitStatus) -> Spec:
        rates = status.rates
        spec = specs.get(rates)
        if spec is None:
            # Equal limits are one Spec, which Row.add relies on.
            spec = specs[rates] = Spec(rates)
        return spec

    keys = 0

    def statuses() -> Iterator[LimitStatus]:
        nonlocal keys
        for page in _pages(limiter):
            keys += len(page)
            yield from in_slices(page)

    if options.include_key_label and options.key_label_func is None:
        largest = _largest(statuses(), options.max_series, lambda status: status.total_allowed + status.total_denied)
        rows = [Row(status.key, spec_of(status), status) for status in in_slices(largest)]
    else:
        merged: dict[tuple[str | None, str], Row] = {}
        for status in statuses():
            spec, label = spec_of(status), _label(options, status.key)
            row = merged.get((label, spec.algorithm))
            if row is None:
                merged[label, spec.algorithm] = Row(label, spec, status)
            else:
                row.add(spec, status)
        rows = _largest(in_slices(list(merged.values())), options.max_series, lambda row: row.allowed + row.denied)

    kept, places = [], options.max_series
    for row in rows:
        places -= row.series
        if places < 0:
            break
        kept.append(row)
    kept.sort(key=lambda row: (row.label or "", row.algorithm))
    return kept, keys - sum(row.keys for row in kept)


def _pages(limiter: Reports) -> Iterator[list[LimitStatus]]:
    page = limiter.list(limit=_PAGE)
    while page:
        yield page
        if len(page) < _PAGE:
            return
        page = limiter.list(limit=_PAGE, after=page[-1].key)


def _largest(items: Iterable[T], count: int, total: Callable[[T], int]) -> list[T]:
    """The `count` items with the largest totals, largest first; of equal ones the earlier."""
    heap: list[tuple[int, int, T]] = []
    for position, item in enumerate(items):
        size = total(item)
        if len(heap) < count:
            heapq.heappush(heap, (size, -position, item))
        elif size > heap[0][0]:
            heapq.heapreplace(heap, (size, -position, item))
    heap.sort(reverse=True)
    return [item for _, _, item in heap]


def _label(options: Options, key: str) -> str | None:
    """The text of the label `key` where it is not the key itself."""
    if options.key_label_func is None:
        return None
    try:
        label = options.key_label_func(key)
    except Exception as error:
        raise InvalidArgument(f"key_label_func raised {type(error).__name__} for the key {key!r}: {error}") from error
    if not isinstance(label, str):
        raise TypeError(f"key_label_func must return a str, not {type(label).__name__}, as for the key {key!r}")
    if not label.isascii():
        try:
            label.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"key_label_func returned {label!r} for the key {key!r}: {error}") from error
    return label
