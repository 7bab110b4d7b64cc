"""`flint.keys.client_ip`: whose address makes the key, and that no client can choose it."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest
from tests.python.system.support import seed

import flint
from flint.keys import client_ip

PROXIES = ["10.0.0.0/8", "2001:db8:ffff::/48"]


def scope(client: Any, *headers: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "client": client,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }


def behind(proxy: str, *values: str, header: str = "x-forwarded-for", **options: Any) -> str:
    """The key of a request that comes from `proxy` with these lines of the header that is read."""
    key = client_ip(PROXIES, header=header, **options)
    return key(scope((proxy, 1234), *((header, value) for value in values)))


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("fe80::1:2%eth0", "fe80::/64"),
        # NAT64: the prefix of RFC 6052, and that of RFC 8215 as operators divide it.
        ("64:ff9b::192.0.2.7", "192.0.2.7"),
        ("64:ff9b::c000:207", "192.0.2.7"),
        ("64:ff9b:1::c000:207", "192.0.2.7"),
        ("64:ff9b:1:fffe::192.0.2.7", "192.0.2.7"),
        ("64:ff9b:1:fffe::192.0.2.0", "192.0.2.0"),
        ("64:ff9b:1:fffe::10.0.0.0", "10.0.0.0"),
        ("64:ff9b:1:c000:2:700::", "192.0.2.7"),
        ("64:ff9b:1:abc0:0:207::", "192.0.2.7"),
        ("64:ff9b:1:abcd:c0:2:700:0", "192.0.2.7"),
        ("64:ff9b:1:ffff:ffff:ffff:c000:207", "192.0.2.7"),
        ("64:ff9b:0:1::c000:207", "64:ff9b:0:1::/64"),
        ("64:ff9b:2::c000:207", "64:ff9b:2::/64"),
        ("64:ff9a::c000:207", "64:ff9a::/64"),
    ],
)
def test_the_socket_s_peer_is_the_client(host: str, key: str) -> None:
    assert client_ip()(scope((host, 1234))) == key
    assert client_ip()(scope([host, 1234])) == key


def test_hosts_of_one_nat64_prefix_have_different_keys() -> None:
    """Whichever length of RFC 6052 the operator chose: the IPv4 address, and the prefix of an address in that form."""
    random = seed()
    for length in (48, 56, 64, 96):
        prefix = (0x64_FF9B_0001 << 80) | random.getrandbits(80) >> (length - 48) << (length - 48)
        prefix = prefix >> (128 - length) << (128 - length) & ~(0xFF << 56)
        keys = set()
        for host in (random.randrange(1 << 24, 1 << 32) for _ in range(200)):
            if length == 96:
                number = prefix | host
            else:
                # Bits 64 to 71 are zero, and the address goes on behind them.
                joined = prefix >> 64 << 56 | host << (120 - length - 32)
                number = joined >> 56 << 64 | joined & (2**56 - 1)
            keys.add(client_ip()(scope((str(IPv6Address(number)), 1))))
        assert len(keys) > 190, (length, hex(prefix))
        assert not any(":" in key for key in keys)


@pytest.mark.parametrize(
    ("prefix", "key"),
    [(128, "2001:db8:1:2:3:4:5:6"), (56, "2001:db8:1::/56"), (48, "2001:db8:1::/48"), (1, "::/1")],
)
def test_the_prefix_of_an_ipv6_address(prefix: int, key: str) -> None:
    assert client_ip(ipv6_prefix=prefix)(scope(("2001:db8:1:2:3:4:5:6", 1))) == key
    assert client_ip(ipv6_prefix=prefix)(scope(("192.0.2.7", 1))) == "192.0.2.7"


def test_a_zone_names_no_other_client() -> None:
    assert client_ip(ipv6_prefix=128)(scope(("fe80::1%eth0", 1))) == "fe80::1"


@pytest.mark.parametrize("header", [("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")])
def test_no_other_header_is_trusted(header: tuple[str, str]) -> None:
    assert client_ip()(scope(("192.0.2.7", 1), header)) == "192.0.2.7"
    assert client_ip(PROXIES)(scope(("192.0.2.7", 1), header)) == "192.0.2.7"
    assert client_ip(PROXIES)(scope(("11.0.0.1", 1), header)) == "11.0.0.1"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6, 192.0.2.7, 10.1.1.1"], "192.0.2.7"),
        (["6.6.6.6, 192.0.2.7", "10.1.1.1", "10.2.2.2,10.3.3.3"], "192.0.2.7"),
        (["192.0.2.7,\t2001:db8:ffff::9"], "192.0.2.7"),
        (["192.0.2.7:4711"], "192.0.2.7"),
        (["[2001:db8::1]:4711"], "2001:db8::/64"),
        (["[2001:db8::1]"], "2001:db8::/64"),
        (["2001:db8::1"], "2001:db8::/64"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7, ::ffff:10.9.9.9"], "192.0.2.7"),
        (['"192.0.2.7"'], "192.0.2.7"),
        # Only proxies: the one furthest away.
        (["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        # What cannot be read ends the walk at the last proxy.
        ([""], "10.0.0.1"),
        (["unknown"], "10.0.0.1"),
        (["192.0.2.7, unknown, 10.2.2.2"], "10.2.2.2"),
        (["192.0.2.7, _hidden"], "10.0.0.1"),
        (["192.0.2.7,"], "10.0.0.1"),
        (["192.0.2.7", ""], "10.0.0.1"),
        (["192.0.2.7, , 10.2.2.2"], "10.2.2.2"),
        (['"192.0.2.7'], "10.0.0.1"),
        (["192.0.2.7.example"], "10.0.0.1"),
        (["192.0.2.999"], "10.0.0.1"),
        (["192.0.2.07"], "10.0.0.1"),
        (["192.0.2.7:80:80"], "10.0.0.1"),
        (["[192.0.2.7"], "10.0.0.1"),
        (["1" * 5000], "10.0.0.1"),
        (["²192.0.2.7"], "10.0.0.1"),
        (["192.0.2.7\x00"], "10.0.0.1"),
    ],
)
def test_x_forwarded_for_is_walked_from_the_right(values: list[str], key: str) -> None:
    assert behind("10.0.0.1", *values) == key
    assert behind("10.0.0.1", *values, header="X-FORWARDED-FOR") == key


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (["for=192.0.2.7"], "192.0.2.7"),
        (["For=192.0.2.7;proto=http;by=203.0.113.43"], "192.0.2.7"),
        (["proto=https;for=192.0.2.7"], "192.0.2.7"),
        (["for=6.6.6.6, for=192.0.2.7"], "192.0.2.7"),
        (["for=6.6.6.6", "for=192.0.2.7; by=10.2.2.2", 'for="10.2.2.2:80"'], "192.0.2.7"),
        (['for="[2001:db8::1]:4711"'], "2001:db8::/64"),
        (['FOR="[2001:db8::1]"'], "2001:db8::/64"),
        (['for="192.0.2.7:_port"'], "192.0.2.7"),
        (["for=192.0.2.7:47011"], "192.0.2.7"),
        (['for="::ffff:192.0.2.7"'], "192.0.2.7"),
        (["for=10.3.3.3, for=10.2.2.2"], "10.3.3.3"),
        ([""], "10.0.0.1"),
        (["for=unknown"], "10.0.0.1"),
        (['for="_gazonk"'], "10.0.0.1"),
        (["for=192.0.2.7, for=_hidden, for=10.2.2.2"], "10.2.2.2"),
        (["by=192.0.2.7"], "10.0.0.1"),
        (["for"], "10.0.0.1"),
        (["for="], "10.0.0.1"),
        (['for=""'], "10.0.0.1"),
        (["192.0.2.7"], "10.0.0.1"),
        (["for=192.0.2.7;for=6.6.6.6"], "10.0.0.1"),
        (["for =192.0.2.7"], "10.0.0.1"),
        (["for= 192.0.2.7"], "10.0.0.1"),
        (["for=192.0.2.7,"], "10.0.0.1"),
        (['for="192.0.2.7'], "10.0.0.1"),
        (['for=192.0.2.7"'], "10.0.0.1"),
        (['for=192.0.2.7;ext="a;b"'], "10.0.0.1"),
        (['for=192.0.2.7;host="evil;for=6.6.6.6"'], "10.0.0.1"),
        (['for="192.0.2\\.7"'], "10.0.0.1"),
        # A proxy that names no client, and lets the client choose a host.
        (['host="evil;for=6.6.6.6;x="'], "10.0.0.1"),
    ],
)
def test_forwarded_is_walked_from_the_right(values: list[str], key: str) -> None:
    assert behind("10.0.0.1", *values, header="Forwarded") == key


@pytest.mark.parametrize("header", ["X-Real-IP", "CF-Connecting-IP", "True-Client-IP"])
@pytest.mark.parametrize(
    ("values", "key"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        ([" 192.0.2.7\t"], "192.0.2.7"),
        (["2001:db8::1"], "2001:db8::/64"),
        (["[2001:db8::1]:80"], "2001:db8::/64"),
        # The address of a proxy, too: it is what the one that set the header was called from.
        (["10.3.3.3"], "10.3.3.3"),
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["unknown"], "10.0.0.1"),
        # A proxy that sets the header leaves one line with one address.
        (["6.6.6.6", "192.0.2.7"], "10.0.0.1"),
        (["6.6.6.6, 192.0.2.7"], "10.0.0.1"),
    ],
)
def test_a_header_that_a_proxy_sets_has_one_address(header: str, values: list[str], key: str) -> None:
    assert behind("10.0.0.1", *values, header=header) == key


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "6.6.6.6",
        "6.6.6.6, 10.0.0.9",
        "10.0.0.9",
        ",",
        '"',
        'for="',
        'for="6.6.6.6',
        "for=6.6.6.6;",
        'for=6.6.6.6;x="',
        "\\",
        "unknown",
        "[",
        "1, " * 3000,
    ],
)
@pytest.mark.parametrize("own_line", [True, False])
def test_whatever_a_client_sends_it_stays_itself(sent: str, own_line: bool) -> None:
    """Its proxy appends to the client's header, in its line or in one more."""
    for header, real in (("X-Forwarded-For", "192.0.2.7"), ("Forwarded", 'for="192.0.2.7:80"')):
        values = [sent, real] if own_line else [f"{sent}, {real}"]
        assert behind("10.0.0.1", *values, header=header) == "192.0.2.7"


def test_a_header_that_is_not_the_chosen_one_changes_nothing() -> None:
    """The client sends it: the proxies write the chosen one only."""
    names = ["X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP"]
    values = {name: "for=192.0.2.7" if name == "Forwarded" else "192.0.2.7" for name in names}
    forged = {name: value.replace("192.0.2.7", "6.6.6.6") for name, value in values.items()}
    for chosen in names:
        others = [(name, forged[name]) for name in names if name != chosen]
        default = [client_ip(PROXIES)] if chosen == names[0] else []
        for key in (client_ip(PROXIES, header=chosen), client_ip(PROXIES, header=chosen.lower()), *default):
            assert key(scope(("10.0.0.1", 1), (chosen, values[chosen]), *others)) == "192.0.2.7"
            assert key(scope(("10.0.0.1", 1), *others)) == "10.0.0.1"


def test_a_proxy_without_a_header_is_the_client() -> None:
    assert behind("10.0.0.1") == "10.0.0.1"
    assert behind("::ffff:10.0.0.1") == "10.0.0.1"
    assert behind("2001:db8:ffff::1") == "2001:db8:ffff::/64"


def test_a_single_address_and_a_mapped_network_are_networks_too() -> None:
    for proxies in (
        ["10.0.0.1"],
        ["::ffff:10.0.0.0/104"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::10.0.0.0/104"],
        ["64:ff9b:1:fffe::10.0.0.0/104"],
    ):
        assert client_ip(proxies)(scope(("10.0.0.1", 1), ("X-Forwarded-For", "192.0.2.7"))) == "192.0.2.7"
        assert client_ip(proxies)(scope(("11.0.0.1", 1), ("X-Forwarded-For", "192.0.2.7"))) == "11.0.0.1"


@pytest.mark.parametrize("client", [None, ("testclient", 50000), ("", 0), ["localhost", 1]])
def test_without_an_address_the_key_is_an_explicit_choice(client: Any) -> None:
    with pytest.raises(flint.InvalidKey, match=r"no client address.*client_ip\(default=\.\.\.\)"):
        client_ip()(scope(client))
    assert client_ip(default="local")(scope(client)) == "local"
    # No trusted proxy sent the header.
    request = scope(client, ("X-Forwarded-For", "6.6.6.6"))
    assert client_ip(["0.0.0.0/0", "::/0"], default="local")(request) == "local"
    assert client_ip(default="local")({"type": "http", "headers": []}) == "local"


def test_a_proxy_on_a_unix_socket_is_trusted_by_name() -> None:
    request = scope(None, ("X-Forwarded-For", "6.6.6.6, 192.0.2.7, 10.2.2.2"))
    assert client_ip(["unix", "10.0.0.0/8"])(request) == "192.0.2.7"
    assert client_ip(["unix"])(request) == "10.2.2.2"
    assert client_ip(["unix"])(scope(("", 0), ("X-Forwarded-For", "192.0.2.7"))) == "192.0.2.7"
    assert client_ip(["unix"], default="local")(scope(None)) == "local"
    assert client_ip(["unix"], default="local")(scope(None, ("X-Forwarded-For", "unknown"))) == "local"
    named = scope(("testclient", 1), ("X-Forwarded-For", "6.6.6.6"))
    assert client_ip(["unix"], default="local")(named) == "local"


def test_a_request_of_starlette_does_as_well() -> None:
    from starlette.requests import HTTPConnection, Request

    key = client_ip(PROXIES)
    request = {**scope(("10.0.0.1", 1), ("X-Forwarded-For", "192.0.2.7")), "method": "GET", "path": "/"}
    assert key(Request(request)) == key(HTTPConnection(request)) == "192.0.2.7"


@pytest.mark.parametrize("wrong", ["10.0.0.0/33", "10.0.0.1/8", "example.org", "", "10.0.0.0/8,11.0.0.0/8"])
def test_a_network_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(flint.InvalidArgument, match="trusted_proxies"):
        client_ip([wrong])


@pytest.mark.parametrize(
    "arguments",
    [
        {"trusted_proxies": "10.0.0.0/8"},
        {"trusted_proxies": [10]},
        {"ipv6_prefix": 0},
        {"ipv6_prefix": 129},
        {"ipv6_prefix": "64"},
        {"ipv6_prefix": True},
        {"header": "X-Client"},
        {"header": None},
        {"header": b"forwarded"},
    ],
)
def test_other_arguments_are_checked_when_the_function_is_made(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(flint.InvalidArgument, match=name):
        client_ip(**arguments)


def test_the_default_is_a_key() -> None:
    with pytest.raises(flint.InvalidKey):
        client_ip(default="")
    with pytest.raises(TypeError):
        client_ip(default=7)  # type: ignore[arg-type]
