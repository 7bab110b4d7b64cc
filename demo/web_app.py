"""The application of web_demo.py: each client may make LIMIT requests a day, whatever happens to the process."""

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
    """Answers."""
    return {"hello": "world"}
