"""The application of shared_demo.py: LIMIT requests a day for everybody together, whichever worker answers."""

from __future__ import annotations

import os

from fastapi import FastAPI

import flint
from flint.fastapi import FlintRateLimitMiddleware

LIMIT = 400
KEY = "everybody"

# Each worker has a client of its own. While the server is away, its calls are repeated under their names, by which the
# server knows those that it has answered already.
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
    """Answers, and says which worker did."""
    return {"worker": os.getpid()}


@app.get("/worker")
async def worker() -> dict[str, int]:
    """The same without a limit."""
    return {"worker": os.getpid()}
