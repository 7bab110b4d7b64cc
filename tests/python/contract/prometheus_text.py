"""Reading back what the metrics tests write: prometheus_client's parsers, with types."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

Labels = tuple[tuple[str, str], ...]
Series = dict[Labels, float]


def parse(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def parse_openmetrics(text: str) -> list[Metric]:
    return list(parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def generate_openmetrics(registry: Collector) -> str:
    generated: bytes = exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
    return generated.decode()


def read(families: Iterable[Metric]) -> dict[str, Series]:
    """The series of each sample's name, none of which may come twice."""
    found: dict[str, Series] = {}
    for family in families:
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in series, f"{sample.name}{labels} twice"
            series[labels] = sample.value
    return found
