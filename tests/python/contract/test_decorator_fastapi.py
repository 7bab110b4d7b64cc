"""FastAPI takes a limited function for what it was: a route, or a dependency of any kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import fastapi
import httpx
import pytest

import flint

Dependency = Callable[..., Any]

closed: list[str] = []


def function(user: str) -> str:
    return f"hello {user}"


async def coroutine(user: str) -> str:
    return f"hello {user}"


def generator(user: str) -> Iterator[str]:
    yield f"hello {user}"
    closed.append(user)


async def async_generator(user: str) -> AsyncIterator[str]:
    yield f"hello {user}"
    closed.append(user)


class Greeter:
    async def __call__(self, user: str) -> str:
        return f"hello {user}"


def answers(app: fastapi.FastAPI, *paths: str) -> list[tuple[int, Any]]:
    @app.exception_handler(flint.RateLimitExceeded)
    async def too_many(request: fastapi.Request, error: flint.RateLimitExceeded) -> fastapi.responses.JSONResponse:
        return fastapi.responses.JSONResponse({"key": error.key}, status_code=429)

    async def main() -> list[tuple[int, Any]]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            got = [await client.get(path) for path in paths]
        return [(response.status_code, response.json()) for response in got]

    return asyncio.run(main())


EXPECTED = [(200, "hello ann"), (200, "hello bob"), (429, {"key": "user:ann"}), (422, None)]


@pytest.mark.parametrize(
    "target",
    [function, coroutine, generator, async_generator, Greeter()],
    ids=["def", "async", "yield", "ayield", "call"],
)
def test_a_dependency(limiter: flint.Limiter, target: Dependency) -> None:
    dependency = limiter.rate_limit(lambda user: f"user:{user}", "1/minute")(target)
    app = fastapi.FastAPI()

    greeting_of_dependency = fastapi.Depends(dependency)

    @app.get("/")
    def route(greeting: Any = greeting_of_dependency) -> Any:
        return greeting

    closed.clear()
    got = answers(app, "/?user=ann", "/?user=bob", "/?user=ann", "/")
    assert got[:3] == EXPECTED[:3]
    assert got[3][0] == 422, "the parameters are the function's"
    assert closed == (["ann", "bob"] if target in (generator, async_generator) else [])


@pytest.mark.parametrize("target", [function, coroutine])
def test_a_route(limiter: flint.Limiter, target: Dependency) -> None:
    app = fastapi.FastAPI()
    app.get("/")(limiter.rate_limit(lambda user: f"user:{user}", "1/minute")(target))
    got = answers(app, "/?user=ann", "/?user=bob", "/?user=ann", "/")
    assert got[:3] == EXPECTED[:3]
    assert got[3][0] == 422


def test_annotated_parameters_are_seen(limiter: flint.Limiter) -> None:
    app = fastapi.FastAPI()

    @app.get("/{n}")
    @limiter.rate_limit("k", "9/minute")
    async def double(n: Annotated[int, fastapi.Path(le=5)]) -> int:
        return 2 * n

    assert answers(app, "/4", "/6")[0] == (200, 8)
    assert answers(app, "/6")[0][0] == 422
