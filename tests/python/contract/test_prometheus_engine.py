"""The engine's own metrics, from counters()."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import flint
from flint._backend import Reports
from flint._metrics.text import text as exposed
from flint.prometheus import FlintCollector, prometheus_metrics

from .prometheus_text import generate_openmetrics, parse, parse_openmetrics

HISTOGRAMS = {
    "sync_ns": {"bounds": (100_000, 1_000_000, 2_500_000_000), "counts": (3, 4, 0, 1), "sum": 7_250_000_000},
    "sync_records": {"bounds": (1, 10, 10_000_000), "counts": (0, 6, 2, 0), "sum": 61},
}
COUNTERS = {
    "keys": 3,
    "allowed": 70,
    "denied": 5,
    "seq": 70,
    "durable_seq": 69,
    "log_bytes": 4096,
    "syncs": 8,
    "rotations": 1,
    "compactions": 2,
    "recovery_ns": 12_500_000,
    **HISTOGRAMS,
}


class Scripted:
    """A limiter without keys and with the counters that a test chooses."""

    def __init__(self, counters: Mapping[str, Any]) -> None:
        self._counters = counters

    def counters(self) -> Mapping[str, Any]:
        return self._counters

    def list(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> list[flint.LimitStatus]:
        return []


def samples_of(limiter: Reports) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in parse(prometheus_metrics(limiter)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_every_metric() -> None:
    assert samples_of(Scripted(COUNTERS)) == {
        "flint_keys_left_out": [({}, 0)],
        "flint_keys": [({}, 3)],
        "flint_checks_allowed_total": [({}, 70)],
        "flint_checks_denied_total": [({}, 5)],
        "flint_log_bytes_total": [({}, 4096)],
        "flint_fsyncs_total": [({}, 8)],
        "flint_fsync_seconds_bucket": [
            ({"le": "0.0001"}, 3),
            ({"le": "0.001"}, 7),
            ({"le": "2.5"}, 7),
            ({"le": "+Inf"}, 8),
        ],
        "flint_fsync_seconds_count": [({}, 8)],
        "flint_fsync_seconds_sum": [({}, 7.25)],
        "flint_fsync_records_bucket": [
            ({"le": "1.0"}, 0),
            ({"le": "10.0"}, 6),
            ({"le": "1e+07"}, 8),
            ({"le": "+Inf"}, 8),
        ],
        "flint_fsync_records_count": [({}, 8)],
        "flint_fsync_records_sum": [({}, 61)],
        "flint_compactions_total": [({}, 2)],
        "flint_recovery_seconds": [({}, 0.0125)],
    }


def test_whole_numbers_are_exact() -> None:
    assert f"flint_checks_allowed_total {2**64 - 1}\n" in prometheus_metrics(Scripted({"allowed": 2**64 - 1}))


@pytest.mark.parametrize("missing", sorted(COUNTERS))
def test_a_limiter_that_lacks_one_has_the_others(missing: str) -> None:
    without = samples_of(Scripted({name: value for name, value in COUNTERS.items() if name != missing}))
    names = {
        "sync_ns": {"flint_fsync_seconds_bucket", "flint_fsync_seconds_count", "flint_fsync_seconds_sum"},
        "sync_records": {"flint_fsync_records_bucket", "flint_fsync_records_count", "flint_fsync_records_sum"},
        "syncs": {"flint_fsyncs_total"},
        "recovery_ns": {"flint_recovery_seconds"},
        "keys": {"flint_keys"},
        "compactions": {"flint_compactions_total"},
        "log_bytes": {"flint_log_bytes_total"},
        "allowed": {"flint_checks_allowed_total"},
        "denied": {"flint_checks_denied_total"},
    }
    assert set(samples_of(Scripted(COUNTERS))) - set(without) == names.get(missing, set())


def test_a_limiter_that_never_syncs() -> None:
    nothing = {"bounds": (), "counts": (), "sum": 0}
    without = samples_of(Scripted({**COUNTERS, "sync_ns": nothing, "sync_records": nothing}))
    lacking = {name: value for name, value in COUNTERS.items() if name not in HISTOGRAMS}
    assert without == samples_of(Scripted(lacking))


def test_a_limiter_that_has_none() -> None:
    assert samples_of(Scripted({})) == {"flint_keys_left_out": [({}, 0)]}


def test_types() -> None:
    types = {family.name: family.type for family in parse(prometheus_metrics(Scripted(COUNTERS)))}
    assert {name for name, kind in types.items() if kind == "histogram"} == {
        "flint_fsync_seconds",
        "flint_fsync_records",
    }
    assert {name for name, kind in types.items() if kind == "counter"} >= {
        "flint_fsyncs",
        "flint_compactions",
        "flint_log_bytes",
        "flint_checks_allowed",
        "flint_checks_denied",
    }


def test_openmetrics_and_a_registry() -> None:
    collector = FlintCollector(Scripted(COUNTERS))
    registry = CollectorRegistry()
    registry.register(collector)
    families = parse_openmetrics(exposed(collector.collect(), openmetrics=True))
    assert families == parse_openmetrics(generate_openmetrics(registry))
    # Those of counters have samples only where a key has several.
    always = [metric.name for metric in collector.describe() if not metric.name.startswith("flint_counter_")]
    assert [family.name for family in families] == always
    assert registry.get_sample_value("flint_fsync_seconds_bucket", {"le": "0.001"}) == 7


def test_what_a_limiter_counts_is_there(limiter: flint.Limiter) -> None:
    limiter.limit("a", "3/day")
    for _ in range(5):
        limiter.check("a")
    limiter.flush()
    counters = limiter.counters()
    found = {name: samples[0][1] for name, samples in samples_of(limiter).items()}
    assert (found["flint_keys"], found["flint_checks_allowed_total"], found["flint_checks_denied_total"]) == (1, 3, 2)
    assert found["flint_log_bytes_total"] >= counters["log_bytes"] > 0
    assert found["flint_fsyncs_total"] >= counters["syncs"] > 0
    assert found["flint_compactions_total"] == 0
    limiter.compact()
    assert samples_of(limiter)["flint_compactions_total"] == [({}, 1)]


def test_fsyncs_are_measured(limiter: flint.Limiter) -> None:
    limiter.limit("a", "1000/day")
    for _ in range(20):
        limiter.check("a")
    limiter.flush()
    found = {name: samples[-1][1] for name, samples in samples_of(limiter).items()}
    fsyncs = found["flint_fsyncs_total"]
    assert found["flint_fsync_seconds_bucket"] == found["flint_fsync_seconds_count"] == fsyncs > 0
    assert found["flint_fsync_records_count"] == fsyncs
    assert found["flint_fsync_records_sum"] >= 21
    assert 0 < found["flint_fsync_seconds_sum"] < 60
    assert 0 < found["flint_recovery_seconds"] < 60
