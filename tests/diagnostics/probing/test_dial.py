"""Connects over real sockets: every outcome, and nothing without a bound."""

import socket
import struct
import threading

import pytest

from diagnostics.evidence import Outcome
from diagnostics.probing import dial
from diagnostics.probing.connection import listen
from tests.diagnostics.peers import LINUX_ONLY, LOOPBACK, black_hole, silent
from tests.relay.kit.loopback import unused_port
from tests.relay.kit.scripted import HAS_IPV6


@pytest.fixture
def port():
    with silent() as port:
        yield port


def test_a_connection_is_made(port):
    dialled = dial.dial((LOOPBACK,), port)
    with dialled.sock:
        assert dialled.sock.getpeername() == (LOOPBACK, port)
    assert (dialled.outcome, dialled.address, dialled.error, dialled.detail) == (Outcome.OK, LOOPBACK, None, "")


FAILURES = (
    ("nobody listens", (LOOPBACK,), Outcome.REFUSED, "ECONNREFUSED", "127.0.0.1 refused"),
    ("not an address", ("nowhere",), Outcome.UNREACHABLE, "EADDRNOTAVAIL", "nowhere: cannot assign requested address"),
    ("a broadcast address", ("255.255.255.255",), Outcome.UNREACHABLE, None, "255.255.255.255: "),
    ("the better failure is told", ("255.255.255.255", LOOPBACK), Outcome.REFUSED, "ECONNREFUSED", "255.255.255.255: "),
)


@pytest.mark.parametrize(
    "addresses, outcome, error, detail", [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES]
)
def test_a_connect_fails_at_once(addresses, outcome, error, detail):
    dialled = dial.dial(addresses, unused_port())
    assert (dialled.outcome, dialled.sock) == (outcome, None)
    assert dialled.error == error or error is None
    assert dialled.detail.startswith(detail)
    assert dialled.seconds < 0.1


@LINUX_ONLY
def test_a_connect_that_is_not_answered_times_out():
    with black_hole() as port:
        dialled = dial.dial((LOOPBACK,), port, timeout=0.1)
    assert (dialled.outcome, dialled.sock, dialled.error) == (Outcome.TIMED_OUT, None, None)
    assert dialled.detail == "127.0.0.1 did not answer in 0.1 s"
    assert 0.1 <= dialled.seconds < 1.0


def test_without_time_nothing_is_dialled(port):
    dialled = dial.dial((LOOPBACK,), port, timeout=0.0)
    assert (dialled.outcome, dialled.detail) == (Outcome.TIMED_OUT, "no time was left to dial")


def test_without_addresses_nothing_is_dialled(port):
    assert dial.dial((), port).outcome is Outcome.TIMED_OUT


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_the_address_after_a_refused_one_is_tried(port):
    dialled = dial.dial(("::1", LOOPBACK), port)
    with dialled.sock:
        assert (dialled.outcome, dialled.address) == (Outcome.OK, LOOPBACK)
    assert dialled.detail == "::1 refused; 127.0.0.1 answered"


@LINUX_ONLY
@pytest.mark.slow  # the second address has its turn after STAGGER
def test_an_address_that_says_nothing_does_not_use_up_the_time_of_the_next(port):
    with black_hole("127.0.0.2", port):
        dialled = dial.dial(("127.0.0.2", LOOPBACK), port)
    with dialled.sock:
        assert (dialled.outcome, dialled.address) == (Outcome.OK, LOOPBACK)
    assert dialled.detail.startswith("127.0.0.2 did not answer in 0.")


@LINUX_ONLY
@pytest.mark.slow  # until the kernel's second SYN, a second after the first
def test_an_address_that_was_slow_still_wins_when_the_next_ones_fail():

    def make_room():
        """For one more in the queue."""
        slow.accept()[0].close()

    place = ("127.0.0.3", unused_port())
    with socket.create_server(place, backlog=0) as slow, socket.create_connection(place):
        timer = threading.Timer(0.5, make_room)
        timer.start()
        dialled = dial.dial((place[0], LOOPBACK), place[1])
        timer.join()
    dialled.sock.close()
    assert (dialled.outcome, dialled.detail) == (Outcome.OK, "127.0.0.1 refused; 127.0.0.3 answered")


def test_no_socket_is_left_behind_by_an_error(port, monkeypatch):
    """-X dev -W error: an unclosed one fails the test."""
    monkeypatch.setattr(dial, "_advance", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dial.dial((LOOPBACK,), port)


def test_a_socket_connected_with_itself_is_recognised(port):
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        sock.connect(sock.getsockname())  # what TCP makes of a dial from the port it goes to
        assert dial._is_with_itself(sock)
    with socket.create_connection((LOOPBACK, port)) as other:
        assert not dial._is_with_itself(other)


def test_a_reset_that_comes_before_the_first_look_is_not_taken_for_an_end():
    """SO_ERROR tells of it once; a read after that says "end"."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        place = listener.getsockname()

        def throw_out():
            sock, _ = listener.accept()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

        for _ in range(20):
            thread = threading.Thread(target=throw_out)
            thread.start()
            dialled = dial.dial((LOOPBACK,), place[1])
            thread.join()
            with dialled.sock:
                assert dialled.outcome is Outcome.OK
                assert dialled.reset or listen(dialled.sock, 1.0).outcome is Outcome.RESET
