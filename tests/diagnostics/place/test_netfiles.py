"""The files of the kernel and of /etc: what is in them comes out, and lines of another shape do no harm."""

import random
import sys

import pytest

from diagnostics.place import netfiles

ROUTE = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
little = pytest.mark.skipif(sys.byteorder != "little", reason="the hexadecimal is in the machine's byte order")

ROUTES = [
    ("nothing", "", []),
    ("only the head", ROUTE, []),
    ("a default route", ROUTE + "eth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0\n", [("eth0", 0, 0xAC110001, 0, 0)]),
    (
        "a network",
        ROUTE + "eth0 000011AC 00000000 0001 0 0 9 0000FFFF 0 0 0\n",
        [("eth0", 0xAC110000, 0, 0xFFFF0000, 9)],
    ),
    ("a refused one", ROUTE + "* 00000000 00000000 0200 0 0 0 00000000 0 0 0\n", []),
    ("too few fields", ROUTE + "eth0 00000000 010011AC\n", []),
    ("no hexadecimal", ROUTE + "eth0 0000000x 010011AC 0003 0 0 0 00000000 0 0 0\n", []),
    ("an address of five bytes", ROUTE + "eth0 0000000000 010011AC 0003 0 0 0 00000000 0 0 0\n", []),
]


@little
@pytest.mark.parametrize("text, expected", [row[1:] for row in ROUTES], ids=[row[0] for row in ROUTES])
def test_ipv4_routes(text, expected):
    assert netfiles.ipv4_routes(text) == expected


Z, HOP = "0" * 32, "fd000000000000000000000000000001"
DEFAULTS = [
    ("nothing", "", []),
    ("a default route", f"{Z} 00 {Z} 00 {HOP} 00000400 1 0 00000003 eth0\n", [("eth0", "fd00::1")]),
    ("a network", f"{HOP} 40 {Z} 00 {Z} 00000100 1 0 00000001 eth0\n", []),
    ("the refusal every machine has", f"{Z} 00 {Z} 00 {Z} ffffffff 1 0 00200200 lo\n", []),
    (
        "two of them, the better one later",
        f"{Z} 00 {Z} 00 {HOP} 00000400 1 0 3 wlan0\n{Z} 00 {Z} 00 {HOP} 00000100 1 0 3 eth0\n",
        [("eth0", "fd00::1"), ("wlan0", "fd00::1")],
    ),
    ("short", f"{Z} 00 {Z}\n", []),
]


@pytest.mark.parametrize("text, expected", [row[1:] for row in DEFAULTS], ids=[row[0] for row in DEFAULTS])
def test_default_ipv6(text, expected):
    assert netfiles.default_ipv6(text) == expected


def test_local_ipv4_takes_hosts_only_and_each_once():
    leaf = "     |-- {}\n        {}\n"
    text = "".join(
        leaf.format(*pair)
        for pair in (
            ("172.17.0.0", "/16 link UNICAST"),
            ("172.17.0.2", "/32 host LOCAL"),
            ("172.17.255.255", "/32 link BROADCAST"),
            ("127.0.0.0", "/8 host LOCAL"),
            ("172.17.0.2", "/32 host LOCAL"),
            ("999.9.9.9", "/32 host LOCAL"),
        )
    )
    assert netfiles.local_ipv4(text) == ["172.17.0.2"]


def test_local_ipv6_names_interface_and_address():
    text = f"{HOP} 02 40 00 80     eth0\nfe80 02 40 00 80 eth0\n{HOP} 02\n"
    assert netfiles.local_ipv6(text) == [("eth0", "fd00::1")]


SERVERS = [
    ("nameserver 1.1.1.1\nnameserver\t2606:4700::1111\n", ("1.1.1.1", "2606:4700::1111")),
    ("nameserver 1.1.1.1 # mine\nnameserver\nnameserver gate\n#nameserver 9.9.9.9\n", ("1.1.1.1",)),
    ("nameserver fe80::1%eth0\r\n", ("fe80::1%eth0",)),
    ("search local\noptions ndots:5\n", ()),
]


@pytest.mark.parametrize("text, expected", SERVERS)
def test_nameservers(text, expected):
    assert netfiles.nameservers(text) == expected


def test_host_lines_without_comments_and_without_lines_that_name_nothing():
    text = "127.0.0.1 localhost # me\n#1.1.1.1 a\n\n1.2.3.4\n::1\tlocalhost ip6-localhost\n"
    assert list(netfiles.host_lines(text)) == [("127.0.0.1", ["localhost"]), ("::1", ["localhost", "ip6-localhost"])]


REACHABLE = [
    ("10.0.0.1", True),
    ("fd00::1", True),
    ("127.0.0.1", False),
    ("::1", False),
    ("169.254.3.4", False),
    ("fe80::1", False),
    ("fe80::1%eth0", False),
    ("0.0.0.0", False),
    ("gate", False),
    ("", False),
    ("224.0.0.1", False),
]


@pytest.mark.parametrize("address, expected", REACHABLE)
def test_is_reachable(address, expected):
    assert netfiles.is_reachable(address) is expected


def test_no_text_makes_a_parser_raise():
    dice = random.Random(7)
    pieces = ["eth0", "00000000", "010011AC", Z, HOP, "\x00", "|--", "/32 host LOCAL"]
    pieces += ["1.2.3.4", " ", "\n", "\t", "é", "-1", "nameserver"]
    for _ in range(2000):
        text = " ".join(dice.choices(pieces, k=dice.randrange(40)))
        for parse in (netfiles.ipv4_routes, netfiles.default_ipv6, netfiles.local_ipv4, netfiles.local_ipv6):
            parse(text)
        netfiles.nameservers(text), list(netfiles.host_lines(text))
