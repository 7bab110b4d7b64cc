"""Keys for web applications.

client = flint.keys.client_ip(trusted_proxies=["10.0.0.0/8"])
app = flint.asgi.RateLimitMiddleware(app, limiter, key_func=client, rate="100/minute")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flint._errors import InvalidArgument
from flint._native import validate_key
from flint._web.client_address import HOPS, ClientIp, HeaderName, network_of

__all__ = ["client_ip"]

_UNIX = "unix"


def client_ip(
    trusted_proxies: Iterable[str] = (),
    *,
    ipv6_prefix: int = 64,
    default: str | None = None,
    header: HeaderName | None = None,
) -> Callable[[Mapping[str, Any]], str]:
    """Make a key function that returns the client's address.

    It takes an ASGI scope as well as a Starlette or FastAPI Request, and returns an IPv4 address ("192.0.2.7") or an
    IPv6 network ("2001:db8:0:1::/64"). IPv4 addresses inside IPv6 are returned as IPv4.

    The address is the one that the socket is connected to. If that is a trusted proxy, it is the first address, from
    the end of the header on, that is not a trusted proxy. Where the header is missing or cannot be read, it is the last
    proxy that was trusted: a client cannot choose its key.

    Args:
        trusted_proxies: addresses and networks ("10.0.0.0/8") whose headers are trusted; "unix" trusts
            every connection over a unix socket.
        ipv6_prefix: bits of an IPv6 address that make the key, 1 to 128. One customer usually has a whole /64.
        default: the key of requests without a client address (a unix socket, a test client); without it they are an
            InvalidKey.
        header: the one that the proxies set. Without it both are read; where a request has both and they differ, the
            address is the proxy's, because only one of them can come from the proxy.

    Raises:
        InvalidArgument: a network, prefix or header that is none.
        InvalidKey: a default that is no key.
    """
    if isinstance(trusted_proxies, str):
        raise InvalidArgument(f"trusted_proxies is a list of networks, not one text: [{trusted_proxies!r}]")
    proxies = list(trusted_proxies)
    networks = tuple(network_of(each) for each in proxies if each != _UNIX)
    over_unix = _UNIX in proxies
    if type(ipv6_prefix) is not int or not 1 <= ipv6_prefix <= 128:
        raise InvalidArgument(f"ipv6_prefix is a number of bits from 1 to 128, such as 64, not {ipv6_prefix!r}")
    if header is not None and header not in HOPS:
        raise InvalidArgument(f"header is 'x-forwarded-for', 'forwarded' or None, not {header!r}")
    if default is not None:
        validate_key(default)
    return ClientIp(networks, over_unix, tuple(HOPS) if header is None else (header,), ipv6_prefix, default)
