"""Attackers that come again and again with what is refused, while an honest client is served on its connection."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.python.server.support import TIMEOUT_S, Server, answers, posted, request

JSON = "Content-Type: application/json"
KIB = 1024
ATTACKERS = 4
# Requests of the honest client, and of each attacker, while the other one is at it; at least.
HONEST, EACH = 60, 10

KEYS = [f"{number:04x}" for number in range(9_000)]
ITEMS = json.dumps({"items": KEYS}, separators=(",", ":")).encode()
ONE = json.dumps({"key": "honest"}).encode()
# What is sent over each connection, and the statuses of what may be said to it.
ATTACKS: dict[str, tuple[bytes, set[int]]] = {
    "heads beyond the bounds": (request("GET", "/v1/health", "X-Large: " + "x" * 100 * KIB), {431}),
    "bodies beyond the bounds": (
        request("POST", "/v1/check", JSON, f"Content-Length: {10**6}", body=b" " * 100 * KIB),
        {413},
    ),
    "two lengths": (request("POST", "/v1/check", JSON, "Content-Length: 17", "Content-Length: 18", body=ONE), {400}),
    "a length that is none": (request("POST", "/v1/check", JSON, "Content-Length: -1", body=ONE), {400}),
    "bad chunks": (request("POST", "/v1/check", JSON, "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n"), {400}),
    "deep JSON": (
        request("POST", "/v1/check", JSON, "Connection: close", f"Content-Length: {60 * KIB}", body=b"[" * 60 * KIB),
        {400},
    ),
    "no HTTP": (b"rubbish\r\n\r\n", {400}),
    "costs beyond all bounds": (
        b"".join(posted("/v1/check", {"key": "honest", "cost": cost}) for cost in (-1, 0, 2**64, 1e300) * 50)
        + posted("/v1/check", {"key": "honest", "cost": 2**64}, "Connection: close"),
        {400},
    ),
    "check-all of as many keys as fit": (
        request("POST", "/v1/check-all", JSON, "Connection: close", f"Content-Length: {len(ITEMS)}", body=ITEMS),
        {400},
    ),
    "pipelines": (
        posted("/v1/peek", {"key": "honest"}) * 500 + posted("/v1/peek", {"key": "honest"}, "Connection: close"),
        {200},
    ),
}


class Siege:
    """Attackers at work, each over one connection after the other."""

    def __init__(self, server: Server, message: bytes) -> None:
        self.made = [0] * ATTACKERS
        self.statuses: Counter[int] = Counter()
        self.unexpected: list[BaseException] = []
        self._server = server
        self._message = message
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._attack, args=(number,)) for number in range(ATTACKERS)]

    def _attack(self, number: int) -> None:
        try:
            while not self._over.is_set():
                connection = self._server.connect()
                # A client that is refused before all is sent may find the connection closed.
                with contextlib.suppress(ConnectionError):
                    connection.sendall(self._message)
                for answer in answers(connection):
                    self.statuses[answer.status] += 1
                self.made[number] += 1
        except BaseException as error:
            self.unexpected.append(error)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(TIMEOUT_S)


def lasting(siege: Siege) -> Iterator[int]:
    """Numbers until both sides have made as many requests as they have to."""
    before = list(siege.made)
    number = 0
    while number < HONEST or any(now < then + EACH for now, then in zip(siege.made, before, strict=True)):
        assert not siege.unexpected, siege.unexpected
        yield number
        number += 1


@pytest.mark.parametrize("name", ATTACKS)
def test_the_honest_client_is_served_and_the_attackers_are_refused(server: Server, name: str) -> None:
    message, statuses = ATTACKS[name]
    honest = server.client()
    honest.post("/v1/limits", {"key": "honest", "rate": 10**9, "per": "52w"})
    before = honest.get("/v1/limits/honest")["total_allowed"]
    accepted = honest.metric("flint_server_connections_accepted_total")
    others = 0
    siege = Siege(server, message)
    with siege.going_on():
        for number in lasting(siege):
            assert honest.check("honest")["allowed"]
            if number % 10 == 0:
                with contextlib.closing(server.client()) as another:
                    assert another.check("honest")["allowed"]
                others += 1
    assert siege.unexpected == []
    assert set(siege.statuses) == statuses
    taken = honest.get("/v1/limits/honest")["total_allowed"] - before
    assert taken == number + 1 + others, "no attacker took anything"
    # The honest client kept its connection: all new ones are known.
    new = honest.metric("flint_server_connections_accepted_total") - accepted
    assert new == sum(siege.made) + others
