"""The upstream refuses, hangs, comes back, has a name or another address family: what the client sees, and how soon."""

import contextlib
import socket
import time

import pytest

from tests.relay.kit.blackbox import RelayProcess
from tests.relay.kit.scripted import HAS_IPV6, LOOPBACK, BlackHole, Upstream, wait_until

needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no ::1")


def test_with_the_upstream_refusing_the_client_is_ended_and_the_relay_lives_on(relay):
    assert relay.connect().ending(within=2) != "open"
    with Upstream(relay.upstream_port) as upstream:
        client, gateway = relay.session(upstream)
        client.sendall(b"hello")
        assert gateway.read_exactly(5) == b"hello"


def test_a_refused_dial_is_shown_to_the_client_as_reset(relay):
    assert relay.connect().ending() == "rst"


def test_a_refused_dial_is_shown_as_reset_also_to_a_client_that_has_spoken(relay):
    client = relay.connect()
    with contextlib.suppress(ConnectionError):  # a raw map may have reset it before it speaks
        client.sendall(b"API\0\0\0\0\x09v100..187")
        assert client.ending() == "rst"


def test_once_the_upstream_is_up_the_next_client_gets_through_at_once(relay):
    for _ in range(3):
        assert relay.connect().ending() == "rst"
    with Upstream(relay.upstream_port) as upstream:
        before = time.monotonic()
        client, gateway = relay.session(upstream)
        gateway.sendall(b"welcome")
        assert client.read_exactly(7) == b"welcome"
        assert time.monotonic() - before < 3.0


@pytest.mark.slow
def test_200_refused_clients_leave_nothing_behind_and_service_starts_with_the_upstream(relay):
    descriptors = relay.descriptors()
    for _ in range(200):
        assert relay.connect().ending() == "rst"
    assert relay.is_idle()
    wait_until(lambda: relay.descriptors() <= descriptors, "no descriptor is left behind")
    with Upstream(relay.upstream_port) as upstream:
        before = time.monotonic()
        client, gateway = relay.session(upstream)
        gateway.sendall(b"welcome")
        assert client.read_exactly(7) == b"welcome"
        assert time.monotonic() - before < 3.0


@pytest.mark.slow
def test_a_client_that_comes_before_the_upstream_listens_is_refused_and_not_held(relay):
    """Held, it would run into its own time-out (4 s in ib_async) and learn nothing; refused, it knows at once."""
    before = time.monotonic()
    assert relay.connect().ending() == "rst"
    assert time.monotonic() - before < 3.0


@pytest.mark.slow
def test_with_the_upstream_black_holed_the_client_is_ended_within_the_connect_bound():
    with BlackHole() as hole, RelayProcess(hole.port, connect_timeout=0.8) as relay:
        before = time.monotonic()
        client = relay.connect()
        assert client.ending(within=5) == "rst"
        assert 0.5 < time.monotonic() - before < 2.0
        assert relay.is_idle()
        assert relay.end_of(client)["end.reason"] == "connect_timeout"


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["raw", "ib"])
@pytest.mark.long
def test_clients_that_give_up_while_the_dial_hangs_are_forgotten_within_three_seconds(protocol):
    """After a reset at once; after a FIN, which may be a half-close, with a short grace."""
    with BlackHole() as hole, RelayProcess(hole.port, protocol=protocol, connect_timeout=20) as relay:
        clients = [relay.connect() for _ in range(10)]
        for client in clients:
            client.sendall(b"API\0\0\0\0\x09v100..187")
        wait_until(lambda: relay.sockets() == 20, "ten dials are under way")
        for client in clients[:5]:
            client.reset()
        wait_until(lambda: relay.sockets() == 10, "five dials are given up at once", within=1)
        for client in clients[5:]:
            client.close()
        assert relay.is_idle(within=3)
        assert {relay.end_of(client)["end.reason"] for client in clients} == {"client_left_while_connecting"}


@pytest.mark.slow
def test_while_dials_hang_the_relay_goes_on_and_serves_when_the_upstream_recovers():
    with BlackHole() as hole, RelayProcess(hole.port, connect_timeout=20) as relay:
        hanging = [relay.connect() for _ in range(10)]
        wait_until(lambda: relay.sockets() == 20, "ten dials are under way")
        hole.recover()
        before = time.monotonic()
        client = relay.connect()
        client.sendall(b"hello")
        assert client.read_exactly(5) == b"hello"
        assert time.monotonic() - before < 5
        assert all(one.stays_quiet(0) for one in hanging), "a dial that may still succeed was given up"


def test_upstream_localhost_works_where_only_ipv4_answers():
    with Upstream() as upstream, RelayProcess(f"localhost:{upstream.port}") as relay:
        client, gateway = relay.session(upstream)
        client.sendall(b"hello")
        assert gateway.read_exactly(5) == b"hello"


@needs_ipv6
def test_upstream_localhost_works_where_only_ipv6_answers():
    found = {address[0] for *_, address in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    if "::1" not in found:
        pytest.skip("localhost has no IPv6 address here")
    with Upstream(host="::1") as upstream, RelayProcess(f"localhost:{upstream.port}") as relay:
        client, gateway = relay.session(upstream)
        client.sendall(b"hello")
        assert gateway.read_exactly(5) == b"hello"


@needs_ipv6
def test_an_ipv6_upstream_works_from_an_ipv4_listener():
    with Upstream(host="::1") as upstream, RelayProcess(upstream.address) as relay:
        client, gateway = relay.session(upstream)
        client.sendall(b"hello")
        assert gateway.read_exactly(5) == b"hello"


@needs_ipv6
def test_an_ipv6_listener_works_to_an_ipv4_upstream():
    with Upstream() as upstream, RelayProcess(upstream.port, host="::1") as relay:
        client, gateway = relay.session(upstream)
        client.sendall(b"hello")
        assert gateway.read_exactly(5) == b"hello"


def test_the_upstream_sees_loopback_as_the_source_because_a_gateway_trusts_only_that(relay, upstream):
    _, gateway = relay.session(upstream)
    assert gateway.getpeername()[0] == LOOPBACK
