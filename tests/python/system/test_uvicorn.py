"""A FastAPI application under a real uvicorn, with clients over sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import http_sf
import httpx
import pytest
import websockets.exceptions
from tests.python.system.support import TIMEOUT_S, opened_when_free
from tests.python.system.uvicorn_support import get, uvicorn
from websockets.sync.client import connect

import flint

APP = """
import asyncio, contextlib, json, os
from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
import flint
from flint.fastapi import FlintRateLimitMiddleware, RateLimit
from flint.keys import client_ip

released = asyncio.Event()
entered, left = asyncio.Semaphore(0), asyncio.Semaphore(0)

@contextlib.asynccontextmanager
async def lifespan(app):
    async with flint.Limiter("data") as limiter:
        app.state.limiter = limiter
        open("up", "w").close()
        yield
    open("down", "w").close()

app = FastAPI(lifespan=lifespan)
ip = client_ip(TRUSTED, default="unknown")
app.add_middleware(
    FlintRateLimitMiddleware,
    key_func=lambda request: request.headers.get("x-user") or ip(request),
    rate="5/day",
    exempt_paths={"/release", "/entered", "/left", "/keys", "/dependency"},
)

@app.get("/")
async def index():
    return {"hello": "world"}

@app.get("/keys")
async def keys():
    return {status.key: status.total_allowed for status in await app.state.limiter.alist()}

@app.get("/dependency", dependencies=[Depends(RateLimit("2/day")), Depends(RateLimit("9/day", key="all"))])
def dependency():
    return {}

@app.get("/stream")
async def stream():
    async def pieces():
        yield "one"
        await released.wait()
        yield "two"
    return StreamingResponse(pieces())

@app.get("/release")
async def release():
    released.set()

@app.post("/slow")
async def slow(request: Request):
    entered.release()
    try:
        await request.body()
        while not await request.is_disconnected():
            await asyncio.sleep(0.01)
    finally:
        left.release()

@app.get("/entered")
async def wait_entered():
    await entered.acquire()

@app.get("/left")
async def wait_left():
    await left.acquire()

@app.websocket("/ws")
async def ws(websocket: WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text * 2)
"""
PLAIN = APP.replace("TRUSTED", "[]")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with uvicorn(tmp_path, PLAIN) as server:
        yield server.serving()


def parsed(answer: httpx.Response, name: str) -> list[Any]:
    (value,) = answer.headers.get_list(name)
    items: Any = http_sf.parse(value.encode(), tltype="list")
    return [(item, dict(parameters)) for item, parameters in items]


def test_several_clients_have_their_limits_and_no_more(address: str) -> None:
    def client(name: str) -> Counter[int]:
        with httpx.Client(base_url=address, timeout=TIMEOUT_S, headers={"x-user": name}, trust_env=False) as http:
            return Counter(http.get("/").status_code for _ in range(10))

    names = ["ann", "bob", "cid", "ann", "bob", "dan"]
    with ThreadPoolExecutor(len(names)) as pool:
        counts = list(pool.map(client, names))
    together: dict[str, Counter[int]] = {}
    for name, count in zip(names, counts, strict=True):
        together[name] = together.get(name, Counter()) + count
    assert together == {
        "ann": {200: 5, 429: 15},
        "bob": {200: 5, 429: 15},
        "cid": {200: 5, 429: 5},
        "dan": {200: 5, 429: 5},
    }
    assert get(address, "/keys").json() == {"ann": 5, "bob": 5, "cid": 5, "dan": 5}


def test_many_requests_at_once_from_one_client(address: str) -> None:
    async def main() -> Counter[int]:
        async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT_S, trust_env=False) as http:
            answers = await asyncio.gather(*(http.get("/") for _ in range(60)))
        return Counter(answer.status_code for answer in answers)

    assert asyncio.run(main()) == {200: 5, 429: 55}


def test_what_the_answers_say(address: str) -> None:
    for left in (4, 3, 2, 1, 0, 0):
        answer = get(address)
        assert answer.headers.get_list("x-ratelimit-remaining") == [str(left)]
        assert answer.headers.get_list("x-ratelimit-limit") == ["5"]
        assert len(answer.headers.get_list("x-ratelimit-reset")) == 1
        assert parsed(answer, "ratelimit-policy") == [("default", {"q": 5, "w": 86400})]
        ((name, state),) = parsed(answer, "ratelimit")
        assert (name, state["r"]) == ("default", left)
        assert 0 < state["t"] <= 86400
        assert len(answer.headers.get_list("retry-after")) == (answer.status_code == 429)
    assert answer.json() == {"detail": "rate limit exceeded"}
    assert 0 < int(answer.headers["retry-after"]) <= 86400 // 5


def test_a_route_s_limits_count_together(address: str) -> None:
    answers = [get(address, "/dependency") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert [item["q"] for _, item in parsed(answers[-1], "ratelimit-policy")] == [2, 9]
    assert get(address, "/keys").json() == {"GET /dependency 127.0.0.1": 2, "all": 2}


def test_a_stream_arrives_piece_by_piece(address: str) -> None:
    with httpx.stream("GET", f"{address}/stream", timeout=TIMEOUT_S, trust_env=False) as answer:
        assert answer.headers["x-ratelimit-remaining"] == "4"
        pieces = answer.iter_text()
        assert next(pieces) == "one"
        # The application waits for this before it goes on.
        get(address, "/release")
        assert "".join(pieces) == "two"


def test_a_denied_websocket_is_refused_before_it_is_accepted(address: str) -> None:
    url = address.replace("http://", "ws://") + "/ws"
    for _ in range(5):
        with connect(url, proxy=None) as websocket:
            websocket.send("ab")
            assert websocket.recv(TIMEOUT_S) == "abab"
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(url, proxy=None)
    answer = refused.value.response
    assert answer.status_code == 429
    assert json.loads(answer.body or b"") == {"detail": "rate limit exceeded"}
    assert 0 < int(answer.headers["Retry-After"]) <= 86400 // 5
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert get(address).status_code == 429


def test_a_client_that_disconnects_disturbs_no_other(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    for body in (b"12345", b"123"):
        with socket.create_connection((host, int(port)), TIMEOUT_S) as client:
            # The second goes before its request is complete.
            client.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nX-User: ann\r\nContent-Length: 5\r\n\r\n" + body)
            assert get(address, "/entered").status_code == 200
        assert get(address, "/left").status_code == 200
    assert [get(address, headers={"x-user": "ann"}).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert get(address, headers={"x-user": "bob"}).status_code == 200


def test_the_lifespan_runs_and_closes_the_limiter(tmp_path: Path) -> None:
    with uvicorn(tmp_path, PLAIN) as server:
        address = server.serving()
        assert (tmp_path / "up").exists()
        assert get(address).status_code == 200
        assert not (tmp_path / "down").exists()
        assert server.end() in (0, -signal.SIGTERM)
    assert (tmp_path / "down").exists()
    with flint.Limiter(tmp_path / "data") as limiter:
        assert limiter.recovery.clean
        assert [status.total_allowed for status in limiter.list()] == [1]


def test_limits_go_on_after_a_kill_in_the_middle(tmp_path: Path) -> None:
    allowed = Counter[str]()

    def client(name: str, address: str) -> None:
        with httpx.Client(base_url=address, timeout=TIMEOUT_S, headers={"x-user": name}, trust_env=False) as http:
            try:
                while True:
                    if http.get("/").status_code == 200:
                        allowed[name] += 1
                        seen.release()
            except httpx.TransportError:
                return

    program = PLAIN.replace('"5/day"', '"100000/52w"')
    names = ["ann", "bob", "cid"]
    for _ in range(2):
        seen = threading.Semaphore(0)
        with uvicorn(tmp_path, program) as server, ThreadPoolExecutor(len(names)) as pool:
            address = server.serving()
            for name in names:
                pool.submit(client, name, address)
            for _ in range(100):
                assert seen.acquire(timeout=TIMEOUT_S)
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
    with opened_when_free(tmp_path / "data") as limiter:
        counted = {status.key: status.total_allowed for status in limiter.list()}
    for name in names:
        # One request of each client and run may have been counted without its answer having arrived.
        assert allowed[name] <= counted[name] <= allowed[name] + 2


@pytest.mark.parametrize("by", ["uvicorn", "flint"])
def test_behind_a_proxy_the_client_is_the_one_that_the_proxy_names(tmp_path: Path, by: str) -> None:
    if by == "uvicorn":
        program, options = PLAIN, []
    else:
        program, options = APP.replace("TRUSTED", '["127.0.0.1"]'), ["--no-proxy-headers"]
    with uvicorn(tmp_path, program, *options) as server:
        address = server.serving()
        for sent in ("192.0.2.7", "6.6.6.6, 192.0.2.7", "::ffff:192.0.2.7", "2001:db8:1:2:3::4"):
            assert get(address, headers={"X-Forwarded-For": sent}).status_code == 200
        assert get(address, "/keys").json() == {"192.0.2.7": 3, "2001:db8:1:2::/64": 1}


@pytest.mark.parametrize("trusted", ["[]", '["unix"]'])
def test_over_a_unix_socket_no_client_has_an_address(tmp_path: Path, trusted: str) -> None:
    path = str(tmp_path / "socket")
    with uvicorn(tmp_path, APP.replace("TRUSTED", trusted), "--uds", path, "--no-proxy-headers") as server:
        server.until("Uvicorn running on unix socket")
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, base_url="http://test", timeout=TIMEOUT_S) as http:
            assert http.get("/").status_code == 200
            assert http.get("/", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 200
            expected = {"unknown": 2} if trusted == "[]" else {"192.0.2.7": 1, "unknown": 1}
            assert http.get("/keys").json() == expected
