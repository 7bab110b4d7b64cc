"""One call, from its request to its result. No I/O happens here: `exchange` says what is to be done next.

It yields, and is sent:

    TAKE                a connection, as soon as there is one
    connection          nothing, when its socket is connected
    connection, bytes   what was received after these were sent
    a float             nothing, after that many seconds

What I/O raises is thrown into it. `deadline` is by `time.monotonic()` and bounds all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from ssl import SSLCertVerificationError, SSLError
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from flint._errors import ClosedError, FlintConnectionError, FlintError, FlintServerError
from flint._native import _head
from flint._shared import problem
from flint._shared.connection import Connection
from flint._shared.tls import Tls

if TYPE_CHECKING:
    from flint._shared.core import Core

T = TypeVar("T")
Steps = Generator[Any, Any, T]
Decode = Callable[[bytes, int, Any], T]

TAKE = object()

# Largest body that is read.
MAX_BODY = 64 * 1024 * 1024
# A chunk's size line, or the lines after the last chunk.
_MAX_LINES = 16 * 1024
# Statuses of a server, or of something before it, that may be well in a moment.
_TRANSIENT = frozenset({502, 503, 504})
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0

_CHUNKED = -1
_UNTIL_CLOSE = -2


class NotUnderstoodError(Exception):
    """What was received is no answer."""


class Answer:
    """A whole answer: its body begins at `start` of `data`."""

    __slots__ = ("content_type", "data", "retry_after", "start", "status", "stays")

    def __init__(self, status: int, data: bytes, start: int, content_type: str | None) -> None:
        self.status = status
        self.data = data
        self.start = start
        self.content_type = content_type
        self.stays = False
        self.retry_after: int | None = None


class Begun:
    """A call that was begun otherwise: over which connection its request was sent, and what came of that."""

    __slots__ = ("connection", "outcome")

    def __init__(self, connection: Connection, outcome: bytes | OSError) -> None:
        self.connection = connection
        self.outcome = outcome


def exchange(
    core: Core,
    request: bytes,
    decode: Decode[T],
    argument: Any,
    deadline: float,
    begun: Begun | None = None,
    *,
    once: bool = False,
) -> Generator[Any, Any, T]:
    """Send `request` until it is answered, and give what `decode` makes of the answer.

    With `once` it is never sent again, whatever becomes of it: a server would do twice what it says.
    """
    pool = core.pool
    connection = begun.connection if begun else pool.take() or (yield from _queue(core))
    usable = False
    retries = 0 if once else core.retries
    pause = _FIRST_PAUSE_S
    try:
        while True:
            failure: FlintError
            if once and connection.ended():
                connection.drop()
                pool.forget_idle()
            reused = connection.sock is not None
            sent = usable = untrusted = False
            try:
                if not reused:
                    yield from _open(core, connection)
                sent = True
                answer = yield from _transact(connection, request, begun)
            except (OSError, NotUnderstoodError) as error:
                connection.drop()
                begun = None
                if reused and isinstance(error, ConnectionError) and not once:
                    # The server went away while the connection was idle, which is no failure of this call: that comes
                    # with the next one, which is opened now.
                    pool.forget_idle()
                    continue
                failure = _unreachable(core.address.url, error, sent=sent)
                # A certificate that is not trusted is not trusted a moment later.
                untrusted = isinstance(error, SSLCertVerificationError)
                wait_s = pause
            else:
                begun = None
                usable = answer.stays
                if not usable:
                    connection.drop()
                if answer.status == 200:
                    return _result(core, answer, decode, argument)
                failure = problem.of(core.address.url, answer.status, answer.content_type, answer.data[answer.start :])
                if answer.status not in _TRANSIENT:
                    raise failure
                wait_s = pause if answer.retry_after is None else float(answer.retry_after)
            if retries == 0 or monotonic() + wait_s >= deadline or untrusted:
                raise failure
            retries -= 1
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            yield wait_s
            if pool.closed:
                raise ClosedError("this SharedLimiter is closed; create another one")
    finally:
        pool.give_back(connection, usable=usable and connection.sock is not None)


def _queue(core: Core) -> Steps[Connection]:
    """A connection when all are at work."""
    try:
        connection: Connection = yield TAKE
    except TimeoutError as error:
        message = f"no connection to {core.address.url} was free in time: {error}; make fewer calls at once"
        raise FlintConnectionError(message) from None
    return connection


def _result(core: Core, answer: Answer, decode: Decode[T], argument: Any) -> T:
    kind = (answer.content_type or "").partition(";")[0]
    try:
        if not kind.endswith("json"):
            raise ValueError(f"its Content-Type is {answer.content_type!r}")
        return decode(answer.data, answer.start, argument)
    except (ValueError, KeyError, TypeError) as error:
        message = f"what answered at {core.address.url} is not a Flint server, or one of another version: {error}"
        raise FlintServerError(message, status=200, code="not_understood") from None


def _unreachable(url: str, error: Exception, *, sent: bool) -> FlintConnectionError:
    if isinstance(error, NotUnderstoodError):
        return FlintConnectionError(f"the answer of {url} is not understood: {error}; look at what listens there")
    if isinstance(error, TimeoutError):
        what = "answered" if sent else "accepted a connection"
        return FlintConnectionError(
            f"the server at {url} has not {what} in time ({error}); see how busy it is, or give a longer timeout="
        )
    if isinstance(error, SSLError):
        return FlintConnectionError(
            f"no TLS with {url} ({error.strerror or error}); see whether the server speaks TLS there, and whether its "
            "certificate is of an authority that ssl_context= (or SSL_CERT_FILE) knows and for that name"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    if sent:
        return FlintConnectionError(
            f"the connection to {url} broke before the answer came ({reason}); see whether the server is running"
        )
    return FlintConnectionError(
        f"no connection to {url} ({reason}); see whether the server is running there: it is started with "
        "`flint --data-dir DIR server start`"
    )


def _open(core: Core, connection: Connection) -> Steps[None]:
    """Connect, and agree on keys where the URL says https."""
    yield connection
    if core.ssl_context is None:
        return
    tls = Tls(core.ssl_context, core.address.host)
    while not tls.shake():
        received = yield connection, tls.to_send()
        if not received:
            raise ConnectionResetError("it was closed during the TLS handshake")
        tls.feed(received)
    connection.tls = tls


def _converse(connection: Connection, tls: Tls, data: bytes) -> Steps[bytes]:
    """The step `connection, data` over TLS."""
    if data:
        tls.write(data)
    while True:
        decrypted = None if data else tls.read()
        if decrypted is not None:
            return decrypted
        data = b""
        received: bytes = yield connection, tls.to_send()
        tls.feed(received)


def _receive(connection: Connection, data: bytes = b"") -> Steps[bytes]:
    """What arrives after `data` was sent; the end is an error."""
    received: bytes
    if connection.tls is None:
        received = yield connection, data
    else:
        received = yield from _converse(connection, connection.tls, data)
    if not received:
        raise ConnectionResetError("it was closed")
    return received


def _transact(connection: Connection, request: bytes, begun: Begun | None) -> Steps[Answer]:
    """Send `request`, unless that has begun, and receive a whole answer."""
    received: bytes
    if begun is not None:
        if isinstance(begun.outcome, OSError):
            raise begun.outcome
        received = begun.outcome
    elif connection.tls is None:
        received = yield connection, request
    else:
        received = yield from _converse(connection, connection.tls, request)
    if not received:
        raise ConnectionResetError("it was closed")
    while True:
        try:
            head = _head(received)
        except ValueError as error:
            raise NotUnderstoodError(str(error)) from None
        if head is not None:
            break
        received += yield from _receive(connection)
    status, start, length, stays, content_type, retry_after = head
    if status < 200:
        raise NotUnderstoodError(f"its status is {status}")
    answer = Answer(status, received, start, content_type)
    answer.retry_after = retry_after
    have = len(received) - start
    if have == length:
        answer.stays = stays
    elif length >= 0:
        if length > MAX_BODY:
            raise NotUnderstoodError(f"its body has more than {MAX_BODY} bytes")
        if have > length:
            # Nobody asked for what follows; the connection is not used again.
            answer.data = received[: start + length]
            return answer
        parts = [received]
        while have < length:
            part = yield from _receive(connection)
            parts.append(part)
            have += len(part)
        answer.data = b"".join(parts)[: start + length]
        answer.stays = stays and have == length
    elif length == _CHUNKED:
        answer.data, rest = yield from _chunks(connection, received[start:])
        answer.start = 0
        answer.stays = stays and not rest
    else:
        answer.data = yield from _until_close(connection, received)
    return answer


def _chunks(connection: Connection, rest: bytes) -> Steps[tuple[bytes, bytes]]:
    """The body that comes in chunks, and what came behind it."""
    body = bytearray()
    while True:
        line, rest = yield from _line(connection, rest)
        digits = line.partition(b";")[0].strip()
        if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
            raise NotUnderstoodError("a chunk has no size")
        size = int(digits, 16)
        if len(body) + size > MAX_BODY:
            raise NotUnderstoodError(f"its body has more than {MAX_BODY} bytes")
        if size == 0:
            break
        while len(rest) < size + 2:
            rest += yield from _receive(connection)
        if rest[size : size + 2] != b"\r\n":
            raise NotUnderstoodError("a chunk is longer than it says")
        body += rest[:size]
        rest = rest[size + 2 :]
    trailers = 0
    while line:
        line, rest = yield from _line(connection, rest)
        trailers += len(line)
        if trailers > _MAX_LINES:
            raise NotUnderstoodError("too much follows the last chunk")
    return bytes(body), rest


def _line(connection: Connection, rest: bytes) -> Steps[tuple[bytes, bytes]]:
    while b"\r\n" not in rest:
        if len(rest) > _MAX_LINES:
            raise NotUnderstoodError("a chunk has no size")
        rest += yield from _receive(connection)
    line, _, rest = rest.partition(b"\r\n")
    return line, rest


def _until_close(connection: Connection, received: bytes) -> Steps[bytes]:
    parts, have = [received], len(received)
    while True:
        try:
            part = yield from _receive(connection)
        except ConnectionResetError:
            return b"".join(parts)
        parts.append(part)
        have += len(part)
        if have > MAX_BODY:
            raise NotUnderstoodError(f"its body has more than {MAX_BODY} bytes")
