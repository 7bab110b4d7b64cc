"""The server of one client: where it is, and the connections to it."""

from __future__ import annotations

import ssl

from flint._client.address import Address
from flint._client.pool import Pool


class Endpoint:
    """What an exchange and its I/O need to know of the server."""

    __slots__ = ("address", "pool", "ssl_context")

    def __init__(self, address: Address, ssl_context: ssl.SSLContext | None) -> None:
        self.address = address
        # None where the URL is not https://.
        self.ssl_context = ssl_context
        self.pool = Pool()

    def forked(self) -> None:
        """In the child: the connections are the parent's, and one of its threads may hold the pool's lock."""
        pool, self.pool = self.pool, Pool()
        self.pool.closed = pool.closed
        pool.close_copies()
