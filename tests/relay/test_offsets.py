"""relay/offsets.py: the kernel's positions, in every state a connection can be in."""

import socket
import time

import pytest

from relay import offsets
from tests.relay.loopback import fill, reset, tcp_pair

pytestmark = pytest.mark.skipif(not offsets.SUPPORTED, reason="only Linux counts like this")


@pytest.fixture
def pair():
    leg, far = tcp_pair()
    yield leg, far
    leg.close()
    far.close()


def settle(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline


def test_taken_is_what_was_read_and_not_what_came(pair):
    leg, far = pair
    begin = offsets.taken(leg)
    far.send(b"x" * 1000)
    settle(lambda: offsets.unread(leg) == 1000)
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


FINS = [
    ("ours", lambda leg, far: leg.shutdown(socket.SHUT_WR)),
    ("theirs", lambda leg, far: far.shutdown(socket.SHUT_WR)),
    ("ours, then theirs", lambda leg, far: (leg.shutdown(socket.SHUT_WR), far.shutdown(socket.SHUT_WR))),
    ("theirs, then ours", lambda leg, far: (far.shutdown(socket.SHUT_WR), time.sleep(0.01), leg.shutdown(socket.SHUT_WR))),
]


@pytest.mark.parametrize("say", [fin[1] for fin in FINS], ids=[fin[0] for fin in FINS])
@pytest.mark.parametrize("read", [0, 3, 4])
def test_a_fin_is_no_byte(pair, say, read):
    leg, far = pair
    begin = offsets.taken(leg), offsets.written(leg)
    far.send(b"12345")
    leg.send(b"123")
    say(leg, far)
    settle(lambda: offsets.unread(leg) == 5)
    time.sleep(0.01)
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
    settle(lambda: offsets.unread(leg) == 5)
    assert leg.recv(100) == b"12345"
    settle(lambda: leg.recv(1, socket.MSG_PEEK) == b"")
    assert leg.recv(100) == b""
    assert offsets.taken(leg) - begin == 5


def test_a_reset_leaves_what_is_unread_and_the_counts(pair):
    leg, far = pair
    begin = offsets.taken(leg)
    far.send(b"12345")
    settle(lambda: offsets.unread(leg) == 5)
    assert not offsets.is_dead(leg)
    reset(far)
    settle(lambda: offsets.is_dead(leg))
    assert (offsets.unread(leg), offsets.taken(leg) - begin) == (5, 0)
    assert leg.recv(2) == b"12"
    assert (offsets.unread(leg), offsets.taken(leg) - begin) == (3, 2)


def test_when_the_last_byte_came_is_the_kernels_knowledge(pair):
    leg, far = pair
    far.send(b"x")
    settle(lambda: offsets.unread(leg) == 1)
    time.sleep(0.05)
    now = time.monotonic()
    assert 0.03 < now - offsets.last_received(leg, now) < 5


def test_what_is_no_tcp_socket_has_no_position():
    one, other = socket.socketpair()
    with one, other, pytest.raises(OSError):
        offsets.taken(one)
    assert offsets.last_received(one, 1.0) is None
