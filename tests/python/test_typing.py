"""What a type checker makes of the API: mypy checks this file, and running it checks that what mypy reads is true."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

import flint
from flint.testing import ManualClock


def test_types(tmp_path: Path) -> None:
    clock = ManualClock()
    with flint.Limiter(tmp_path / "data", clock=clock, sync="batch") as limiter:
        assert_type(limiter, flint.Limiter)
        limiter.limit("k", "2/day")
        limiter.limit_many([{"key": "other", "rate": 5, "per": "1m"}])

        result = limiter.check("k", 2)
        assert_type(result, flint.CheckResult)
        for number in (result.cost, result.limit, result.remaining, result.retry_after_ns):
            assert_type(number, int)
            assert type(number) is int
        assert_type(result.allowed, bool)
        assert_type(result.retry_after, float)
        assert type(result.retry_after) is float
        assert_type(result.reset_at, datetime)
        assert type(result.reset_at) is datetime
        assert_type(result["remaining"], Any)
        assert_type(dict(result), dict[str, Any])
        mapping: Mapping[str, Any] = result
        assert mapping["allowed"] is True

        both = limiter.check_all(["k", ("other", 2), {"key": "third", "limit": flint.Limit("1/s")}])
        assert_type(both.results, tuple[flint.CheckResult, ...])
        assert_type(both.denied_key, str | None)
        assert type(both.results) is tuple
        assert_type(limiter.allow("k"), bool)
        assert_type(limiter.allow_all(["k"]), bool)

        assert_type(limiter.status("k"), flint.LimitStatus | None)
        assert_type(limiter.list(), list[flint.LimitStatus])
        assert_type(limiter.top(), list[flint.LimitStatus])
        assert_type(limiter.history("k"), list[flint.Event])
        assert all(type(part) is list for part in (limiter.list(), limiter.top(), limiter.history("k")))
        assert_type(limiter.recovery, flint.Recovery)
        assert_type(limiter.counters()["keys"], int)
        assert_type(limiter.counters()["sync_ns"]["bounds"], tuple[int, ...])
        assert_type(limiter.doctor()["problems"], list[str])
        assert_type(flint.Limit("1/s").rates, tuple[flint.Rate, ...])
        assert_type(limiter.recovery.cut_file, str | None)

    try:
        raise flint.CorruptData("message", path="file", offset=1)
    except flint.StorageError as error:
        assert_type(error.errno, int | None)
        assert_type(error.filename, str | None)
