"""The Python snippets of release 0.2.1's README, unchanged."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import flint
import flint.testing

Snippet = Callable[..., dict[str, Any]]


class Calls:
    """A stand-in for the functions of the application."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def test_the_distribution_and_the_module_have_their_names() -> None:
    assert importlib.metadata.version("flint-limiter") == flint.__version__


def test_quickstart(snippet: Snippet, cwd: Path) -> None:
    process_request = Calls()
    limiter = snippet("quickstart", process_request=process_request)["limiter"]
    assert process_request.count == 1
    assert (cwd / ".flint").is_dir()
    status = limiter.status("api:user-42")
    assert (status.rate, status.per_millis, status.algorithm) == (100, 60_000, "token_bucket")
    assert status.total_allowed == 1


def test_quickstart_runs_again_and_remembers(snippet: Snippet) -> None:
    for run in (1, 2, 3):
        limiter = snippet("quickstart", process_request=Calls())["limiter"]
        assert limiter.status("api:user-42").total_allowed == run
        limiter.close()


def test_the_data_directory_is_dot_flint_and_the_sync_mode_always_by_default(limiter: flint.Limiter, cwd: Path) -> None:
    assert Path(limiter.data_dir) == cwd / ".flint"
    assert limiter.sync == "always"


def test_result(snippet: Snippet, limiter: flint.Limiter, capsys: pytest.CaptureFixture[str]) -> None:
    limiter.limit("api:user-42", rate=100, per="1m")
    before = datetime.now(timezone.utc)
    snippet("result", limiter=limiter)
    after = datetime.now(timezone.utc)
    allowed, cost, remaining, reset_at = capsys.readouterr().out.splitlines()
    assert (allowed, cost, remaining) == ("True", "1", "99")
    full_at = datetime.fromisoformat(reset_at)
    assert full_at.tzinfo == timezone.utc
    assert before < full_at < after + timedelta(seconds=1)


def test_cost(snippet: Snippet, limiter: flint.Limiter) -> None:
    limiter.limit("api:user-42", rate=100, per="1m")
    limiter.limit("ai:user-42", rate=499, per="10d")
    for calls in (1, 0):
        run_expensive_model_call = Calls()
        result = snippet("cost", limiter=limiter, run_expensive_model_call=run_expensive_model_call)["result"]
        assert run_expensive_model_call.count == calls
        assert (result.allowed, result.cost) == (calls == 1, 250)
    status = limiter.status("ai:user-42")
    assert status is not None
    assert (status.total_allowed_cost, status.total_denied_cost) == (250, 250)


@pytest.mark.parametrize("cost", [0, -1, 101])
def test_a_cost_is_positive_and_at_most_the_capacity(limiter: flint.Limiter, cost: int) -> None:
    limiter.limit("api:user-42", rate=100, per="1m")
    before = limiter.status("api:user-42")
    with pytest.raises(flint.InvalidCost):
        limiter.check("api:user-42", cost=cost)
    after = limiter.status("api:user-42")
    assert before is not None
    assert after is not None
    # A full limit is back at the moment of the question.
    moments = {"reset_at", "counters"}
    assert {**after.to_dict(), **dict.fromkeys(moments)} == {**before.to_dict(), **dict.fromkeys(moments)}


def _three_limits(limiter: flint.Limiter, org: int) -> None:
    limiter.limit("user:42", rate=100, per="10d")
    limiter.limit("org:acme", rate=org, per="10d")
    limiter.limit("endpoint:/v1/chat", rate=100, per="10d")


def test_check_all_allowed(snippet: Snippet, limiter: flint.Limiter) -> None:
    _three_limits(limiter, org=10)
    process_request = Calls()
    result = snippet("check_all", limiter=limiter, process_request=process_request)["result"]
    assert process_request.count == 1
    assert result["allowed"] is True
    assert result["denied_key"] is None
    assert [status.remaining for status in limiter.list()] == [99, 0, 99]


def test_check_all_denied(snippet: Snippet, limiter: flint.Limiter, capsys: pytest.CaptureFixture[str]) -> None:
    _three_limits(limiter, org=19)
    limiter.check("org:acme", cost=10)
    process_request = Calls()
    result = snippet("check_all", limiter=limiter, process_request=process_request)["result"]
    assert process_request.count == 0
    assert result["allowed"] is False
    assert capsys.readouterr().out == "blocked by org:acme\n"
    statuses = {status.key: status for status in limiter.list()}
    assert {key: status.remaining for key, status in statuses.items()} == {
        "endpoint:/v1/chat": 100,
        "org:acme": 9,
        "user:42": 100,
    }
    assert {key: status.total_denied for key, status in statuses.items()} == {
        "endpoint:/v1/chat": 0,
        "org:acme": 1,
        "user:42": 0,
    }


def test_allow_all(snippet: Snippet, limiter: flint.Limiter) -> None:
    _three_limits(limiter, org=1)
    process_request = Calls()
    for _ in range(3):
        snippet("allow_all", limiter=limiter, process_request=process_request)
    assert process_request.count == 1
    assert limiter.allow_all(["user:42"]) is True
    assert limiter.allow_all(["user:42", "org:acme"]) is False


def test_sync_modes(snippet: Snippet, cwd: Path) -> None:
    names = snippet("sync_modes")
    safe, fast = names["safe"], names["fast"]
    assert (safe.sync, fast.sync) == ("always", "batch")
    counters = fast.counters()
    assert counters["durable_seq"] == counters["seq"]
    fast.close()
    with flint.Limiter(cwd / ".flint-fast") as again:
        status = again.status("api:user-42")
        assert status is not None
        assert status.total_allowed == 1


def test_milliseconds(snippet: Snippet, tmp_path: Path) -> None:
    clock = flint.testing.ManualClock()
    with flint.Limiter(tmp_path / "data", clock=clock) as limiter:
        snippet("milliseconds", limiter=limiter)
        assert limiter.allow("burst:login")
        assert not limiter.allow("burst:login")
        clock.advance(ms=249)
        assert not limiter.allow("burst:login")
        clock.advance(ms=1)
        assert limiter.allow("burst:login")


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window_log", "fixed_window_counter"])
def test_algorithms(limiter: flint.Limiter, algorithm: str) -> None:
    limiter.limit("key", rate=2, per="10d", algorithm=algorithm)
    assert [limiter.allow("key") for _ in range(3)] == [True, True, False]
    status = limiter.status("key")
    assert status is not None
    assert status["algorithm"] == algorithm


def test_metrics_of_status_and_list(limiter: flint.Limiter) -> None:
    limiter.limit("key", rate=5, per="10d")
    limiter.check("key", cost=3)
    limiter.check("key", cost=4)
    limiter.reset("key")
    status = limiter.status("key")
    assert status is not None
    for each in (status, limiter.list()[0]):
        assert each["total_allowed"] == 1
        assert each["total_denied"] == 1
        assert each["total_allowed_cost"] == 3
        assert each["total_denied_cost"] == 4
        assert each["last_allowed_at"] <= each["last_denied_at"] <= each["last_reset_at"]
        assert each["remaining"] == 5
        assert each["reset_at"].tzinfo == timezone.utc


def test_events_have_their_names(limiter: flint.Limiter) -> None:
    limiter.limit("key", rate=3, per="10d")
    limiter.check("key")
    limiter.check_all(["key"])
    limiter.check("key", cost=2)
    limiter.reset("key")
    types = {event.type for event in limiter.history("key")}
    assert types == {"LIMIT_CONFIGURED", "ALLOW", "ALLOW_ALL", "DENY", "RESET"}


def test_leaving_the_process_flushes_what_is_pending(cwd: Path, shell: Callable[[str], Any]) -> None:
    (cwd / "job.py").write_text(
        "import flint\n"
        "limiter = flint.Limiter(sync='batch', flush_every_ms=60_000, flush_every_events=1_000_000)\n"
        "limiter.limit('key', rate=100, per='10d')\n"
        "print(sum(limiter.allow('key') for _ in range(60)))\n"
    )
    assert shell("python job.py").stdout == "60\n"
    with flint.Limiter() as again:
        status = again.status("key")
        assert again.recovery.clean
        assert status is not None
        assert status.total_allowed == 60
