"""Keys for web applications.

client = flint.keys.client_ip(trusted_proxies=["10.0.0.0/8"])
app = flint.asgi.RateLimitMiddleware(app, limiter, key_func=client, rate="100/minute")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Any, Literal, TypeAlias

from flint._errors import InvalidArgument, InvalidKey
from flint._forwarded import Address, address, hops_of_forwarded, hops_of_x_forwarded_for
from flint._native import validate_key

__all__ = ["client_ip"]

_Network: TypeAlias = IPv4Network | IPv6Network
_Header: TypeAlias = Literal["x-forwarded-for", "forwarded"]
_UNIX = "unix"
_HOPS: dict[_Header, Callable[[Iterable[str]], Iterator[Address | None]]] = {
    "x-forwarded-for": hops_of_x_forwarded_for,
    "forwarded": hops_of_forwarded,
}


def client_ip(
    trusted_proxies: Iterable[str] = (),
    *,
    ipv6_prefix: int = 64,
    default: str | None = None,
    header: _Header | None = None,
) -> Callable[[Mapping[str, Any]], str]:
    """Make a key function that gives the client's address.

    It takes an ASGI scope as well as a Starlette or FastAPI Request, and gives an IPv4 address ("192.0.2.7") or an IPv6
    network ("2001:db8:0:1::/64"). IPv4 addresses inside IPv6 are given as IPv4.

    The address is the one that the socket is connected to. If that is a trusted proxy, it is the first address, from
    the end of the header on, that is not a trusted proxy. Where the header is missing or cannot be read, it is the last
    proxy that was trusted: a client cannot choose its key.

    Args:
        trusted_proxies: addresses and networks ("10.0.0.0/8") whose headers are believed; "unix" stands for whoever
            connects over a unix socket.
        ipv6_prefix: bits of an IPv6 address that make the key, 1 to 128. One customer usually has a whole /64.
        default: the key of requests without a client address (a unix socket, a test client); without it they are an
            InvalidKey.
        header: the one that the proxies set. Without it both are read; where a request has both and they differ, the
            address is the proxy's, because only one of them can be the proxy's word.

    Raises:
        InvalidArgument: a network, prefix or header that is none.
        InvalidKey: a default that is no key.
    """
    if isinstance(trusted_proxies, str):
        raise InvalidArgument(f"trusted_proxies is a list of networks, not one text: [{trusted_proxies!r}]")
    proxies = list(trusted_proxies)
    networks = tuple(_network(each) for each in proxies if each != _UNIX)
    over_unix = _UNIX in proxies
    if type(ipv6_prefix) is not int or not 1 <= ipv6_prefix <= 128:
        raise InvalidArgument(f"ipv6_prefix is a number of bits from 1 to 128, not {ipv6_prefix!r}")
    if header is not None and header not in _HOPS:
        raise InvalidArgument(f"header is 'x-forwarded-for', 'forwarded' or None, not {header!r}")
    if default is not None:
        validate_key(default)
    return _ClientIp(networks, over_unix, tuple(_HOPS) if header is None else (header,), ipv6_prefix, default)


@dataclass(frozen=True, slots=True)
class _ClientIp:
    networks: tuple[_Network, ...]
    over_unix: bool
    headers: tuple[_Header, ...]
    ipv6_prefix: int
    default: str | None

    def __call__(self, connection: Mapping[str, Any]) -> str:
        peer = connection.get("client")
        # A server gives no client, or one without a name, for a unix socket.
        name = peer[0] if peer else None
        host = address(name) if name else None
        if self._trusts(host) if host is not None else self.over_unix and not name:
            host = self._furthest(connection, host)
        if host is not None:
            return _key(host, self.ipv6_prefix)
        if self.default is None:
            raise InvalidKey(
                f"the request has no client address (its client is {peer!r}), as over a unix socket or in a test "
                "client; client_ip(default=...) sets the key of such requests"
            )
        return self.default

    def _trusts(self, host: Address) -> bool:
        return any(host in network for network in self.networks)

    def _furthest(self, connection: Mapping[str, Any], peer: Address | None) -> Address | None:
        """The host furthest away that a chain of trusted proxies vouches for, beginning at `peer`."""
        found: set[Address | None] = set()
        for header in self.headers:
            lines = [
                value.decode("latin-1") for name, value in connection["headers"] if name.lower() == header.encode()
            ]
            if lines:
                found.add(self._walk(peer, _HOPS[header](lines)))
        return found.pop() if len(found) == 1 else peer

    def _walk(self, peer: Address | None, hops: Iterator[Address | None]) -> Address | None:
        last = peer
        for hop in hops:
            if hop is None:
                break
            last = hop
            if not self._trusts(hop):
                break
        return last


def _key(host: Address, ipv6_prefix: int) -> str:
    if isinstance(host, IPv4Address) or ipv6_prefix == 128:
        return str(host)
    return str(IPv6Network((int(host), ipv6_prefix), strict=False))


def _network(text: str) -> _Network:
    if not isinstance(text, str):
        raise InvalidArgument(f"trusted_proxies holds texts such as '10.0.0.0/8', not {text!r}")
    try:
        network = ip_network(text)
    except ValueError as error:
        raise InvalidArgument(f"trusted_proxies: {error}; accepted are '10.0.0.0/8', '192.0.2.1', 'unix'") from error
    # Addresses are compared as IPv4 where they can be.
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((int(mapped), network.prefixlen - 96))
    return network
