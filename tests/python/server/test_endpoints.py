"""Every route: what it takes, what it answers, and that this is what the embedded limiter says."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from tests.python.server.support import Client, serving

import flint

numbers = itertools.count()


@pytest.fixture
def key(client: Client) -> str:
    """A key of this test alone, with ten tokens that never come back in time."""
    key = f"key-{next(numbers)}"
    client.post("/v1/limits", {"key": key, "rate": 10, "per": "52w", "algorithm": "fixed_window_counter"})
    return key


def shape(value: object) -> object:
    """Names in their order and types of values: what does not depend on the moment."""
    if isinstance(value, dict):
        return [(name, shape(part)) for name, part in value.items()]
    if isinstance(value, list | tuple):
        return [shape(part) for part in value]
    return type(value).__name__


def test_health(client: Client) -> None:
    assert client.get("/v1/health") == {"status": "ok", "version": flint.__version__}


def test_limits(client: Client) -> None:
    made = client.post("/v1/limits", {"key": "l/1", "rate": 100, "per": "1m", "burst": 200})
    assert (made["key"], made["rate"], made["per_millis"], made["burst"]) == ("l/1", 100, 60_000, 200)
    assert made["algorithm"] == "token_bucket"
    client.post("/v1/limits", {"key": "l/2", "rate": "5/s; 100/m"})
    client.post("/v1/limits", {"key": "l/3", "rate": 5, "per": 60, "algorithm": "sliding_window_log"})
    client.post("/v1/limits", {"key": "l/4", "rate": ["5/s", {"rate": 7, "per": "1h"}]})
    assert len(client.get("/v1/limits/l%2F4")["rates"]) == 2
    assert [limit["key"] for limit in client.get("/v1/limits?prefix=l/")["limits"]] == ["l/1", "l/2", "l/3", "l/4"]
    assert [limit["key"] for limit in client.get("/v1/limits?prefix=l/&limit=2")["limits"]] == ["l/1", "l/2"]
    assert [limit["key"] for limit in client.get("/v1/limits?prefix=l/&after=l/2")["limits"]] == ["l/3", "l/4"]
    assert client.get("/v1/limits?prefix=l/&limit=0") == {"limits": []}
    assert [limit["key"] for limit in client.get("/v1/limits?key=l/1")["limits"]] == ["l/1"]
    assert client.get("/v1/limits?key=unknown") == {"limits": []}
    client.ask("GET", "/v1/limits?limit=10001").problem(400, "invalid_argument")
    client.ask("GET", "/v1/limits?key=l/1&prefix=l").problem(400, "invalid_argument")


def test_a_changed_limit_keeps_or_forgets(client: Client, key: str) -> None:
    client.check(key, 4)
    changed = {"key": key, "rate": 20, "per": "52w", "algorithm": "fixed_window_counter"}
    assert client.post("/v1/limits", changed)["remaining"] == 16
    assert client.post("/v1/limits", {**changed, "rate": 30, "on_change": "reset"})["remaining"] == 30
    client.ask("POST", "/v1/limits", {**changed, "on_change": "maybe"}).problem(400, "invalid_argument")


def test_limit_many(client: Client) -> None:
    specs = [{"key": f"m{number}", "rate": "7/h"} for number in range(1000)]
    assert client.post("/v1/limit-many", {"limits": specs}) == {"configured": 1000}
    assert client.get("/v1/limits/m999")["rate"] == 7
    wrong = {"limits": [{"key": "never", "rate": "7/h"}, {"key": "m0", "rate": "7/fortnight"}]}
    assert "limits[1]" in client.ask("POST", "/v1/limit-many", wrong).problem(400, "invalid_limit")
    client.ask("GET", "/v1/limits/never").problem(404, "limit_not_found")
    # Larger than what other requests may send.
    many = {"limits": [{"key": f"{number}:".ljust(400, "x"), "rate": "7/h"} for number in range(300)]}
    assert client.post("/v1/limit-many", many) == {"configured": 300}


@pytest.mark.parametrize("by_query", [False, True])
def test_delete(client: Client, key: str, by_query: bool) -> None:
    path = f"/v1/limits?key={key}" if by_query else f"/v1/limits/{key}"
    assert client.ask("DELETE", path).ok() == {"deleted": True}
    answer = client.ask("DELETE", path)
    answer.problem(404, "limit_not_found")
    assert answer.json["key"] == key


def test_check(client: Client, key: str) -> None:
    first = client.check(key, 4)
    assert (first["allowed"], first["remaining"], first["cost"], first["limit"]) == (True, 6, 4, 10)
    denied = client.check(key, 7)
    assert (denied["allowed"], denied["remaining"]) == (False, 6)
    assert denied["retry_after"] > 0
    status = client.get(f"/v1/limits/{key}")
    assert (status["total_allowed"], status["total_allowed_cost"], status["total_denied"]) == (1, 4, 1)
    # A call that waits and tries again is no denial until it gives up.
    waiting = client.post("/v1/check", {"key": key, "cost": 7, "count_denied": False})
    assert not waiting["allowed"]
    assert client.get(f"/v1/limits/{key}")["total_denied"] == 1
    assert client.post("/v1/deny", {"key": key, "cost": 7}) == {"counted": True}
    assert client.get(f"/v1/limits/{key}")["total_denied"] == 2


def test_a_check_brings_its_limit(client: Client) -> None:
    limits: list[Any] = [
        "3/h",
        {"rate": 3, "per": "1h"},
        ["3/h", {"rate": 5, "per": 86400, "algorithm": "sliding_window_log"}],
    ]
    for number, limit in enumerate(limits):
        name = f"brought-{number}"
        assert client.post("/v1/peek", {"key": name, "limit": limit})["allowed"]
        client.ask("GET", f"/v1/limits/{name}").problem(404, "limit_not_found")
        assert client.post("/v1/check", {"key": name, "limit": limit})["remaining"] == 2
        assert client.get(f"/v1/limits/{name}")["rate"] == 3


def test_peek(client: Client, key: str) -> None:
    before = without_moments(client.get(f"/v1/limits/{key}"))
    assert client.post("/v1/peek", {"key": key, "cost": 3})["allowed"]
    assert without_moments(client.get(f"/v1/limits/{key}")) == before
    forecast = client.post("/v1/peek", {"key": key, "cost": 6, "costs": [6, 6]})
    assert not forecast["allowed"]
    assert forecast["retry_after"] > 0


def test_check_all(client: Client, key: str) -> None:
    client.post("/v1/limits", {"key": f"{key}-more", "rate": "5/52w"})
    other = {"key": f"{key}-other", "cost": 2, "limit": "2/52w"}
    taken = client.post("/v1/check-all", {"items": [{"key": key}, [f"{key}-more", 3], other]})
    assert (taken["allowed"], taken["denied_key"]) == (True, None)
    assert [item["cost"] for item in taken["results"]] == [1, 3, 2]
    denied = client.post("/v1/check-all", {"items": [key, other]})
    assert (denied["allowed"], denied["denied_key"]) == (False, f"{key}-other")
    assert client.get(f"/v1/limits/{key}")["remaining"] == 9


def test_reset(client: Client, key: str) -> None:
    client.check(key, 5)
    assert client.post("/v1/reset", {"key": key}) == {"reset": True}
    assert client.get(f"/v1/limits/{key}")["remaining"] == 10
    client.ask("POST", "/v1/reset", {"key": "unknown"}).problem(404, "limit_not_found")


def test_log(client: Client, key: str) -> None:
    client.check(key)
    bodies: list[object] = [None, {}]
    for body in bodies:
        assert client.post("/v1/log/flush", body) == {"flushed": True}
        assert client.post("/v1/log/compact", body) == {"compacted": True}
    counters = client.get("/v1/counters")
    assert counters["durable_seq"] == counters["seq"]
    page = client.get("/v1/log/records?limit=2")
    assert len(page["records"]) == 2
    rest = client.get(f"/v1/log/records?after={page['records'][-1]['seq']}&limit=10000")
    assert rest["records"][0]["seq"] == page["records"][-1]["seq"] + 1
    assert rest["newest"] >= rest["records"][-1]["seq"]
    client.ask("GET", "/v1/log/records?limit=10001").problem(400, "invalid_argument")
    client.ask("GET", "/v1/log/records?after=x").problem(400, "invalid_argument")


def test_doctor_top_and_history(client: Client, key: str) -> None:
    for cost in (9, 2, 2, 2):
        client.check(key, cost)
    doctor = client.get("/v1/doctor")
    assert (doctor["ok"], doctor["problems"]) == (True, [])
    assert doctor["limits"] == len(client.get("/v1/limits?limit=10000")["limits"])
    assert client.get("/v1/top?by=denied&limit=1")["limits"][0]["key"] == key
    assert len(client.get("/v1/top")["limits"]) <= 10
    client.ask("GET", "/v1/top?by=luck").problem(400, "invalid_argument")
    events = client.get(f"/v1/history?key={key}&limit=2")["events"]
    assert [event["type"] for event in events] == ["ALLOW", "DENY"]
    assert client.get("/v1/history?key=unknown") == {"events": []}
    client.ask("GET", "/v1/history").problem(400, "invalid_argument")


def test_metrics(client: Client, key: str) -> None:
    client.check(key)
    answer = client.ask("GET", "/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    text = answer.body.decode()
    assert "flint_requests_allowed_total" in text
    assert 'flint_server_responses_total{method="POST",path="/v1/check",status="2xx"}' in text
    assert key not in text, "keys are no labels: a scraper may have less rights than a client"


def test_the_description(client: Client) -> None:
    document = client.get("/v1/openapi.json")
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == flint.__version__
    operations = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert operations == {
        ("GET", "/v1/health"),
        ("GET", "/v1/limits"),
        ("POST", "/v1/limits"),
        ("POST", "/v1/limit-many"),
        ("GET", "/v1/limits/{key}"),
        ("DELETE", "/v1/limits/{key}"),
        ("DELETE", "/v1/limits"),
        ("POST", "/v1/check"),
        ("POST", "/v1/peek"),
        ("POST", "/v1/deny"),
        ("POST", "/v1/check-all"),
        ("POST", "/v1/reset"),
        ("POST", "/v1/log/flush"),
        ("POST", "/v1/log/compact"),
        ("GET", "/v1/log/records"),
        ("GET", "/v1/doctor"),
        ("GET", "/v1/top"),
        ("GET", "/v1/history"),
        ("GET", "/v1/counters"),
        ("GET", "/metrics"),
        ("GET", "/v1/openapi.json"),
    }


def calls(limiter: flint.Limiter) -> dict[str, object]:
    """What the embedded limiter says to the same calls as `asked`."""
    limiter.limit("a", 10, "52w", algorithm="fixed_window_counter")
    limiter.limit("b", flint.Limit("5/s; 100/52w"))
    found: dict[str, object] = {"status": limiter.status("a").to_dict()}  # type: ignore[union-attr]  # it was just set
    found["allowed"] = limiter.check("a", 4).to_dict()
    found["denied"] = limiter.check("a", 7).to_dict()
    found["peek"] = limiter.peek("b", 2).to_dict()
    found["all"] = limiter.check_all(["a", ("b", 2)]).to_dict()
    found["all denied"] = limiter.check_all(["b", ("a", 9)]).to_dict()
    found["list"] = [status.to_dict() for status in limiter.list()]
    found["top"] = [status.to_dict() for status in limiter.top()]
    found["history"] = [event.to_dict() for event in limiter.history("a")]
    found["doctor"] = limiter.doctor()
    found["counters"] = limiter.counters()
    return found


def asked(client: Client) -> dict[str, object]:
    """What the server says."""
    spec = {"key": "a", "rate": 10, "per": "52w", "algorithm": "fixed_window_counter"}
    found: dict[str, object] = {"status": client.post("/v1/limits", spec)}
    client.post("/v1/limits", {"key": "b", "rate": "5/s; 100/52w"})
    found["allowed"] = client.check("a", 4)
    found["denied"] = client.check("a", 7)
    found["peek"] = client.post("/v1/peek", {"key": "b", "cost": 2})
    found["all"] = client.post("/v1/check-all", {"items": ["a", ["b", 2]]})
    found["all denied"] = client.post("/v1/check-all", {"items": ["b", ["a", 9]]})
    found["list"] = client.get("/v1/limits")["limits"]
    found["top"] = client.get("/v1/top")["limits"]
    found["history"] = client.get("/v1/history?key=a")["events"]
    found["doctor"] = client.get("/v1/doctor")
    found["counters"] = client.get("/v1/counters")
    return found


# Times and what follows from them, and how often the disk was waited for.
MOMENT = re.compile(r"at|.*_at|reset_after.*|retry_after.*|.*sync.*|durable_seq|recovery_ns")


def without_moments(value: object) -> object:
    if isinstance(value, dict):
        return {name: None if MOMENT.fullmatch(name) else without_moments(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_moments(part) for part in value]
    return value


def test_answers_are_those_of_the_embedded_limiter(tmp_path: Path) -> None:
    with flint.Limiter(tmp_path / "embedded", sync="always") as limiter:
        embedded = calls(limiter)
    with serving(tmp_path / "served") as server:
        served = asked(server.client())
    assert served.keys() == embedded.keys()
    for name, answer in served.items():
        assert shape(answer) == shape(embedded[name]), name
        assert without_moments(answer) == without_moments(embedded[name]), name
