"""What the calls of one client share: where its server is, connections, requests, and what happens without a server."""

from __future__ import annotations

import logging
import math
import os
import ssl
import weakref
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from flint._errors import FlintError, FlintServerError, InvalidArgument
from flint._native import CheckResult, MultiCheckResult, _Codec, _decode_check
from flint._shared import drive
from flint._shared.address import parse
from flint._shared.exchange import Begun, Decode, exchange
from flint._shared.pool import Pool

T = TypeVar("T")

_log = logging.getLogger("flint")

_MEDIA_TYPE = "application/vnd.flint.exact+json"
_ON_ERROR = {"raise": None, "allow": True, "deny": False}
# After how long to ask again who was denied because no server was there.
_DEGRADED_RETRY_NS = 1_000_000_000
_WARN_EVERY_S = 60.0
_MAX_TOKEN = 4096
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
        self.address = parse(url)
        self.timeout = _seconds(timeout)
        if on_error not in _ON_ERROR:
            raise InvalidArgument(f"on_error must be 'raise', 'allow' or 'deny', not {on_error!r}")
        self.verdict = _ON_ERROR[on_error]
        if type(retries) is not int or not 0 <= retries <= _MAX_RETRIES:
            raise InvalidArgument(f"retries must be an integer from 0 to {_MAX_RETRIES}, not {retries!r}")
        self.retries = retries
        self.ssl_context = _context(ssl_context, tls=self.address.tls)
        self.pool = Pool()
        self.codec = _Codec(_headers(self.address.authority, _token(token)), os.urandom(16))
        self._warned_at = -math.inf
        # What else has to be done in a forked child.
        self.after_fork: Callable[[], None] = _nothing
        _cores.add(self)

    def run(self, request: bytes, decode: Decode[T], argument: Any = None, *, once: bool = False) -> T:
        """Make one call in this thread."""
        deadline = monotonic() + self.timeout
        return drive.run(self, exchange(self, request, decode, argument, deadline, once=once), deadline)

    def check(self, request: bytes, key: str) -> CheckResult:
        """Make one call, a check of `key`, in this thread.

        Where nothing unusual happens on a connection that is open it takes two native calls and no step of an exchange.
        """
        pool = self.pool
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
            pool.give_back(connection, usable=False)
            raise
        if type(outcome) is CheckResult:
            pool.give_back(connection, usable=True)
            return outcome
        begun = Begun(connection, outcome)
        steps = exchange(self, request, _decode_check, key, deadline, begun)
        return drive.run(self, steps, deadline)

    async def arun(self, request: bytes, decode: Decode[T], argument: Any = None, *, once: bool = False) -> T:
        """Make one call in this coroutine."""
        deadline = monotonic() + self.timeout
        return await drive.arun(self, exchange(self, request, decode, argument, deadline, once=once), deadline)

    def stand_in(self, failure: FlintError, key: str, cost: int) -> CheckResult:
        """The answer to a check without a server, or `failure` where that is not for `on_error`."""
        allowed = self._allows(failure)
        wait_ns = 0 if allowed else _DEGRADED_RETRY_NS
        return CheckResult(allowed, key, cost, 0, 0, wait_ns, degraded=True)

    def stand_in_denied(self, failure: FlintError, key: str, cost: int) -> CheckResult:
        """The answer to how long a check would wait: no time where `on_error` allows."""
        wait_ns = self.stand_in(failure, key, cost).retry_after_ns
        return CheckResult(False, key, cost, 0, 0, wait_ns, degraded=True)

    def stand_in_all(self, failure: FlintError, keys: Sequence[str], costs: Sequence[int]) -> MultiCheckResult:
        """The same for a check of several keys."""
        allowed = self._allows(failure)
        results = [self.stand_in(failure, key, cost) for key, cost in zip(keys, costs, strict=True)]
        denied_key = None if allowed else keys[0]
        return MultiCheckResult(allowed, denied_key, 0 if allowed else _DEGRADED_RETRY_NS, results, degraded=True)

    def _allows(self, failure: FlintError) -> bool:
        if self.verdict is None or (isinstance(failure, FlintServerError) and failure.status < 500):
            raise failure
        now = monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:
            # Somebody has to learn that the limits are not kept; who limits each request would be told of nothing else.
            self._warned_at = now
            _log.warning(
                "checks are answered with %r without a server, which is said once a minute: %s",
                "allow" if self.verdict else "deny",
                failure,
            )
        return self.verdict

    def forked(self) -> None:
        """In the child: the connections are the parent's, and its threads may hold the lock of the pool."""
        pool, closed = self.pool, self.pool.closed
        self.pool = Pool()
        self.pool.closed = closed
        self.codec.reseed(os.urandom(16))
        pool.drop_all()
        self.after_fork()


def _nothing() -> None:
    """What a core alone has to do."""


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _after_fork() -> None:
    for core in list(_cores):
        core.forked()


os.register_at_fork(after_in_child=_after_fork)


def _seconds(timeout: object) -> float:
    accepted = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not accepted or not 0 < float(timeout) < math.inf:  # type: ignore[arg-type]
        raise InvalidArgument(f"timeout must be a number of seconds above 0, not {timeout!r}")
    # What the operating system can wait for.
    return min(float(timeout), 365 * 86_400.0)  # type: ignore[arg-type]


def _token(token: object) -> str | None:
    """The message for a refused token does not show it."""
    if token is None:
        return None
    if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN:
        raise InvalidArgument(f"token must be None or text of 1 to {_MAX_TOKEN} characters")
    if any(not "!" <= character <= "~" for character in token):
        raise InvalidArgument("token has characters other than visible ASCII; a trailing newline of a file, perhaps")
    return token


def _context(context: ssl.SSLContext | None, *, tls: bool) -> ssl.SSLContext | None:
    if not tls:
        if context is not None:
            raise InvalidArgument("ssl_context is for https:// URLs")
        return None
    if context is None:
        return ssl.create_default_context()
    if not isinstance(context, ssl.SSLContext):
        raise InvalidArgument(f"ssl_context must be None or an ssl.SSLContext, not {context!r}")
    return context


def _headers(authority: str, token: str | None) -> bytes:
    lines = [f"Host: {authority}", f"Accept: {_MEDIA_TYPE}"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "".join(line + "\r\n" for line in lines).encode("ascii")
