"""TLS in memory: bytes in, bytes out. The caller moves them to and from the socket."""

from __future__ import annotations

import ssl

from flint._errors import InvalidArgument

_CHUNK = 65536


class Tls:
    """The client's end of one encrypted connection. The context verifies certificate and host name."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def continue_handshake(self) -> bool:
        """Process what was fed; whether the handshake is finished."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, received: bytes) -> None:
        """Take what the socket received; b"" is its end."""
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()

    def to_send(self) -> bytes:
        """What the socket has to send."""
        return self._outgoing.read()

    def write(self, data: bytes) -> None:
        """Encrypt `data`, for to_send()."""
        self._object.write(data)

    def read(self) -> bytes | None:
        """Decrypted bytes, b"" at the end, None when more has to arrive first."""
        try:
            return self._object.read(_CHUNK)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""


def context_of(context: object, *, tls: bool) -> ssl.SSLContext | None:
    """What connections to a server are encrypted with; None where its URL is not https://."""
    if not tls:
        if context is not None:
            raise InvalidArgument(f"ssl_context must be None unless the URL begins with https://, not {context!r}")
        return None
    if context is None:
        return ssl.create_default_context()
    if not isinstance(context, ssl.SSLContext):
        raise InvalidArgument(
            f"ssl_context must be None or an ssl.SSLContext, such as ssl.create_default_context(), not {context!r}"
        )
    return context
