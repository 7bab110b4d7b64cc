"""The address of a request's client as a key, past the proxies that are trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Any, TypeAlias

from flint._errors import InvalidArgument, InvalidKey
from flint._web.forwarded import (
    Address,
    address,
    hops_of_forwarded,
    hops_of_one_address,
    hops_of_x_forwarded_for,
    ipv4_inside,
)

Network: TypeAlias = IPv4Network | IPv6Network

# The headers in which proxies report the client.
HOPS: dict[str, Callable[[Iterable[str]], Iterator[Address | None]]] = {
    "x-forwarded-for": hops_of_x_forwarded_for,
    "forwarded": hops_of_forwarded,
    "x-real-ip": hops_of_one_address,
    "cf-connecting-ip": hops_of_one_address,
    "true-client-ip": hops_of_one_address,
}


@dataclass(frozen=True, slots=True)
class ClientIp:
    networks: tuple[Network, ...]
    over_unix: bool
    header: str
    ipv6_prefix: int
    default: str | None

    def __call__(self, connection: Mapping[str, Any]) -> str:
        peer = connection.get("client")
        # Over a unix socket a server passes no client, or one without a name.
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
        """The client as the trusted proxies report it: the first host, from `peer` on, that is not one of them."""
        name = self.header.encode()
        lines = [value.decode("latin-1") for header, value in connection["headers"] if header.lower() == name]
        return self._walk(peer, HOPS[self.header](lines)) if lines else peer

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


def network_of(text: str) -> Network:
    if not isinstance(text, str):
        raise InvalidArgument(f"trusted_proxies contains texts such as '10.0.0.0/8', not {text!r}")
    try:
        network = ip_network(text)
    except ValueError as error:
        raise InvalidArgument(f"trusted_proxies: {error}; accepted are '10.0.0.0/8', '192.0.2.1', 'unix'") from error
    # Addresses are compared as IPv4 where they can be.
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and ipv4_inside(network.network_address):
        return IPv4Network((int(network.network_address) & (2**32 - 1), network.prefixlen - 96))
    return network
