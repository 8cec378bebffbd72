"""Who may come in: networks, limits, and the one spelling of a peer."""

from ipaddress import ip_network

import pytest

from relay.config.addresses import Allow
from relay.entry.admission import (
    MEMO,
    AccessList,
    Admit,
    Limits,
    Refuse,
    Sources,
    access_list,
    decide,
)
from relay.logs.record import Reason

LAN = AccessList(map(ip_network, ["127.0.0.0/8", "::1/128", "172.17.0.0/16", "fd00:dead::/64"]))
NETWORKS = "127.0.0.0/8, 172.17.0.0/16, ::1/128, fd00:dead::/64"
STRANGER = f"is in none of the allowed networks ({NETWORKS})"

PEERS = [
    ("127.0.0.1", Admit("127.0.0.1")),
    ("127.8.9.10", Admit("127.8.9.10")),
    ("::1", Admit("::1")),
    ("172.17.255.255", Admit("172.17.255.255")),
    ("::ffff:172.17.0.2", Admit("172.17.0.2")),
    ("fd00:dead::42%docker0", Admit("fd00:dead::42")),
    ("172.18.0.1", Refuse(Reason.ACL_DENIED, f"172.18.0.1 {STRANGER}")),
    ("::ffff:172.18.0.1", Refuse(Reason.ACL_DENIED, f"172.18.0.1 {STRANGER}")),
    ("::172.17.0.2", Refuse(Reason.ACL_DENIED, f"::ac11:2 {STRANGER}")),
    ("fe80::1%eth0", Refuse(Reason.ACL_DENIED, f"fe80::1 {STRANGER}")),
    ("fd00:dead:0:1::1", Refuse(Reason.ACL_DENIED, f"fd00:dead:0:1::1 {STRANGER}")),
    ("", Refuse(Reason.ACL_DENIED, f" {STRANGER}")),
    ("localhost", Refuse(Reason.ACL_DENIED, f"localhost {STRANGER}")),
]


@pytest.mark.parametrize(("peer", "expected"), PEERS)
def test_a_peer_comes_in_by_its_network_the_first_time_and_from_memory(peer, expected):
    assert [decide(peer, LAN, Limits(), 0, {}) for _ in range(2)] == [expected, expected]


LIMITED = [
    # limits, total, of this source, expected
    (Limits(), 10**6, 10**6, Admit("127.0.0.1")),
    (Limits(total=5), 4, 4, Admit("127.0.0.1")),
    (Limits(total=5), 5, 0, Refuse(Reason.CONNECTION_LIMIT, "5 connections are open, max_connections = 5")),
    (Limits(total=5), 6, 0, Refuse(Reason.CONNECTION_LIMIT, "6 connections are open, max_connections = 5")),
    (Limits(per_source=2), 100, 1, Admit("127.0.0.1")),
    (
        Limits(per_source=2),
        2,
        2,
        Refuse(Reason.CONNECTION_LIMIT, "127.0.0.1 has 2 connections open, max_per_source = 2"),
    ),
    (Limits(5, 2), 5, 2, Refuse(Reason.CONNECTION_LIMIT, "5 connections are open, max_connections = 5")),
]


@pytest.mark.parametrize(("limits", "total", "of_source", "expected"), LIMITED)
@pytest.mark.parametrize("peer", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_the_limits_hold_for_the_relay_and_for_each_source(peer, limits, total, of_source, expected):
    assert decide(peer, LAN, limits, total, {"127.0.0.1": of_source, "172.17.0.2": 99}) == expected


def test_a_stranger_is_told_apart_from_a_full_house():
    assert decide("10.0.0.1", LAN, Limits(1, 1), 1, {"10.0.0.1": 1}).reason is Reason.ACL_DENIED


def test_a_program_of_this_machine_is_no_stranger_and_is_asked_about_once_and_by_its_one_spelling():
    asked = []
    own = lambda source: not asked.append(source)  # noqa: E731
    assert decide("::ffff:10.0.0.1", LAN, Limits(), 0, {}, own) == Admit("10.0.0.1")
    assert decide("127.0.0.1", LAN, Limits(), 0, {}, own) == Admit("127.0.0.1")
    assert asked == ["10.0.0.1"]
    assert decide("10.0.0.1", LAN, Limits(1), 1, {}, own).reason is Reason.CONNECTION_LIMIT


def test_sources_remember_nobody_who_has_left():
    sources = Sources()
    for source in ("a", "b", "a"):
        sources.opened(source)
    assert sources.counts == {"a": 2, "b": 1}
    for source in ("a", "b", "a"):
        sources.closed(source)
    assert sources.counts == {}
    with pytest.raises(KeyError):
        sources.closed("a")


def test_a_scan_from_many_addresses_does_not_make_the_memory_grow():
    access = AccessList([ip_network("127.0.0.0/8")])
    for number in range(3 * MEMO):
        assert access.look_up(f"2001:db8::{number:x}")[1] is False
    assert access.look_up("127.0.0.1") == ("127.0.0.1", True)
    assert len(access._memo) <= MEMO


BRIDGES = [ip_network("172.17.0.0/16"), ip_network("172.18.0.0/16"), ip_network("fd00::/64")]
ALLOWS = [
    (Allow(), [], "127.0.0.0/8, ::1/128"),
    (Allow(), BRIDGES, "127.0.0.0/8, 172.17.0.0/16, 172.18.0.0/16, ::1/128, fd00::/64"),
    (Allow(True, (ip_network("10.0.0.0/8"),)), BRIDGES[:1], "10.0.0.0/8, 127.0.0.0/8, 172.17.0.0/16, ::1/128"),
    (Allow(False, (ip_network("10.0.0.0/8"),)), BRIDGES, "10.0.0.0/8"),
    (Allow(False, (ip_network("10.0.0.0/9"), ip_network("10.128.0.0/9"))), [], "10.0.0.0/8"),
]


@pytest.mark.parametrize(("allow", "bridges", "networks"), ALLOWS)
def test_auto_means_loopback_and_the_bridges_and_a_written_list_means_itself(allow, bridges, networks):
    assert str(access_list(allow, iter(bridges))) == networks
