"""The section "Async Python API" of release 0.2.1's README."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flint

Snippet = Callable[..., dict[str, Any]]


def test_async(snippet: Snippet, cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []

    async def process_request() -> None:
        await asyncio.sleep(0)
        calls.append(1)

    for run in (1, 2, 3):
        snippet("async", process_request=process_request)
        assert len(calls) == run
        # What remains grows back at 100 a minute.
        assert 100 - run <= int(capsys.readouterr().out) <= 100
    # Nothing closed the limiters: letting go of one is enough.
    with flint.Limiter() as limiter:
        status = limiter.status("api:user-42")
        assert status is not None
        assert (status.rate, status.per_millis, status.total_allowed) == (100, 60_000, 3)


def test_decisions_by_hand(limiter: flint.Limiter) -> None:
    async def main() -> None:
        await limiter.alimit("api:user-42", rate=2, per="10d")
        assert (await limiter.acheck("api:user-42")).remaining == 1
        assert await limiter.aallow("api:user-42") is True
        assert await limiter.aallow("api:user-42") is False

    asyncio.run(main())


def test_asyncio_and_threads_share_one_limiter(limiter: flint.Limiter) -> None:
    limiter.limit("api:user-42", rate=3, per="10d")

    async def main() -> list[bool]:
        inside = [await limiter.aallow("api:user-42"), limiter.allow("api:user-42")]
        return [*inside, await asyncio.to_thread(limiter.allow, "api:user-42")]

    assert asyncio.run(main()) == [True, True, True]
    assert not limiter.allow("api:user-42")
