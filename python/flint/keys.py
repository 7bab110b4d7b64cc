"""Keys for web applications.

client = flint.keys.client_ip(trusted_proxies=["10.0.0.0/8"])
app = flint.asgi.RateLimitMiddleware(app, limiter, key_func=client, rate="100/minute")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flint._errors import InvalidArgument
from flint._native import validate_key
from flint._web.client_address import HOPS, ClientIp, network_of

__all__ = ["client_ip"]

_UNIX = "unix"


def client_ip(
    trusted_proxies: Iterable[str] = (),
    *,
    ipv6_prefix: int = 64,
    default: str | None = None,
    header: str = "x-forwarded-for",
) -> Callable[[Mapping[str, Any]], str]:
    """Make a key function that returns the client's address.

    It takes an ASGI scope as well as a Starlette or FastAPI Request, and returns an IPv4 address ("192.0.2.7") or an
    IPv6 network ("2001:db8:0:1::/64"). An IPv4 address inside an IPv6 address, mapped or from NAT64 (64:ff9b::/96 and
    64:ff9b:1::/48), is returned as IPv4.

    The address is the one that the socket is connected to. If that is a trusted proxy, it is the first address, from
    the end of the header on, that is not a trusted proxy. Where the header is missing or cannot be read, it is the last
    proxy that was trusted: a client cannot choose its key. One header is read; all others are ignored.

    Layers of one application that would all count under the bare address have keys of their own: flint.fastapi's
    RateLimit puts "RateLimit " in front of it, and the second of two middlewares "#2 ". A function of your own that
    calls this one makes a key that they share.

    Args:
        trusted_proxies: addresses and networks ("10.0.0.0/8") whose headers are trusted; "unix" trusts
            every connection over a unix socket.
        ipv6_prefix: bits of an IPv6 address that make the key, 1 to 128. One customer usually has a whole /64.
        default: the key of requests without a client address (a unix socket, a test client); without it they are an
            InvalidKey.
        header: the header that the proxies set, in any case: "X-Forwarded-For" or "Forwarded", to which each proxy
            appends, or "X-Real-IP", "CF-Connecting-IP" or "True-Client-IP", which one of them overwrites. A client must
            not be able to send it past them.

    Raises:
        InvalidArgument: a network, prefix or header that is none.
        InvalidKey: a default that is no key.
    """
    if isinstance(trusted_proxies, Mapping) or hasattr(trusted_proxies, "scope"):
        raise InvalidArgument(
            "client_ip was called with a request as trusted_proxies: it makes the key function, so pass what it "
            "returns, key_func=client_ip() with parentheses"
        )
    if isinstance(trusted_proxies, str):
        raise InvalidArgument(f"trusted_proxies is a list of networks, not one text: [{trusted_proxies!r}]")
    if not isinstance(trusted_proxies, Iterable):
        raise InvalidArgument(
            f"trusted_proxies is a list of addresses and networks, such as ['10.0.0.0/8'], not {trusted_proxies!r}"
        )
    proxies = list(trusted_proxies)
    networks = tuple(network_of(each) for each in proxies if each != _UNIX)
    over_unix = _UNIX in proxies
    if type(ipv6_prefix) is not int or not 1 <= ipv6_prefix <= 128:
        raise InvalidArgument(f"ipv6_prefix is a number of bits from 1 to 128, such as 64, not {ipv6_prefix!r}")
    name = header.lower() if isinstance(header, str) else ""
    if name not in HOPS:
        *others, last = map(repr, HOPS)
        raise InvalidArgument(f"header must be {', '.join(others)} or {last}, as in header='forwarded', not {header!r}")
    if default is not None:
        validate_key(default)
    return ClientIp(networks, over_unix, name, ipv6_prefix, default)
