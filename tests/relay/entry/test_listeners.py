"""relay/entry/listeners.py: which sockets a configuration asks for, and how one set becomes another."""

import errno
import ipaddress
import os
import socket
from pathlib import Path

import pytest

from relay.config.addresses import Listen, Upstream
from relay.config.load import PortMap
from relay.entry.bridges import Bridge
from relay.entry.listeners import BACKLOG, BindError, ListenAddress, Listeners, bind, bind_or_explain, listen_addresses
from relay.net import tcp
from relay.net.poller import new_event_loop
from tests.relay.kit.loopback import HOST, unused_port

V4, V6 = socket.AF_INET, socket.AF_INET6
DOCKER0 = Bridge("docker0", ipaddress.ip_interface("172.17.0.1/16"))
DOCKER6 = Bridge("br-0123456789ab", ipaddress.ip_interface("fd00::1/64"))
NEAR = Bridge("docker0", ipaddress.ip_interface("127.0.0.9/24"))  # an address every Linux host has
GONE = Bridge("docker0", ipaddress.ip_interface("203.0.113.7/24"))  # one that no host has (RFC 5737)


def has_ipv6():
    try:
        with socket.socket(V6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6 loopback")
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
    assert listen_addresses(Listen(host, 4003), bridges) == expected


def test_a_name_that_cannot_be_looked_up_is_an_error_that_names_it():
    with pytest.raises(
        BindError, match=r"^cannot listen on no-such-host.invalid:4003: the name cannot be looked up \(.+\)$"
    ):
        listen_addresses(Listen("no-such-host.invalid", 4003), ())


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="asks Linux for its interfaces")
def test_a_link_local_address_keeps_its_interface():
    found = [line.split() for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines()]
    local = next((one for one in found if one[0].startswith("fe80")), None)
    if local is None:
        pytest.skip("no link-local address here")
    address = f"{ipaddress.IPv6Address(int(local[0], 16))}%{local[5]}"
    (place,) = listen_addresses(Listen(address, unused_port()), ())
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


# The set


class Events:
    """A log that keeps (name, severity, message)."""

    def __init__(self):
        self.seen = []

    def event(self, name, message, severity="INFO", **fields):
        self.seen.append((name, severity, message))

    def names(self):
        return [name for name, _, _ in self.seen]


class Host:
    """A real poller, and the listeners whose clients are counted by port as they come."""

    def __init__(self):
        self.loop = new_event_loop()
        self.poller, self.log, self.accepted = self.loop.poller, Events(), []
        self.listeners = Listeners(self.poller, self.log, self.accept)

    def accept(self, listener):
        sock, _ = listener.sock.accept()
        self.accepted.append((listener.place.host, listener.place.port, listener.map.name))
        sock.close()
        return True

    def change(self, *maps, bridges=()):
        self.log.seen.clear()
        self.listeners.change(maps, bridges)

    def bound(self):
        return sorted(host for host, _ in self.listeners.bound())

    def connect(self, host, port):
        """Whom a client that connects meets, or None."""
        self.accepted.clear()
        try:
            with socket.create_connection((host, port), 1):
                for _ in range(20):
                    self.poller.select(0.01)
                    if self.accepted:
                        return self.accepted[0]
        except ConnectionError:
            pass
        return None

    def close(self):
        self.listeners.close()
        self.loop.close()


@pytest.fixture
def host():
    host = Host()
    yield host
    host.close()


def port_map(*listen, name="paper", port=4002, **settings):
    return PortMap(name=name, listen=tuple(Listen(*one) for one in listen), upstream=Upstream(HOST, port), **settings)


def test_every_socket_of_every_map_is_opened_said_and_accepts(host):
    one, other = unused_port(), unused_port()
    host.change(port_map((HOST, one)), port_map((HOST, other), name="live", port=4001))
    assert host.log.seen == [
        ("listening", "INFO", f"paper: 127.0.0.1:{one} -> 127.0.0.1:4002, ib"),
        ("listening", "INFO", f"live: 127.0.0.1:{other} -> 127.0.0.1:4001, ib"),
    ]
    assert host.connect(HOST, one) == (HOST, one, "paper")
    assert host.connect(HOST, other) == (HOST, other, "live")


def test_what_stays_is_kept_and_serves_the_new_map(host):
    port = unused_port()
    host.change(port_map((HOST, port)))
    before = [listener.sock for listener in host.listeners._listeners.values()]
    host.change(port_map((HOST, port), name="live", keepalive_idle=99))
    assert [listener.sock for listener in host.listeners._listeners.values()] == before
    assert host.log.seen == []
    assert host.connect(HOST, port) == (HOST, port, "live")
    if tcp.LINUX:
        assert before[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 99


def test_what_is_gone_is_closed_and_said(host):
    one, other = unused_port(), unused_port()
    host.change(port_map((HOST, one), (HOST, other)))
    host.change(port_map((HOST, other)))
    assert host.log.seen == [("listener.closed", "INFO", f"paper: 127.0.0.1:{one}")]
    assert host.connect(HOST, one) is None
    assert host.connect(HOST, other)


def test_a_client_in_the_queue_of_a_listener_that_stays_is_not_lost(host):
    port = unused_port()
    host.change(port_map((HOST, port)))
    with socket.create_connection((HOST, port)):
        host.change(port_map((HOST, port), (HOST, unused_port())))
        host.poller.select(0.5)
    assert host.accepted == [(HOST, port, "paper")]


def test_when_one_port_is_taken_everything_stays_as_it_was(host):
    port, more = unused_port(), unused_port()
    host.change(port_map((HOST, port)))
    with socket.create_server((HOST, 0)) as taken, pytest.raises(BindError, match="is taken"):
        host.change(port_map((HOST, more), taken.getsockname(), name="live"))
    assert host.log.seen == []
    assert host.listeners.bound() == [(HOST, port)]
    assert host.connect(HOST, port) == (HOST, port, "paper")
    assert host.connect(HOST, more) is None


def test_a_name_that_cannot_be_looked_up_leaves_everything_as_it_was(host):
    port = unused_port()
    host.change(port_map((HOST, port)))
    with pytest.raises(BindError, match="looked up"):
        host.change(port_map(("no-such-host.invalid", port)))
    assert host.connect(HOST, port) == (HOST, port, "paper")


@pytest.mark.parametrize(
    "first, second", [(HOST, "0.0.0.0"), ("0.0.0.0", HOST), ("auto", "0.0.0.0"), ("localhost", "0.0.0.0")]
)
def test_a_listener_can_become_wider_and_narrower(host, first, second):
    port = unused_port()
    host.change(port_map((first, port)))
    host.change(port_map((second, port)))
    assert host.connect(HOST, port)
    assert (second == "0.0.0.0") == ("0.0.0.0" in host.bound())
    host.change(port_map((first, port)))
    assert host.connect(HOST, port)


def test_a_listener_that_cannot_become_wider_is_there_again(host):
    port = unused_port()
    host.change(port_map((HOST, port)))
    with socket.create_server((HOST, 0)) as taken, pytest.raises(BindError, match="is taken"):
        host.change(port_map(("0.0.0.0", port), taken.getsockname()))
    assert host.listeners.bound() == [(HOST, port)]
    assert host.connect(HOST, port) == (HOST, port, "paper")


@linux_only
def test_a_listener_whose_wider_place_is_covered_by_somebody_else_is_there_again(host):
    port = unused_port()
    host.change(port_map((HOST, port)))
    with socket.create_server(("127.0.0.2", port)), pytest.raises(BindError, match="is taken"):
        host.change(port_map(("0.0.0.0", port)))
    assert host.listeners.bound() == [(HOST, port)]


@linux_only
def test_the_bridges_of_this_host_come_and_go(host):
    port = unused_port()
    host.change(port_map(("auto", port)))
    assert "127.0.0.9" not in host.bound()
    host.change(port_map(("auto", port)), bridges=(NEAR,))
    assert host.log.seen == [("listening", "INFO", f"paper: 127.0.0.9:{port} (docker0) -> 127.0.0.1:4002, ib")]
    assert host.connect("127.0.0.9", port) == ("127.0.0.9", port, "paper")
    host.change(port_map(("auto", port)))
    assert host.log.names() == ["listener.closed"]
    assert host.connect("127.0.0.9", port) is None
    assert host.connect(HOST, port)


def test_a_bridge_whose_address_is_not_there_yet_is_remembered_as_missing(host):
    port = unused_port()
    host.change(port_map(("auto", port)), bridges=(GONE,))
    assert host.listeners.bridge_missing
    assert host.connect(HOST, port)
    host.change(port_map(("auto", port)))
    assert not host.listeners.bridge_missing


def test_a_host_without_ipv6_is_no_missing_bridge(host):
    host.change(port_map(("auto", unused_port())))
    assert not host.listeners.bridge_missing


def test_while_paused_clients_wait_and_then_come_in(host):
    port = unused_port()
    host.change(port_map((HOST, port)))
    host.listeners.pause()
    host.listeners.pause()
    assert host.connect(HOST, port) is None
    host.listeners.resume()
    host.listeners.resume()
    host.accepted.clear()
    host.poller.select(0.5)
    assert host.accepted == [(HOST, port, "paper")]  # the one that came meanwhile


def test_a_listener_that_is_added_while_paused_is_paused_too(host):
    one, other = unused_port(), unused_port()
    host.change(port_map((HOST, one)))
    host.listeners.pause()
    host.change(port_map((HOST, one), (HOST, other)))
    assert host.connect(HOST, other) is None
    host.listeners.resume()
    assert host.connect(HOST, other)


def test_a_closed_set_refuses_everybody_and_can_be_closed_paused_and_resumed_again(host):
    port = unused_port()
    host.change(port_map((HOST, port)))
    host.listeners.close()
    assert host.connect(HOST, port) is None
    host.listeners.pause()
    host.listeners.resume()
    host.listeners.close()
    assert host.listeners.bound() == []


def test_the_set_knows_its_descriptors(host):
    host.change(port_map((HOST, unused_port())))
    (listener,) = host.listeners._listeners.values()
    fd = listener.sock.fileno()
    assert fd in host.listeners
    host.listeners.close()
    assert fd not in host.listeners
    assert -1 not in host.listeners
