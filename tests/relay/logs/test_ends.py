"""relay/logs/ends.py: what is said of the order in which the two sides ended."""

import pytest

from relay.logs.ends import Ends, FirstEnd, Later, first_end_said, sequel, waiting_said

CLIENT = FirstEnd("client", "fin", 4.0, "ready")
GATEWAY = FirstEnd("upstream", "fin", 1.0, "ready")

SEQUELS = [
    # the ends, what is added to the sentence, is it clean
    (Ends(GATEWAY), "", True),
    (Ends(GATEWAY, (Later("client", "fin", 0.3),)), "", True),
    (Ends(GATEWAY, (Later("client", "fin", 27.5),)), "; the client then closed 27.5 s later", True),
    (Ends(GATEWAY, (Later("client", "rst", 0.02),)), "; the client then reset it", True),
    (Ends(GATEWAY, (Later("client", "rst", 0.5),)), "; the client then reset it 0.5 s later", True),
    (
        Ends(GATEWAY, (Later("client", "fin", 2.0), Later("client", "rst", 2.5))),
        "; the client then reset it 2.5 s later",
        True,
    ),
    (Ends(CLIENT, (Later("upstream", "rst", 0.2),)), "; the gateway then reset it 0.2 s later", True),
    (
        Ends(CLIENT, (Later("upstream", "timeout", 25.0),)),
        "; the gateway then vanished without a word 25.0 s later",
        False,
    ),
    (
        Ends(GATEWAY, (Later("upstream", "rst", 27.5),), (("PLACE_ORDER", 1),), 60),
        "; 1 message (PLACE_ORDER) from the client after that was lost",
        False,
    ),
    (
        Ends(GATEWAY, (Later("client", "fin", 0.1),), (("PLACE_ORDER", 1), ("REQ_IDS", 2)), 60),
        "; 3 messages (PLACE_ORDER, REQ_IDS) from the client after that were perhaps not read",
        False,
    ),
    (
        Ends(GATEWAY, (), tuple((name, 1) for name in "ABCDE"), 60),
        "; 5 messages (A, B, C and 2 other kinds) from the client after that were perhaps not read",
        False,
    ),
    (Ends(GATEWAY, (Later("upstream", "rst", 1.0),), (), 60), "; 60 bytes from the client after that were lost", False),
    (
        Ends(GATEWAY._replace(cut_off="5 bytes of its last message never came")),
        "; 5 bytes of its last message never came",
        False,
    ),
]


@pytest.mark.parametrize("ends, text, clean", SEQUELS)
def test_what_followed_is_an_addition(ends, text, clean):
    assert (sequel(ends), ends.clean) == (text, clean)


WAITING = [
    (Ends(GATEWAY), "the gateway closed 19.0 s ago, the client has not reacted"),
    (Ends(GATEWAY, (Later("client", "fin", 1.0),)), "the gateway closed 19.0 s ago"),
    (Ends(CLIENT), "the client closed 16.0 s ago, the gateway has not reacted"),
    (Ends(CLIENT, (Later("upstream", "answer", 1.0),)), "the client closed 16.0 s ago, the gateway has not reacted"),
    (Ends(CLIENT._replace(after=None)), "the client closed earlier, the gateway has not reacted"),
    (Ends(CLIENT._replace(how="rst")), "the client reset the connection 16.0 s ago, the gateway has not reacted"),
]


@pytest.mark.parametrize("ends, text", WAITING)
def test_of_a_connection_that_waits_it_is_said_for_whom_and_how_long(ends, text):
    assert waiting_said(ends, 20.0) == text


FIRST = [
    (CLIENT, "the client had closed after 4.0 s"),
    (GATEWAY._replace(how="rst"), "the gateway had reset it after 1.0 s"),
    (GATEWAY._replace(after=None), "the gateway had closed"),
]


@pytest.mark.parametrize("first, text", FIRST)
def test_an_end_by_the_relay_tells_who_had_gone_before(first, text):
    assert first_end_said(Ends(first)) == text
