"""The quiet moment and the goodbye over real sockets: every outcome, and nothing without a bound."""

import threading
from time import monotonic, sleep

import pytest

from diagnostics.evidence import Outcome
from diagnostics.probing import connection
from tests.relay.kit.loopback import reset, tcp_pair, waiting
from tests.relay.kit.scripted import wait_until

# Listening.


@pytest.fixture
def pair():
    leg, far = tcp_pair()
    with leg, far:
        yield leg, far


def test_silence_is_ok(pair):
    heard = connection.listen(pair[0], 0.02)
    assert (heard.outcome, heard.data) == (Outcome.OK, b"")
    assert 0.02 <= heard.seconds < 0.2


def test_an_end_is_told_at_once(pair):
    pair[1].close()
    heard = connection.listen(pair[0], 5.0)
    assert (heard.outcome, heard.error) == (Outcome.CLOSED, None) and heard.seconds < 1.0


def test_a_reset_is_told_at_once(pair):
    reset(pair[1])
    heard = connection.listen(pair[0], 5.0)
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
    heard = connection.listen(pair[0], 5.0)
    assert (heard.outcome, heard.data) == (Outcome.BAD_PEER, said) and heard.seconds < 1.0


def test_the_first_letters_are_waited_for(pair):
    def speak():
        for letter in b"SSH-2.0-":
            pair[1].send(bytes((letter,)))
            sleep(0.002)

    thread = threading.Thread(target=speak)
    thread.start()
    heard = connection.listen(pair[0], 5.0)
    thread.join()
    assert heard.outcome is Outcome.BAD_PEER and heard.data.startswith(b"SSH-")


def test_a_word_that_stays_short_is_waited_for_no_longer_than_the_window(pair):
    pair[1].send(b"S")
    heard = connection.listen(pair[0], 0.05)
    assert (heard.outcome, heard.data) == (Outcome.BAD_PEER, b"S") and heard.seconds < 0.5


# Leaving.


def test_the_goodbye_is_a_fin_even_with_bytes_unread(pair):
    pair[1].send(b"x" * 1000)
    read = []
    thread = threading.Thread(target=lambda: connection.leave(pair[0], read.append))
    thread.start()
    wait_until(lambda: waiting(pair[1]) != "nothing", "the goodbye")
    assert waiting(pair[1]) == "fin"
    pair[1].close()
    thread.join()
    assert b"".join(read) == b"x" * 1000 and pair[0].fileno() == -1


def test_a_peer_that_does_not_leave_is_not_waited_for_forever(pair):
    started = monotonic()
    connection.leave(pair[0], seconds=0.05)
    assert 0.05 <= monotonic() - started < 1.0 and pair[0].fileno() == -1


def test_a_peer_that_never_stops_talking_is_not_listened_to_forever(pair, monkeypatch):
    monkeypatch.setattr(connection, "MAX_DRAINED", 100_000)
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
    connection.leave(pair[0])
    assert monotonic() - started < connection.GOODBYE
    thread.join(10)
    assert not thread.is_alive()


def test_leaving_a_connection_that_is_gone_is_quiet(pair):
    reset(pair[1])
    connection.leave(pair[0])
    pair[0].close()
    connection.say_goodbye(pair[0])


def test_a_goodbye_before_the_leaving_is_the_same_fin(pair):
    connection.say_goodbye(pair[0])
    pair[1].close()
    connection.leave(pair[0])
    assert pair[0].fileno() == -1
