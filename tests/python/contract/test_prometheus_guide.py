"""The metrics on docs/prometheus.md. Its code is run by test_readme.py, its rules are checked by promtool."""

from __future__ import annotations

import http.client
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.python.served import TOKEN, Served, serving

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


SCOPES = ("check", "configure", "admin", "metrics")
TOKENS = {
    frozenset(scopes): f"{'-'.join(scopes)}-{TOKEN}"
    for count in range(1, len(SCOPES) + 1)
    for scopes in itertools.combinations(SCOPES, count)
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a token for every set of scopes."""
    directory = tmp_path_factory.mktemp("guarded")
    tokens = directory / "tokens"
    tokens.touch(0o600)
    tokens.write_text("".join(f"{token} {' '.join(scopes)}\n" for scopes, token in TOKENS.items()))
    with serving(directory / "data", "--sync", "batch", "--token-file", str(tokens)) as served:
        with flint.SharedLimiter(served.url, token=TOKENS[frozenset(SCOPES)]) as limiter:
            limiter.check("route:/api", limit="100/minute")
        yield served


def scraped(served: Served, token: str) -> str | None:
    """The server's own text; None when the token does not do."""
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    assert answer.status in (200, 403), text
    return text if answer.status == 200 else None


def exported(served: Served, token: str) -> str | None:
    """The export of a client; None when the token does not do."""
    with flint.SharedLimiter(served.url, token=token) as limiter:
        try:
            return prometheus_metrics(limiter)
        except flint.FlintServerError as error:
            if error.status != 403:
                raise
            return None


@pytest.mark.parametrize(
    ("what", "export"), [("`GET /metrics` of the server", scraped), ("the export of a `SharedLimiter`", exported)]
)
def test_the_scopes_that_a_token_needs(guarded: Served, what: str, export: Callable[[Served, str], str | None]) -> None:
    row = re.search(rf"^\| {re.escape(what)} \|.*\| ([^|]+) \|$", GUIDE, re.MULTILINE)
    assert row is not None
    needed = set(re.findall(r"`(\w+)`", row[1]))
    assert needed <= set(SCOPES)
    for scopes, token in TOKENS.items():
        assert (export(guarded, token) is not None) == (needed <= scopes), scopes


def test_what_a_server_shows_beside_what_a_client_exports(guarded: Served) -> None:
    token = TOKENS[frozenset(SCOPES)]
    of_server, of_client = scraped(guarded, token), exported(guarded, token)
    assert of_server is not None
    assert of_client is not None
    label = 'key="route:/api"'
    assert label in of_client
    assert label not in of_server
    there, here = (set(re.findall(r"^(\w+)[ {]", text, re.MULTILINE)) for text in (of_server, of_client))
    assert here <= there
    assert there - here == set(re.findall(r"`(flint_server_\w+)`", GUIDE))
