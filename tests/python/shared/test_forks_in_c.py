"""Forks that Python does not see: by the C library, and by a system call that the C library does not see either."""

from __future__ import annotations

import platform

import pytest
from tests.python.system.support import run

import flint

# A clone() without flags is a fork.
NUMBERS = {"x86_64": 56, "aarch64": 220}
CLONE = NUMBERS.get(platform.machine()) if platform.system() == "Linux" else None
FORK = f"""
import asyncio, ctypes, os, sys
import flint
python = ctypes.PyDLL(None)
def fork():
    return python.fork() if sys.argv[2] == "fork" else python.syscall({CLONE}, 17, 0, 0, 0, 0)
def child(act):
    pid = fork()
    if pid:
        return pid
    try:
        act()
    except BaseException as error:
        os.write(1, f"{{type(error).__name__}}: {{error}}\\n".encode())
    os._exit(0)
def wait(*pids):
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
client = flint.SharedLimiter(sys.argv[1])
"""

WAYS = ["fork", "clone"] if CLONE is not None else ["fork"]
ways = pytest.mark.parametrize("way", WAYS)


@ways
def test_children_are_charged_each_for_itself(limiter: flint.Limiter, url: str, way: str) -> None:
    """With the parent's idempotency keys, a check of one child would be taken for a repetition of another's."""
    code = """
    client.limit("raw", "10/hour")
    def act():
        os.write(1, "".join("allowed " if client.check("raw").allowed else "denied " for _ in range(4)).encode())
    wait(*[child(act) for _ in range(3)])
    """
    ran = run(FORK + "if 1:" + code, url, way).ok()
    assert sorted(ran.out.split()) == ["allowed"] * 10 + ["denied"] * 2
    status = limiter.status("raw")
    assert status is not None
    assert (status.total_allowed, status.total_denied) == (10, 2)


@ways
def test_every_kind_of_call_notices_it(limiter: flint.Limiter, url: str, way: str) -> None:
    """The first call of each child is another one, in the parent an open connection and the locks of another thread."""
    code = """
    client.limit("k", "100/hour")
    calls = [
        lambda: client.check("k"),
        lambda: client.acquire("k"),
        lambda: asyncio.run(client.acheck("k")),
        lambda: asyncio.run(client.aacquire("k")),
        lambda: client.check_all(["k"]),
        lambda: client.close(),
    ]
    # As if other threads of the parent were in the middle of something: none of them lives on in the child.
    with client._core.endpoint.pool._lock, client._core.queues._lock:
        pids = [child(call) for call in calls for _ in range(2)]
        wait(*pids)
    assert client.check("k").allowed
    """
    ran = run(FORK + "if 1:" + code, url, way).ok()
    assert (ran.out, ran.err) == ("", "")
    status = limiter.status("k")
    assert status is not None
    assert status.total_allowed == 11


@ways
def test_a_grandchild_and_a_closed_client(limiter: flint.Limiter, url: str, way: str) -> None:
    code = """
    client.limit("k", "100/hour")
    def act():
        client.check("k")
        def inner():
            for _ in range(3):
                client.check("k")
        wait(child(inner), child(inner))
        client.check("k")
    wait(child(act))
    client.close()
    wait(child(lambda: client.check("k")))
    """
    ran = run(FORK + "if 1:" + code, url, way).ok()
    assert ran.out == "ClosedError: this SharedLimiter is closed; create another one\n"
    status = limiter.status("k")
    assert status is not None
    assert status.total_allowed == 8
