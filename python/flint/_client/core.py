"""What the methods of one client share: its settings, its requests, and the answers without a server."""

from __future__ import annotations

import logging
import math
import os
import ssl
import weakref
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from flint._client import io_asyncio, io_thread
from flint._client.address import parse
from flint._client.endpoint import Endpoint
from flint._client.exchange import Decode, InFlight, exchange
from flint._errors import FlintError, FlintServerError
from flint._native import CheckResult, MultiCheckResult, _Codec, _decode_check
from flint._validate import bearer_token, call_timeout, integer, one_of, tls_context

T = TypeVar("T")

_log = logging.getLogger("flint")

_MEDIA_TYPE = "application/vnd.flint.exact+json"
# on_error, and whether a check without a server is then allowed; None raises.
_ERROR_POLICIES = {"raise": None, "allow": True, "deny": False}
# `retry_after` of a check that was denied because the server was unavailable.
_DEGRADED_RETRY_NS = 1_000_000_000
_WARN_EVERY_S = 60.0
_MAX_RETRIES = 100


class Core:
    """One client."""

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
        self.degraded_decision = _ERROR_POLICIES[one_of("on_error", on_error, _ERROR_POLICIES)]
        self.retries = integer("retries", retries, 0, _MAX_RETRIES)
        self.endpoint = Endpoint(address, tls_context(ssl_context, tls=address.tls))
        self.codec = _Codec(_headers(address.authority, bearer_token(token)), os.urandom(16))
        self._warned_at = -math.inf
        # What the owner has to do in a forked child.
        self.after_fork: Callable[[], None] | None = None
        _cores.add(self)

    def run(self, request: bytes, decode: Decode[T], argument: Any = None, *, repeatable: bool = True) -> T:
        """Make one call in this thread."""
        deadline = monotonic() + self.timeout
        steps = exchange(self.endpoint, request, decode, argument, deadline, self.retries, repeatable=repeatable)
        return io_thread.run(self.endpoint, steps, deadline)

    async def arun(self, request: bytes, decode: Decode[T], argument: Any = None, *, repeatable: bool = True) -> T:
        """Make one call in this coroutine."""
        deadline = monotonic() + self.timeout
        steps = exchange(self.endpoint, request, decode, argument, deadline, self.retries, repeatable=repeatable)
        return await io_asyncio.run(self.endpoint, steps, deadline)

    def check(self, request: bytes, key: str) -> CheckResult:
        """Make one call, a check of `key`, in this thread.

        On an open connection, and if nothing unusual happens, this takes two native calls and no step of an exchange.
        """
        pool = self.endpoint.pool
        connection = pool.take_idle()
        if connection is None:
            return self.run(request, _decode_check, key)
        deadline = monotonic() + self.timeout
        outcome: CheckResult | bytes | OSError
        try:
            outcome = connection.for_thread().check(request, key, self.timeout)
        except OSError as error:
            outcome = error
        except BaseException:
            pool.release(connection, reusable=False)
            raise
        if type(outcome) is CheckResult:
            pool.release(connection, reusable=True)
            return outcome
        in_flight = InFlight(connection, outcome)
        steps = exchange(self.endpoint, request, _decode_check, key, deadline, self.retries, in_flight)
        return io_thread.run(self.endpoint, steps, deadline)

    def degraded_check(self, failure: FlintError, key: str, cost: int) -> CheckResult:
        """The answer to a check without a server. Raises `failure` where the error policy does not apply to it."""
        allowed = self._decide(failure)
        wait_ns = 0 if allowed else _DEGRADED_RETRY_NS
        return CheckResult(allowed, key, cost, 0, 0, wait_ns, degraded=True)

    def degraded_look_ahead(self, failure: FlintError, key: str, cost: int) -> CheckResult:
        """The forecast of a wait without a server: no time where checks are allowed."""
        wait_ns = self.degraded_check(failure, key, cost).retry_after_ns
        return CheckResult(False, key, cost, 0, 0, wait_ns, degraded=True)

    def degraded_check_all(self, failure: FlintError, keys: Sequence[str], costs: Sequence[int]) -> MultiCheckResult:
        """The answer to a check of several keys without a server."""
        allowed = self._decide(failure)
        results = [self.degraded_check(failure, key, cost) for key, cost in zip(keys, costs, strict=True)]
        denied_key = None if allowed else keys[0]
        return MultiCheckResult(allowed, denied_key, 0 if allowed else _DEGRADED_RETRY_NS, results, degraded=True)

    def _decide(self, failure: FlintError) -> bool:
        allowed = self.degraded_decision
        if allowed is None or (isinstance(failure, FlintServerError) and failure.status < 500):
            raise failure
        now = monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:
            # Without this line an application whose limits are not enforced looks healthy to its operators.
            self._warned_at = now
            _log.warning(
                "checks are answered with %r without a server, which is logged once a minute: %s",
                "allow" if allowed else "deny",
                failure,
            )
        return allowed

    def forked(self) -> None:
        """In the child: start again with connections of its own."""
        self.codec.reseed(os.urandom(16))
        self.endpoint.forked()
        if self.after_fork is not None:
            self.after_fork()


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
