"""relay/logs/backlog.py: from what waits, and when it last moved, to what is said of a side and whether it is idle."""

import pytest

from relay.logs.backlog import Backlog, idle_since, last_moved, not_taken

NONE = Backlog(0, 0, False, 60.0)
UNTOUCHED = Backlog(0, 0, False, None)  # not a byte has gone this way
IN_FLIGHT = Backlog(0, 500, False, 0.001)
SHUT = Backlog(0, 500, True, 60.0)
SHUT_BEFORE = Backlog(7000, 500, True, 60.0)
JUST_SHUT = Backlog(0, 500, True, 0.5)
LATELY = Backlog(0, 0, False, 3.0)
UNKNOWN = Backlog(0, None, None, None)
KEPT = Backlog(7000, None, None, None)  # where the kernel tells nothing
COUNTED = Backlog(0, 500, None, 60.0)  # where it tells what it has, and not why

GONE = Backlog(0, 500, False, 60.0)  # in flight, or for a peer that is no more

# the last byte by our own calls was 100 s ago; what waits -> bytes, stuck, does not read, last moved, idle for
SIDES = [
    (NONE, 0, False, False, 60.0, 60.0),
    (UNTOUCHED, 0, False, False, 100.0, 100.0),
    (IN_FLIGHT, 500, False, False, 0.001, 0.0),
    (SHUT, 500, True, True, 60.0, 0.0),
    (SHUT_BEFORE, 500, True, True, 60.0, 0.0),
    (JUST_SHUT, 500, False, False, 0.5, 0.0),
    (GONE, 500, True, False, 60.0, 0.0),
    (LATELY, 0, False, False, 3.0, 3.0),
    (UNKNOWN, 0, False, False, 100.0, 100.0),
    (KEPT, 0, False, False, 100.0, 0.0),
    (COUNTED, 500, True, False, 60.0, 0.0),
]


@pytest.mark.parametrize("other", [UNTOUCHED, UNKNOWN], ids=["untouched", "unknown"])
@pytest.mark.parametrize("side, waiting, stuck, blocked, moved, idle", SIDES)
def test_what_waits_for_a_side(side, waiting, stuck, blocked, moved, idle, other):
    assert (side.waiting, side.stuck, side.blocked) == (waiting, stuck, blocked)
    for both in ((side, other), (other, side)):
        assert 1000.0 - last_moved(900.0, 1000.0, both) == pytest.approx(moved)
        assert 1000.0 - idle_since(900.0, 1000.0, both) == pytest.approx(idle)


def test_what_we_have_moved_counts_where_it_is_later():
    assert last_moved(999.0, 1000.0, (NONE, LATELY)) == idle_since(999.0, 1000.0, (NONE, LATELY)) == 999.0
    assert last_moved(999.0, 1000.0, ()) == idle_since(999.0, 1000.0, iter(())) == 999.0


@pytest.mark.parametrize(
    "backlog, sender, text",
    [
        (NONE, "gateway", "0 B not taken"),
        (SHUT, "gateway", "500 B not taken"),
        (
            Backlog(427_687, 131_600, True, 60.0),
            "gateway",
            "128.5 KiB not taken, 417.7 KiB more from the gateway not passed on",
        ),
        (SHUT_BEFORE, "upstream", "500 B not taken, 6.8 KiB more from the gateway not passed on"),
        (SHUT_BEFORE, "client", "500 B not taken, 6.8 KiB more from the client not passed on"),
        (UNKNOWN, "gateway", "unknown whether all was taken"),
        (KEPT, "gateway", "unknown whether all was taken, 6.8 KiB more from the gateway not passed on"),
    ],
)
def test_what_was_passed_on_is_told_from_what_was_not(backlog, sender, text):
    assert not_taken(backlog, sender) == text
