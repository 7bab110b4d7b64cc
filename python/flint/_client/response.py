"""An answer, from the bytes that arrive over a connection. HTTP/1.1, as much of it as a client reads. No I/O."""

from __future__ import annotations

from flint._client.connection import Connection
from flint._client.steps import Steps
from flint._client.tls import Tls
from flint._native import _head

# Largest body that is read.
MAX_BODY = 64 * 1024 * 1024
# A chunk's size line, or the lines after the last chunk.
_MAX_LINES = 16 * 1024

# The lengths that `_head` reports for a body whose head does not state one.
_CHUNKED = -1


class NotUnderstoodError(Exception):
    """What was received is not an HTTP answer."""


class Response:
    """A whole answer: its body begins at `start` of `data`."""

    __slots__ = ("content_type", "data", "keep_alive", "retry_after", "start", "status")

    def __init__(self, status: int, data: bytes, start: int, content_type: str | None) -> None:
        self.status = status
        self.data = data
        self.start = start
        self.content_type = content_type
        # Whether the next request may be sent on the same connection.
        self.keep_alive = False
        self.retry_after: int | None = None


def transact(connection: Connection, request: bytes, received: bytes | None = None) -> Steps[Response]:
    """Send `request`, and receive a whole answer.

    received: the first part of the answer, where the request was already sent.
    """
    if received is None:
        if connection.tls is None:
            received = yield connection, request
        else:
            received = yield from _encrypted(connection, connection.tls, request)
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
    status, start, length, keep_alive, content_type, retry_after = head
    if status < 200:
        raise NotUnderstoodError(f"its status is {status}")
    response = Response(status, received, start, content_type)
    response.retry_after = retry_after
    have = len(received) - start
    if have == length:
        response.keep_alive = keep_alive
    elif length >= 0:
        if length > MAX_BODY:
            raise NotUnderstoodError(f"its body has more than {MAX_BODY} bytes")
        if have > length:
            # Bytes after the answer belong to no request; the connection is not used again.
            response.data = received[: start + length]
            return response
        parts = [received]
        while have < length:
            part = yield from _receive(connection)
            parts.append(part)
            have += len(part)
        response.data = b"".join(parts)[: start + length]
        response.keep_alive = keep_alive and have == length
    elif length == _CHUNKED:
        response.data, rest = yield from _chunks(connection, received[start:])
        response.start = 0
        response.keep_alive = keep_alive and not rest
    else:
        response.data = yield from _until_close(connection, received)
    return response


def _receive(connection: Connection) -> Steps[bytes]:
    """What arrives next. The end of the connection is an error."""
    received: bytes
    if connection.tls is None:
        received = yield connection, b""
    else:
        received = yield from _encrypted(connection, connection.tls, b"")
    if not received:
        raise ConnectionResetError("it was closed")
    return received


def _encrypted(connection: Connection, tls: Tls, data: bytes) -> Steps[bytes]:
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


def _chunks(connection: Connection, rest: bytes) -> Steps[tuple[bytes, bytes]]:
    """The body that arrives in chunks, and what arrived after it."""
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
            raise NotUnderstoodError("a chunk is longer than its size line says")
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
    """The body of an answer without a length: it ends with the connection."""
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
