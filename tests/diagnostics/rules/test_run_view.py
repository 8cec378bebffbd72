"""What a run comes down to: which routes count, which are judged, whose sockets these are."""

from dataclasses import replace

import pytest

from diagnostics.evidence import HostView, ListeningSocket, Outcome, ProbeStage
from diagnostics.rules.run_view import failure, look_at, name_of, reach, works
from tests.diagnostics.recorded import (
    BRIDGE,
    DESKTOP,
    DOCKER0,
    DROPPED,
    FINE,
    HDI,
    HOST_NETWORK,
    LISTENS,
    PLAIN,
    REFUSED,
    SILENT,
    UNANSWERED,
    UNKNOWN,
    UNKNOWN_PLACE,
    USER_NETWORK,
    probe,
    run,
)

# Each row: name, place, probes, counted, judged.
SORTED = [
    (
        "a name nobody has here does not count",
        BRIDGE,
        (probe(HDI, "name", UNKNOWN), probe(DOCKER0, "gateway", REFUSED)),
        [DOCKER0],
        [DOCKER0],
    ),
    ("unless there is nothing else", BRIDGE, (probe(HDI, "name", UNKNOWN),), [HDI], [HDI]),
    (
        "a name that was configured counts",
        BRIDGE,
        (probe(HDI, "configured", UNKNOWN), probe(DOCKER0, "gateway")),
        [HDI, DOCKER0],
        [HDI, DOCKER0],
    ),
    (
        "the bridge of a virtual machine is no way to the host",
        DESKTOP,
        (probe(HDI, "name", REFUSED, "192.168.65.254"), probe(DOCKER0, "gateway", DROPPED)),
        [HDI],
        [HDI],
    ),
    (
        "a guessed bridge that does not connect does not count",
        USER_NETWORK,
        (probe("172.18.0.1", "gateway", REFUSED), probe(DOCKER0, "bridge", DROPPED)),
        ["172.18.0.1"],
        ["172.18.0.1"],
    ),
    (
        "a guess that connects counts",
        USER_NETWORK,
        (probe("172.18.0.1", "gateway", SILENT), probe(DOCKER0, "bridge", LISTENS)),
        ["172.18.0.1", DOCKER0],
        ["172.18.0.1"],
    ),
    (
        "where one works, others that nobody asked for are not judged",
        USER_NETWORK,
        (probe(HDI, "name", FINE, DOCKER0), probe("172.18.0.1", "gateway", REFUSED)),
        [HDI, "172.18.0.1"],
        [HDI],
    ),
    (
        "those that came less far are not judged",
        USER_NETWORK,
        (probe(HDI, "name", SILENT, DOCKER0), probe("172.18.0.1", "gateway", REFUSED)),
        [HDI, "172.18.0.1"],
        [HDI],
    ),
    (
        "unless they were asked for",
        USER_NETWORK,
        (probe("172.18.0.1", "configured", REFUSED), probe(HDI, "name", SILENT, DOCKER0)),
        ["172.18.0.1", HDI],
        ["172.18.0.1", HDI],
    ),
    (
        "a port beside it is not a route",
        BRIDGE,
        (probe(DOCKER0, "gateway", REFUSED), probe("x", "sibling", LISTENS)),
        [DOCKER0],
        [DOCKER0],
    ),
    (
        "a route with the address of an earlier one was not dialled",
        BRIDGE,
        (probe(DOCKER0, "gateway", REFUSED), replace(probe(HDI, "name", REFUSED, DOCKER0), same_as=DOCKER0)),
        [DOCKER0],
        [DOCKER0],
    ),
]


@pytest.mark.parametrize(("name", "place", "probes", "counted", "judged"), SORTED, ids=[row[0] for row in SORTED])
def test_which_routes_count_and_which_are_judged(name, place, probes, counted, judged):
    seen = look_at(run(place, *probes))
    assert ([one.route.host for one in seen.counted], [one.route.host for one in seen.judged]) == (counted, judged)


# (name, place, probe, is it ours)
OWN = [
    ("loopback", PLAIN, probe("127.0.0.1", "loopback"), True),
    ("loopback in IPv6", PLAIN, probe("::1", "loopback"), True),
    ("an address of ours", PLAIN, probe("192.168.1.5", "host_address"), True),
    ("docker0 on the host's network", HOST_NETWORK, probe(DOCKER0, "bridge"), True),
    ("a connection to itself", UNKNOWN_PLACE, probe("10.0.0.1", "configured", source="10.0.0.1"), True),
    ("docker0 from a container", BRIDGE, probe(DOCKER0, "gateway"), False),
    ("somewhere else", PLAIN, probe("192.168.1.9", "configured"), False),
    ("a name that is not known", PLAIN, probe("x", "configured", UNKNOWN), False),
]


@pytest.mark.parametrize(("name", "place", "one", "ours"), OWN, ids=[row[0] for row in OWN])
def test_sockets_seen_here_are_the_other_end_s_only_if_it_is_here(name, place, one, ours):
    view = HostView((ListeningSocket("0.0.0.0", 4003), ListeningSocket("0.0.0.0", 4001)), 1, 0)
    seen = look_at(run(place, one, host=view))
    assert seen.is_local(one) is ours
    assert seen.listeners(one) == ((ListeningSocket("0.0.0.0", 4003),) if ours else None)
    assert seen.host((one,)) == (view if ours else None)


def test_sockets_that_were_not_looked_at_are_not_known():
    one = probe("127.0.0.1", "loopback")
    assert look_at(run(PLAIN, one)).listeners(one) is None
    assert look_at(run(PLAIN, one, host=HostView())).listeners(one) is None
    assert look_at(run(PLAIN, one, host=HostView(()))).listeners(one) == ()


def test_the_best_is_the_first_of_those_that_came_furthest():
    seen = look_at(
        run(BRIDGE, probe("a", "configured", LISTENS), probe("b", "name", SILENT), probe("c", "name", REFUSED))
    )
    assert (name_of(seen.best), seen.working) == ("a:4003", False)
    assert look_at(run(BRIDGE, probe("c", "name", REFUSED))).best is None


def test_a_request_left_unanswered_is_no_failure_of_the_connection():
    one = probe("a", "configured", UNANSWERED)
    assert works(one, session=True) and reach(one) == 5 and failure(one).stage is ProbeStage.SYNC
    assert not works(probe("a", "configured", replace(UNANSWERED, outcome=Outcome.CLOSED)), session=True)


def test_a_stage_that_is_missing_was_skipped():
    assert replace(probe("a", "name"), stages=()).result(ProbeStage.HELLO).outcome is Outcome.SKIPPED
