"""Setting limits, and what each call does with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import flint
from flint.testing import ManualClock

ALGORITHMS = ["token_bucket", "sliding_window_log", "fixed_window_counter"]


@pytest.mark.parametrize("per", ["1m", "60 seconds", 60, timedelta(minutes=1)])
def test_a_period_is_text_seconds_or_a_timedelta(limiter: flint.Limiter, per: Any) -> None:
    limiter.limit("k", 100, per)
    status = limiter.status("k")
    assert status is not None
    assert (status.rate, status.per_millis, status.burst, status.algorithm) == (100, 60_000, 100, "token_bucket")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (flint.Limit("100/minute"), [(100, 60_000, 100)]),
        (flint.Limit("10 per 2 hours"), [(10, 7_200_000, 10)]),
        (flint.Limit("5/250ms"), [(5, 250, 5)]),
        (flint.Limit("100/m burst 200"), [(100, 60_000, 200)]),
        (flint.Limit("100/m", burst=200), [(100, 60_000, 200)]),
        (flint.Limit(100, "1m", burst=200), [(100, 60_000, 200)]),
        (flint.Limit("1/s; 10/m, 100/h"), [(1, 1000, 1), (10, 60_000, 10), (100, 3_600_000, 100)]),
        (flint.Limit(flint.Limit("1/s")), [(1, 1000, 1)]),
    ],
)
def test_the_forms_of_a_limit(limit: flint.Limit, expected: list[tuple[int, int, int]]) -> None:
    assert [(rate.rate, rate.per_millis, rate.burst) for rate in limit.rates] == expected
    assert limit.capacity == min(burst for _, _, burst in expected)


def test_algorithms_are_mixed_by_joining_limits() -> None:
    window = flint.Limit("100/day", algorithm="fixed_window_counter")
    limit = flint.Limit(["5/second", window])
    assert [rate.algorithm for rate in limit.rates] == ["token_bucket", "fixed_window_counter"]
    assert flint.Limit((limit, "9/hour")).rates == (*limit.rates, *flint.Limit("9/hour").rates)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_limit_is_used_up_and_comes_back(limiter: flint.Limiter, clock: ManualClock, algorithm: str) -> None:
    limiter.limit("k", rate=3, per="1s", algorithm=algorithm)
    assert [limiter.allow("k") for _ in range(4)] == [True, True, True, False]
    denied = limiter.check("k")
    assert not denied
    assert denied.remaining == 0
    clock.advance(ns=denied.retry_after_ns - 1)
    assert not limiter.allow("k")
    clock.advance(ns=1)
    assert limiter.allow("k")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_cost_takes_that_much(limiter: flint.Limiter, algorithm: str) -> None:
    limiter.limit("k", "10/minute", algorithm=algorithm)
    assert limiter.check("k", 7).remaining == 3
    assert not limiter.allow("k", cost=4)
    assert limiter.check("k", cost=3).remaining == 0


def test_a_limit_given_with_the_call_is_kept_with_the_key(limiter: flint.Limiter) -> None:
    assert limiter.check("k", limit="5/minute").limit == 5
    status = limiter.status("k")
    assert status is not None
    assert status.origin == "call"
    assert limiter.check("k").remaining == 3
    assert limiter.check("k", limit=flint.Limit("9/minute")).limit == 9


def test_an_explicit_limit_wins_over_the_calls(limiter: flint.Limiter) -> None:
    limiter.limit("k", "5/minute")
    assert limiter.check("k", limit="9/minute").limit == 5
    assert limiter.check("k", limit=None).limit == 5


def test_a_changed_limit_keeps_what_was_used(limiter: flint.Limiter) -> None:
    limiter.limit("k", "10/minute")
    limiter.check("k", 4)
    limiter.limit("k", "20/minute")
    assert limiter.peek("k").remaining == 15
    limiter.limit("k", "30/minute", on_change="reset")
    assert limiter.peek("k").remaining == 29


def test_the_same_limit_again_writes_nothing(limiter: flint.Limiter) -> None:
    limiter.limit("k", "10/minute")
    before = limiter.counters()["seq"]
    limiter.limit("k", 10, 60)
    limiter.limit("k", "10/minute", on_change="reset")
    assert limiter.counters()["seq"] == before


def test_limit_many_sets_all(limiter: flint.Limiter) -> None:
    limiter.limit_many(
        [
            {"key": "a", "rate": "1/s; 5/m"},
            {"key": "b", "rate": 7, "per": "1h", "algorithm": "fixed_window_counter", "burst": None},
            {"key": "c", "rate": flint.Limit("3/s"), "on_change": "reset"},
        ]
    )
    assert [(status.key, len(status.rates)) for status in limiter.list()] == [("a", 2), ("b", 1), ("c", 1)]


def test_limit_many_is_one_record(limiter: flint.Limiter) -> None:
    before = limiter.counters()["seq"]
    limiter.limit_many({"key": f"k{index}", "rate": "1/s"} for index in range(1000))
    assert limiter.counters()["seq"] == before + 1
    assert len(limiter.list()) == 1000


def test_peek_consumes_and_counts_nothing(limiter: flint.Limiter) -> None:
    limiter.limit("k", "2/minute")
    assert [limiter.peek("k", 2).allowed for _ in range(5)] == [True] * 5
    limiter.check("k", 2)
    assert not limiter.peek("k")
    status = limiter.status("k")
    assert status is not None
    assert (status.total_allowed, status.total_denied) == (1, 0)
    assert limiter.peek("new", limit="4/s").remaining in (3, 4)
    assert limiter.status("new") is None


def test_check_all_takes_all_or_nothing(limiter: flint.Limiter) -> None:
    limiter.limit("a", "10/minute")
    limiter.limit("b", "2/minute")
    allowed = limiter.check_all(["a", ("b", 2), {"key": "c", "cost": 3, "limit": "5/minute"}])
    assert allowed.allowed
    assert allowed.denied_key is None
    assert [(r.key, r.cost, r.remaining) for r in allowed.results] == [("a", 1, 9), ("b", 2, 0), ("c", 3, 2)]
    denied = limiter.check_all(iter(["a", "b", "c"]))
    assert not denied
    assert denied.denied_key == "b"
    assert denied.retry_after_ns == 30_000_000_000
    assert [(r.key, r.allowed, r.remaining) for r in denied.results] == [
        ("a", True, 9),
        ("b", False, 0),
        ("c", True, 2),
    ]
    assert [status.total_denied for status in limiter.list()] == [0, 1, 0]
    assert limiter.allow_all(["a", {"key": "c"}])
    assert not limiter.allow_all(["a", "b"])


def test_status_tells_everything(limiter: flint.Limiter, clock: ManualClock) -> None:
    assert limiter.status("k") is None
    limiter.limit("k", "10/s; 4/minute")
    limiter.check("k", 3)
    allowed_at = clock.now()
    clock.advance(1)
    limiter.check("k", 4)
    status = limiter.status("k")
    assert status is not None
    assert (status.rate, status.per_millis, status.burst, status.binding) == (4, 60_000, 4, 1)
    assert (status.total_allowed, status.total_allowed_cost) == (1, 3)
    assert (status.total_denied, status.total_denied_cost) == (1, 4)
    assert status.last_allowed_at == allowed_at
    assert status.last_denied_at == clock.now()
    assert status.last_reset_at is None
    assert status.reset_at == allowed_at + timedelta(seconds=45)


def test_list_pages_in_byte_order(limiter: flint.Limiter) -> None:
    for key in ("b", "a:2", "a:1", "é", "a:3"):
        limiter.limit(key, "1/s")
    assert [status.key for status in limiter.list()] == ["a:1", "a:2", "a:3", "b", "é"]
    assert [status.key for status in limiter.list(prefix="a:")] == ["a:1", "a:2", "a:3"]
    assert [status.key for status in limiter.list("a:", 1, "a:1")] == ["a:2"]
    assert limiter.list(limit=0) == []


def test_top_is_largest_first(limiter: flint.Limiter) -> None:
    for key, count in (("a", 1), ("b", 3), ("c", 2), ("idle", 0)):
        limiter.limit(key, "1/day")
        for _ in range(count):
            limiter.check(key)
    assert [status.key for status in limiter.top()] == ["b", "c"]
    assert [status.key for status in limiter.top("allowed", 2)] == ["a", "b"]
    assert [status.key for status in limiter.top(by="denied_cost", limit=1)] == ["b"]


def test_history_tells_what_happened(limiter: flint.Limiter) -> None:
    limiter.limit("k", "2/day")
    limiter.check("k")
    limiter.check_all(["k"])
    limiter.check("k")
    limiter.check("k", 2)
    limiter.reset("k")
    events = limiter.history("k")
    assert [event.type for event in events if event.type != "DENY"] == [
        "LIMIT_CONFIGURED",
        "ALLOW",
        "ALLOW_ALL",
        "RESET",
    ]
    assert sum(event.count for event in events if event.type == "DENY") == 2
    assert sum(event.cost for event in events if event.type == "DENY") == 3
    assert len(limiter.history("k", limit=2)) == 2
    assert limiter.history("unknown") == []


def test_reset_gives_the_limit_back_and_delete_forgets(limiter: flint.Limiter) -> None:
    limiter.limit("k", "1/day")
    limiter.check("k")
    limiter.reset("k")
    assert limiter.allow("k")
    limiter.delete("k")
    assert limiter.status("k") is None
    with pytest.raises(flint.LimitNotFound):
        limiter.check("k")


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_counters_survive_reopening(data_dir: Path, clock: ManualClock, sync: str) -> None:
    with flint.Limiter(data_dir, sync=sync, clock=clock) as limiter:
        assert limiter.recovery.created
        limiter.limit("k", "5/day")
        assert limiter.allow("k", 4)
    with flint.Limiter(str(data_dir), sync=sync, clock=clock) as limiter:
        assert limiter.recovery.clean
        assert not limiter.recovery.created
        assert limiter.check("k").remaining == 0
        limiter.compact()
        limiter.flush()
    report = flint.Limiter(data_dir, read_only=True).doctor()
    assert report["ok"]
    assert report["snapshot_exists"]
    assert report["limits"] == 1
    assert report["problems"] == []
    assert report["aof_bytes"] > 0


def test_a_read_only_limiter_looks_beside_a_writer(limiter: flint.Limiter, data_dir: Path, clock: ManualClock) -> None:
    limiter.limit("k", "5/day")
    limiter.check("k", 2)
    with flint.Limiter(data_dir, read_only=True, clock=clock) as reader:
        assert reader.read_only
        status = reader.status("k")
        assert status is not None
        assert status.remaining == 3
        assert [event.type for event in reader.history("k")] == ["LIMIT_CONFIGURED", "ALLOW"]
        with pytest.raises(flint.StorageError, match="read_only=True"):
            reader.check("k")


def test_a_subclass_of_str_is_a_plain_key(limiter: flint.Limiter) -> None:
    class Key(str):
        __slots__ = ()

    result = limiter.check(Key("k"), limit="1/s")
    assert type(result.key) is str


def test_a_subclass_may_have_arguments_of_its_own(data_dir: Path) -> None:
    class Mine(flint.Limiter):
        def __init__(self, directory: Path, default: str) -> None:
            super().__init__(directory, sync="batch")
            self.default = default

    with Mine(data_dir, "7/minute") as limiter:
        assert limiter.check("k", limit=limiter.default).limit == 7
        with pytest.raises(RuntimeError, match="already open"):
            flint.Limiter.__init__(limiter, data_dir)


def test_the_path_is_made_absolute_and_links_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    with flint.Limiter("link/../link") as limiter:
        assert limiter.data_dir == str(tmp_path / "link")
        monkeypatch.chdir("/")
        limiter.limit("k", "1/s")
        assert "always" in repr(limiter)
        assert "open" in repr(limiter)
    assert "closed" in repr(limiter)


def test_the_library_reads_no_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLINT_DATA_DIR", "elsewhere")
    with flint.Limiter() as limiter:
        assert limiter.data_dir == str(tmp_path / ".flint")


def test_in_always_mode_a_call_returns_when_its_record_is_on_disk(data_dir: Path) -> None:
    calls: list[Callable[[flint.Limiter], object]] = [
        lambda limiter: limiter.check("k", limit="9/day"),
        lambda limiter: limiter.allow("k"),
        lambda limiter: limiter.check_all(["k"]),
        lambda limiter: limiter.allow_all(["k"]),
        lambda limiter: limiter.limit("k", "8/day"),
        lambda limiter: limiter.limit_many([{"key": "k", "rate": "9/day"}]),
        lambda limiter: limiter.reset("k"),
        lambda limiter: limiter.delete("k"),
    ]
    with flint.Limiter(data_dir, sync="always") as limiter:
        for call in calls:
            before = limiter.counters()["seq"]
            call(limiter)
            after = limiter.counters()
            assert before < after["seq"] == after["durable_seq"]


def test_a_read_only_limiter_shows_the_moment_of_its_opening(limiter: flint.Limiter, data_dir: Path) -> None:
    limiter.limit("k", "10/minute")
    limiter.check("k")
    with flint.Limiter(data_dir, read_only=True) as viewer:
        limiter.check("k")
        status = viewer.status("k")
        assert status is not None
        assert status.total_allowed == 1
        assert [event.type for event in viewer.history("k")] == ["LIMIT_CONFIGURED", "ALLOW"]
    assert len(limiter.history("k")) == 3
