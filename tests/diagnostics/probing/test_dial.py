"""Connects over real sockets: every outcome, and nothing without a bound."""

import errno
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
def test_an_address_that_says_nothing_keeps_clients_from_the_next(port):
    with black_hole("127.0.0.2", port):
        dialled = dial.dial(("127.0.0.2", LOOPBACK, "127.0.0.3"), port, timeout=0.6)
    assert (dialled.outcome, dialled.sock) == (Outcome.TIMED_OUT, None)
    assert (dialled.address, dialled.answering) == ("127.0.0.2", LOOPBACK)
    assert dialled.detail == "127.0.0.2 did not answer in 0.6 s; 127.0.0.1 answered"
    assert dialled.seconds >= 0.6


@LINUX_ONLY
@pytest.mark.slow
def test_an_address_behind_a_silent_one_may_refuse():
    with black_hole("127.0.0.2") as port:
        dialled = dial.dial(("127.0.0.2", "127.0.0.3"), port, timeout=0.6)
    assert (dialled.outcome, dialled.address, dialled.answering) == (Outcome.TIMED_OUT, "127.0.0.2", "127.0.0.3")
    assert dialled.detail == "127.0.0.2 did not answer in 0.6 s; 127.0.0.3 refused"


def attempt(address, error=None, seconds=0.0):
    return dial._Attempt(address, 0.0, error=error, seconds=seconds)


NO_ROUTE, REFUSES = errno.EHOSTUNREACH, errno.ECONNREFUSED
# (what is known of the addresses in their order, the one a client ends at, what holds it up and what it misses by that)
ORDERS = (
    ("the first", [attempt("a", 0)], "a", None),
    ("reset at once is connected, too", [attempt("a", errno.ECONNRESET)], "a", None),
    ("after a refusal", [attempt("a", REFUSES), attempt("b", 0)], "b", None),
    ("after an address that nobody has", [attempt("a", NO_ROUTE, 3.1), attempt("b", 0)], "b", None),
    (
        "after two of these a client has given up",
        [attempt("a", NO_ROUTE, 3.06), attempt("b", NO_ROUTE, 3.1), attempt("c", 0)],
        None,
        ("b", "c"),
    ),
    ("held up by the first", [attempt("a"), attempt("b", 0)], None, ("a", "b")),
    ("held up by the second", [attempt("a", REFUSES), attempt("b"), attempt("c", 0)], None, ("b", "c")),
    ("missing a refusal", [attempt("a"), attempt("b", REFUSES)], None, ("a", "b")),
    (
        "missing a connection more than a refusal",
        [attempt("a"), attempt("b", REFUSES), attempt("c", 0)],
        None,
        ("a", "c"),
    ),
    ("a refusal that clients come to is not missed", [attempt("a", REFUSES), attempt("b")], None, ("b", None)),
    ("all are silent", [attempt("a"), attempt("b")], None, ("a", None)),
    ("nobody has the other", [attempt("a"), attempt("b", NO_ROUTE, 3.1)], None, ("a", None)),
    ("all refuse", [attempt("a", REFUSES), attempt("b", REFUSES)], None, (None, None)),
    ("none", [], None, (None, None)),
)


@pytest.mark.parametrize("attempts, winner, missed", [case[1:] for case in ORDERS], ids=[case[0] for case in ORDERS])
def test_the_addresses_are_judged_in_the_order_in_which_clients_dial_them(attempts, winner, missed):
    won = dial._winner(attempts)
    assert (won.address if won else None) == winner
    if won is None:
        assert tuple(one and one.address for one in dial._holding_up(attempts)) == missed


@LINUX_ONLY
@pytest.mark.slow  # until the kernel's second SYN, a second after the first
def test_an_address_that_is_slow_is_waited_for():

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
    assert (dialled.outcome, dialled.detail) == (Outcome.OK, "127.0.0.3 answered; 127.0.0.1 refused")


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
