"""The proxies that a request came through, by X-Forwarded-For, Forwarded (RFC 7239), or a header with one address.

In the first two each proxy appends the address that it was called from: the end of the list was written by the nearest
proxy, and its beginning may have been sent by the client. Lists are therefore read from the end, element by element, so
that nothing that a client sent changes the elements behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

# RFC 7239, section 6: an address, in brackets if it is IPv6, and perhaps a port, which may be hidden (`_name`).
_NODE = re.compile(r"(?:\[([^\]]*)\]|([0-9.]+))(?::\w+)?", re.ASCII)

_LOW_32 = 2**32 - 1
# The prefixes of NAT64: the one that RFC 6052 reserves, /96, and the one of RFC 8215 for local use, /48.
_NAT64 = int(IPv6Address("64:ff9b::")) >> 32
_NAT64_LOCAL = int(IPv6Address("64:ff9b:1::")) >> 80


def address(text: str) -> Address | None:
    """The address in `text`, with or without a port; None for a hidden name, "unknown" or anything else."""
    for candidate in _candidates(text):
        try:
            return _normal(ip_address(candidate))
        except ValueError:
            continue
    return None


def hops_of_x_forwarded_for(lines: Iterable[str]) -> Iterator[Address | None]:
    """The addresses from the nearest on; None for an element that is none."""
    for element in _from_the_end(lines):
        yield address(_unquoted(element) or "")


def hops_of_forwarded(lines: Iterable[str]) -> Iterator[Address | None]:
    """The same, of the header Forwarded. A comma or semicolon in a quoted text makes its element unreadable."""
    for element in _from_the_end(lines):
        yield _forwarded_for(element)


def hops_of_one_address(lines: Iterable[str]) -> Iterator[Address | None]:
    """The address that a proxy sets in place of what the client sent; None for a list, or several lines."""
    values = list(lines)
    yield address(values[0].strip(" \t")) if len(values) == 1 else None


def ipv4_inside(parsed: IPv6Address) -> IPv4Address | None:
    """The IPv4 address of a host whose IPv6 address only carries it: mapped, or translated by NAT64."""
    number = int(parsed)
    if number >> 80 == _NAT64_LOCAL:
        return _translated(number)
    return IPv4Address(number & _LOW_32) if number >> 32 == _NAT64 else parsed.ipv4_mapped


def _translated(number: int) -> IPv4Address:
    """The IPv4 address inside one of the prefix for local use.

    It is the last 32 bits, unless the address has the form of RFC 6052, section 2.2, for a prefix of 48, 56 or 64 bits:
    the IPv4 address behind the prefix, without bits 64 to 71, and zeros up to the end.
    """
    if number >> 56 & 0xFF == 0:
        joined = number >> 64 << 56 | number & (2**56 - 1)
        for zeros in (40, 32, 24):
            inside = joined >> zeros & _LOW_32
            # No host has an address of 0.0.0.0/8.
            if joined & ((1 << zeros) - 1) == 0 and inside >> 24:
                return IPv4Address(inside)
    return IPv4Address(number & _LOW_32)


def _candidates(text: str) -> Iterator[str]:
    yield text
    if node := _NODE.fullmatch(text):
        yield node[1] or node[2] or ""


def _normal(parsed: Address) -> Address:
    """The same host has one address: IPv4 inside IPv6 is IPv4, and a zone names no other host."""
    if isinstance(parsed, IPv4Address):
        return parsed
    return ipv4_inside(parsed) or IPv6Address(int(parsed))


def _from_the_end(lines: Iterable[str]) -> Iterator[str]:
    """Several lines of a header are one list, in the order in which they came."""
    return reversed([element.strip(" \t") for element in ",".join(lines).split(",")])


def _unquoted(value: str) -> str | None:
    """The text of a token or quoted string; None where quotes do not match."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return None if '"' in value else value


def _forwarded_for(element: str) -> Address | None:
    """The address of the one `for` of an element; None if any part of the element is not well-formed."""
    found: list[str] = []
    for pair in element.split(";"):
        name, equals, value = pair.strip(" \t").partition("=")
        text = _unquoted(value)
        if not equals or text is None:
            return None
        if name.lower() == "for":
            found.append(text)
    return address(found[0]) if len(found) == 1 else None
