"""One side does not read: the other is slowed down, memory stays bounded, nothing is lost, the other way flows on."""

import pytest

from tests.relay.kit.scripted import KIB, MIB, digest_of, noise

BLOCK = noise(256 * KIB)
MEMORY_BOUND = 32 * MIB  # growth of the relay, however much waits: two scratch buffers a connection is its design

pytestmark = pytest.mark.slow


def test_a_client_that_does_not_read_stalls_the_upstream_and_gets_every_byte_on_resume(relay, upstream):
    client, gateway = relay.session(upstream)
    before = relay.memory()
    size = gateway.send_until_stalled(BLOCK)
    assert relay.memory() - before < MEMORY_BOUND
    gateway.half_close()
    assert client.digest_to_end() == digest_of(BLOCK, size)


def test_an_upstream_that_does_not_read_stalls_the_client_and_gets_every_byte_on_resume(relay, upstream):
    client, gateway = relay.session(upstream)
    before = relay.memory()
    size = client.send_until_stalled(BLOCK)
    assert relay.memory() - before < MEMORY_BOUND
    client.half_close()
    assert gateway.digest_to_end() == digest_of(BLOCK, size)


def test_while_one_direction_is_stalled_the_other_still_flows(relay, upstream):
    client, gateway = relay.session(upstream)
    gateway.send_until_stalled(BLOCK)
    for number in range(20):
        client.sendall(noise(KIB, seed=number))
        assert gateway.read_exactly(KIB) == noise(KIB, seed=number)
    stream = client.pour(BLOCK * 8)
    assert gateway.read_to_end() == BLOCK * 8
    stream.join()


def test_a_client_that_resets_while_stalled_frees_the_relays_sockets_within_three_seconds(relay, upstream):
    client, gateway = relay.session(upstream)
    gateway.send_until_stalled(BLOCK)
    client.reset()
    gateway.ending(within=3)
    assert relay.is_idle(within=3)


def test_many_stalled_connections_stay_within_bounded_memory(relay, upstream):
    """Ten at once: what a connection may hold is a constant, not what its peers would like to send."""
    before = relay.memory()
    sessions = [relay.session(upstream) for _ in range(10)]
    for _, gateway in sessions:
        gateway.send_until_stalled(BLOCK, stall=0.1)
    assert relay.memory() - before < MEMORY_BOUND


@pytest.mark.parametrize("piece", [1, 7, 4096], ids="{}-byte reads".format)
def test_a_reader_that_takes_small_bites_gets_the_same_stream(relay, upstream, piece):
    client = relay.connect(receive_buffer=4 * KIB)
    gateway = upstream.accept()
    stream = noise(min(piece * 4000, MIB))
    gateway.pour(stream)
    taken = bytearray()
    while part := client.recv(piece):
        taken += part
    assert taken == stream
