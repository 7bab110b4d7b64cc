"""A disk that is full, and one that fails."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest
from tests.python.server.support import Client, Server, serving
from tests.python.server.tracing import injecting, prepare

YEAR = {"rate": 10**9, "per": "52w", "algorithm": "fixed_window_counter"}


def until_full(client: Client) -> int:
    """Fills the log: large calls first, then small ones. Gives how many checks of `k` went through."""
    for size in (30, 5, 1):
        for number in range(300):
            specs = [{"key": f"{size}:{number}:{n}:".ljust(450, "x"), "rate": "1/h"} for n in range(size)]
            answer = client.ask("POST", "/v1/limit-many", {"limits": specs})
            if answer.status != 200:
                answer.problem(503, "storage")
                break
    for taken in range(100_000):
        answer = client.ask("POST", "/v1/check", {"key": "k"})
        if answer.status != 200:
            assert os.strerror(errno.EFBIG) in answer.problem(503, "storage")
            return taken
    raise AssertionError("never full")


def files_may_grow_to(server: Server, size: int) -> None:
    """Files that cannot grow take the place of a full disk: the same refusal, in any directory and without rights."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_a_full_disk(tmp_path: Path, sync: str) -> None:
    with serving(tmp_path / "data", "--sync", sync) as server:
        client = server.client()
        for key in ("k", "other"):
            client.post("/v1/limits", {"key": key, **YEAR})
        client.post("/v1/limits", {"key": "denied", "rate": "1/52w"})
        client.check("denied")
        files_may_grow_to(server, 0)
        taken = until_full(client)
        # What writes is refused without effect, by all connections.
        for path, body in [
            ("/v1/check", {"key": "k"}),
            ("/v1/check-all", {"items": ["k", "other"]}),
            ("/v1/limits", {"key": "new", "rate": "1/s"}),
            ("/v1/check", {"key": "new", "limit": "1/s"}),
        ]:
            for asking in (client, server.client()):
                asking.ask("POST", path, body).problem(503, "storage")
        client.ask("GET", "/v1/limits/new").problem(404, "limit_not_found")
        # What reads works, and so do denials; the server is well.
        assert client.get("/v1/limits/k")["total_allowed"] == taken
        assert client.get("/v1/limits/other")["total_allowed"] == 0
        assert client.post("/v1/peek", {"key": "k"})["allowed"]
        assert not client.check("denied")["allowed"]
        assert len(client.get("/v1/limits?limit=10")["limits"]) == 10
        assert client.get("/v1/doctor")["ok"]
        assert client.post("/v1/log/flush") == {"flushed": True}
        assert client.get("/v1/health")["status"] == "ok"
        # The operator gets a log line, and not with every call.
        assert os.strerror(errno.EFBIG) in server.until("calls are refused").string
        assert sum("calls are refused" in line for line in server.log) < 9, "one for each call"
        # With room it goes on.
        files_may_grow_to(server, resource.RLIM_INFINITY)
        assert client.check("k")["remaining"] == 10**9 - taken - 1
        client.post("/v1/limits", {"key": "new", "rate": "1/s"})
    with serving(tmp_path / "data", "--sync", sync) as server:
        assert server.client().get("/v1/limits/k")["total_allowed"] == taken + 1


@pytest.mark.system
@pytest.mark.parametrize("sync", ["always", "batch"])
def test_a_disk_that_fails(tmp_path: Path, sync: str) -> None:
    with serving(tmp_path / "data", "--sync", sync, wrapper=injecting(tmp_path / "strace", "error=EIO")) as server:
        client = server.client()
        prepare(client)
        assert client.get("/v1/health")["status"] == "ok"
        first = client.ask("POST", "/v1/check", {"key": "k"})
        if sync == "always":
            # No answer acknowledges what may not be on disk.
            assert os.strerror(errno.EIO) in first.problem(503, "storage")
        else:
            assert first.ok()["allowed"]
            client.ask("POST", "/v1/log/flush").problem(503, "storage")
        # From here on every request gets this answer; the server does not end by itself.
        for asking in (client, server.client()):
            asking.ask("GET", "/v1/health").problem(503, "storage")
            asking.ask("POST", "/v1/check", {"key": "k"}).problem(503, "storage")
            asking.ask("POST", "/v1/limits", {"key": "new", "rate": "1/s"}).problem(503, "storage")
        server.until("error: ")
        server.send(signal.SIGTERM)
        # What was acknowledged may be lost, which a clean exit would deny.
        assert server.wait() == 3, server.log
        assert "Traceback" not in "\n".join(server.log)
    with serving(tmp_path / "data", "--sync", sync) as server:
        client = server.client()
        assert client.get("/v1/limits/k")["total_allowed"] in (0, 1)
        assert client.check()["allowed"]
        assert client.get("/v1/health")["status"] == "ok"
