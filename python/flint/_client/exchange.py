"""One call, from its request to its result: connections, retries, errors. No I/O: `exchange` yields steps."""

from __future__ import annotations

from functools import partial
from ssl import SSLCertVerificationError
from time import monotonic
from typing import TypeVar

from flint._client import errors
from flint._client.connection import Connection
from flint._client.endpoint import Endpoint
from flint._client.response import NotUnderstoodError, Response, transact
from flint._client.steps import TAKE, Steps
from flint._client.tls import Tls
from flint._errors import ClosedError, FlintConnectionError, FlintError
from flint._native import _Call, _Codec

T = TypeVar("T")

# Statuses of a server, or of a proxy in front of it, that may succeed a moment later.
_TRANSIENT = frozenset({502, 503, 504})
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
# Bytes of an answer that takes a noticeable time to decode.
_LARGE = 65536


class InFlight:
    """A request that was already sent: over which connection, and what was received or raised."""

    __slots__ = ("connection", "outcome")

    def __init__(self, connection: Connection, outcome: bytes | OSError) -> None:
        self.connection = connection
        self.outcome = outcome


def exchange(
    endpoint: Endpoint,
    codec: _Codec,
    call: _Call[T],
    request: bytes,
    deadline: float,
    retries: int,
    in_flight: InFlight | None = None,
) -> Steps[T]:
    """Send `request` until it is answered, and return the result of `call`, whose request it is.

    deadline: by `time.monotonic()`; it bounds the whole exchange.
    in_flight: the first attempt, where it was made by other means.
    """
    pool = endpoint.pool
    connection = in_flight.connection if in_flight else pool.take() or (yield from _wait_for_connection(endpoint))
    reusable = False
    # A request that a server must not execute twice is sent at most once.
    repeatable = codec.is_repeatable(call)
    if not repeatable:
        retries = 0
    pause = _FIRST_PAUSE_S
    try:
        while True:
            failure: FlintError
            if not repeatable and connection.has_ended():
                connection.close()
                pool.close_idle()
            reused = connection.sock is not None
            sent = reusable = untrusted = False
            try:
                if not reused:
                    yield from _open(endpoint, connection)
                sent = True
                received: bytes | None = None
                if in_flight is not None:
                    if isinstance(in_flight.outcome, OSError):
                        raise in_flight.outcome
                    received = in_flight.outcome
                response = yield from transact(connection, request, received)
            except (OSError, NotUnderstoodError) as error:
                connection.close()
                in_flight = None
                if reused and isinstance(error, ConnectionError) and repeatable:
                    # The server closed the connection while it was idle. That is not a failure of this call, which goes
                    # on over a new connection.
                    pool.close_idle()
                    continue
                failure = errors.unreachable(endpoint.address.url, error, sent=sent)
                # A retry would meet the same certificate.
                untrusted = isinstance(error, SSLCertVerificationError)
                wait_s = pause
            else:
                in_flight = None
                reusable = response.keep_alive
                if not reusable:
                    connection.close()
                if response.status == 200:
                    return (yield from _result(endpoint, response, codec, call))
                body = response.data[response.start :]
                failure = errors.of(endpoint.address.url, response.status, response.content_type, body)
                if response.status not in _TRANSIENT:
                    raise failure
                wait_s = pause if response.retry_after is None else float(response.retry_after)
            if retries == 0 or monotonic() + wait_s >= deadline or untrusted:
                raise failure
            retries -= 1
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            yield wait_s
            if pool.closed:
                raise ClosedError("this SharedLimiter is closed; create another one")
    finally:
        # Also when the call is cancelled or interrupted: then no whole answer was read, and the connection is closed.
        pool.release(connection, reusable=reusable and connection.sock is not None)


def _wait_for_connection(endpoint: Endpoint) -> Steps[Connection]:
    """A connection when all are in use."""
    try:
        connection: Connection = yield TAKE
    except TimeoutError as error:
        message = f"no connection to {endpoint.address.url} was free in time: {error}; make fewer calls at once"
        raise FlintConnectionError(message) from None
    return connection


def _open(endpoint: Endpoint, connection: Connection) -> Steps[None]:
    """Connect, and make the TLS handshake where the URL is https://."""
    yield connection
    if endpoint.ssl_context is None:
        return
    tls = Tls(endpoint.ssl_context, endpoint.address.host)
    while not tls.continue_handshake():
        received = yield connection, tls.to_send()
        if not received:
            raise ConnectionResetError("it was closed during the TLS handshake")
        tls.feed(received)
    connection.tls = tls


def _result(endpoint: Endpoint, response: Response, codec: _Codec, call: _Call[T]) -> Steps[T]:
    kind = (response.content_type or "").partition(";")[0]
    try:
        if not kind.endswith("json"):
            raise ValueError(f"its Content-Type is {response.content_type!r}")
        if len(response.data) < _LARGE:
            return codec.decode(call, response.data, response.start)
        result: T = yield partial(codec.decode, call, response.data, response.start)
        return result
    except ValueError as error:
        raise errors.not_understood(endpoint.address.url, error) from None
