"""Where a server is, from its URL."""

from __future__ import annotations

import errno
import os
import sys
from typing import NamedTuple

from flint._errors import InvalidArgument

_PORTS = {"http": 80, "https": 443}

# `sun_path` less its zero byte.
_MAX_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103

# Between two attempts to connect to a Unix socket whose accept queue is full.
QUEUE_PAUSE_S = 0.001


class Address(NamedTuple):
    """A Unix socket, or host and port."""

    url: str
    path: str | None
    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        if self.path is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


def no_address(host: str) -> OSError:
    """The error for a name that resolves to nothing."""
    return OSError(errno.EADDRNOTAVAIL, f"{host} has no address")


def parse(url: object) -> Address:
    """The address that `url` names. Raises InvalidArgument."""
    from urllib.parse import unquote, urlsplit

    def refused(why: str, *, shown: bool = True) -> InvalidArgument:
        name = f"{url!r} " if shown else ""
        return InvalidArgument(
            f"url {name}{why}; a server's URL is http://host:port, https://host:port or unix:///path/to/socket"
        )

    if not isinstance(url, str):
        raise refused("must be a str")
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise refused("has characters that are not allowed in a URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused(f"is not a URL ({error})") from None
    if parts.username is not None or parts.password is not None:
        # The message shows no secret.
        raise refused("contains a user or password: pass the token as token=", shown=False)
    if parts.query or parts.fragment:
        raise refused("has a query or fragment")
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if parts.netloc or not path.startswith("/") or "\0" in path or path == "/":
            raise refused("has no absolute path")
        if (length := len(os.fsencode(path))) > _MAX_SOCKET_PATH_BYTES:
            raise refused(
                f"has a path of {length} bytes, and that of a Unix socket has at most {_MAX_SOCKET_PATH_BYTES}"
            )
        return Address(url, path, "", 0, tls=False)
    if parts.scheme not in _PORTS:
        raise refused("has none of the schemes http, https and unix")
    if not parts.hostname:
        raise refused("has no host")
    try:
        # As the system's look-up does it: a label of more than 63 characters is an error there.
        parts.hostname.encode("idna")
    except UnicodeError as error:
        raise refused(f"has a host that is no name ({error})") from None
    if parts.path not in ("", "/"):
        raise refused("has a path")
    if port == 0:
        raise refused("has port 0")
    return Address(url, None, parts.hostname, port or _PORTS[parts.scheme], tls=parts.scheme == "https")
