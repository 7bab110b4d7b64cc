"""What a request has to be, beyond its grammar, and what every answer carries."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.python.server.support import (
    STRONG,
    TIMEOUT_S,
    Answer,
    Client,
    Server,
    answers,
    posted,
    refused,
    request,
    serving,
    short_directory,
)

JSON = "Content-Type: application/json"
BODY = b'{"key":"k","limit":"5/52w"}'


def asked(server: Server, data: bytes) -> Answer:
    """The answer to a request that ends its connection."""
    (answer,) = answers(server.connect(data))
    return answer


def protected(headers: object) -> bool:
    """Whether no browser takes the answer for something else, or for another origin."""
    assert hasattr(headers, "get_all")
    return (headers.get_all("X-Content-Type-Options"), headers.get_all("Cross-Origin-Resource-Policy")) == (
        ["nosniff"],
        ["same-origin"],
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/health", 200),
        ("GET", "/v1/limits", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/openapi.json", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/check", 405),
        ("POST", "/v1/check", 400),
    ],
)
def test_no_browser_reads_an_answer_as_something_else(client: Client, method: str, path: str, status: int) -> None:
    answer = client.ask(method, path)
    assert answer.status == status
    assert protected(answer.headers)


def test_nor_a_refusal(tmp_path: Path) -> None:
    with serving(tmp_path / "data", env={"FLINT_TOKEN": STRONG}) as server:
        answer = server.client().ask("GET", "/v1/health")
        assert answer.status == 401
        assert protected(answer.headers)


@pytest.mark.parametrize(
    "headers",
    [
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: same-site",),
        ("Sec-Fetch-Site: none", "sec-fetch-site: CROSS-SITE"),
        ("Origin: http://localhost",),
    ],
    ids=" | ".join,
)
def test_what_a_page_of_another_origin_asks_is_refused(server: Server, headers: tuple[str, ...]) -> None:
    asked(server, request("GET", "/v1/limits", *headers, "Connection: close")).problem(403, "origin_refused")


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_what_a_user_typed_is_answered(server: Server, site: str) -> None:
    assert asked(server, request("GET", "/v1/limits", f"Sec-Fetch-Site: {site}", "Connection: close")).status == 200


def test_two_authorization_headers(tmp_path: Path) -> None:
    good, bad = f"Authorization: Bearer {STRONG}", f"Authorization: Bearer {STRONG[::-1]}"
    with serving(tmp_path / "data", env={"FLINT_TOKEN": STRONG}) as server:
        for pair in ((good, bad), (bad, good), (good, good)):
            answer = asked(server, request("GET", "/v1/health", *pair, "Connection: close"))
            assert "two Authorization" in answer.problem(401, "unauthorized")
        assert asked(server, request("GET", "/v1/health", good, "Connection: close")).status == 200


@pytest.mark.parametrize(
    "path_and_body",
    [
        ("/v1/check", '{"key":"k","key":"l"}'),
        ("/v1/check", '{"key":"k","\\u006bey":"l"}'),
        ("/v1/check", '{"key":"k","limit":{"rate":5,"per":"1m","rate":500}}'),
        ("/v1/check", '{"key":"k","limit":[{"rate":"5/s"},{"rate":"5/s","rate":"9/s"}]}'),
        ("/v1/peek", '{"key":"k","limit":{"rate":[{"rate":"5/s","r\\u0061te":"9/s"}]}}'),
        ("/v1/check-all", '{"items":[{"key":"k","cost":1,"cost":2}]}'),
        ("/v1/check-all", '{"items":[{"key":"k","limit":{"rate":"5/s","rate":"9/s"}}]}'),
        ("/v1/check-all", '{"items":["k"],"items":["l"]}'),
        ("/v1/limits", '{"key":"k","rate":5,"per":"1m","per":"2m"}'),
        ("/v1/limits", '{"key":"k","rate":[{"rate":"5/s","burst":1,"burst":9}]}'),
        ("/v1/limit-many", '{"limits":[{"key":"k","rate":{"rate":"5/s","rate":"9/s"}}]}'),
        ("/v1/reset", '{"key":"k","key":"k"}'),
        ("/v1/deny", '{"key":"k","key":"k"}'),
    ],
    ids=lambda pair: f"{pair[0]} {pair[1]}",
)
def test_a_name_that_appears_twice_is_refused_wherever_it_is(client: Client, path_and_body: tuple[str, str]) -> None:
    path, body = path_and_body
    detail = client.ask("POST", path, body.encode()).problem(400, "invalid_argument")
    assert "twice" in detail or "duplicate" in detail, detail


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "x", ""])
def test_a_coding_that_the_server_does_not_know_is_refused(client: Client, coding: str) -> None:
    answer = client.ask("POST", "/v1/check", BODY, headers={"Content-Encoding": coding})
    assert "Content-Encoding" in answer.problem(415, "unsupported_media_type")
    client.close()
    assert client.ask("POST", "/v1/check", BODY, headers={"Content-Encoding": "Identity"}).status == 200


@pytest.mark.parametrize("headers", [(), ("Host: localhost", "Host: localhost"), ("Host: localhost", "Host: other")])
def test_a_request_of_http_1_1_names_its_host_once(server: Server, headers: tuple[str, ...]) -> None:
    data = "\r\n".join(["GET /v1/health HTTP/1.1", *headers, "Connection: close", "", ""]).encode()
    assert "Host" in asked(server, data).problem(400, "invalid_argument")


def test_over_a_unix_socket_too(tmp_path: Path) -> None:
    with short_directory() as directory, serving(tmp_path / "data", "--unix", directory / "s") as server:
        for version, status in ((b"1.1", b"400"), (b"1.0", b"200")):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.connect(server.path)
                connection.sendall(b"GET /v1/health HTTP/" + version + b"\r\n\r\n")
                assert connection.recv(65_536).split(b" ")[1] == status


@pytest.fixture(scope="module", params=["tcp", "unix"])
def always(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server that answers when a record is on disk, not at once."""
    with short_directory() as directory:
        options = ("--unix", directory / "s") if request.param == "unix" else ()
        with serving(tmp_path_factory.mktemp("always") / "data", *options) as server:
            yield server, request.param


@pytest.mark.parametrize(
    "data",
    [
        posted("/v1/check", {"key": "k", "limit": "1000/52w"}),
        posted("/v1/check", {"key": "k", "limit": "1000/52w"}) * 3,
        posted("/v1/limit-many", {"limits": [{"key": f"m{number}", "rate": "1/s"} for number in range(1_000)]}),
        request("GET", "/v1/limits?limit=10000"),
        request("GET", "/v1/doctor"),
        request("GET", "/metrics"),
    ],
    ids=["check", "three checks", "limit-many", "list", "doctor", "metrics"],
)
def test_a_client_that_sends_no_more_is_answered(always: tuple[Server, str], data: bytes) -> None:
    server, kind = always
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(server.path if kind == "unix" else server.address)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65_536):
            received += part
    assert received.count(b"HTTP/1.1 200 OK") == data.count(b" HTTP/1.1\r\n")


def test_no_token_has_all_connections(tmp_path: Path) -> None:
    other = STRONG[::-1]
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"{STRONG} check\n{other} check\n")
    body = request("POST", "/v1/check", JSON, f"Authorization: Bearer {STRONG}", "Content-Length: 100")
    with serving(tmp_path / "data", "--token-file", tokens, "--max-connections", "20") as server:
        honest = server.client(other)
        assert honest.ask("GET", "/v1/health").status == 200
        # They send a token, and then no more.
        many = [server.connect(body) for _ in range(40)]
        assert honest.ask("GET", "/v1/health").status == 200
        honest.close()
        assert honest.ask("GET", "/v1/health").status == 200
        for connection in many:
            connection.close()


def test_another_user_s_token_file_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"{STRONG} check\n")
    os.chown(tokens, 12345, -1)
    assert "12345" in refused(tmp_path / "data", "--bind", "127.0.0.1:0", "--token-file", tokens)
    os.chown(tokens, 0, -1)
    with serving(tmp_path / "data", "--token-file", tokens) as server:
        os.chown(tokens, 12345, -1)
        since = len(server.log)
        server.send(1)
        server.until("12345.*stay as they were", since)


def test_the_socket_listens_only_when_its_mode_is_right(tmp_path: Path) -> None:
    """By the system calls: with a mask of 0 there is no moment at which another user could connect."""
    log = tmp_path / "calls"
    trace = [
        "strace",
        "-D",
        "-f",
        "-y",
        "-e",
        "trace=socket,bind,listen,fchmod,chmod,fchmodat,renameat2",
        "-o",
        str(log),
    ]
    with short_directory() as directory:
        wrapper = ["sh", "-c", 'umask 0; exec "$@"', "sh", *trace]
        with serving(tmp_path / "data", "--unix", directory / "s", wrapper=wrapper):
            assert stat.S_IMODE((directory / "s").stat().st_mode) == 0o600
        lines = [line for line in log.read_text().splitlines() if "UNIX" in line or "socket:" in line or "/s" in line]
    names = [line.split("(")[0].split()[-1] for line in lines]
    assert names.index("fchmod") < names.index("bind") < names.index("listen") < names.index("renameat2"), lines
    (mode,) = (line for line in lines if "fchmod(" in line)
    assert "0600" in mode
    assert "= 0" in mode


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_that_a_process_has_is_not_replaced(tmp_path: Path, kind: int) -> None:
    with short_directory() as directory:
        path = directory / "s"
        with socket.socket(socket.AF_UNIX, kind) as other:
            other.bind(str(path))
            inode = path.stat().st_ino
            assert "another server listens" in refused(tmp_path / "data", "--unix", path)
            assert path.stat().st_ino == inode
            assert os.listdir(directory) == ["s"]
        with serving(tmp_path / "data", "--unix", path) as server:
            assert server.unix_client().ask("GET", "/v1/health").status == 200
