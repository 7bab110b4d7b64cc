"""The route that Prometheus scrapes."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route

import flint
from flint._backend import Reports
from flint.prometheus import add_prometheus_route, prometheus_metrics

from .prometheus_text import parse, parse_openmetrics

TEXT = "text/plain; version=0.0.4; charset=utf-8"
# What Prometheus 2.42 and 3.5 send.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
)
TIMEOUT_S = 60


@pytest.fixture(params=[FastAPI, Starlette])
def app(request: pytest.FixtureRequest) -> Starlette:
    made: Starlette = request.param()
    return made


def client_of(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


def get(app: Starlette, path: str = "/metrics", method: str = "GET", accept: str = "*/*") -> httpx.Response:
    async def main() -> httpx.Response:
        async with client_of(app) as client:
            return await client.request(method, path, headers={"accept": accept})

    return asyncio.run(main())


def of_keys(text: str) -> str:
    """The part that does not change; the other counts the engine's fsyncs."""
    return text[: text.index("_keys ")]


def names_in(text: str) -> set[str]:
    return {sample.name for family in parse(text) for sample in family.samples}


def test_the_route_answers_with_the_metrics(app: Starlette, limiter: flint.Limiter) -> None:
    limiter.limit("é", "10/m; 20/h")
    limiter.check("é")
    add_prometheus_route(app, limiter)
    answer = get(app)
    assert (answer.status_code, answer.headers["content-type"]) == (200, TEXT)
    assert of_keys(answer.content.decode("utf-8")) == of_keys(prometheus_metrics(limiter))
    limiter.check("é")
    assert 'flint_requests_allowed_total{key="é",algorithm="token_bucket"} 2\n' in get(app).text


@pytest.mark.parametrize("accept", PROMETHEUS)
def test_prometheus_gets_openmetrics(app: Starlette, limiter: flint.Limiter, accept: str) -> None:
    limiter.limit('"é"\n', "10/m")
    add_prometheus_route(app, limiter)
    answer = get(app, accept=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    found = {sample.name for family in parse_openmetrics(answer.text) for sample in family.samples}
    assert found == names_in(get(app).text)


@pytest.mark.parametrize("accept", ["", "text/plain", "text/html", "text/plain;version=1.0.0"])
def test_other_requests_get_text(app: Starlette, limiter: flint.Limiter, accept: str) -> None:
    add_prometheus_route(app, limiter)
    answer = get(app, accept=accept)
    assert answer.headers["content-type"] == TEXT
    assert not answer.text.endswith("# EOF\n")


def test_arguments_of_the_route_are_those_of_the_text(app: Starlette, limiter: flint.Limiter) -> None:
    for key in ("a:1", "a:2", "b:1"):
        limiter.limit(key, "10/m")
    options: list[dict[str, Any]] = [
        {"prefix": "my"},
        {"include_key_label": False},
        {"key_label_func": lambda key: key[0]},
        {"max_series": 1},
    ]
    for number, option in enumerate(options):
        add_prometheus_route(app, limiter, f"/internal/{number}", **option)
        answer = of_keys(get(app, f"/internal/{number}").text)
        assert answer == of_keys(prometheus_metrics(limiter, **option)) != of_keys(prometheus_metrics(limiter))
    assert get(app).status_code == 404


def test_only_reading_is_allowed(app: Starlette, limiter: flint.Limiter) -> None:
    add_prometheus_route(app, limiter)
    assert get(app, method="HEAD").status_code == 200
    assert get(app, method="POST").status_code == 405


def test_the_route_is_not_in_the_schema(app: Starlette, limiter: flint.Limiter) -> None:
    add_prometheus_route(app, limiter)
    (route,) = (route for route in app.routes if isinstance(route, Route) and route.path == "/metrics")
    assert not route.include_in_schema


def test_a_limiter_that_is_closed(app: Starlette, limiter: flint.Limiter) -> None:
    add_prometheus_route(app, limiter)
    limiter.close()

    async def main() -> None:
        quiet = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=quiet, base_url="http://app") as client:
            assert (await client.get("/metrics")).status_code == 500

    asyncio.run(main())


@pytest.mark.parametrize("no_app", [None, "app", object(), FastAPI])
def test_what_is_no_application(limiter: flint.Limiter, no_app: object) -> None:
    with pytest.raises(TypeError, match=f"must be a FastAPI or Starlette application, not {type(no_app).__name__}"):
        add_prometheus_route(no_app, limiter)  # type: ignore[arg-type]


def test_arguments_that_are_not_accepted(app: Starlette, limiter: flint.Limiter) -> None:
    with pytest.raises(flint.InvalidArgument, match=r"path must begin with a slash.*'metrics'"):
        add_prometheus_route(app, limiter, "metrics")
    with pytest.raises(TypeError, match="path must be a str, not NoneType"):
        add_prometheus_route(app, limiter, None)  # type: ignore[arg-type]
    with pytest.raises(flint.InvalidArgument, match="max_series"):
        add_prometheus_route(app, limiter, max_series=0)
    with pytest.raises(TypeError, match="limiter must have"):
        add_prometheus_route(app, None)  # type: ignore[arg-type]
    assert not [route for route in app.routes if getattr(route, "path", None) in ("metrics", "/metrics")]


class Held:
    """A limiter whose list() returns when it is let go."""

    def __init__(self, limiter: Reports) -> None:
        self.limiter = limiter
        self.called = threading.Event()
        self.let_go = threading.Event()

    def list(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> list[flint.LimitStatus]:
        self.called.set()
        assert self.let_go.wait(TIMEOUT_S)
        return self.limiter.list(prefix, limit, after)

    def counters(self) -> Mapping[str, Any]:
        return self.limiter.counters()


def test_the_event_loop_goes_on_while_the_limiter_is_asked(app: Starlette, limiter: flint.Limiter) -> None:
    limiter.limit("a", "10/m")
    held = Held(limiter)
    add_prometheus_route(app, held)

    async def main() -> None:
        async with client_of(app) as client:
            scrape = asyncio.create_task(client.get("/metrics"))
            # With the loop blocked, the limiter would be called and never released.
            while not held.called.is_set():
                await asyncio.sleep(0)
            assert limiter.check("a")
            held.let_go.set()
            assert (await scrape).status_code == 200

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


@contextmanager
def nothing_but_giving_way() -> Iterator[None]:
    """The interpreter takes the GIL from no thread that does not release it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2 * TIMEOUT_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Watched:
    """A limiter that records how often the loop had run at each call."""

    def __init__(self, limiter: Reports) -> None:
        self.limiter = limiter
        self.rounds = 0
        self.at_keys: set[int] = set()
        self.at_counters = 0

    def label(self, key: str) -> str:
        self.at_keys.add(self.rounds)
        return key

    def list(
        self, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> list[flint.LimitStatus]:
        return self.limiter.list(prefix, limit, after)

    def counters(self) -> Mapping[str, Any]:
        """Called last, when the series of all keys are text already."""
        self.at_counters = self.rounds
        return self.limiter.counters()


def test_the_event_loop_goes_on_while_100_000_keys_are_rendered(limiter: flint.Limiter) -> None:
    limiter.limit_many({"key": f"tenant-{n % 97:02}:user-{n:06}", "rate": "100/minute"} for n in range(100_000))
    watched = Watched(limiter)
    app = FastAPI()
    add_prometheus_route(app, watched, key_label_func=watched.label)

    async def main() -> httpx.Response:
        async with client_of(app) as client:
            scrape = asyncio.create_task(client.get("/metrics"))
            while not scrape.done():
                watched.rounds += 1
                await asyncio.sleep(0.001)
            return await scrape

    with nothing_but_giving_way():
        answer = asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))
    # Between any few hundred keys or lines there is a chance. A busy machine may miss many of them.
    assert len(watched.at_keys) > 20
    assert watched.at_counters - max(watched.at_keys) > 20
    assert "\nflint_keys 100000\n" in answer.text
    assert "\nflint_keys_left_out 90000\n" in answer.text
    assert answer.text.count("\nflint_limit_remaining{") == 10_000
