"""`Idempotency-Key`: a repeated call gets the first answer and takes nothing, also from the next server."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.python.server.support import STRONG, Answer, Client, serving

LIMIT = {"key": "k", "rate": 10, "per": "52w", "algorithm": "fixed_window_counter"}
CHECK: dict[str, Any] = {"key": "k", "cost": 2}
ALL: dict[str, Any] = {"items": [["k", 2]]}
CALLS = {"/v1/check": CHECK, "/v1/check-all": ALL}


def named(client: Client, path: str, body: object, name: str) -> tuple[Any, bool]:
    """The answer to a call with this name, and whether it is a repetition's."""
    answer = client.ask("POST", path, body, {"Idempotency-Key": name})
    replayed = answer.headers["Idempotency-Replayed"]
    assert replayed in (None, "true")
    return answer.ok(), replayed == "true"


def taken(client: Client) -> int:
    return int(client.get("/v1/limits/k")["total_allowed_cost"])


def decision(answer: dict[str, Any]) -> dict[str, Any]:
    """What was decided, without what the moment adds to it."""
    first = answer["results"][0] if "results" in answer else answer
    return {name: first[name] for name in ("allowed", "key", "cost", "limit", "remaining")}


@pytest.mark.parametrize(("path", "body"), CALLS.items())
def test_a_repetition_takes_nothing(tmp_path: Path, path: str, body: object) -> None:
    with serving(tmp_path / "data") as server:
        client = server.client()
        client.post("/v1/limits", LIMIT)
        first, replayed = named(client, path, body, "one")
        assert (first["allowed"], replayed) == (True, False)
        client.check()
        for asking in (client, server.client()):
            again, replayed = named(asking, path, body, "one")
            assert (decision(again), replayed) == (decision(first), True)
        assert taken(client) == 3
        _, replayed = named(client, path, body, "another")
        assert not replayed
        assert taken(client) == 5
        # The name stands for one call alone.
        for other_path, other in (
            *CALLS.items(),
            (path, {"key": "k", "cost": 3} if body is CHECK else {"items": ["k"]}),
        ):
            if (other_path, other) != (path, body):
                answer = client.ask("POST", other_path, other, {"Idempotency-Key": "one"})
                answer.problem(422, "idempotency_mismatch")
        assert taken(client) == 5


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(("path", "body"), CALLS.items())
def test_the_next_server_knows_it(tmp_path: Path, path: str, body: object, killed: bool) -> None:
    with serving(tmp_path / "data", "--sync", "batch") as server:
        client = server.client()
        client.post("/v1/limits", LIMIT)
        first, _ = named(client, path, body, "one")
        if killed:
            server.process.kill()
            server.wait()
    for compacted in (True, False):
        with serving(tmp_path / "data") as server:
            client = server.client()
            again, replayed = named(client, path, body, "one")
            assert (decision(again), replayed) == (decision(first), True)
            assert taken(client) == 2
            answer = client.ask(
                "POST", path, {"key": "k"} if body is CHECK else {"items": ["k"]}, {"Idempotency-Key": "one"}
            )
            answer.problem(422, "idempotency_mismatch")
            if compacted:
                client.post("/v1/log/compact")


def test_a_denial_is_repeated_too(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        client = server.client()
        client.post("/v1/limits", LIMIT)
        client.check("k", 9)
        denied, _ = named(client, "/v1/check", CHECK, "one")
        assert not denied["allowed"]
        client.post("/v1/reset", {"key": "k"})
        again, replayed = named(client, "/v1/check", CHECK, "one")
        assert (again["allowed"], replayed) == (False, True)
        assert client.get("/v1/limits/k")["total_denied"] == 1


def test_names_belong_to_a_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    tokens = [f"{number}-{STRONG}" for number in range(2)]
    file.write_text("".join(f"{token} check configure\n" for token in tokens))
    file.chmod(0o600)
    with serving(tmp_path / "data", "--token-file", file) as server:
        clients = [server.client(token) for token in tokens]
        clients[0].post("/v1/limits", LIMIT)
        assert [named(client, "/v1/check", CHECK, "one")[1] for client in clients] == [False, False]
        assert [named(client, "/v1/check", CHECK, "one")[1] for client in clients] == [True, True]
        assert taken(clients[0]) == 4


def test_the_same_call_many_times_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        server.client().post("/v1/limits", LIMIT)
        clients = [server.client() for _ in range(16)]
        together, found = threading.Barrier(len(clients)), []

        def ask(client: Client) -> None:
            together.wait(30)
            found.append(named(client, "/v1/check", CHECK, "one"))

        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [answer["remaining"] for answer, _ in found] == [8] * len(clients)
        assert sum(replayed for _, replayed in found) == len(clients) - 1
        assert taken(clients[0]) == 2


def test_a_denial_that_counts_for_nothing_is_not_remembered(tmp_path: Path) -> None:
    """A waiting caller tries again."""
    with serving(tmp_path / "data") as server:
        client = server.client()
        client.post("/v1/limits", LIMIT)
        client.check(cost=10)
        waiting = {"key": "k", "count_denied": False}
        first, replayed = named(client, "/v1/check", waiting, "one")
        assert (first["allowed"], replayed) == (False, False)
        client.post("/v1/reset", {"key": "k"})
        again, replayed = named(client, "/v1/check", waiting, "one")
        assert (again["allowed"], replayed) == (True, False)
        assert client.get("/v1/limits/k")["total_denied"] == 0


def test_a_call_has_one_name(client: Client) -> None:
    for path, body in CALLS.items():
        data = json.dumps(body).encode()
        client.connection.putrequest("POST", path)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(data)))):
            client.connection.putheader(name, value)
        client.connection.putheader("Idempotency-Key", "one")
        client.connection.putheader("Idempotency-Key", "one")
        client.connection.endheaders(data)
        response = client.connection.getresponse()
        Answer(response.status, response.headers, response.read()).problem(400, "invalid_argument")


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "\xe9"])
def test_names_that_are_none(client: Client, name: str) -> None:
    for path, body in CALLS.items():
        client.ask("POST", path, body, {"Idempotency-Key": name}).problem(400, "invalid_argument")
