"""The section "Decorator" of release 0.2.1's README, and what its list of tests says about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flint

Snippet = Callable[..., dict[str, Any]]


def test_decorator(snippet: Snippet, limiter: flint.Limiter) -> None:
    send_email = snippet("decorator", limiter=limiter)["send_email"]
    assert send_email.__name__ == "send_email"
    for _ in range(10):
        assert send_email() is None
    with pytest.raises(flint.RateLimitExceeded):
        send_email()
    status = limiter.status("email:send")
    assert status is not None
    assert (status.rate, status.per_millis, status.algorithm) == (10, 60_000, "token_bucket")
    assert (status.total_allowed, status.total_denied) == (10, 1)


def test_the_decorator_s_limit_survives_a_restart(snippet: Snippet, cwd: Path) -> None:
    with flint.Limiter() as limiter:
        send_email = snippet("decorator", limiter=limiter)["send_email"]
        for _ in range(10):
            send_email()
    with flint.Limiter() as limiter:
        send_email = snippet("decorator", limiter=limiter)["send_email"]
        with pytest.raises(flint.RateLimitExceeded):
            send_email()


def test_a_rate_that_was_changed_in_the_program_counts_after_the_restart(cwd: Path) -> None:
    """Each rate counts by itself, so that one that comes back finds what it counted before."""
    for rate, allowed in ((3, 3), (5, 5), (3, 0), (5, 0), (6, 6)):
        with flint.Limiter() as limiter:
            job = limiter.rate_limit("job", rate=rate, per="10d")(lambda: True)
            for _ in range(allowed):
                assert job()
            with pytest.raises(flint.RateLimitExceeded) as caught:
                job()
            assert caught.value.remaining == 0


def test_the_error_s_metadata(limiter: flint.Limiter) -> None:
    @limiter.rate_limit("email:send", rate=10, per="10d", cost=4)
    def send_email() -> None: ...

    send_email()
    send_email()
    with pytest.raises(flint.RateLimitExceeded) as caught:
        send_email()
    error = caught.value
    assert (error.key, error.cost, error.remaining) == ("email:send", 4, 2)
    assert 0 < error.retry_after <= 2 * 86_400
    assert error.reset_at.tzinfo is not None
