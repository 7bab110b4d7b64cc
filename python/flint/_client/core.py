"""What the methods of one client share: its settings, and how an operation is run."""

from __future__ import annotations

import os
import ssl
import weakref
from time import monotonic
from typing import TypeVar

from flint._client import io_asyncio, io_thread
from flint._client.address import parse
from flint._client.endpoint import Endpoint
from flint._client.error_policy import ErrorPolicy
from flint._client.exchange import InFlight, exchange
from flint._client.operations import Operation, Recover, Sequence, degraded_check, reraise
from flint._client.tls import context_of
from flint._errors import ClosedError, FlintConnectionError, FlintServerError
from flint._native import CheckResult, _Call, _CheckCall, _Codec
from flint._validate import bearer_token, call_timeout, integer
from flint._waiting.queue import Queues

T = TypeVar("T")

_MEDIA_TYPE = "application/vnd.flint.exact+json"
_MAX_RETRIES = 100

# What an operation may recover from.
_FAILURES = (FlintConnectionError, FlintServerError, ClosedError)


class Core:
    """One client.

    `run` makes a call in a thread, `arun` in a coroutine: they differ in how its exchange is driven.
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
        self.queues = Queues(join_first=True)
        _cores.add(self)

    def run(self, call: _Call[T], recover: Recover[T] = reraise) -> T:
        """Run one call."""
        return self._run(Operation(self.codec, call, recover))

    async def arun(self, call: _Call[T], recover: Recover[T] = reraise) -> T:
        """The async variant of run()."""
        return await self._arun(Operation(self.codec, call, recover))

    def run_all(self, calls: Sequence[T]) -> T:
        """Run a sequence of calls, each with the whole timeout."""
        try:
            call = next(calls)
            while True:
                call = calls.send(self.run(call))
        except StopIteration as end:
            result: T = end.value
            return result

    async def arun_all(self, calls: Sequence[T]) -> T:
        """The async variant of run_all()."""
        try:
            call = next(calls)
            while True:
                call = calls.send(await self.arun(call))
        except StopIteration as end:
            result: T = end.value
            return result

    def check(self, call: _CheckCall) -> CheckResult:
        """Run a check.

        On an open connection, and if nothing unusual happens, this takes two native calls and no step of an exchange.
        """
        request = self.codec.encode(call)
        pool = self.endpoint.pool
        connection = pool.take_idle()
        if connection is None:
            return self._run(Operation(self.codec, call, degraded_check, request))
        deadline = monotonic() + self.timeout
        outcome: CheckResult | bytes | OSError
        try:
            outcome = connection.for_thread().call(request, call, self.timeout)
        except OSError as error:
            outcome = error
        except BaseException:
            pool.release(connection, reusable=False)
            raise
        if type(outcome) is CheckResult:
            pool.release(connection, reusable=True)
            return outcome
        operation = Operation(self.codec, call, degraded_check, request)
        return self._run(operation, deadline, InFlight(connection, outcome))

    def _run(self, operation: Operation[T], deadline: float | None = None, in_flight: InFlight | None = None) -> T:
        if deadline is None:
            deadline = monotonic() + self.timeout
        steps = exchange(self.endpoint, operation, deadline, self.retries, in_flight)
        try:
            return io_thread.run(self.endpoint, steps, deadline)
        except _FAILURES as failure:
            return operation.recover(failure, self.error_policy)

    async def _arun(self, operation: Operation[T]) -> T:
        deadline = monotonic() + self.timeout
        steps = exchange(self.endpoint, operation, deadline, self.retries)
        try:
            return await io_asyncio.run(self.endpoint, steps, deadline)
        except _FAILURES as failure:
            return operation.recover(failure, self.error_policy)

    def forked(self) -> None:
        """In the child, which has none of the parent's threads: start again with connections of its own."""
        self.codec.reseed(os.urandom(16))
        self.endpoint.forked()
        self.queues = Queues(join_first=True)


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _after_fork() -> None:
    for core in list(_cores):
        core.forked()


os.register_at_fork(after_in_child=_after_fork)


def _headers(authority: str, token: str | None) -> bytes:
    lines = [f"Host: {authority}", f"Accept: {_MEDIA_TYPE}"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "".join(line + "\r\n" for line in lines).encode("ascii")
