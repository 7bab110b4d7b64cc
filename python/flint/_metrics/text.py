"""Metric families as text, in the format 0.0.4 or in OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

from flint._metrics.collect import in_slices

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text"


def content_type_for(accept: str) -> str:
    """The format for a request with this Accept header: OpenMetrics where it is accepted, or else text 0.0.4."""
    _, chosen = choose_encoder(accept)
    return chosen if is_openmetrics(chosen) else TEXT


def is_openmetrics(content_type: str) -> bool:
    """Whether the content type is that of OpenMetrics."""
    return content_type.startswith(_OPENMETRICS)


def text(families: Iterable[Metric], *, openmetrics: bool = False) -> str:
    """Families, as this module makes them, in the text format 0.0.4 or in OpenMetrics 1.0.

    prometheus_client's own functions sort the labels by name, where the published order is key, algorithm, and take
    several times as long: most of a second for 10,000 keys in OpenMetrics, which Prometheus servers request.
    """
    lines = []
    for family in families:
        name, kind = family.name, family.type
        if not openmetrics:
            # These formats differ in what they call a family.
            name += {"counter": "_total", "info": "_info"}.get(kind, "")
            kind = "gauge" if kind == "info" else kind
        lines.append(f"# HELP {name} {family.documentation}\n# TYPE {name} {kind}\n")
        for sample in in_slices(family.samples):
            if sample.labels:
                labels = ",".join([f'{label}="{_escaped(value)}"' for label, value in sample.labels.items()])
                lines.append(f"{sample.name}{{{labels}}} {sample.value}\n")
            else:
                lines.append(f"{sample.name} {sample.value}\n")
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
