"""What tests have to know of limiters that ask a server."""

from __future__ import annotations

import flint


def is_shared(limiter: object) -> bool:
    """Whether `limiter` is a client."""
    return isinstance(limiter, flint.SharedLimiter)


def requests_under_way(limiter: object) -> int:
    """How many of its calls wait for an answer; none with an embedded limiter."""
    return limiter._core.endpoint.pool.in_use if isinstance(limiter, flint.SharedLimiter) else 0
