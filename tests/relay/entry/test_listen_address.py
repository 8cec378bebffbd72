"""relay/entry/listen_address.py: where a `listen` value leads, and a socket that is bound there."""

import errno
import ipaddress
import os
import socket
from pathlib import Path

import pytest

from relay.config.addresses import Listen
from relay.config.load import PortMap
from relay.entry.bridges import Bridge
from relay.entry.listen_address import BACKLOG, BindError, ListenAddress, bind, listen_addresses, look_up
from relay.entry.listeners import bind_or_explain
from relay.net import tcp
from tests.relay.kit.loopback import HOST, unused_port
from tests.relay.kit.scripted import HAS_IPV6

V4, V6 = socket.AF_INET, socket.AF_INET6
DOCKER0 = Bridge("docker0", ipaddress.ip_interface("172.17.0.1/16"))
DOCKER6 = Bridge("br-0123456789ab", ipaddress.ip_interface("fd00::1/64"))


needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this host has no IPv6 loopback")
linux_only = pytest.mark.skipif(not tcp.LINUX, reason="127.0.0.2 and its kin are Linux' own")


# Where


LOOPBACK4 = ListenAddress(V4, "127.0.0.1", 4003, "loopback")
LOOPBACK6 = ListenAddress(V6, "::1", 4003, "loopback", optional=True)
PLACES = [
    ("auto without bridges", "auto", (), [LOOPBACK4, LOOPBACK6]),
    (
        "auto with bridges",
        "auto",
        (DOCKER0, DOCKER6),
        [
            LOOPBACK4,
            LOOPBACK6,
            ListenAddress(V4, "172.17.0.1", 4003, "docker0", optional=True),
            ListenAddress(V6, "fd00::1", 4003, "br-0123456789ab", optional=True),
        ],
    ),
    ("localhost", "localhost", (DOCKER0,), [LOOPBACK4, LOOPBACK6]),
    ("an address", "127.0.0.1", (DOCKER0,), [ListenAddress(V4, "127.0.0.1", 4003, "listen")]),
    ("all of IPv4", "0.0.0.0", (DOCKER0,), [ListenAddress(V4, "0.0.0.0", 4003, "listen")]),
    ("all of IPv6", "::", (), [ListenAddress(V6, "::", 4003, "listen")]),
]


@pytest.mark.parametrize("host, bridges, expected", [one[1:] for one in PLACES], ids=[one[0] for one in PLACES])
def test_where_a_listen_value_leads(host, bridges, expected):
    assert listen_addresses(Listen(host, 4003), bridges, {}) == expected


def test_a_name_that_cannot_be_looked_up_is_an_error_that_names_it():
    nobody = Listen("no-such-host.invalid", 4003)
    with pytest.raises(
        BindError, match=r"^cannot listen on no-such-host.invalid:4003: the name cannot be looked up \(.+\)$"
    ):
        listen_addresses(nobody, (), look_up([nobody]))


def test_a_name_leads_where_it_was_looked_up_and_nowhere_without():
    near, far = Listen("0x7f000001", 4003), Listen("localhost.example", 4003)  # a name of 127.0.0.1 without DNS
    names = look_up([near, Listen("localhost", 4003), Listen("127.0.0.1", 4003), Listen("systemd:paper", 0)])
    assert list(names) == [near]
    assert listen_addresses(near, (), names) == [ListenAddress(V4, "127.0.0.1", 4003, "listen")]
    with pytest.raises(BindError, match="the name cannot be looked up"):
        listen_addresses(far, (), names)


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="asks Linux for its interfaces")
def test_a_link_local_address_keeps_its_interface():
    found = [line.split() for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines()]
    local = next((one for one in found if one[0].startswith("fe80")), None)
    if local is None:
        pytest.skip("no link-local address here")
    address = f"{ipaddress.IPv6Address(int(local[0], 16))}%{local[5]}"
    (place,) = listen_addresses(Listen(address, unused_port()), (), {})
    bind(place, tcp.KeepAlive()).close()


def test_a_place_is_written_as_one_types_it():
    assert [str(LOOPBACK4), str(LOOPBACK6)] == ["127.0.0.1:4003", "[::1]:4003"]


# Binding


def test_a_listening_socket_shares_its_port_with_nobody():
    place = ListenAddress(V4, HOST, unused_port(), "listen")
    with bind(place, tcp.KeepAlive()) as sock:
        assert sock.getsockname() == (HOST, place.port)
        assert (sock.getblocking(), sock.get_inheritable()) == (False, False)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
        if hasattr(socket, "SO_REUSEPORT"):
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
        with pytest.raises(OSError, match="in use"):
            bind(place, tcp.KeepAlive())


@needs_ipv6
def test_ipv6_takes_ipv6_only_so_that_both_families_fit_beside_each_other():
    port = unused_port()
    with (
        bind(ListenAddress(V6, "::", port, "listen"), tcp.KeepAlive()) as six,
        bind(ListenAddress(V4, "0.0.0.0", port, "listen"), tcp.KeepAlive()),
    ):
        assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


@linux_only
def test_a_burst_of_clients_fits_into_the_backlog():
    with bind(ListenAddress(V4, HOST, unused_port(), "listen"), tcp.KeepAlive()) as server:
        clients = [socket.socket() for _ in range(BACKLOG)]
        try:
            for client in clients:
                client.settimeout(0.5)  # a SYN that is dropped is sent again after a second
                client.connect(server.getsockname())
        finally:
            for client in clients:
                client.close()


def test_a_port_can_be_had_again_at_once_after_its_sessions_were_closed():
    port = unused_port()
    with (
        bind(ListenAddress(V4, HOST, port, "listen"), tcp.KeepAlive()) as server,
        socket.create_connection((HOST, port)) as client,
    ):
        server.setblocking(True)
        accepted, _ = server.accept()
        accepted.close()  # closed first: this end stays in TIME_WAIT
        assert client.recv(1) == b""
    bind(ListenAddress(V4, HOST, port, "listen"), tcp.KeepAlive()).close()


EXPLAINED = [
    ("taken", HOST, None, "the port is taken (another relay, socat or the gateway itself listens there)"),
    ("not ours", "203.0.113.7", 4003, "this host does not have that address"),
]


@pytest.mark.parametrize("host, port, reason", [one[1:] for one in EXPLAINED], ids=[one[0] for one in EXPLAINED])
def test_a_port_that_cannot_be_had_is_explained_in_one_line(host, port, reason):
    with socket.create_server((HOST, 0)) as taken:
        port = port or taken.getsockname()[1]
        with pytest.raises(BindError) as caught:
            bind_or_explain(ListenAddress(V4, host, port, "listen"), PortMap(name="paper"))
    assert str(caught.value) == f"map paper: cannot listen on {host}:{port}: {reason}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_a_privileged_port_is_explained():
    with pytest.raises(BindError, match="ports below 1024 need privileges"):
        bind_or_explain(ListenAddress(V4, HOST, 81, "listen"), PortMap())


def test_an_optional_place_may_be_missing_but_not_taken():
    assert bind_or_explain(ListenAddress(V4, "203.0.113.7", 4003, "docker0", optional=True), PortMap()) is None
    with socket.create_server((HOST, 0)) as taken, pytest.raises(BindError, match="is taken"):
        bind_or_explain(ListenAddress(V4, HOST, taken.getsockname()[1], "docker0", optional=True), PortMap())


def test_a_bind_that_fails_leaves_no_socket(recwarn):
    for _ in range(3):
        with pytest.raises(OSError, match="assign requested address") as caught:
            bind(ListenAddress(V4, "203.0.113.7", 4003, "listen"), tcp.KeepAlive())
        assert caught.value.errno == errno.EADDRNOTAVAIL


@needs_ipv6
@linux_only
def test_an_ipv6_address_of_a_bridge_is_listened_on_while_it_is_still_being_checked():
    """As one that is not there yet: bind(2) refuses both, unless it is told that the address will come."""
    port = unused_port()
    place = ListenAddress(V6, "2001:db8::7", port, "br-0123456789ab", optional=True)
    with bind(place, tcp.KeepAlive()) as sock:
        assert sock.getsockname()[:2] == ("2001:db8::7", port)
    with pytest.raises(OSError, match="Cannot assign"):
        bind(ListenAddress(V6, "2001:db8::7", port, "listen"), tcp.KeepAlive())
