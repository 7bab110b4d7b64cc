"""What clients make the server hold in memory: bodies that it parses or waits for, answers that they do not read."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.python.server.support import STRONG, TIMEOUT_S, Answer, Server, answers, posted, request, serving

MIB = 2**20
JSON = "Content-Type: application/json"
BODY = 16 * MIB
# What the server may grow by beside any attack.
GROWTH = 64 * MIB
# Keys of the listing, as many as one page has at most, and each as long as a key may be.
KEYS = 10_000
LIST = request("GET", f"/v1/limits?limit={KEYS}")

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read from /proc"
)


class Peak:
    """The peak of a server's resident memory, from the construction on."""

    def __init__(self, server: Server) -> None:
        self._proc = Path(f"/proc/{server.pid}")
        (self._proc / "clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def _read(self, name: str) -> int:
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

    def growth(self) -> int:
        """By how much it grew at most."""
        return self._read("VmHWM") - self._before

    def left(self) -> int:
        """By how much it is larger now."""
        return self._read("VmRSS") - self._before


def filled(unit: bytes, opening: bytes) -> bytes:
    """A body of the largest size: `opening`, then `unit` as often as it fits."""
    return (opening + unit * ((BODY - len(opening)) // len(unit)))[:BODY]


OPENING = b'{"limits":['
CRAFTED = {
    "a list without end": filled(b'{"":0},', OPENING + b'{"key":"a","rate":['),
    "an object without end": filled(b'"":0,', OPENING + b'{"key":"a","rate":{'),
    "limits without end": filled(b'{"key":"a","rate":"1/s"},', OPENING),
    "empty objects": filled(b"{},", OPENING),
    "a key without end": filled(b"\\n", OPENING + b'{"rate":"1/s","key":"'),
    "a name without end": filled(b"\\u0001", OPENING + b'{"'),
    "lists in lists": filled(b"[", OPENING + b'{"key":"a","rate":'),
    "no JSON": filled(b"\0", b""),
}


def many(body: bytes) -> bytes:
    return request("POST", "/v1/limit-many", JSON, "Connection: close", f"Content-Length: {len(body)}", body=body)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("memory") / "data", "--sync", "batch") as server:
        limits = [{"key": f"{number:0512}", "rate": "5/52w"} for number in range(KEYS)]
        server.client().post("/v1/limit-many", {"limits": limits})
        server.client().post("/v1/log/compact")
        yield server


@contextlib.contextmanager
def honest(server: Server) -> Iterator[list[float]]:
    """An honest client that checks all the while; the seconds that each of its checks took."""
    client, took, over = server.client(), [0.0], threading.Event()
    client.post("/v1/limits", {"key": "honest", "rate": 10**9, "per": "52w"})

    def checking() -> None:
        while not over.is_set():
            start = time.monotonic()
            assert client.check("honest")["allowed"]
            took.append(time.monotonic() - start)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(checking)
        try:
            yield took
        finally:
            over.set()
            done.result(TIMEOUT_S)
    assert len(took) > 1


@pytest.mark.parametrize("name", CRAFTED)
def test_a_large_body_takes_no_more_than_four_times_its_size(server: Server, name: str) -> None:
    peak = Peak(server)
    (answer,) = answers(server.connect(many(CRAFTED[name])))
    assert answer.status == 400, answer
    assert len(answer.body) < 8 * 1024
    assert peak.growth() < 4 * BODY


def test_it_is_refused_where_the_first_fault_is(server: Server) -> None:
    """What follows is not looked at: it is no JSON."""
    for fault, code in [
        (b'{"key":"a","rate":[{"":0}]},', "invalid_limit"),
        (b'{"key":"","rate":"1/s"},', "invalid_key"),
        (b'{"key":"a","rate":"1/s","on_change":"x"},', "invalid_argument"),
        (b'{"key":"a","rate":"1/s","rate":"1/s"},', "invalid_argument"),
        (b'{"key":"a","rate":{"rate":1,"rate":2}},', "invalid_argument"),
    ]:
        body = OPENING + b'{"key":"first","rate":"1/s"},' + fault + b"\0" * MIB
        (answer,) = answers(server.connect(many(body)))
        answer.problem(400, code)


def test_abandoned_requests_leave_nothing_behind(server: Server) -> None:
    peak = Peak(server)
    with honest(server):
        for number in range(10):
            connection = server.connect(many(CRAFTED["limits without end"]))
            if number % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        # The next is served when there is room, and so what the others took is free.
        assert server.client().post("/v1/limit-many", {"limits": [{"key": "after", "rate": "1/s"}]})
    assert peak.growth() < 4 * BODY, f"{peak.growth() / MIB:.0f} MiB"
    deadline = time.monotonic() + TIMEOUT_S
    while peak.left() > BODY:
        assert time.monotonic() < deadline, f"{peak.left()} bytes are not returned"
        threading.Event().wait(0.1)


def test_many_limits_are_set_and_the_memory_is_returned(server: Server) -> None:
    limits = [
        {"key": f"k{number}", "rate": "1/s; 2/m; 3/h; 4/d; 5/w; 6/52w; 7/51w; 8/50w"} for number in range(100_000)
    ]
    body = json.dumps({"limits": limits}, separators=(",", ":")).encode()
    (answer,) = answers(server.connect(many(body)))
    assert answer.ok() == {"configured": 100_000}
    # The keys themselves, and the record of them, are there to stay. Setting them again changes nothing.
    peak = Peak(server)
    (answer,) = answers(server.connect(many(body)))
    assert answer.ok() == {"configured": 100_000}
    assert peak.growth() < 4 * BODY, peak.growth()
    one_more = json.dumps({"limits": [{"key": f"{number:x}", "rate": "1/s"} for number in range(100_001)]}).encode()
    (answer,) = answers(server.connect(many(one_more)))
    assert "100000 are accepted" in answer.problem(400, "invalid_argument")


@pytest.mark.parametrize(
    ("rate", "key_bytes"),
    [("1/s", 400), ("1/s; 2/m; 3/h; 4/d; 5/w; 6/52w; 7/51w; 8/50w", 1_000)],
    ids=["one rate", "eight rates"],
)
def test_setting_new_limits_takes_what_stays_and_a_bounded_rest(tmp_path: Path, rate: str, key_bytes: int) -> None:
    """What stays are the keys and the pages of their record in the log; the rest is that of docs/http-api.md."""
    count = 100_000
    limits = [{"key": f"{number:x}", "rate": rate} for number in range(count)]
    body = json.dumps({"limits": limits}, separators=(",", ":")).encode()
    with serving(tmp_path / "data", "--sync", "batch") as server:
        (answer,) = answers(server.connect(many(b'{"limits":[{"key":"warm","rate":"1/s"}]}')))
        answer.ok()
        peak = Peak(server)
        (answer,) = answers(server.connect(many(body)))
        assert answer.ok() == {"configured": count}
        grown, stays = peak.growth(), peak.left()
        found = f"{len(body) / MIB:.1f} MiB took {grown / MIB:.1f} MiB, of which {stays / MIB:.1f} MiB stay"
        print(found)
        assert grown - stays < 2 * len(body) + 32 * MIB, found
        assert stays < count * key_bytes + 8 * MIB, found


def test_slow_senders_delay_no_other_client(server: Server) -> None:
    """Each sends almost all of its body: there is room for two of them."""
    peak = Peak(server)
    with contextlib.ExitStack() as connections:
        slow = [connections.enter_context(server.connect()) for _ in range(4)]
        for connection in slow:
            connection.setblocking(False)
        head = request("POST", "/v1/limit-many", JSON, f"Content-Length: {BODY}")
        unsent = {connection: memoryview(head + b" " * (BODY - 1)) for connection in slow}
        # Until the server takes no more from any of them.
        while ready := select.select([], [connection for connection in slow if unsent[connection]], [], 0.3)[1]:
            for connection in ready:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    unsent[connection] = unsent[connection][connection.send(unsent[connection][:65_536]) :]
        assert sum(not rest for rest in unsent.values()) >= 1, "no client sent almost all"
        with honest(server):
            start = time.monotonic()
            limits = [{"key": f"fast{number}", "rate": "1/s"} for number in range(20_000)]
            assert server.client().post("/v1/limit-many", {"limits": limits}) == {"configured": 20_000}
            # Their time is 10 s.
            assert time.monotonic() - start < 8
        assert peak.growth() < GROWTH


@contextlib.contextmanager
def unread(server: Server, count: int, message: bytes) -> Iterator[None]:
    """Clients that have asked and read nothing, until the block ends, however it ends."""
    with contextlib.ExitStack() as connections:
        for _ in range(count):
            connection = connections.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(TIMEOUT_S)
            connection.connect(server.address)
            connection.sendall(message)
        yield


ITEMS = {"items": [f"{number:0512}" for number in range(120)]}
RATES = "1/s; 2/m; 3/h; 4/d; 5/w; 6/52w; 7/51w; 8/50w"


@pytest.mark.parametrize("kind", ["list", "top", "check-all"])
def test_unread_answers_are_bounded_and_other_clients_are_served(server: Server, kind: str) -> None:
    setting = server.client()
    setting.post("/v1/limit-many", {"limits": [{"key": f"r{number:03}", "rate": RATES} for number in range(1_000)]})
    message = {
        "list": LIST,
        "top": request("GET", f"/v1/top?by=allowed&limit={KEYS}"),
        # The answer is a hundred times as long.
        "check-all": posted("/v1/check-all", {"items": [f"r{number:03}" for number in range(1_000)]}),
    }[kind]
    setting.get("/v1/limits?limit=1")
    peak = Peak(server)
    with honest(server) as took, unread(server, 60 if kind != "check-all" else 200, message):
        before = len(took)
        while len(took) < before + 2_000:
            threading.Event().wait(0.1)
    assert peak.growth() < GROWTH, f"{peak.growth() / MIB:.0f} MiB"
    # A second of a busy machine is not six of a server that does nothing else.
    assert max(took) < 5


def test_a_list_comes_in_chunks_and_equals_the_statuses_one_by_one(server: Server) -> None:
    client = server.client()
    answer = client.ask("GET", "/v1/limits?limit=300&prefix=0")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    for status in answer.ok()["limits"][::50]:
        other = client.get(f"/v1/limits?key={status['key']}")["limits"]
        # A full limit is back at any time, which both say of their own moment.
        timeless = {"reset_at": None, "counters": None}
        assert {**other[0], **timeless} == {**status, **timeless}
    few = client.ask("GET", "/v1/limits?limit=2&prefix=0")
    assert few.headers["Content-Length"] == str(len(few.body))
    assert len(few.ok()["limits"]) == 2


def test_a_page_of_records_is_bounded_in_bytes(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--sync", "batch") as server:
        client = server.client()
        for number in range(4_000):
            client.post("/v1/limits", {"key": f"{number:0512}", "rate": "5/52w"})
        seen: list[int] = []
        after, pages = 0, 0
        while True:
            answer = client.ask("GET", f"/v1/log/records?limit=10000&after={after}")
            page: dict[str, Any] = answer.ok()
            assert len(answer.body) < 2 * MIB
            if not page["records"]:
                break
            seen += [record["seq"] for record in page["records"] if record["type"] == "LIMIT_CONFIGURED"]
            assert {"file", "offset", "seq", "type", "at"} <= page["records"][0].keys()
            after, pages = page["newest"], pages + 1
        assert len(seen) == 4_000
        assert seen == sorted(set(seen))
        assert pages > 1


def test_clients_with_other_tokens_have_room(tmp_path: Path) -> None:
    """One token's unread answers leave room for those of another."""
    other = STRONG[::-1]
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"{STRONG} check configure\n{other} check metrics\n")
    with serving(tmp_path / "data", "--sync", "batch", "--token-file", tokens) as server:
        limits = [{"key": f"{number:0512}", "rate": "5/52w"} for number in range(KEYS)]
        server.client(STRONG).post("/v1/limit-many", {"limits": limits})
        ask = LIST[:-2] + f"Authorization: Bearer {STRONG}\r\n\r\n".encode()
        with unread(server, 60, ask):
            start = time.monotonic()
            reader = server.client(other)
            answer: Answer = reader.ask("GET", f"/v1/limits?limit={KEYS}")
            assert len(answer.ok()["limits"]) == KEYS
            assert time.monotonic() - start < TIMEOUT_S
