"""Connections: which call has them, when they are used again, and when they are closed."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.python.shared.conftest import MakeFake
from tests.python.shared.fake import Fake, check, header, problem, say

import flint
from flint._client import pool


class Gate:
    """An answer that waits until the test opens it."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked = threading.Event()
        self.opened = threading.Event()

    def __call__(self, sock: socket.socket) -> bool:
        self.asked.set()
        self.opened.wait(60)
        sock.sendall(self.answer)
        return True


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate(check(remaining=1))
    yield gate
    gate.opened.set()


def test_connections_are_used_again(fake: MakeFake) -> None:
    server = fake(*[say(check())] * 4, say(problem(404, "limit_not_found")), say(check()))
    client = flint.SharedLimiter(server.url)
    client.check("k")
    client.peek("k")
    asyncio.run(client.acheck("k"))
    asyncio.run(client.apeek("k"))
    with pytest.raises(flint.LimitNotFound):
        client.check("k")
    client.check("k")
    assert server.connections == 1


def test_a_late_answer_is_dropped(fake: MakeFake, gate: Gate) -> None:
    server = fake(gate, say(check(remaining=7)))
    client = flint.SharedLimiter(server.url)
    client._core.timeout = 0.2
    with pytest.raises(flint.FlintConnectionError, match="in time"):
        client.check("k")
    client._core.timeout = 10
    assert gate.asked.wait(60)
    gate.opened.set()
    assert client.check("k").remaining == 7
    assert server.connections == 2


def test_a_late_answer_is_dropped_in_a_loop(fake: MakeFake, gate: Gate) -> None:
    server = fake(gate, say(check(remaining=7)))
    client = flint.SharedLimiter(server.url)

    async def main() -> None:
        client._core.timeout = 0.2
        with pytest.raises(flint.FlintConnectionError, match="in time"):
            await client.acheck("k")
        client._core.timeout = 10
        assert await asyncio.to_thread(gate.asked.wait, 60)
        gate.opened.set()
        assert (await client.acheck("k")).remaining == 7

    asyncio.run(main())
    assert server.connections == 2


def test_the_answer_to_a_cancelled_call_is_dropped(fake: MakeFake, gate: Gate) -> None:
    server = fake(gate, say(check(remaining=7)))
    client = flint.SharedLimiter(server.url)

    async def main() -> None:
        task = asyncio.create_task(client.acheck("k"))
        await asyncio.to_thread(gate.asked.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.opened.set()
        assert (await client.acheck("k")).remaining == 7

    asyncio.run(main())
    assert server.connections == 2
    assert client._core.endpoint.pool.in_use == 0


def test_what_follows_an_answer_unasked_ends_the_connection(fake: MakeFake) -> None:
    server = fake(say(check() + check(remaining=1)), say(check(remaining=7)))
    client = flint.SharedLimiter(server.url)
    assert client.check("k").remaining == 9
    assert client.check("k").remaining == 7
    assert server.connections == 2


def all_at_work(
    fake: MakeFake, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> tuple[Fake, flint.SharedLimiter, threading.Thread]:
    """A client whose only connection waits for the gate, in that thread; the next answer is another."""
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    server = fake(gate, say(check(remaining=7)))
    client = flint.SharedLimiter(server.url)
    first = threading.Thread(target=client.check, args=("k",))
    first.start()
    assert gate.asked.wait(60)
    return server, client, first


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_call_that_finds_no_connection_gets_the_next(
    fake: MakeFake, gate: Gate, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    server, client, first = all_at_work(fake, gate, monkeypatch)
    got: list[int] = []

    def ask() -> None:
        result = client.check("k") if kind == "thread" else asyncio.run(client.acheck("k"))
        got.append(result.remaining)

    second = threading.Thread(target=ask)
    second.start()
    while not client._core.endpoint.pool.waiting:
        second.join(0.001)
    gate.opened.set()
    second.join(60)
    first.join(60)
    assert got == [7]
    assert server.connections == 1
    assert client._core.endpoint.pool.in_use == 0


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_call_that_finds_no_connection_in_time_raises(
    fake: MakeFake, gate: Gate, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _, client, first = all_at_work(fake, gate, monkeypatch)
    client._core.timeout = 0.05
    with pytest.raises(flint.FlintConnectionError, match="in use"):
        _ = client.check("k") if kind == "thread" else asyncio.run(client.acheck("k"))
    gate.opened.set()
    first.join(60)
    client._core.timeout = 10
    assert client.check("k").remaining == 7


def test_closing_ends_idle_connections_and_later_calls(fake: MakeFake) -> None:
    server = fake(say(check()))
    client = flint.SharedLimiter(server.url)
    client.check("k")
    assert "open" in repr(client)
    client.close()
    client.close()
    assert client.closed
    assert "closed" in repr(client)
    assert server.ended.acquire(timeout=60), "the server sees the end"
    for call in (lambda: client.check("k"), lambda: asyncio.run(client.acheck("k")), client.flush):
        with pytest.raises(flint.ClosedError):
            call()


def test_closing_lets_calls_finish_and_ends_the_wait_for_a_connection(
    fake: MakeFake, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    server = fake(gate)
    client = flint.SharedLimiter(server.url)
    results: list[object] = []

    def ask() -> None:
        try:
            results.append(client.check("k").remaining)
        except flint.ClosedError as error:
            results.append(type(error))

    threads = [threading.Thread(target=ask)]
    threads[0].start()
    assert gate.asked.wait(60)
    threads.append(threading.Thread(target=ask))
    threads[1].start()
    while not client._core.endpoint.pool.waiting:
        threads[1].join(0.001)
    client.close()
    threads[1].join(60)
    assert results == [flint.ClosedError]
    gate.opened.set()
    threads[0].join(60)
    assert results == [flint.ClosedError, 1]
    assert server.ended.acquire(timeout=60)


def test_threads_and_loops_together_get_exactly_the_limit(limiter: flint.Limiter, client: flint.SharedLimiter) -> None:
    limiter.limit("k", "500/hour")
    allowed: list[bool] = []

    def in_thread() -> None:
        allowed.extend(client.allow("k") for _ in range(100))

    async def main() -> None:
        allowed.extend(await asyncio.gather(*(client.aallow("k") for _ in range(100))))

    threads = [threading.Thread(target=in_thread) for _ in range(4)]
    threads += [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(allowed), sum(allowed)) == (800, 500)
    assert client._core.endpoint.pool.in_use == 0


def test_a_forked_child_goes_on_with_connections_of_its_own(fake: MakeFake) -> None:
    server = fake(*[say(check())] * 4)
    client = flint.SharedLimiter(server.url)
    client.check("k")
    child = os.fork()
    if child == 0:
        # No test may go on here, whatever happens.
        code = 1
        try:
            code = 0 if client.check("k").allowed and client._core.endpoint.pool.in_use == 0 else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert client.check("k").allowed
    assert server.connections == 2, "the parent's is as it was"
    keys = [header(request, "Idempotency-Key") for request in server.requests]
    assert len(set(keys)) == 3


def test_a_fork_while_the_pool_is_locked(client: flint.SharedLimiter, limiter: flint.Limiter) -> None:
    limiter.limit("k", "10/hour")
    client.check("k")
    with client._core.endpoint.pool._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if client.check("k").allowed else 2
            finally:
                os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert client.check("k").remaining == 7
