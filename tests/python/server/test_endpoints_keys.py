"""Every key that the library takes, in a path and in a query, and the keys and costs that it does not take."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.python.server.support import Client

KEYS = [
    "a/b",
    "/",
    "//",
    "%",
    "%2F",
    "%25",
    "a%zz",
    ".",
    "..",
    "../../etc/passwd",
    "a?b=c",
    "a#b",
    "a&b;c=d",
    "a b",
    "a+b",
    " ",
    "\0",
    "a\0b",
    "\r\nSet-Cookie: x",
    "\t\x7f\x1b[31m",
    '"\\',
    "{key}",
    "check",
    "ключ",
    "é",
    "e\u0301",
    "🔑",
    "\u202e\ufeff",
    "\U0010ffff",
    "k" * 512,
    "🔑" * 128,
    "/" * 512,
    "%" * 512,
]


@pytest.mark.parametrize("key", KEYS, ids=ascii)
def test_every_key_works_everywhere(client: Client, key: str) -> None:
    path, query = quote(key, safe=""), quote(key, safe="")
    assert client.post("/v1/limits", {"key": key, "rate": "5/52w"})["key"] == key
    assert client.check(key)["key"] == key
    assert client.post("/v1/peek", {"key": key})["key"] == key
    items = client.post("/v1/check-all", {"items": [key]})["results"]
    assert [item["key"] for item in items] == [key]
    assert client.get(f"/v1/limits/{path}")["total_allowed"] == 2
    assert [limit["key"] for limit in client.get(f"/v1/limits?key={query}")["limits"]] == [key]
    assert [limit["key"] for limit in client.get(f"/v1/limits?prefix={query}&limit=1")["limits"]] == [key]
    assert key not in [limit["key"] for limit in client.get(f"/v1/limits?after={query}")["limits"]]
    assert [event["type"] for event in client.get(f"/v1/history?key={query}")["events"]][-2:] == ["ALLOW", "ALLOW_ALL"]
    assert client.post("/v1/reset", {"key": key}) == {"reset": True}
    assert client.post("/v1/deny", {"key": key}) == {"counted": True}
    assert client.ask("DELETE", f"/v1/limits/{path}").ok() == {"deleted": True}
    answer = client.ask("GET", f"/v1/limits/{path}")
    answer.problem(404, "limit_not_found")
    assert answer.json["key"] == key
    client.post("/v1/limits", {"key": key, "rate": "5/52w"})
    assert client.ask("DELETE", f"/v1/limits?key={query}").ok() == {"deleted": True}


def test_a_plus_is_a_plus_in_a_path_and_a_space_in_a_query(client: Client) -> None:
    for key in ("p+q", "p q"):
        client.post("/v1/limits", {"key": key, "rate": "5/h"})
    assert client.get("/v1/limits/p+q")["key"] == "p+q"
    assert client.get("/v1/limits?key=p+q")["limits"][0]["key"] == "p q"
    assert client.get("/v1/limits?key=p%2Bq")["limits"][0]["key"] == "p+q"


@pytest.mark.parametrize("key", ["", "k" * 513, "é" * 257])
def test_keys_that_no_key_can_be(client: Client, key: str) -> None:
    for path in ("/v1/check", "/v1/peek", "/v1/reset"):
        client.ask("POST", path, {"key": key}).problem(400, "invalid_key")
    client.ask("POST", "/v1/limits", {"key": key, "rate": "1/s"}).problem(400, "invalid_key")
    client.ask("POST", "/v1/deny", {"key": key}).problem(400, "invalid_key")
    client.ask("POST", "/v1/check-all", {"items": [key]}).problem(400, "invalid_key")
    client.ask("GET", f"/v1/limits?key={quote(key)}").problem(400, "invalid_key")


def test_a_path_or_query_that_is_not_utf8(client: Client) -> None:
    client.ask("GET", "/v1/limits/%FF").problem(400, "invalid_argument")
    client.ask("GET", "/v1/limits?key=%C3").problem(400, "invalid_argument")


COSTS: list[object] = [0, -1, 1.5, 1.0, 11, 2**63, 2**64 - 1, 2**64, -(2**64), 1e300, True, None, "1", [1], {"a": 1}]


@pytest.mark.parametrize("cost", COSTS, ids=repr)
def test_costs_that_could_never_succeed(client: Client, cost: object) -> None:
    client.post("/v1/limits", {"key": "costs", "rate": "10/52w"})
    before = client.get("/v1/limits/costs")
    for path in ("/v1/check", "/v1/peek"):
        client.ask("POST", path, {"key": "costs", "cost": cost}).problem(400, "invalid_cost")
    if cost not in (11, 2**63, 2**64 - 1):
        # Whose limit is not stored yet may give up, too: nothing says how much it has room for.
        client.ask("POST", "/v1/deny", {"key": "costs", "cost": cost}).problem(400, "invalid_cost")
    for item in ({"key": "costs", "cost": cost}, ["costs", cost]):
        client.ask("POST", "/v1/check-all", {"items": [item]}).problem(400, "invalid_cost")
    after = client.get("/v1/limits/costs")
    assert (after["total_allowed"], after["total_denied"]) == (before["total_allowed"], before["total_denied"])


LIMITS: list[object] = [
    "",
    "5",
    "5/parsec",
    "0/s",
    "-1/s",
    5,
    True,
    [],
    {},
    {"rate": 5},
    {"rate": 5, "per": -1},
    {"rate": 5, "per": "1s", "color": "red"},
    {"rate": 5.5, "per": "1s"},
    {"rate": 2**64, "per": "1s"},
    {"rate": 5, "per": "1s", "algorithm": "luck"},
    {"rate": 5, "per": "1s", "burst": 0},
    {"rate": "5/s", "per": "1s"},
    ["1/s"] * 9,
    [[[[[["1/s"]]]]]],
    {"rate": 1, "per": "11000w"},
]


@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_limits_that_are_not_accepted(client: Client, limit: object) -> None:
    for path in ("/v1/check", "/v1/peek"):
        client.ask("POST", path, {"key": "limits", "limit": limit}).problem(400, "invalid_limit")
    client.ask("POST", "/v1/check-all", {"items": [{"key": "limits", "limit": limit}]}).problem(400, "invalid_limit")
    client.ask("GET", "/v1/limits/limits").problem(404, "limit_not_found")
