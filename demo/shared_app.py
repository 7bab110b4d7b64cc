"""The application of shared_demo.py: LIMIT requests per day for all clients together, whichever worker answers."""

from __future__ import annotations

import os

from fastapi import FastAPI

import flint
from flint.fastapi import FlintRateLimitMiddleware

LIMIT = 400
KEY = "all-clients"

# Each worker has its own client. While the server is down, the client repeats each request with the same
# Idempotency-Key, so that the server does not charge a request twice.
limiter = flint.SharedLimiter(os.environ["FLINT_DEMO_URL"], timeout=60, retries=50)
app = FastAPI()
app.add_middleware(
    FlintRateLimitMiddleware,
    limiter=limiter,
    key=KEY,
    rate=LIMIT,
    per="1d",
    algorithm="sliding_window_log",
    exempt_paths={"/worker"},
)


@app.get("/")
async def hello() -> dict[str, int]:
    """Returns the process id of the worker."""
    return {"worker": os.getpid()}


@app.get("/worker")
async def worker() -> dict[str, int]:
    """The same without a limit."""
    return {"worker": os.getpid()}
