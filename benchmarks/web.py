"""What a rate limit adds to a request: the same FastAPI application bare, with Flint, SlowAPI and fastapi-limiter.

Requests are ASGI calls in this process, because the time of a socket would hide the difference. The other libraries
keep their counters in memory; Flint keeps them on disk.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.metadata import version
from types import ModuleType
from typing import Any

import fastapi_limiter
import pyrate_limiter
import slowapi
from fastapi import Depends, FastAPI, Request
from fastapi_limiter.depends import RateLimiter
from measure import alternately
from slowapi.middleware import SlowAPIASGIMiddleware
from stores import Bench

import flint
from flint.fastapi import FlintRateLimitMiddleware, RateLimit

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"example.org")],
    "client": ("192.0.2.1", 50_000),
    "server": ("192.0.2.9", 80),
}
MANY = 1_000_000_000


def client_of(request: Request) -> str:
    return request.client.host if request.client else ""


def plain(*dependencies: Any) -> FastAPI:
    app = FastAPI(dependencies=list(dependencies))

    @app.get("/")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    return app


def with_flint(limiter: flint.Limiter) -> FastAPI:
    app = plain()
    app.add_middleware(FlintRateLimitMiddleware, limiter=limiter, key_func=client_of, rate=MANY, per="1m")
    return app


def with_flint_dependency(limiter: flint.Limiter) -> FastAPI:
    app = plain(Depends(RateLimit(rate=MANY, per="1m", key=client_of)))
    app.state.limiter = limiter
    return app


def with_slowapi() -> FastAPI:
    app = plain()
    app.state.limiter = slowapi.Limiter(key_func=client_of, default_limits=[f"{MANY}/minute"], headers_enabled=True)
    app.add_middleware(SlowAPIASGIMiddleware)
    return app


def with_fastapi_limiter() -> FastAPI:
    async def identifier(request: Request) -> str:
        return client_of(request)

    rates = [pyrate_limiter.Rate(10_000_000, pyrate_limiter.Duration.MINUTE)]
    limiter = pyrate_limiter.Limiter(pyrate_limiter.InMemoryBucket(rates))
    return plain(Depends(RateLimiter(limiter=limiter, identifier=identifier)))


def per_request(app: App, requests: int) -> float:
    """Nanoseconds per request."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message

    async def main() -> float:
        start = time.perf_counter_ns()
        for _ in range(requests):
            await app(dict(SCOPE), receive, send)
        return (time.perf_counter_ns() - start) / requests

    return asyncio.run(main())


def middleware(bench: Bench) -> None:
    """Each application in turn; the report has the time that the limit adds to the bare application."""
    requests = 300
    with bench.limiter("batch") as limiter, bench.limiter("batch") as other, warnings.catch_warnings():
        # Warnings of the other libraries.
        warnings.simplefilter("ignore")
        apps = [plain(), with_flint(limiter), with_flint_dependency(other), with_slowapi(), with_fastapi_limiter()]
        columns = alternately(
            bench.scale(40, 10),
            *[lambda app=app: per_request(app, requests) for app in apps],  # type: ignore[misc]
        )
    bare = columns[0]
    added = [[own - nothing for own, nothing in zip(column, bare, strict=True)] for column in columns[1:]]
    ours, dependency, slow, theirs = added
    bench.report.ratio(
        "FlintRateLimitMiddleware, batch: time added to a request",
        ours,
        "the bare application's request",
        bare,
        at_most=1,
    )
    bench.report.ratio(
        "FlintRateLimitMiddleware, batch: time added to a request",
        ours,
        f"time added by SlowAPI {version_of(slowapi)}, in memory",
        slow,
        at_most=1,
    )
    bench.report.ratio(
        "FlintRateLimitMiddleware, batch: time added to a request",
        ours,
        f"time added by fastapi-limiter {version_of(fastapi_limiter)}, in memory, a dependency",
        theirs,
        at_most=1,
    )
    bench.report.ratio(
        "RateLimit dependency, batch: time added to a request",
        dependency,
        f"time added by SlowAPI {version_of(slowapi)}, in memory",
        slow,
        at_most=1,
    )


def version_of(module: ModuleType) -> str:
    return version(module.__name__.replace("_", "-"))
