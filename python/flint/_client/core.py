"""What the methods of one client share: its settings, and how a call is made."""

from __future__ import annotations

import os
import ssl
import weakref
from collections.abc import Awaitable
from time import monotonic
from typing import TypeVar

from flint._client import io_asyncio, io_thread
from flint._client.address import parse
from flint._client.endpoint import Endpoint
from flint._client.error_policy import ErrorPolicy
from flint._client.exchange import InFlight, exchange
from flint._client.tls import context_of
from flint._errors import ClosedError, FlintConnectionError, FlintServerError
from flint._native import LimitStatus, _Call, _Codec, _ListCall
from flint._validate import bearer_token, call_timeout, integer
from flint._waiting.queue import Queues

T = TypeVar("T")

_MEDIA_TYPE = "application/vnd.flint.exact+json"
_MAX_RETRIES = 100

# What the error policy may cover.
_FAILURES = (FlintConnectionError, FlintServerError, ClosedError)


class Core:
    """One client.

    A parsed call of the native half knows all about itself: its request, what an answer means, whether the request may
    be repeated, and what the next page is. `run` makes it in a thread, `arun` in a coroutine.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout: float,
        on_error: str,
        retries: int,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        address = parse(url)
        self.timeout = call_timeout(timeout)
        self.error_policy = ErrorPolicy(on_error)
        self.retries = integer("retries", retries, 0, _MAX_RETRIES)
        self.endpoint = Endpoint(address, context_of(ssl_context, tls=address.tls))
        self.codec = _Codec(_headers(address.authority, bearer_token(token)), os.urandom(16))
        # The callers that wait in acquire().
        self._queues = Queues(join_first=True)
        self._pid = os.getpid()
        _cores.add(self)

    @property
    def queues(self) -> Queues:
        """The callers that wait in acquire(), of this process."""
        self._enter()
        return self._queues

    def close(self) -> None:
        """Close the connections, and wake the callers that wait."""
        self._enter()
        self.endpoint.pool.close()
        self._queues.wake_all()

    def run(self, call: _Call[T]) -> T:
        """Make one call in this thread.

        On an open connection, and if nothing unusual happens, this takes few native calls and no step of an exchange.
        """
        self._enter()
        codec = self.codec
        request = codec.encode(call)
        deadline = monotonic() + self.timeout
        in_flight: InFlight | None = None
        pool = self.endpoint.pool
        # A request that may be sent only once needs the exchange's look at the connection first.
        connection = pool.take_idle() if codec.is_repeatable(call) else None
        if connection is not None:
            try:
                outcome = connection.for_thread().call(request, call, self.timeout)
            except OSError as error:
                in_flight = InFlight(connection, error)
            except BaseException:
                pool.release(connection, reusable=False)
                raise
            else:
                if not isinstance(outcome, bytes):
                    pool.release(connection, reusable=True)
                    return outcome
                in_flight = InFlight(connection, outcome)
        steps = exchange(self.endpoint, codec, call, request, deadline, self.retries, in_flight)
        try:
            return io_thread.run(self.endpoint, steps, deadline)
        except _FAILURES as failure:
            return self.error_policy.recover(call, failure)

    async def arun(self, call: _Call[T], *, encoding: Awaitable[bytes] | None = None) -> T:
        """Make one call in this coroutine. The request of a large one is encoded elsewhere."""
        self._enter()
        request = self.codec.encode(call) if encoding is None else await encoding
        deadline = monotonic() + self.timeout
        steps = exchange(self.endpoint, self.codec, call, request, deadline, self.retries)
        try:
            return await io_asyncio.run(self.endpoint, steps, deadline)
        except _FAILURES as failure:
            return self.error_policy.recover(call, failure)

    def run_pages(self, call: _ListCall | None) -> list[LimitStatus]:
        """Make a call for each page of a listing, each with the whole timeout."""
        found: list[LimitStatus] = []
        while call is not None:
            page = self.run(call)
            found += page
            call = call.rest(page)
        return found

    async def arun_pages(self, call: _ListCall | None) -> list[LimitStatus]:
        """The async variant of run_pages()."""
        found: list[LimitStatus] = []
        while call is not None:
            page = await self.arun(call)
            found += page
            call = call.rest(page)
        return found

    def _enter(self) -> None:
        """Before each use. A fork that Python does not see, such as fork() called by C code, is noticed here."""
        if os.getpid() != self._pid:
            self.forked()

    def forked(self) -> None:
        """In the child, which has none of the parent's threads: start again with connections of its own."""
        self._pid = os.getpid()
        self.codec.reseed(os.urandom(16))
        self.endpoint.forked()
        self._queues = Queues(join_first=True)


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _after_fork() -> None:
    for core in list(_cores):
        core.forked()


# The child's copies of the connections are closed at once, whether it uses the client or not.
os.register_at_fork(after_in_child=_after_fork)


def _headers(authority: str, token: str | None) -> bytes:
    lines = [f"Host: {authority}", f"Accept: {_MEDIA_TYPE}"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "".join(line + "\r\n" for line in lines).encode("ascii")
