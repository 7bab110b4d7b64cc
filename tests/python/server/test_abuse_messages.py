"""Requests that are malformed, oversized or ambiguous: each is refused, and other clients do not notice."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.python.server.support import Answer, Client, Server, answers, posted, request, serving

JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
KIB = 1024


@pytest.fixture(autouse=True)
def _honest(server: Server, client: Client) -> Iterator[None]:
    """After each attack a client that was there before, and a new one, are served."""
    client.post("/v1/limits", {"key": "honest", "rate": 10**6, "per": "52w"})
    yield
    for asking in (client, server.client()):
        assert asking.check("honest")["allowed"]


def refusal(server: Server, data: bytes) -> Answer:
    """The only answer to `data`, after which the server closes the connection."""
    found = answers(server.connect(data))
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    "head",
    [
        request("GET", "/v1/health", "X-Large: " + "x" * 17 * KIB),
        request("GET", "/v1/health", *(f"X-{number}: {'x' * 500}" for number in range(40))),
        request("GET", "/v1/health", *(f"X-{number}: x" for number in range(65))),
        # It does not end, and the test does not wait for that.
        b"GET /v1/health HTTP/1.1\r\nX-Large: " + b"x" * 64 * KIB,
    ],
    ids=["one large", "many large", "many", "endless"],
)
def test_a_head_that_is_too_large(server: Server, head: bytes) -> None:
    assert refusal(server, head).status == 431


def test_a_path_that_is_too_long(server: Server) -> None:
    assert refusal(server, request("GET", "/v1/limits/" + "x" * 70 * KIB)).status in (414, 431)


def test_a_head_just_small_enough(client: Client) -> None:
    headers = {f"X-{number}": "x" * 200 for number in range(55)}
    assert client.ask("GET", "/v1/health", headers=headers).status == 200


@pytest.mark.parametrize("length", [64 * KIB + 1, 10**9, 2**63, 2**64 - 1])
def test_a_body_said_to_be_too_large(server: Server, length: int) -> None:
    late = request("POST", "/v1/check", JSON, f"Content-Length: {length}")
    answer = refusal(server, late)
    if length < 2**64 - 1:
        answer.problem(413, "body_too_large")
    else:
        assert answer.status in (400, 413, 431)


def test_a_body_that_turns_out_to_be_too_large(server: Server) -> None:
    chunk = b"1000\r\n" + b" " * 4 * KIB + b"\r\n"
    refusal(server, request("POST", "/v1/check", JSON, CHUNKED, body=chunk * 17)).problem(413, "body_too_large")


def test_a_body_of_limit_many_that_is_too_large(server: Server) -> None:
    late = request("POST", "/v1/limit-many", JSON, f"Content-Length: {16 * KIB * KIB + 1}")
    refusal(server, late).problem(413, "body_too_large")


def test_the_largest_body(client: Client) -> None:
    body = b'{"key": "honest"}'
    answer = client.ask("POST", "/v1/check", body + b" " * (64 * KIB - len(body)))
    assert answer.ok()["allowed"]


BODY = b'{"key": "honest"}'
SMUGGLED = request("POST", "/v1/check", JSON, f"Content-Length: {len(BODY)}", body=BODY)


@pytest.mark.parametrize(
    "framing",
    [
        ("Content-Length: 17", "Content-Length: 18"),
        ("Content-Length: 17, 18",),
        ("Content-Length: +17",),
        ("Content-Length: -1",),
        ("Content-Length: 0x11",),
        ("Content-Length: 17 17",),
        (f"Content-Length: {2**64}",),
        ("Content-Length:",),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: chunked, gzip",),
        ("Transfer-Encoding: chunkedx",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked",),
        (" Transfer-Encoding: chunked",),
    ],
    ids=" | ".join,
)
def test_a_body_whose_end_is_in_doubt(server: Server, client: Client, framing: tuple[str, ...]) -> None:
    before = client.get("/v1/limits/honest")["total_allowed"]
    found = answers(server.connect(request("POST", "/v1/check", JSON, *framing, body=BODY + SMUGGLED)))
    assert [answer.status for answer in found] == [400], found
    assert client.get("/v1/limits/honest")["total_allowed"] == before


@pytest.mark.parametrize("order", [1, -1])
def test_a_length_beside_chunks_does_not_count(server: Server, client: Client, order: int) -> None:
    """The chunks do, and the connection ends (RFC 9112, 6.1): what follows is not a second request."""
    before = client.get("/v1/limits/honest")["total_allowed"]
    framing = [f"Content-Length: {len(BODY)}", CHUNKED][::order]
    chunks = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
    found = answers(server.connect(request("POST", "/v1/check", JSON, *framing, body=chunks + SMUGGLED)))
    assert len(found) == 1, found
    assert found[0].status in (200, 400)
    assert client.get("/v1/limits/honest")["total_allowed"] - before == (found[0].status == 200)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-1\r\n{}\r\n0\r\n\r\n",
        b"1\r\n{}\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n{}\r\n",
        b"2;" + b"x" * 20 * KIB + b"\r\n{}\r\n0\r\n\r\n",
        b"2\n{}\n0\n\n",
    ],
    ids=range(7),
)
def test_bad_chunks(server: Server, chunks: bytes) -> None:
    answer = refusal(server, request("POST", "/v1/check", JSON, CHUNKED, body=chunks))
    assert answer.status == 400


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),
        b"GET /v1/health HTTP/3.0\r\n\r\n",
        b"GET  /v1/health HTTP/1.1\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX\x00: y\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: \x7f\r\n\r\n",
        b"GET /v1/\xff\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=range(7),
)
def test_no_http(server: Server, data: bytes) -> None:
    assert refusal(server, data).status == 400


def test_http_2_is_not_spoken(server: Server) -> None:
    assert answers(server.connect(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))) == []


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    total = 1000
    keys = [f"pipe-{number % 7}" for number in range(total)]
    server.client().post("/v1/limit-many", {"limits": [{"key": key, "rate": "9/s"} for key in sorted(set(keys))]})
    last = request("GET", "/v1/health", "Connection: close")
    connection = server.connect(b"".join(request("GET", f"/v1/limits/{key}") for key in keys) + last)
    found = answers(connection)
    assert [answer.ok().get("key") for answer in found] == [*keys, None]


def test_a_refusal_ends_the_pipeline(server: Server, client: Client) -> None:
    before = client.get("/v1/limits/honest")["total_allowed"]
    refusal(server, b"rubbish\r\n\r\n" + SMUGGLED)
    assert client.get("/v1/limits/honest")["total_allowed"] == before


@pytest.mark.parametrize(
    "opening", ["[", '{"a":', '{"items":[', '{"key":"honest","limit":[', '{"key":"honest","cost":[']
)
def test_deep_json(server: Server, client: Client, opening: str) -> None:
    deep = opening[:-1] + opening[-1] * 30_000 if opening[-1] == "[" else opening * 6_000
    for path in ("/v1/check", "/v1/check-all", "/v1/peek", "/v1/limits", "/v1/limit-many"):
        answer = client.ask("POST", path, deep.encode())
        assert (answer.status, answer.json["code"] in ("invalid_json", "invalid_argument")) == (400, True), answer


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-Infinity", "1e999", "--1", "01", "0x1", "1_000", ".5", "1."])
def test_costs_that_are_no_json(client: Client, cost: str) -> None:
    for body in (f'{{"key": "honest", "cost": {cost}}}', f'{{"items": [["honest", {cost}]]}}'):
        path = "/v1/check-all" if "items" in body else "/v1/check"
        client.ask("POST", path, body.encode()).problem(400, "invalid_json")


@pytest.mark.parametrize(
    "cost", ["-1", "0", "18446744073709551615", "18446744073709551616", "-18446744073709551616", "1e19"]
)
def test_costs_beyond_all_bounds(client: Client, cost: str) -> None:
    before = client.get("/v1/limits/honest")["total_allowed"]
    client.ask("POST", "/v1/check", f'{{"key": "honest", "cost": {cost}}}'.encode()).problem(400, "invalid_cost")
    assert client.get("/v1/limits/honest")["total_allowed"] == before


def test_a_check_all_of_ten_thousand(client: Client) -> None:
    def body(count: int, key: Callable[[int], str]) -> bytes:
        return json.dumps({"items": [key(number) for number in range(count)]}, separators=(",", ":")).encode()

    # No body of that size is read at all. As many keys as fit, and ten thousand times one key, are refused as one call.
    large, fitting, short = body(10_000, "{:04x}".format), body(9_000, "{:04x}".format), body(10_000, "a".format)
    assert len(large) > 64 * KIB > max(len(fitting), len(short))
    client.ask("POST", "/v1/check-all", large).problem(413, "body_too_large")
    for each in (fitting, short):
        assert "items" in client.ask("POST", "/v1/check-all", each).problem(400, "invalid_argument")
    costs = client.ask("POST", "/v1/peek", {"key": "honest", "costs": [1] * 10_001})
    assert "costs" in costs.problem(400, "invalid_argument")


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_clients_that_leave_in_mid_check(tmp_path: Path, sync: str) -> None:
    gone = 200
    with serving(tmp_path / "data", "--sync", sync) as server:
        client = server.client()
        client.post("/v1/limits", {"key": "k", "rate": 10**6, "per": "52w"})
        for number in range(gone):
            connection = server.connect()
            if number % 2:
                # No farewell: the connection is reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(posted("/v1/check", {"key": "k"})[: -1 if number % 4 == 3 else None])
            connection.close()
            assert client.check()["allowed"]
        taken = client.get("/v1/limits/k")["total_allowed"]
        # Clients that left may have been served or not; the others were, and no place is lost.
        assert gone <= taken <= 2 * gone
        while client.metric("flint_server_connections") > 1:
            pass
    with serving(tmp_path / "data", "--sync", sync) as server:
        assert server.client().get("/v1/limits/k")["total_allowed"] == taken
