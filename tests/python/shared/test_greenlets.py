"""A client under gevent and eventlet, which replace Python's sockets, locks and threads."""

from __future__ import annotations

import importlib.util
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.python.system.support import run

import flint

GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent
def together(*functions):
    greenlets = [gevent.spawn(function) for function in functions]
    gevent.joinall(greenlets)
    return [greenlet.get() for greenlet in greenlets]
"""
EVENTLET = """
import warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
def together(*functions):
    return [greenlet.wait() for greenlet in [eventlet.spawn(function) for function in functions]]
"""
START = """
import socket, sys, threading, time
import flint
url = sys.argv[1]
"""


@pytest.fixture
def limiter(data_dir: Path) -> Iterator[flint.Limiter]:
    """That of the server, by the clock of the operating system: some calls wait."""
    with flint.Limiter(data_dir, sync="batch") as limiter:
        yield limiter


# Free-threaded Python has no greenlets.
LIBRARIES = [] if sysconfig.get_config_var("Py_GIL_DISABLED") else ["gevent", "eventlet"]
libraries = pytest.mark.parametrize("library", LIBRARIES)


def under(library: str, code: str, url: str) -> str:
    """The output of `code` with everything replaced by that library, which has to be installed."""
    assert importlib.util.find_spec(library) is not None
    start = {"gevent": GEVENT, "eventlet": EVENTLET}[library] + START
    ran = run(start + "if 1:" + code, url).ok()
    assert ran.err == ""
    return ran.out


@libraries
def test_all_checks_are_answered(limiter: flint.Limiter, url: str, library: str) -> None:
    code = """
    client = flint.SharedLimiter(url)
    client.limit("k", "250/hour")
    results = together(*[lambda: client.check("k") for _ in range(300)])
    print(sum(result.allowed for result in results), any(result.degraded for result in results))
    # A listing is read in many parts.
    client.limit_many([{"key": f"many:{number}", "rate": "1/day"} for number in range(3000)])
    print(len(client.list()))
    """
    assert under(library, code, url) == "250 False\n3001\n"
    status = limiter.status("k")
    assert status is not None
    assert (status.total_allowed, status.total_denied) == (250, 50)


@libraries
def test_other_greenlets_go_on_while_a_call_waits(url: str, library: str) -> None:
    """The server is a greenlet of the same thread. It answers no request before it has all of them."""
    code = """
    CALLS = 5
    listener = socket.create_server(("127.0.0.1", 0), backlog=CALLS)
    def serve():
        connections = [listener.accept()[0] for _ in range(CALLS)]
        requests = [connection.recv(65536) for connection in connections]
        assert all(b"/v1/check" in request for request in requests), requests
        for connection in connections:
            connection.sendall(b"HTTP/1.1 500 Internal Server Error\\r\\nContent-Length: 0\\r\\n\\r\\n")
    client = flint.SharedLimiter(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=20, retries=0)
    def check():
        try:
            client.check("k")
        except flint.FlintServerError:
            return "answered"
    print(together(serve, *[check] * CALLS)[1:].count("answered"))
    """
    assert under(library, code, url) == "5\n"


@libraries
def test_a_call_ends_after_its_timeout(url: str, library: str) -> None:
    code = """
    listener = socket.create_server(("127.0.0.1", 0))
    client = flint.SharedLimiter(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2, retries=0)
    try:
        client.check("k")
    except flint.FlintConnectionError as error:
        print(str(error).count("the timeout of the call is over"))
    # That the denial was not counted is no error of the caller.
    client._count_denial("k", 1, None)
    """
    assert under(library, code, url) == "1\n"


@libraries
def test_acquire_waits_and_gives_up(limiter: flint.Limiter, url: str, library: str) -> None:
    """Giving up sends a request that must not be sent twice: the client looks at the connection first."""
    code = """
    client = flint.SharedLimiter(url)
    client.limit("k", "1/5ms")
    print(len(together(*[lambda: client.acquire("k") for _ in range(5)])))
    client.limit("day", "1/day")
    client.check("day")
    try:
        client.acquire("day", timeout=1)
    except flint.AcquireTimeout:
        print(client.status("day").total_denied)
    """
    assert under(library, code, url) == "5\n1\n"
