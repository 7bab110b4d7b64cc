"""The application of web_demo.py: LIMIT requests per day for each client, across restarts of the process."""

from __future__ import annotations

import os

from fastapi import FastAPI, Request

import flint
from flint.fastapi import FlintRateLimitMiddleware

LIMIT = 200


def client_of(request: Request) -> str:
    """The key of the client that a request names."""
    return f"client:{request.headers.get('x-client', 'unknown')}"


limiter = flint.Limiter(os.environ["FLINT_DEMO_DIR"])
app = FastAPI()
app.add_middleware(
    FlintRateLimitMiddleware,
    limiter=limiter,
    key_func=client_of,
    rate=LIMIT,
    per="1d",
    algorithm="fixed_window_counter",
)


@app.get("/")
async def hello() -> dict[str, str]:
    """Returns a constant."""
    return {"hello": "world"}
