"""The state of a limiter as metric families of prometheus_client.

Names, types and help texts of all metrics are in the three tables, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate
from operator import attrgetter
from typing import Any, NamedTuple

from flint._backend import Reports
from flint._metrics.collect import in_slices, read
from flint._metrics.options import Options
from flint._metrics.rows import RateSeries, Row

try:
    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
    from prometheus_client.utils import floatToGoString
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    raise ImportError("metrics need prometheus_client: pip install --upgrade flint-limiter") from error

_NS_PER_S = 1e9


class _About(NamedTuple):
    """One metric. `source` is an attribute of rows or rates, or a name in counters(); values are divided by `unit`."""

    name: str
    type: str
    source: str
    help: str
    unit: float | None = None


_OF_RATES = (
    _About("limit_rate", "gauge", "rate", "Tokens per period."),
    _About("limit_per_millis", "gauge", "per_millis", "The period in milliseconds."),
)
_OF_KEYS = (
    _About("limit_remaining", "gauge", "remaining", "Tokens left."),
    _About(
        "limit_reset_at_seconds",
        "gauge",
        "reset_at_ns",
        "When the full limit is back, in seconds since 1970.",
        _NS_PER_S,
    ),
    _About("requests_allowed", "counter", "allowed", "Total allowed checks."),
    _About("requests_denied", "counter", "denied", "Total denied checks."),
    _About("request_cost_allowed", "counter", "allowed_cost", "Total cost of allowed checks."),
    _About("request_cost_denied", "counter", "denied_cost", "Total cost of denied checks."),
)
# Of keys to which calls brought several limits.
_OF_COUNTERS = (
    _About("counter_remaining", "gauge", "remaining", "Tokens left of one of a key's several limits."),
    _About("counter_requests_allowed", "counter", "allowed", "Allowed checks of one of a key's several limits."),
    _About("counter_requests_denied", "counter", "denied", "Denied checks of one of a key's several limits."),
)
_OF_ENGINE = (
    _About("keys", "gauge", "keys", "Keys that have a limit."),
    _About("checks_allowed", "counter", "allowed", "Allowed checks of all keys since the limiter was opened."),
    _About("checks_denied", "counter", "denied", "Denied checks of all keys since the limiter was opened."),
    _About("log_bytes", "counter", "log_bytes", "Bytes appended to the log since the limiter was opened."),
    _About("fsyncs", "counter", "syncs", "Fsyncs of the log since the limiter was opened."),
    _About("fsync_seconds", "histogram", "sync_ns", "How long an fsync of the log took.", _NS_PER_S),
    _About("fsync_records", "histogram", "sync_records", "Log records that one fsync made durable."),
    _About("compactions", "counter", "compactions", "Compactions of the log since the limiter was opened."),
    _About("recovery_seconds", "gauge", "recovery_ns", "How long opening the data directory took.", _NS_PER_S),
)
_INFO = _About("limit", "info", "", "1 for each limit.")
_LEFT_OUT = _About("keys_left_out", "gauge", "", "Keys without series of their own, because of max_series.")


class Families:
    """The metric families of one limiter."""

    def __init__(self, limiter: Reports, options: Options) -> None:
        if not isinstance(limiter, Reports):
            raise TypeError(
                f"limiter must have list() and counters(), as a flint.Limiter has, not be of type "
                f"{type(limiter).__name__}"
            )
        self._limiter = limiter
        self._options = options
        self._key = ["key"] if options.include_key_label else []

    def describe(self) -> Iterator[Metric]:
        """All families that are possible, without samples."""
        for about in (_INFO, *_OF_RATES, *_OF_KEYS, *_OF_COUNTERS, _LEFT_OUT, *_OF_ENGINE):
            yield Metric(self._name(about), about.help, about.type)

    def collect(self) -> Iterator[Metric]:
        """One family after the other, so that the samples of one are gone before the next has any."""
        rows, left_out = read(self._limiter, self._options)
        yield self._info(rows)
        for about in _OF_RATES:
            yield self._of_rates(about, rows)
        for about in _OF_KEYS:
            yield self._of_keys(about, rows)
        if any(row.counters for row in rows):
            for about in _OF_COUNTERS:
                yield self._of_counters(about, rows)
        yield GaugeMetricFamily(self._name(_LEFT_OUT), _LEFT_OUT.help, left_out)
        yield from self._of_engine(self._limiter.counters())

    def _name(self, about: _About) -> str:
        return f"{self._options.prefix}_{about.name}"

    def _labels(self, row: Row, algorithm: str, *more: str) -> list[str]:
        return [algorithm, *more] if row.label is None else [row.label, algorithm, *more]

    def _rates(self, rows: list[Row]) -> Iterator[tuple[list[str], Row, RateSeries | None]]:
        """The labels of the series that exist once for each rate, and the rate; None where keys differ in their rates.

        A limit with one rate has no label `rate`, so that all its metrics have the same labels. Rows with the same key
        label but different algorithms may have one of several rates in common, which comes once.
        """
        seen = set()
        for row in in_slices(rows):
            if row.spec is None:
                yield self._labels(row, row.algorithm), row, None
                continue
            for series in row.spec.series:
                if series.text is None:
                    yield self._labels(row, series.algorithm), row, series
                elif (one := (row.label, series.algorithm, series.text)) not in seen:
                    seen.add(one)
                    yield self._labels(row, series.algorithm, series.text), row, series

    def _info(self, rows: list[Row]) -> Metric:
        family = InfoMetricFamily(self._name(_INFO), _INFO.help, labels=[*self._key, "algorithm", "rate"])
        for labels, _, _ in self._rates(rows):
            family.add_metric(labels, {})
        return family

    def _of_rates(self, about: _About, rows: list[Row]) -> Metric:
        family = GaugeMetricFamily(self._name(about), about.help, labels=[*self._key, "algorithm", "rate"])
        value = attrgetter(about.source)
        for labels, row, series in self._rates(rows):
            number = value(row if series is None else series)
            if number is not None:
                family.add_metric(labels, number)
        return family

    def _of_keys(self, about: _About, rows: list[Row]) -> Metric:
        kind = CounterMetricFamily if about.type == "counter" else GaugeMetricFamily
        family = kind(self._name(about), about.help, labels=[*self._key, "algorithm"])
        value = attrgetter(about.source)
        for row in in_slices(rows):
            number = value(row)
            family.add_metric(self._labels(row, row.algorithm), number / about.unit if about.unit else number)
        return family

    def _of_counters(self, about: _About, rows: list[Row]) -> Metric:
        kind = CounterMetricFamily if about.type == "counter" else GaugeMetricFamily
        family = kind(self._name(about), about.help, labels=[*self._key, "algorithm", "limit"])
        value = attrgetter(about.source)
        for row in in_slices([row for row in rows if row.counters]):
            for counter in row.counters:
                family.add_metric(self._labels(row, counter.algorithm, counter.limit), value(counter))
        return family

    def _of_engine(self, counters: Mapping[str, Any]) -> Iterator[Metric]:
        """A limiter may lack any of them. A histogram without buckets is for what the limiter never does."""
        for about in _OF_ENGINE:
            value = counters.get(about.source)
            if value is None or (about.type == "histogram" and not value["counts"]):
                continue
            name, unit = self._name(about), about.unit
            if about.type == "histogram":
                bounds = [bound / unit if unit else bound for bound in (*value["bounds"], math.inf)]
                texts = [floatToGoString(bound) for bound in bounds]  # type: ignore[no-untyped-call]
                buckets = list(zip(texts, accumulate(value["counts"]), strict=True))
                total = value["sum"]
                yield HistogramMetricFamily(name, about.help, buckets, total / unit if unit else total)
            else:
                kind = CounterMetricFamily if about.type == "counter" else GaugeMetricFamily
                yield kind(name, about.help, value / unit if unit else value)
