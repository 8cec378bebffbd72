"""An abort on one side: the other one is told, as an abort, after everything that was already read is delivered."""

import contextlib
import signal
import socket

import pytest

from tests.relay.kit.blackbox import linux_only
from tests.relay.kit.scripted import KIB, MIB, Upstream, echo, noise, wait_until

BLOCK = noise(MIB)


def test_a_client_reset_ends_the_upstream_side_within_two_seconds(relay, upstream):
    client, gateway = relay.session(upstream)
    client.reset()
    assert gateway.ending(within=2) != "open"


def test_an_upstream_reset_ends_the_client_side_within_two_seconds(relay, upstream):
    client, gateway = relay.session(upstream)
    gateway.reset()
    assert client.ending(within=2) != "open"


@pytest.mark.parametrize("spoken", [False, True], ids=["before a byte", "after a round trip"])
def test_a_client_reset_is_passed_on_as_reset(relay, upstream, spoken):
    client, gateway = relay.session(upstream)
    if spoken:
        client.sendall(b"ping")
        gateway.sendall(gateway.read_exactly(4))
        client.read_exactly(4)
    client.reset()
    assert gateway.ending() == "rst"


@pytest.mark.parametrize("spoken", [False, True], ids=["before a byte", "after a round trip"])
def test_an_upstream_reset_is_passed_on_as_reset(relay, upstream, spoken):
    client, gateway = relay.session(upstream)
    if spoken:
        client.sendall(b"ping")
        gateway.sendall(gateway.read_exactly(4))
        client.read_exactly(4)
    gateway.reset()
    assert client.ending() == "rst"


def test_a_reset_after_a_half_close_is_passed_on_as_reset(relay, upstream):
    client, gateway = relay.session(upstream)
    client.half_close()
    assert gateway.read_to_end() == b""
    gateway.reset()
    assert client.ending() == "rst"


def test_a_clean_close_is_not_turned_into_a_reset(relay, upstream):
    client, gateway = relay.session(upstream)
    client.sendall(b"bye")
    client.close()
    assert gateway.read_to_end() == b"bye"
    client, gateway = relay.session(upstream)
    gateway.sendall(b"bye")
    gateway.close()
    assert client.read_to_end() == b"bye"


def test_bytes_delivered_before_an_upstream_reset_still_reach_a_client_that_reads_late(relay, upstream):
    client, gateway = relay.session(upstream)
    gateway.sendall(BLOCK[:100_000])
    wait_until(lambda: gateway.unsent() == 0, "the relay's kernel has all the bytes")
    gateway.reset()
    wait_until(lambda: relay.sockets() == 0, "the relay is done with the connection")
    assert client.read_exactly(100_000) == BLOCK[:100_000]
    assert client.ending() == "rst"


def test_bytes_that_do_not_fit_the_clients_window_are_delivered_before_the_reset_goes_on(relay, upstream):
    client = relay.connect(receive_buffer=4 * KIB)
    gateway = upstream.accept()
    gateway.sendall(BLOCK[:200_000])
    wait_until(lambda: gateway.unsent() == 0, "the relay's kernel has all the bytes")
    gateway.reset()
    assert client.read_exactly(200_000) == BLOCK[:200_000]
    assert client.ending() == "rst"


def test_bytes_delivered_before_a_client_reset_still_reach_an_upstream_that_reads_late(relay):
    with Upstream(relay.upstream_port, receive_buffer=4 * KIB) as upstream:
        client, gateway = relay.session(upstream)
        client.sendall(BLOCK[:200_000])
        wait_until(lambda: client.unsent() == 0, "the relay's kernel has all the bytes")
        client.reset()
        assert gateway.read_exactly(200_000) == BLOCK[:200_000]
        assert gateway.ending() == "rst"


def test_an_upstream_that_dies_with_unread_input_ends_the_client_within_two_seconds(relay, upstream):
    client, gateway = relay.session(upstream)
    client.sendall(b"never to be read")
    assert gateway.recv(100, socket.MSG_PEEK)
    gateway.close()  # the kernel sends RST instead of FIN, because bytes are thrown away
    assert client.ending(within=2) == "rst"


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_reset_in_mid_transfer_frees_the_relays_sockets_within_three_seconds(relay, upstream, who):
    client, gateway = relay.session(upstream)
    client.pour(BLOCK * 4)
    gateway.pour(BLOCK * 4)
    client.read_exactly(100_000)
    gateway.read_exactly(100_000)
    (client if who == "client" else gateway).reset()
    (gateway if who == "client" else client).ending(within=2)
    assert relay.is_idle(within=3)


@contextlib.contextmanager
def stopped(relay):
    """A stopped process accepts nobody: whatever its clients do in here is certain to come first."""
    relay.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        relay.signal(signal.SIGCONT)


def test_connections_that_are_reset_before_they_are_accepted_do_not_hurt_the_relay(relay, upstream):
    with stopped(relay):
        for _ in range(4):
            relay.connect().reset()
    upstream.serve(echo)
    client = relay.connect()
    client.sendall(b"still there?")
    assert client.read_exactly(12) == b"still there?"


@linux_only
def test_a_client_that_is_gone_before_it_is_accepted_costs_no_dial(relay, upstream):
    with stopped(relay):
        gone = [relay.connect() for _ in range(12)]
        for client in gone:
            client.reset()
    for client in gone:
        assert relay.end_of(client)["end.reason"] == "client_left_while_connecting"
    assert upstream.hears_nothing(0.1)
