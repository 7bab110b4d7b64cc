"""A caller that gives up waiting is counted as a denial at most once: a server cannot recognise a repeated request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.python.shared.conftest import MakeFake
from tests.python.shared.fake import Fake, check, message, problem, reset, say, say_and_close

import flint

DENIED = check(allowed=False, remaining=0, retry_after_ns=3_600_000_000_000)
DONE = message(200, b"{}")


def in_thread(client: flint.SharedLimiter) -> None:
    with pytest.raises(flint.AcquireTimeout):
        client.acquire("k", timeout=1)


def in_loop(client: flint.SharedLimiter) -> None:
    async def wait() -> None:
        with pytest.raises(flint.AcquireTimeout):
            await client.aacquire("k", timeout=1)

    asyncio.run(wait())


WAYS = pytest.mark.parametrize("give_up", [in_thread, in_loop])
GiveUp = Callable[[flint.SharedLimiter], None]


def asked(server: Fake) -> list[str]:
    return [request.split()[1].decode() for request in server.requests]


@WAYS
@pytest.mark.parametrize("failure", [reset, say(problem(503, "busy", "Retry-After: 0"))])
def test_a_denial_whose_answer_is_lost_is_not_repeated(fake: MakeFake, failure: object, give_up: GiveUp) -> None:
    server = fake(say(DENIED), failure, say(DONE), say(DONE))
    client = flint.SharedLimiter(server.url, retries=5)
    give_up(client)
    assert asked(server)[-1] == "/v1/deny"
    assert asked(server).count("/v1/deny") == 1
    assert client._core.endpoint.pool.in_use == 0


@pytest.mark.parametrize("blocking", [True, False])
def test_a_connection_that_ended_while_idle_loses_no_denial(fake: MakeFake, blocking: bool) -> None:
    """That is noticed before anything is sent."""
    server = fake(say_and_close(check()), say_and_close(check()), say(DONE))
    client = flint.SharedLimiter(server.url)
    for _ in range(2):
        client.check("k")
        server.ended.acquire()
    if blocking:
        client._count_denial("k", 1, None)
    else:
        asyncio.run(client._acount_denial("k", 1, None))
    assert asked(server) == ["/v1/check", "/v1/check", "/v1/deny"]
    assert server.connections == 3
