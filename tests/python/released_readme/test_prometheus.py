"""The Prometheus section of release 0.2.1's README, as printed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families as parse

import flint
import flint.testing

Snippet = Callable[..., dict[str, Any]]

SNIPPETS = Path(__file__).parent / "snippets"
NAMES = (SNIPPETS / "prometheus_metrics.txt").read_text(encoding="utf-8").split()
OUTPUT = (SNIPPETS / "prometheus_output.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def limiter(tmp_path: Path) -> Iterator[flint.Limiter]:
    """The state that the example output shows."""
    with flint.Limiter(tmp_path / "data", clock=flint.testing.ManualClock()) as made:
        made.limit("route:/api", rate=100, per="1m")
        assert all(made.allow("route:/api") for _ in range(42))
        assert not any(made.allow("route:/api", cost=100) for _ in range(3))
        yield made


def get(app: FastAPI, path: str) -> httpx.Response:
    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return await client.get(path)

    return asyncio.run(main())


def labels_of(text: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_text(snippet: Snippet) -> None:
    metrics_text = snippet("prometheus_text")["metrics_text"]
    assert isinstance(metrics_text, str)
    assert "flint_keys" in labels_of(metrics_text)


def test_fastapi_endpoint(snippet: Snippet) -> None:
    names = snippet("prometheus_route")
    names["limiter"].limit("a", rate=100, per="1m")
    answer = get(names["app"], "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert labels_of(answer.text)["flint_limit_rate"] == [{"key": "a", "algorithm": "token_bucket"}]


def test_without_the_key(snippet: Snippet, limiter: flint.Limiter) -> None:
    limiter.limit("user:42", rate=100, per="1m")
    app = FastAPI()
    metrics_text = snippet("prometheus_without_key", limiter=limiter, app=app)["metrics_text"]
    for text in (metrics_text, get(app, "/metrics").text):
        for name in NAMES:
            assert labels_of(text)[name] == [{"algorithm": "token_bucket"}]
        assert 'flint_requests_allowed_total{algorithm="token_bucket"} 42\n' in text


def test_redacted_keys(snippet: Snippet, limiter: flint.Limiter) -> None:
    for key in ("user:42", "user:43"):
        limiter.limit(key, rate=100, per="1m")
        limiter.check(key)
    metrics_text = snippet("prometheus_key_label_func", limiter=limiter)["metrics_text"]
    assert 'flint_requests_allowed_total{key="user",algorithm="token_bucket"} 2\n' in metrics_text
    assert 'flint_requests_allowed_total{key="route",algorithm="token_bucket"} 42\n' in metrics_text
    assert "user:" not in metrics_text


def test_example_output(limiter: flint.Limiter) -> None:
    assert len(OUTPUT) == 5
    lines = flint.prometheus_metrics(limiter).splitlines()
    assert [line for line in lines if line in OUTPUT] == sorted(OUTPUT, key=lines.index)


def test_exported_metrics(limiter: flint.Limiter) -> None:
    assert len(NAMES) == 9
    found = labels_of(flint.prometheus_metrics(limiter))
    for name in NAMES:
        assert found[name] == [{"key": "route:/api", "algorithm": "token_bucket"}]
