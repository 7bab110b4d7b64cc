"""What docs/prometheus.md says of the metrics. Its code is run by test_readme.py, its rules are checked by promtool."""

from __future__ import annotations

import re
from pathlib import Path

import flint
from flint.prometheus import FlintCollector, prometheus_metrics

GUIDE = (Path(__file__).parents[3] / "docs" / "prometheus.md").read_text(encoding="utf-8")
SUFFIXES = {"counter": ["_total"], "info": ["_info"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def test_the_tables_have_every_metric_with_its_type(limiter: flint.Limiter) -> None:
    names = {"counter": "_total", "info": "_info"}
    expected = {
        metric.name + names.get(metric.type, ""): "gauge" if metric.type == "info" else metric.type
        for metric in FlintCollector(limiter).describe()
    }
    rows = re.findall(r"^\| `(flint_\w+)` \| (\w+) \|", GUIDE, re.MULTILINE)
    assert sorted(rows) == sorted(expected.items())


def test_queries_and_rules_ask_for_what_there_is(limiter: flint.Limiter) -> None:
    there_is = {
        metric.name + suffix for metric in FlintCollector(limiter).describe() for suffix in SUFFIXES[metric.type]
    }
    asked_for = set(re.findall(r"\bflint_\w+", GUIDE[GUIDE.index("## Queries") :]))
    assert asked_for
    assert asked_for <= there_is


def test_the_example_output_is_what_is_printed(limiter: flint.Limiter) -> None:
    (example,) = re.findall(r"^```text\n(# HELP .*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    limiter.limit("route:/api", "100/minute")
    for _ in range(42):
        limiter.check("route:/api")
    for _ in range(3):
        limiter.check("route:/api", cost=100)
    lines = prometheus_metrics(limiter).splitlines()
    assert [line for line in lines if line in example.splitlines()] == example.splitlines()
