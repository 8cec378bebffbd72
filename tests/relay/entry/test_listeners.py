"""relay/entry/listeners.py: which sockets a configuration asks for, and how one set becomes another."""

import ipaddress
import socket

import pytest

from relay.config.addresses import Listen, Upstream
from relay.config.load import PortMap
from relay.entry.bridges import Bridge
from relay.entry.listen_address import BindError, look_up
from relay.entry.listeners import Listeners
from relay.net import tcp
from relay.net.poller import new_event_loop
from tests.relay.kit.loopback import HOST, unused_port

NEAR = Bridge("docker0", ipaddress.ip_interface("127.0.0.9/24"))  # an address every Linux host has
GONE = Bridge("docker0", ipaddress.ip_interface("203.0.113.7/24"))  # one that no host has (RFC 5737)


linux_only = pytest.mark.skipif(not tcp.LINUX, reason="127.0.0.2 and its kin are Linux' own")


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

    def change(self, *maps, bridges=(), follow=()):
        self.log.seen.clear()
        networks = tuple(ipaddress.ip_network(network) for network in follow)
        self.listeners.change(maps, bridges, networks, look_up(self.listeners.named(maps)))

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
