"""Requests that are not answered with what they ask for: each has its status and its code."""

from __future__ import annotations

from typing import Any

import pytest
from tests.python.server.support import Client, Server, answers, refused, request, serving


def test_a_denied_check_is_an_answer(client: Client) -> None:
    spec = {"key": "once", "rate": 1, "per": "52w"}
    client.post("/v1/limits", spec)
    assert client.check("once")["allowed"]
    denied = client.ask("POST", "/v1/check", {"key": "once"})
    assert (denied.status, denied.json["allowed"]) == (200, False)
    denied = client.ask("POST", "/v1/check-all", {"items": ["once"]})
    assert (denied.status, denied.json["allowed"], denied.json["denied_key"]) == (200, False, "once")


@pytest.mark.parametrize("path", ["/v1/check", "/v1/peek", "/v1/reset"])
def test_an_unknown_limit(client: Client, path: str) -> None:
    answer = client.ask("POST", path, {"key": "unknown"})
    answer.problem(404, "limit_not_found")
    assert answer.json["key"] == "unknown"


def test_an_unknown_limit_among_several(client: Client) -> None:
    client.post("/v1/limits", {"key": "known", "rate": "5/52w"})
    answer = client.ask("POST", "/v1/check-all", {"items": ["known", "unknown"]})
    answer.problem(404, "limit_not_found")
    assert answer.json["key"] == "unknown"
    assert client.get("/v1/limits/known")["total_allowed"] == 0


PATHS = [
    "/",
    "/v1",
    "/v1/",
    "/v2/check",
    "/v1/check/",
    "/v1/checks",
    "/V1/check",
    "/v1/limits/",
    "/v1/limits/a/b",
    "/v1/../v1/check",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_paths(client: Client, path: str, method: str) -> None:
    client.ask(method, path).problem(404, "not_found")


METHODS = {
    "/v1/health": "GET",
    "/v1/limits": "GET, POST, DELETE",
    "/v1/limits/k": "GET, DELETE",
    "/v1/limit-many": "POST",
    "/v1/check": "POST",
    "/v1/peek": "POST",
    "/v1/deny": "POST",
    "/v1/check-all": "POST",
    "/v1/reset": "POST",
    "/v1/log/flush": "POST",
    "/v1/log/compact": "POST",
    "/v1/log/records": "GET",
    "/v1/doctor": "GET",
    "/v1/top": "GET",
    "/v1/history": "GET",
    "/v1/counters": "GET",
    "/metrics": "GET",
    "/v1/openapi.json": "GET",
}


@pytest.mark.parametrize(("path", "allowed"), METHODS.items())
def test_other_methods(client: Client, path: str, allowed: str) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - set(allowed.split(", ")):
        answer = client.ask(method, path)
        answer.problem(405, "method_not_allowed")
        assert answer.headers["Allow"] == allowed


BODIES: dict[str, dict[str, Any]] = {
    "/v1/limits": {"key": "k", "rate": "1/s"},
    "/v1/limit-many": {"limits": []},
    "/v1/check": {"key": "k"},
    "/v1/peek": {"key": "k"},
    "/v1/deny": {"key": "k"},
    "/v1/check-all": {"items": ["k"]},
    "/v1/reset": {"key": "k"},
    "/v1/log/flush": {},
    "/v1/log/compact": {},
}
NAMED = {path: body for path, body in BODIES.items() if body}


@pytest.mark.parametrize(("path", "body"), BODIES.items())
def test_bodies_are_json(client: Client, path: str, body: object) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json-seq", ""):
        client.ask("POST", path, body, {"Content-Type": kind}).problem(415, "unsupported_media_type")
    sent = {"Content-Type": "Application/JSON; charset=utf-8"}
    client.ask("POST", path, b"{", sent).problem(400, "invalid_json")


@pytest.mark.parametrize(("path", "body"), BODIES.items())
def test_unknown_fields_are_named(client: Client, path: str, body: dict[str, Any]) -> None:
    assert "colour" in client.ask("POST", path, {**body, "colour": 1}).problem(400, "invalid_argument")


OTHERS: list[object] = [
    {},
    [],
    1,
    "k",
    b"null",
    {"key": None},
    {"key": 1},
    {"items": 1},
    {"limits": "k"},
    {"items": [["k"]]},
]


@pytest.mark.parametrize("path", NAMED)
def test_bodies_that_hold_something_else(client: Client, path: str) -> None:
    client.ask("POST", path).problem(400, "invalid_json")
    for bad in (b"", b" ", b"{", b"nonsense", b'"\xff', b"{'key': 'k'}", b'{key: "k"}'):
        client.ask("POST", path, bad).problem(400, "invalid_json")
    for other in OTHERS:
        client.ask("POST", path, other).problem(400, "invalid_argument")


@pytest.mark.parametrize(("path", "body"), BODIES.items())
def test_fields_have_names(client: Client, path: str, body: dict[str, Any]) -> None:
    client.ask("POST", path, list(body.values())).problem(400, "invalid_argument")
    client.ask("POST", "/v1/limit-many", {"limits": [["k", "1/s"]]}).problem(400, "invalid_argument")


@pytest.mark.parametrize("path", NAMED)
def test_a_field_given_twice(client: Client, path: str) -> None:
    name = next(iter(NAMED[path]))
    client.ask("POST", path, f'{{"{name}": [], "{name}": []}}'.encode()).problem(400, "invalid_argument")


def test_a_check_all_without_items_or_with_one_twice(client: Client) -> None:
    client.post("/v1/limits", {"key": "twice", "rate": "5/52w"})
    client.ask("POST", "/v1/check-all", {"items": ["twice", "twice"]}).problem(400, "invalid_key")
    assert client.get("/v1/limits/twice")["total_allowed"] == 0


@pytest.mark.parametrize("path", ["/v1/health", "/v1/limits", "/v1/limits/k", "/v1/doctor", "/metrics"])
def test_a_body_where_none_belongs(client: Client, path: str) -> None:
    client.ask("GET", path, {"key": "k"}).problem(400, "invalid_argument")


@pytest.mark.parametrize(
    "path", ["/v1/check?key=k", "/v1/limits?colour=red", "/v1/limits?limit=1&limit=2", "/v1/top?limit=-1"]
)
def test_queries_are_strict(client: Client, path: str) -> None:
    method, body = ("POST", {"key": "k"}) if "check" in path else ("GET", None)
    client.ask(method, path, body).problem(400, "invalid_argument")


def test_the_exact_form_has_its_media_type(client: Client) -> None:
    exact = "application/vnd.flint.exact+json"
    client.post("/v1/limits", {"key": "exact", "rate": "5/52w"})
    answer = client.ask("POST", "/v1/check", {"key": "exact"}, {"Accept": exact})
    assert (answer.status, answer.headers["Content-Type"]) == (200, exact)
    answer = client.ask("POST", "/v1/check", {"key": "unknown"}, {"Accept": exact})
    answer.problem(404, "limit_not_found")


def test_answers_have_a_length_and_connections_stay(client: Client) -> None:
    client.get("/v1/health")
    kept = client.connection.sock
    for path in ("/v1/health", "/v1/nothing", "/v1/limits/unknown", "/metrics", "/v1/check", "/v1/openapi.json"):
        answer = client.ask("GET", path)
        assert int(answer.headers["Content-Length"]) == len(answer.body) > 0, path
        assert client.connection.sock is kept, path


def test_a_refusal_that_leaves_a_body_unread_ends_the_connection(server: Server) -> None:
    late = request("POST", "/v1/check", "Content-Type: text/plain", "Content-Length: 11")
    (refusal,) = answers(server.connect(late))
    refusal.problem(415, "unsupported_media_type")
    assert refusal.headers["Connection"] == "close"


def test_what_web_pages_send_is_refused(client: Client) -> None:
    for origin in ("http://evil.example", "http://localhost", "null"):
        client.ask("GET", "/v1/health", headers={"Origin": origin}).problem(403, "origin_refused")
        client.ask("POST", "/v1/check", {"key": "k"}, {"Origin": origin}).problem(403, "origin_refused")


def host(server: Server, *names: str, target: str = "/v1/health") -> str:
    """The code of an answer to a request with these Host headers."""
    connection = server.connect()
    lines = [f"Host: {name}" for name in names]
    connection.sendall("\r\n".join([f"GET {target} HTTP/1.1", *lines, "Connection: close", "", ""]).encode())
    (answer,) = answers(connection)
    return "ok" if answer.status == 200 else str(answer.json["code"])


def test_hosts_without_a_token(server: Server, tmp_path: Any) -> None:
    for name in ("localhost", "LocalHost:80", "127.0.0.1", "127.1.2.3:9", "[::1]:7878"):
        assert host(server, name) == "ok", name
    for name in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "flint.internal", ""):
        assert host(server, name) == "host_refused", name
    assert host(server) == "invalid_argument"
    assert host(server, "localhost", "evil.example") == "invalid_argument"
    # A whole URL in place of a path names a host, too.
    assert host(server, "localhost", target="http://127.0.0.1:7878/v1/health") == "ok"
    assert host(server, "localhost", target="http://evil.example/v1/health") == "host_refused"
    with serving(tmp_path / "data", "--allowed-host", "Flint.internal", "--allowed-host", "other") as more:
        assert [host(more, name) for name in ("flint.INTERNAL:1", "other", "localhost")] == ["ok"] * 3
        assert host(more, "evil.example") == "host_refused"
    for bad in ("", "*", "http://other", "other:80"):
        assert f'--allowed-host "{bad}" is no host' in refused(tmp_path / "data", "--allowed-host", bad)
    with serving(tmp_path / "data", "--token", "dev-secret") as guarded:
        client = guarded.client("dev-secret")
        assert client.ask("GET", "/v1/health", headers={"Host": "anything.example"}).status == 200


def test_more_connections_than_allowed(tmp_path: Any) -> None:
    with serving(tmp_path / "data", "--max-connections", "2") as server:
        clients = [server.client() for _ in range(6)]
        for client in clients:
            client.get("/v1/health")
        assert clients[-1].metric("flint_server_connections") == 2
        assert clients[-1].metric("flint_server_connections_evicted_total") == 4
