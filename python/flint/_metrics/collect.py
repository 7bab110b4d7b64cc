"""The state of a limiter's keys as rows: one for each set of labels, however many keys share it.

There may be many keys, so they are scanned in slices, between which other threads get the GIL. Where each key has a row
of its own, at most a page of keys and the exported ones are held at a time.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from flint._backend import Reports, Sums
from flint._errors import InvalidArgument
from flint._metrics.options import Options
from flint._metrics.rows import Row, Spec
from flint._native import LimitStatus, Rate

T = TypeVar("T")

# The conversion of a page into Python objects holds the GIL: 10,000 take a few milliseconds.
_PAGE = 10_000
_SLICE = 500
# Long enough for another thread to wake up and take the GIL; a sleep of 0 usually ends before that.
_YIELD_S = 1e-4


def in_slices(items: Sequence[T]) -> Iterator[T]:
    """The items; other threads get the GIL after each slice."""
    for start in range(0, len(items), _SLICE):
        yield from items[start : start + _SLICE]
        time.sleep(_YIELD_S)


def read(limiter: Reports, options: Options) -> tuple[list[Row], int]:
    """The rows, in the order of their labels, and the number of keys that max_series left out."""
    if not options.include_key_label and isinstance(limiter, Sums):
        rows = [Row.of_sums(sums) for sums in limiter._aggregates()]
        return _kept(rows, sum(row.keys for row in rows), options)
    specs = _Specs()
    scan = _Scan(limiter)
    if options.include_key_label and options.key_label_func is None:
        largest = _largest(scan, options.max_series, lambda status: status.total_allowed + status.total_denied)
        rows = [Row(status.key, specs.of(status), status, status.counters) for status in in_slices(largest)]
    else:
        rows = _merged(scan, specs, options)
    return _kept(rows, scan.keys, options)


def _kept(rows: list[Row], keys: int, options: Options) -> tuple[list[Row], int]:
    """The rows with the largest totals, in the order of their labels, and the number of other keys."""
    largest = _largest(in_slices(rows), options.max_series, lambda row: row.allowed + row.denied)
    kept = _first_series(largest, options.max_series)
    kept.sort(key=lambda row: (row.label or "", row.algorithm))
    return kept, keys - sum(row.keys for row in kept)


class _Specs:
    """The specs of limits. Equal limits have one Spec, which Row.add relies on."""

    def __init__(self) -> None:
        self._by_rates: dict[tuple[Rate, ...], Spec] = {}

    def of(self, status: LimitStatus) -> Spec:
        """The spec of a key's limit."""
        rates = status.rates
        spec = self._by_rates.get(rates)
        if spec is None:
            spec = self._by_rates[rates] = Spec(rates)
        return spec


class _Scan:
    """The statuses of all keys, page by page; counts them."""

    def __init__(self, limiter: Reports) -> None:
        self._limiter = limiter
        self.keys = 0

    def __iter__(self) -> Iterator[LimitStatus]:
        page = self._limiter.list(limit=_PAGE)
        while page:
            self.keys += len(page)
            yield from in_slices(page)
            if len(page) < _PAGE:
                return
            page = self._limiter.list(limit=_PAGE, after=page[-1].key)


def _merged(statuses: Iterable[LimitStatus], specs: _Specs, options: Options) -> list[Row]:
    """One row for each label and algorithm."""
    merged: dict[tuple[str | None, str], Row] = {}
    for status in statuses:
        spec, label = specs.of(status), _label(options, status.key)
        row = merged.get((label, spec.algorithm))
        if row is None:
            merged[label, spec.algorithm] = Row(label, spec, status)
        else:
            row.add(spec, status)
    return list(merged.values())


def _first_series(rows: Iterable[Row], max_series: int) -> list[Row]:
    """The first rows, as many as have max_series series in all."""
    kept, left = [], max_series
    for row in rows:
        left -= row.series
        if left < 0:
            break
        kept.append(row)
    return kept


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
