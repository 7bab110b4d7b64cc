"""A slow disk: in batch mode no call waits for it, in always mode a waiting call blocks no other and no thread."""

from __future__ import annotations

import select
import socket
from pathlib import Path

import pytest
from tests.python.server.support import Server, posted, read_answer, request, serving
from tests.python.server.tracing import injecting, prepare

pytestmark = pytest.mark.system

# How long each sync takes, in microseconds: long enough that all of a test fits into one.
SLOW = "delay_enter=2000000"
WAITING = 64


def threads(server: Server) -> list[str]:
    """The names of the server's threads, once each has its own: it begins with that of the program."""
    while True:
        tasks = Path(f"/proc/{server.pid}/task")
        names = sorted((task / "comm").read_text().strip() for task in tasks.iterdir())
        if names.count("flint") <= 1:
            return names


def test_batch_goes_on_while_the_disk_works(tmp_path: Path) -> None:
    options = ("--sync", "batch", "--flush-every-ms", "1", "--flush-every-events", "1")
    with serving(tmp_path / "data", *options, wrapper=injecting(tmp_path / "strace", SLOW)) as server:
        client = server.client()
        prepare(client)
        before, counters = threads(server), client.get("/v1/counters")
        for number in range(500):
            assert client.check()["allowed"]
            if number % 100 == 0:
                # Calls that write and are no checks, the same.
                client.post("/v1/check-all", {"items": ["k"]})
                client.post("/v1/limits", {"key": f"new-{number}", "rate": "1/s"})
                client.post("/v1/reset", {"key": "denied"})
        after = client.get("/v1/counters")
        assert after["seq"] - counters["seq"] >= 500
        assert after["durable_seq"] - counters["durable_seq"] < 500, "the disk was not slow: this shows nothing"
        # All of that in the thread of the event loop.
        assert threads(server) == before
        # The one of this name is the engine's; those that the server would add have it, too.
        assert before.count("flint-work") == 1
        # Compaction waits for the disk in a thread of the pool, and blocks no other call.
        compacting = server.connect(request("POST", "/v1/log/compact"))
        while threads(server) == before:
            pass
        for _ in range(100):
            assert client.check()["allowed"]
        ready, _, _ = select.select([compacting], [], [], 0)
        assert ready == [], "the disk was not slow: this shows nothing"
        assert len(threads(server)) == len(before) + 1
        # The end would wait for the disk, too.
        server.process.kill()
        server.wait()


def test_always_waits_without_a_thread_and_blocks_no_other_call(tmp_path: Path) -> None:
    with serving(tmp_path / "data", wrapper=injecting(tmp_path / "strace", SLOW)) as server:
        client = server.client()
        prepare(client)
        before = threads(server)
        waiting: list[socket.socket] = []
        for _ in range(WAITING):
            waiting.append(server.connect(posted("/v1/check", {"key": "k"})))
        while client.get("/v1/limits/k")["total_allowed"] < WAITING:
            pass
        assert threads(server) == before
        # The one of this name is the engine's; those that the server would add have it, too.
        assert before.count("flint-work") == 1
        for _ in range(20):
            assert client.get("/v1/health")["status"] == "ok"
            assert client.post("/v1/peek", {"key": "k"})["allowed"]
            assert not client.check("denied")["allowed"], "a denial waits for nothing"
        ready, _, _ = select.select(waiting, [], [], 0)
        assert ready == [], "the disk was not slow: this shows nothing"
        counters = client.get("/v1/counters")
        assert counters["seq"] - counters["durable_seq"] == WAITING
        for connection in waiting:
            with connection.makefile("rb") as stream:
                answer = read_answer(stream)
                assert answer
                assert answer.ok()["allowed"]
        counters = client.get("/v1/counters")
        assert counters["durable_seq"] == counters["seq"]
        server.process.kill()
        server.wait()
