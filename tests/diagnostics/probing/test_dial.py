"""Names, connects, the quiet moment and the goodbye, over real sockets: every outcome, and nothing without a bound."""

import errno
import socket
import struct
import threading
from time import monotonic, sleep

import pytest

from diagnostics.evidence import Outcome
from diagnostics.probing import dial
from diagnostics.probing.dial import Resolution
from tests.diagnostics.peers import LINUX_ONLY, LOOPBACK, black_hole, silent
from tests.relay.kit.loopback import reset, tcp_pair, unused_port, waiting
from tests.relay.kit.scripted import HAS_IPV6, wait_until

# Names.

LITERALS = (
    ("an IPv4 address", "192.0.2.1", ("192.0.2.1",)),
    ("an IPv6 address", "2001:db8::1", ("2001:db8::1",)),
    ("the short form inet_aton knows", "127.1", ("127.0.0.1",)),
)


@pytest.mark.parametrize("host, addresses", [case[1:] for case in LITERALS], ids=[case[0] for case in LITERALS])
def test_an_address_needs_no_resolver(host, addresses, monkeypatch):
    monkeypatch.setattr(dial, "look_up", None)
    assert dial.resolve(host, 4003) == Resolution(addresses, 0.0)


@LINUX_ONLY
def test_the_zone_of_an_address_is_kept():
    number = socket.if_nametoindex("lo")
    assert dial.resolve("fe80::1%lo", 4003).addresses == (f"fe80::1%{number}",)


def test_a_name_is_looked_up():
    assert "127.0.0.1" in dial.resolve("localhost", 4003).addresses


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "nul\0byte", ".", ""])
def test_what_cannot_be_a_name_is_unknown_or_nothing(host):
    resolution = dial.resolve(host, 4003)
    assert resolution.addresses == () or host == ""  # getaddrinfo takes "" for this host
    assert resolution.error is not None or host == ""


ERRORS = (
    ("an unknown name", socket.gaierror(socket.EAI_NONAME, "x"), "EAI_NONAME", "the name is not known"),
    ("no resolver", socket.gaierror(socket.EAI_AGAIN, "x"), "EAI_AGAIN", "no name server answered"),
    ("a name without addresses", socket.gaierror(socket.EAI_NODATA, "x"), "EAI_NODATA", "the name has no address"),
    ("a number nobody knows", socket.gaierror(-99, "strange"), "EAI -99", "strange"),
    ("an error of the system", OSError(errno.EMFILE, "too many files"), "EMFILE", "too many files"),
)


@pytest.mark.parametrize("raised, name, detail", [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_the_resolvers_errors_have_names(raised, name, detail, monkeypatch):
    def fail(*args, **more):
        raise raised

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    resolution = dial.resolve("gate.example", 4003)
    assert (resolution.addresses, resolution.error, resolution.detail) == ((), name, detail)


def test_a_resolver_that_hangs_is_left_to_its_thread(monkeypatch):
    release, known = threading.Event(), socket.getaddrinfo

    def hang(host, *args, **more):
        if more.get("flags"):
            return known(host, *args, **more)
        release.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "x")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = monotonic()
    resolution = dial.resolve("gate.example", 4003, timeout=0.05)
    release.set()
    assert monotonic() - started < 1.0
    assert (resolution.addresses, resolution.error) == ((), None)
    assert resolution.detail.startswith("the resolver did not answer in 0.")


def test_a_name_with_a_hundred_addresses_is_cut(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.0.{at}", 4003)) for at in range(100)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found * 2)
    assert dial.look_up("many.example", 4003).addresses == tuple(f"10.0.0.{at}" for at in range(dial.MAX_ADDRESSES))


# Connections.


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

    with socket.create_server(("127.0.0.3", 0), backlog=0) as slow:
        port = slow.getsockname()[1]
        with socket.create_connection(("127.0.0.3", port)):
            timer = threading.Timer(0.5, make_room)
            timer.start()
            dialled = dial.dial(("127.0.0.3", LOOPBACK), port)
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


CLASSES = (
    (errno.ECONNREFUSED, Outcome.REFUSED),
    (errno.ETIMEDOUT, Outcome.TIMED_OUT),
    (errno.EHOSTUNREACH, Outcome.UNREACHABLE),
    (errno.ENETUNREACH, Outcome.UNREACHABLE),
    (errno.EACCES, Outcome.UNREACHABLE),
    (errno.EPERM, Outcome.UNREACHABLE),
    (errno.ECONNRESET, Outcome.RESET),
    (errno.EPIPE, Outcome.RESET),
    (None, Outcome.UNREACHABLE),
)


@pytest.mark.parametrize("number, outcome", CLASSES)
def test_every_errno_has_a_class(number, outcome):
    assert dial.outcome_of(number) is outcome


def test_errors_are_called_by_name():
    assert [dial.error_name(number) for number in (errno.ECONNREFUSED, 9999, None)] == [
        "ECONNREFUSED",
        "errno 9999",
        "errno None",
    ]


# Listening.


@pytest.fixture
def pair():
    leg, far = tcp_pair()
    with leg, far:
        yield leg, far


def test_silence_is_ok(pair):
    heard = dial.listen(pair[0], 0.02)
    assert (heard.outcome, heard.data) == (Outcome.OK, b"")
    assert 0.02 <= heard.seconds < 0.2


def test_an_end_is_told_at_once(pair):
    pair[1].close()
    heard = dial.listen(pair[0], 5.0)
    assert (heard.outcome, heard.error) == (Outcome.CLOSED, None) and heard.seconds < 1.0


def test_a_reset_is_told_at_once(pair):
    reset(pair[1])
    heard = dial.listen(pair[0], 5.0)
    assert (heard.outcome, heard.error) == (Outcome.RESET, "ECONNRESET") and heard.seconds < 1.0


SPOKEN = (
    ("a banner", b"SSH-2.0-OpenSSH_9.2\r\n", False),
    ("a short word, then the end", b"go\n", True),
    ("binary bytes", b"\xff\xfe", False),
)


@pytest.mark.parametrize("said, ends", [case[1:] for case in SPOKEN], ids=[case[0] for case in SPOKEN])
def test_a_peer_that_speaks_first_is_no_gateway(pair, said, ends):
    pair[1].send(said)
    if ends:
        pair[1].close()
    heard = dial.listen(pair[0], 5.0)
    assert (heard.outcome, heard.data) == (Outcome.BAD_PEER, said) and heard.seconds < 1.0


def test_the_first_letters_are_waited_for(pair):
    def speak():
        for letter in b"SSH-2.0-":
            pair[1].send(bytes((letter,)))
            sleep(0.002)

    thread = threading.Thread(target=speak)
    thread.start()
    heard = dial.listen(pair[0], 5.0)
    thread.join()
    assert heard.outcome is Outcome.BAD_PEER and heard.data.startswith(b"SSH-")


def test_a_word_that_stays_short_is_waited_for_no_longer_than_the_window(pair):
    pair[1].send(b"S")
    heard = dial.listen(pair[0], 0.05)
    assert (heard.outcome, heard.data) == (Outcome.BAD_PEER, b"S") and heard.seconds < 0.5


# Leaving.


def test_the_goodbye_is_a_fin_even_with_bytes_unread(pair):
    pair[1].send(b"x" * 1000)
    read = []
    thread = threading.Thread(target=lambda: dial.leave(pair[0], read.append))
    thread.start()
    wait_until(lambda: waiting(pair[1]) != "nothing", "the goodbye")
    assert waiting(pair[1]) == "fin"
    pair[1].close()
    thread.join()
    assert b"".join(read) == b"x" * 1000 and pair[0].fileno() == -1


def test_a_peer_that_does_not_leave_is_not_waited_for_forever(pair):
    started = monotonic()
    dial.leave(pair[0], seconds=0.05)
    assert 0.05 <= monotonic() - started < 1.0 and pair[0].fileno() == -1


def test_a_peer_that_never_stops_talking_is_not_listened_to_forever(pair, monkeypatch):
    monkeypatch.setattr(dial, "MAX_DRAINED", 100_000)
    pair[1].settimeout(10)

    def flood():
        try:
            while True:
                pair[1].send(b"x" * 65536)
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    started = monotonic()
    dial.leave(pair[0])
    assert monotonic() - started < dial.GOODBYE
    thread.join(10)
    assert not thread.is_alive()


def test_leaving_a_connection_that_is_gone_is_quiet(pair):
    reset(pair[1])
    dial.leave(pair[0])
    pair[0].close()
    dial.say_goodbye(pair[0])


def test_a_goodbye_before_the_leaving_is_the_same_fin(pair):
    dial.say_goodbye(pair[0])
    pair[1].close()
    dial.leave(pair[0])
    assert pair[0].fileno() == -1


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
                assert dialled.reset or dial.listen(dialled.sock, 1.0).outcome is Outcome.RESET
