"""relay/net/offsets.py: the kernel's positions, in every state a connection can be in."""

import socket
import time

import pytest

from relay.net import offsets
from tests.relay.kit.loopback import fill, reset, tcp_pair, waiting
from tests.relay.kit.scripted import wait_until

pytestmark = pytest.mark.skipif(not offsets.SUPPORTED, reason="only Linux counts like this")


@pytest.fixture
def pair():
    leg, far = tcp_pair()
    yield leg, far
    leg.close()
    far.close()


def until_unread(leg, count):
    wait_until(lambda: offsets.unread(leg) == count, f"{count} bytes are there")


def state(leg):
    return leg.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def test_taken_is_what_was_read_and_not_what_came(pair):
    leg, far = pair
    begin = offsets.taken(leg)
    far.send(b"x" * 1000)
    until_unread(leg, 1000)
    assert offsets.taken(leg) == begin
    leg.recv(300)
    assert (offsets.taken(leg) - begin, offsets.unread(leg)) == (300, 700)
    leg.recv(300, socket.MSG_PEEK)
    assert offsets.taken(leg) - begin == 300


def test_written_is_what_the_kernel_took_whether_it_was_sent_or_not(pair):
    leg, far = pair
    begin = offsets.written(leg)
    leg.send(b"x" * 1000)
    assert offsets.written(leg) - begin == 1000
    took = fill(leg)
    assert offsets.written(leg) - begin == 1000 + took
    far.recv(5000)
    assert offsets.written(leg) - begin == 1000 + took


FIN_WAIT2, CLOSED, CLOSE_WAIT = 5, 7, 8  # linux/tcp_states.h
FINS = [
    # who says FIN, and the state our end is in when that is there and acknowledged
    ("ours", [("leg", FIN_WAIT2)]),
    ("theirs", [("far", CLOSE_WAIT)]),
    ("ours, then theirs", [("leg", FIN_WAIT2), ("far", CLOSED)]),
    ("theirs, then ours", [("far", CLOSE_WAIT), ("leg", CLOSED)]),
]


@pytest.mark.parametrize("said", [fin[1] for fin in FINS], ids=[fin[0] for fin in FINS])
@pytest.mark.parametrize("read", [0, 3, 4])
def test_a_fin_is_no_byte(pair, said, read):
    leg, far = pair
    begin = offsets.taken(leg), offsets.written(leg)
    far.send(b"12345")
    leg.send(b"123")
    for side, reached in said:
        {"leg": leg, "far": far}[side].shutdown(socket.SHUT_WR)
        wait_until(lambda reached=reached: state(leg) == reached, f"{side}'s FIN is there and acknowledged")
    until_unread(leg, 5)
    if read:
        leg.recv(read)
    assert (offsets.taken(leg) - begin[0], offsets.unread(leg)) == (read, 5 - read)
    if not offsets.is_dead(leg):  # there it may be one too many, but there is nobody to write to either
        assert offsets.written(leg) - begin[1] == 3


def test_the_end_of_the_stream_read_is_no_byte_either(pair):
    leg, far = pair
    begin = offsets.taken(leg)
    far.send(b"12345")
    far.shutdown(socket.SHUT_WR)
    until_unread(leg, 5)
    assert leg.recv(100) == b"12345"
    wait_until(lambda: waiting(leg) == "fin", "the end")
    assert leg.recv(100) == b""
    assert offsets.taken(leg) - begin == 5


def test_a_reset_leaves_what_is_unread_and_the_counts(pair):
    leg, far = pair
    begin = offsets.taken(leg)
    far.send(b"12345")
    until_unread(leg, 5)
    assert not offsets.is_dead(leg)
    reset(far)
    wait_until(lambda: offsets.is_dead(leg), "the reset")
    assert (offsets.unread(leg), offsets.taken(leg) - begin) == (5, 0)
    assert leg.recv(2) == b"12"
    assert (offsets.unread(leg), offsets.taken(leg) - begin) == (3, 2)


def test_when_the_last_byte_came_is_the_kernels_knowledge(pair):
    leg, far = pair
    far.send(b"x")
    until_unread(leg, 1)
    time.sleep(0.05)  # what is asked for is how long ago it was
    now = time.monotonic()
    assert 0.03 < now - offsets.last_received(leg, now) < 5


def test_what_is_no_tcp_socket_has_no_position():
    one, other = socket.socketpair()
    with one, other, pytest.raises(OSError, match="Operation not supported"):
        offsets.taken(one)
    assert offsets.last_received(one, 1.0) is None
