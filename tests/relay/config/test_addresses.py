"""Addresses as written: what is taken, what is refused with which hint, where two of them meet."""

import ipaddress

import pytest

from relay.config.addresses import (
    Allow,
    InvalidValue,
    Listen,
    Upstream,
    build_allow,
    host_port,
    overlap,
    reaches,
    read_allow,
    read_listen,
    read_upstream,
)

TAKEN = [
    # given, host, port, spelled
    ("auto:4003", "auto", 4003, "auto:4003"),
    ("127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1"),
    ("0.0.0.0:65535", "0.0.0.0", 65535, "0.0.0.0:65535"),
    ("localhost:4003", "localhost", 4003, "localhost:4003"),
    ("LocalHost:4003", "localhost", 4003, "localhost:4003"),
    ("ib_gateway.compose-net:4003", "ib_gateway.compose-net", 4003, "ib_gateway.compose-net:4003"),
    ("gateway.lan.:4003", "gateway.lan.", 4003, "gateway.lan.:4003"),
    ("[::1]:4003", "::1", 4003, "[::1]:4003"),
    ("[0:0:0:0:0:0:0:0]:4003", "::", 4003, "[::]:4003"),
    ("[FD00::A]:4003", "fd00::a", 4003, "[fd00::a]:4003"),
    ("[fe80::1%eth0]:4003", "fe80::1%eth0", 4003, "[fe80::1%eth0]:4003"),
    ("[::ffff:127.0.0.1]:4003", "127.0.0.1", 4003, "127.0.0.1:4003"),
    ("1.example:04003", "1.example", 4003, "1.example:4003"),
    ("systemd:paper", "systemd:paper", 0, "systemd:paper"),
    ("systemd:ib-relay.socket", "systemd:ib-relay.socket", 0, "systemd:ib-relay.socket"),
    ("launchd:Listener_1", "launchd:Listener_1", 0, "launchd:Listener_1"),
]

ALONE = "a port alone does not say which addresses"
REFUSED = [
    # given, hint
    ("4003", ALONE),
    (":4003", ALONE),
    (4003, ALONE),
    (True, ""),
    (None, ""),
    (["127.0.0.1:4003"], ""),
    ("", ""),
    ("127.0.0.1", ""),
    ("127.0.0.1:", ""),
    ("127.0.0.1:0", ""),
    ("127.0.0.1:65536", ""),
    ("127.0.0.1:-1", ""),
    ("127.0.0.1:٤٠٠٣", ""),
    ("127.0.0.1:4003 ", "blanks around it"),
    (" 127.0.0.1:4003", "blanks around it"),
    ("tcp://127.0.0.1:4003", "tcp:// before it"),
    ("*:4003", "for all interfaces write 0.0.0.0:PORT or [::]:PORT"),
    ("::1:4003", "an IPv6 address stands in brackets"),
    (":::4003", "an IPv6 address stands in brackets"),
    ("127.0.0.256:4003", "not an IP address"),
    ("127.1:4003", "not an IP address"),
    ("0177.0.0.1:4003", "not an IP address"),
    ("[::g]:4003", ""),
    ("[1::2::3]:4003", "not an IP address"),
    ("[127.0.0.1]:4003", "brackets are for IPv6"),
    ("[::1:4003", ""),
    ("my gateway:4003", ""),
    ("-dash:4003", ""),
    ("a..b:4003", ""),
    ("a" * 64 + ":4003", ""),
    ("a." * 127 + "ab:4003", ""),
    ("a" * 60_000 + "!:4003", ""),
]


@pytest.mark.parametrize(("given", "host", "port", "spelled"), TAKEN, ids=[row[0] for row in TAKEN])
def test_an_address_is_taken_in_one_canonical_spelling(given, host, port, spelled):
    assert (read_listen(given), str(read_listen(given))) == (Listen(host, port), spelled)
    assert read_listen(spelled) == Listen(host, port)


@pytest.mark.parametrize(("given", "hint"), REFUSED, ids=[repr(row[0])[:40] for row in REFUSED])
@pytest.mark.parametrize("read", [read_listen, read_upstream])
def test_what_is_not_an_address_is_refused_with_a_hint(read, given, hint):
    with pytest.raises(InvalidValue) as refused:
        read(given)
    assert (refused.value.seen, refused.value.hint) == (given, hint)


@pytest.mark.parametrize(
    "given", ["systemd:", "launchd:", "systemd:a b", "systemd:a:b", "systemd:ä", "systemd:" + "x" * 201]
)
def test_what_a_manager_hands_over_has_a_name(given):
    with pytest.raises(InvalidValue) as refused:
        read_listen(given)
    assert refused.value.hint == "a name of letters, digits and _.@- follows the colon"


def test_only_what_a_manager_hands_over_has_a_manager():
    given = ("auto:4003", "127.0.0.1:4003", "systemd:paper", "launchd:Listener")
    assert [read_listen(one).handed_over for one in given] == [
        None,
        None,
        ("systemd", "paper"),
        ("launchd", "Listener"),
    ]
    assert (Listen("127.0.0.1", 0).handed_over, str(Listen("127.0.0.1", 0))) == (None, "127.0.0.1:0")  # any free port


@pytest.mark.parametrize("given", ["auto:4002", "0.0.0.0:4002", "[::]:4002", "[::ffff:0.0.0.0]:4002"])
def test_what_only_a_listener_can_be_is_no_upstream(given):
    host = read_listen(given).host
    with pytest.raises(InvalidValue) as refused:
        read_upstream(given)
    assert refused.value.hint == f"{host} is for listen, it cannot be dialled"


def test_only_the_written_out_wildcards_are_wildcards():
    hosts = ("auto", "localhost", "0.0.0.0", "::", "127.0.0.1", "::1")
    assert [host for host in hosts if Listen(host, 1).wildcard] == ["0.0.0.0", "::"]
    assert [host for host in hosts if Listen(host, 1).auto] == ["auto"]


NETWORKS = [
    ("192.168.1.0/24", "192.168.1.0/24"),
    ("192.168.1.7", "192.168.1.7/32"),
    ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
    ("fd00::/8", "fd00::/8"),
    ("::1", "::1/128"),
    ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ("::ffff:10.0.0.1", "10.0.0.1/32"),
    ("::ffff:0:0/96", "0.0.0.0/0"),
    ("::/0", "::/0"),
]


@pytest.mark.parametrize(("given", "network"), NETWORKS)
def test_a_network_is_taken_with_mask_prefix_or_as_one_address(given, network):
    assert read_allow(given) == ipaddress.ip_network(network)


BAD_NETWORKS = [
    ("192.168.1.5/24", "host bits are set; 192.168.1.0/24 is the network"),
    ("fd00::1/8", "host bits are set; fd00::/8 is the network"),
    ("192.168.1.0/33", ""),
    ("192.168.1", ""),
    ("my-laptop", ""),
    ("AUTO", ""),
    ("", ""),
    (167772160, ""),
    (True, ""),
]


@pytest.mark.parametrize(("given", "hint"), BAD_NETWORKS)
def test_a_bad_network_is_refused_naming_the_one_that_was_meant(given, hint):
    with pytest.raises(InvalidValue) as refused:
        read_allow(given)
    assert (refused.value.seen, refused.value.hint) == (given, hint)


def test_auto_is_kept_apart_from_the_networks():
    lan = ipaddress.ip_network("192.168.1.0/24")
    entries = tuple(map(read_allow, ["192.168.1.0/24", "auto"]))
    assert build_allow(entries) == Allow(auto=True, networks=(lan,))
    assert (str(Allow(True, (lan,))), str(Allow(False, (lan,)))) == ("auto, 192.168.1.0/24", "192.168.1.0/24")


PAIRS = [
    # one, other, cannot both be bound
    ("127.0.0.1:4003", "127.0.0.1:4003", True),
    ("127.0.0.1:4003", "127.0.0.1:4004", False),
    ("127.0.0.1:4003", "127.0.0.2:4003", False),
    ("auto:4003", "127.0.0.1:4003", True),
    ("auto:4003", "[::1]:4003", True),
    ("auto:4003", "localhost:4003", True),
    ("auto:4003", "192.168.1.5:4003", False),
    ("auto:4003", "0.0.0.0:4003", True),
    ("auto:4003", "[::]:4003", True),
    ("0.0.0.0:4003", "192.168.1.5:4003", True),
    ("0.0.0.0:4003", "[fd00::1]:4003", False),
    ("[::]:4003", "[fd00::1]:4003", True),
    ("[::]:4003", "192.168.1.5:4003", False),
    ("0.0.0.0:4003", "[::]:4003", False),
    ("0.0.0.0:4003", "0.0.0.0:4003", True),
    ("some-name:4003", "0.0.0.0:4003", False),
    ("some-name:4003", "some-name:4003", True),
    ("systemd:a", "systemd:a", True),
    ("systemd:a", "systemd:b", False),
    ("systemd:a", "launchd:a", False),
    ("systemd:a", "[::]:4003", False),
]


@pytest.mark.parametrize(("one", "other", "expected"), PAIRS)
def test_overlap_says_which_two_cannot_both_be_bound(one, other, expected):
    one, other = read_listen(one), read_listen(other)
    assert (overlap(one, other), overlap(other, one)) == (expected, expected)


DIALS = [
    # upstream, listen, the dial ends at the listener
    ("127.0.0.1:4003", "auto:4003", True),
    ("127.0.0.1:4002", "auto:4003", False),
    ("[::1]:4003", "auto:4003", True),
    ("localhost:4003", "auto:4003", True),
    ("localhost:4003", "[::1]:4003", True),
    ("localhost:4003", "127.0.0.1:4003", True),
    ("127.0.0.1:4003", "localhost:4003", True),
    ("127.0.0.1:4003", "[::1]:4003", False),
    ("127.0.0.2:4003", "127.0.0.1:4003", False),
    ("127.0.0.2:4003", "0.0.0.0:4003", True),
    ("localhost:4003", "0.0.0.0:4003", True),
    ("127.0.0.1:4003", "[::]:4003", True),
    ("[::1]:4003", "0.0.0.0:4003", True),
    ("192.168.1.5:4003", "192.168.1.5:4003", True),
    ("192.168.1.5:4003", "0.0.0.0:4003", False),
    ("host.docker.internal:4003", "0.0.0.0:4003", False),
    ("gateway.lan:4003", "gateway.lan:4003", True),
    ("systemd:4003", "systemd:4003", False),
]


@pytest.mark.parametrize(("upstream", "listen", "expected"), DIALS)
def test_reaches_says_when_the_relay_would_dial_itself(upstream, listen, expected):
    assert reaches(read_upstream(upstream), read_listen(listen)) is expected


def test_an_upstream_is_spelled_as_it_is_written():
    assert [str(Upstream("::1", 1)), str(Upstream("gateway", 2))] == ["[::1]:1", "gateway:2"]


@pytest.mark.parametrize(
    "host, port, text",
    [("127.0.0.1", 4003, "127.0.0.1:4003"), ("::1", 4003, "[::1]:4003"), ("gw.example", 1, "gw.example:1")],
)
def test_host_and_port_in_one_spelling(host, port, text):
    assert host_port(host, port) == text
