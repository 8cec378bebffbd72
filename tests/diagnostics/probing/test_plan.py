"""Who is asked next, as tables over probes: few handshakes, each for a reason."""

from dataclasses import replace

import pytest

from diagnostics.evidence import (
    Forwarder,
    HostView,
    KernelView,
    ListeningSocket,
    Outcome,
    Probe,
    ProbeStage,
    Route,
    StageResult,
)
from diagnostics.probing import plan

OK, REFUSED, TIMED_OUT, UNREACHABLE = Outcome.OK, Outcome.REFUSED, Outcome.TIMED_OUT, Outcome.UNREACHABLE
CLOSED, RESET, BAD_PEER, SKIPPED = Outcome.CLOSED, Outcome.RESET, Outcome.BAD_PEER, Outcome.SKIPPED
PORT = 4003


def probe(address, *outcomes, port=PORT, kind="name", host=None, **more):
    """A probe whose first stages went like that; the others were skipped."""
    walked = [*outcomes, *[SKIPPED] * (len(ProbeStage) - len(outcomes))]
    stages = tuple(StageResult(stage, outcome) for stage, outcome in zip(ProbeStage, walked, strict=True))
    addresses = (address,) if address else ()
    return Probe(Route(host or address or "?", port, kind, ""), stages, addresses, address, **more)


def through(address, **more):
    return probe(address, OK, OK, OK, **more)


def hello(address, outcome, **more):
    return probe(address, OK, OK, OK, outcome, **more)


A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
LOOP = "127.0.0.1"
LOST = KernelView(1, 3, 17)
HAVE = KernelView(0, 0, 0)

NEXT = (
    ("nothing to ask", [], None),
    ("nobody got through", [probe(A, OK, REFUSED), probe(None, UNREACHABLE), probe(B, OK, OK, CLOSED)], None),
    ("the first that got through", [probe(A, OK, REFUSED), through(B), through(C)], 1),
    ("not one of the same address", [through(A, same_as="x:4003"), through(B)], 1),
    ("not one that spoke first", [probe(A, OK, OK, BAD_PEER), through(B)], 1),
    ("answered: enough", [hello(A, OK), through(B)], None),
    (
        "answered, and the session failed: the same gateway again would not help",
        [probe(A, OK, OK, OK, OK, CLOSED), through(B)],
        None,
    ),
    ("closed: another address", [hello(A, CLOSED), through(A), through(B)], 2),
    ("reset: another address", [hello(A, RESET), through(B)], 1),
    ("a stranger: another port of the same host", [hello(A, BAD_PEER), through(A, port=4002)], 1),
    ("closed, and nobody else", [hello(A, CLOSED), through(A)], None),
    ("silent: another address tells routing from the gateway", [hello(A, TIMED_OUT), through(B)], 1),
    ("silent, and nobody else: once more", [hello(A, TIMED_OUT, kernel=HAVE), through(A)], 0),
    ("silent and our kernel cannot say why: once more", [hello(A, TIMED_OUT)], 0),
    ("our bytes got lost, and nobody else", [hello(A, TIMED_OUT, kernel=LOST)], None),
    ("our bytes got lost: another address", [hello(A, TIMED_OUT, kernel=LOST), through(B)], 1),
    ("silent twice on one route", [hello(A, TIMED_OUT, attempts=2)], None),
    ("silent on two routes: it is the gateway", [hello(A, TIMED_OUT), hello(B, TIMED_OUT), through(C)], None),
    ("silent here, answered there: was it slow or is it the route", [hello(A, TIMED_OUT), hello(B, OK)], 0),
    (
        "our bytes got lost here, answered there: it is the route",
        [hello(A, TIMED_OUT, kernel=LOST), hello(B, OK)],
        None,
    ),
    ("that was asked as well", [hello(A, TIMED_OUT, attempts=2), hello(B, OK)], None),
    ("slow it was", [hello(A, OK, attempts=2), hello(B, OK)], None),
    ("closed here, silent there", [hello(A, CLOSED), hello(B, TIMED_OUT), through(C)], None),
    ("closed on two routes", [hello(A, CLOSED), hello(B, CLOSED), through(C)], None),
    ("three are the most", [hello(A, CLOSED, attempts=3), through(B)], None),
    (
        "closed on two routes, and a neighbouring port: it may be the port",
        [hello(A, CLOSED), hello(B, RESET), through(C), through(A, port=4002, kind="sibling")],
        3,
    ),
    (
        "silent on one of them: it is the gateway",
        [hello(A, CLOSED), hello(B, TIMED_OUT), through(A, port=4002, kind="sibling")],
        None,
    ),
)


@pytest.mark.parametrize("probes, index", [case[1:] for case in NEXT], ids=[case[0] for case in NEXT])
def test_who_is_asked_next(probes, index):
    assert plan.next_handshake(probes) == index


@pytest.mark.parametrize("answers", [OK, CLOSED, RESET, BAD_PEER, TIMED_OUT])
def test_it_always_comes_to_an_end(answers):
    """Whatever every handshake gives, there are few of them."""
    probes = [through(f"10.0.0.{at}") for at in range(20)]
    asked = 0
    while (at := plan.next_handshake(probes)) is not None:
        again = probes[at].stages[3].outcome is not SKIPPED
        probes[at] = hello(probes[at].address, answers, attempts=probes[at].attempts + again)
        asked += 1
        assert asked <= plan.MOST_HANDSHAKES
    assert asked == (1 if answers is OK else 2)


REST = (
    ("those that got through, without the asked one", [hello(A, OK), through(B), probe(C, OK, REFUSED)], (1,)),
    ("every address once", [through(A), through(A), through(A, port=4002)], (0, 2)),
    ("not the address that was asked", [hello(A, CLOSED), through(A), through(B)], (2,)),
    ("none", [], ()),
)


@pytest.mark.parametrize("probes, indexes", [case[1:] for case in REST], ids=[case[0] for case in REST])
def test_every_route_means_every_address_once(probes, indexes):
    assert plan.rest(probes) == indexes


def test_every_route_has_an_end():
    assert len(plan.rest([through(f"10.0.0.{at}") for at in range(100)])) == plan.MOST_ROUTES


HELD_UP = replace(
    probe(A, OK, TIMED_OUT, kind="configured", host="gate"), addresses=(A, B), answering=B
)  # B answers, and clients wait at A

BEHIND = (
    ("nobody is held up", [probe(A, OK, TIMED_OUT), through(B)], {}),
    ("the address that answers", [through(C), HELD_UP], {1: B}),
    ("it is a route already", [HELD_UP, through(B)], {}),
    ("it is another port of that route", [HELD_UP, through(B, port=4002)], {0: B}),
    ("two names with one address", [HELD_UP, replace(HELD_UP, addresses=(C, B))], {0: B}),
)


@pytest.mark.parametrize("probes, expected", [case[1:] for case in BEHIND], ids=[case[0] for case in BEHIND])
def test_an_address_that_clients_do_not_come_to_is_a_route_of_its_own(probes, expected):
    why = "an address of gate, behind one that is silent"
    routes = {index: Route(address, PORT, "address", why) for index, address in expected.items()}
    assert plan.behind_silence(probes) == routes


SIBLINGS = (
    ("all refused", [probe(A, OK, REFUSED), probe(B, OK, REFUSED)], True),
    ("refused, and names that are not known", [probe(None, UNREACHABLE), probe(A, OK, REFUSED)], True),
    (
        "refused, and a guess that leads nowhere",
        [probe(A, OK, REFUSED, kind="configured"), probe(B, OK, TIMED_OUT)],
        True,
    ),
    ("what was configured is not answered", [probe(A, OK, TIMED_OUT, kind="configured"), probe(B, OK, REFUSED)], False),
    ("nothing was configured, and one is not answered", [probe(A, OK, TIMED_OUT), probe(B, OK, REFUSED)], False),
    ("one gets through", [probe(A, OK, REFUSED, kind="configured"), through(B)], False),
    ("one is accepted and closed", [probe(A, OK, REFUSED), probe(B, OK, OK, CLOSED)], True),
    ("accepted and reset", [probe(A, OK, OK, RESET, kind="configured")], True),
    ("something else speaks first", [probe(A, OK, OK, BAD_PEER, kind="configured")], False),
    ("nobody is there", [probe(A, OK, UNREACHABLE), probe(None, UNREACHABLE)], False),
    ("closed in answer to the hello", [hello(A, CLOSED, kind="configured")], True),
    (
        "reset in answer to the hello on two routes, and not asked on a third",
        [hello(A, RESET), hello(B, CLOSED), through(C)],
        True,
    ),
    ("closed in answer to one hello, silent after another", [hello(A, CLOSED), hello(B, TIMED_OUT)], False),
    ("closed in answer to one hello, answered on another route", [hello(A, CLOSED), hello(B, OK)], False),
    ("a stranger answers", [hello(A, BAD_PEER)], False),
    ("they were looked at before", [probe(A, OK, REFUSED), hello(A, CLOSED, port=4002, kind="sibling")], False),
    ("held up before an address that refuses", [HELD_UP, probe(B, OK, REFUSED, kind="address")], True),
    ("held up before an address that is silent by now", [HELD_UP, probe(B, OK, TIMED_OUT, kind="address")], False),
    ("nothing at all", [], False),
)


@pytest.mark.parametrize("probes, wanted", [case[1:] for case in SIBLINGS], ids=[case[0] for case in SIBLINGS])
def test_when_the_other_ports_are_worth_a_look(probes, wanted):
    assert plan.want_siblings(probes) is wanted


def test_the_other_ports_are_those_of_hosts_that_refused_every_address_once():
    probes = [
        probe(A, OK, REFUSED, host="gate"),
        probe(A, OK, REFUSED, host="same"),
        probe(B, OK, TIMED_OUT),
        probe(None, UNREACHABLE, host="unknown"),
        probe(C, OK, REFUSED),
    ]
    assert plan.refused(probes) == {"gate": (A,), C: (C,)}
    assert plan.refused([hello(A, CLOSED), probe(B, OK, OK, RESET), through(C)]) == {A: (A,), B: (B,)}


def test_no_other_ports_of_a_router_that_may_be_somebody_else_s():
    router, ours = probe(A, OK, REFUSED, kind="gateway"), probe(B, OK, OK, CLOSED)
    assert plan.refused([router, ours], strangers=(A,)) == {B: (B,)}
    named = probe(A, OK, REFUSED, kind="configured")
    assert plan.refused([named], strangers=(A,)) == {A: (A,)}


SEEN = (
    ("a gateway next to us", ("127.0.0.1", 4002), ["10.0.0.9"], [("127.0.0.1", 4002)]),
    ("on every address", ("0.0.0.0", 4002), ["10.0.0.9"], [("127.0.0.1", 4002)]),
    ("of IPv6", ("::1", 4001), ["10.0.0.9"], [("::1", 4001)]),
    ("on an address that is not loopback", ("10.0.0.2", 4002), ["10.0.0.9"], []),
    ("loopback is a candidate already", ("127.0.0.1", 4002), ["localhost"], []),
)


@pytest.mark.parametrize("listener, hosts, wanted", [case[1:] for case in SEEN], ids=[case[0] for case in SEEN])
def test_what_listens_on_our_loopback_is_a_route_of_its_own(listener, hosts, wanted):
    view = HostView((ListeningSocket(*listener),), 0, 0, 0)
    routes = [Route(host, 4003, "gateway", "a test") for host in hosts]
    assert [(route.host, route.port) for route in plan.seen_listeners(view, routes)] == wanted


def test_a_few_listeners_are_enough_and_without_a_look_there_is_none():
    view = HostView(tuple(ListeningSocket("127.0.0.1", port) for port in range(4000, 4020)), 0, 0, 0)
    assert len(plan.seen_listeners(view, ())) == plan.MOST_SEEN
    assert plan.seen_listeners(None, ()) == plan.seen_listeners(HostView(), ()) == ()


PROXY = Forwarder("docker-proxy", "127.0.0.1", PORT, "172.17.0.2:4004")
BEHIND = (
    ("accepted and closed", probe(LOOP, OK, OK, CLOSED), (PROXY,), [("172.17.0.2", 4004)]),
    ("reset at the hello", hello(LOOP, RESET), (PROXY,), [("172.17.0.2", 4004)]),
    ("silent", hello(LOOP, TIMED_OUT), (PROXY,), [("172.17.0.2", 4004)]),
    (
        "on an address of this machine",
        hello(A, CLOSED, source=A),
        (replace(PROXY, address="0.0.0.0"),),
        [("172.17.0.2", 4004)],
    ),
    ("refused: no forwarder took it", probe(LOOP, OK, REFUSED), (PROXY,), []),
    ("not asked", through(LOOP), (PROXY,), []),
    ("answered", hello(LOOP, OK), (PROXY,), []),
    ("on another machine", hello(A, CLOSED, source=B), (replace(PROXY, address="0.0.0.0"),), []),
    ("another address", hello("127.0.0.2", CLOSED), (PROXY,), []),
    ("another port", hello(LOOP, CLOSED, port=4001), (PROXY,), []),
    ("nothing known of where it leads", hello(LOOP, CLOSED), (Forwarder("socat", "0.0.0.0", PORT),), []),
    ("to a place that was tried", hello(LOOP, CLOSED), (replace(PROXY, upstream=f"{LOOP}:{PORT}"),), []),
)


@pytest.mark.parametrize("tried, forwarders, wanted", [case[1:] for case in BEHIND], ids=[case[0] for case in BEHIND])
def test_where_a_forwarder_passes_on_what_came_to_nothing_is_a_route(tried, forwarders, wanted):
    found = plan.behind(HostView((), 0, 0, 0, forwarders), [tried])
    assert [(route.host, route.port) for route in found] == wanted
    assert all(route.kind == "behind" and "docker-proxy passes on" in route.why for route in found)


def test_without_a_look_nobody_knows_where_a_forwarder_leads():
    assert plan.behind(None, [hello(LOOP, CLOSED)]) == ()


def test_the_other_ports_of_a_few_hosts_are_enough():
    assert len(plan.refused([probe(f"10.0.0.{at}", OK, REFUSED) for at in range(20)])) == plan.MOST_SIBLING_HOSTS


ROUTES = [
    Route(host, port, "name", "")
    for host, port in (("a", 4003), ("b", 4003), ("c", 4002), ("d", 4003), ("e", 4003), ("f", 4003))
]
ADDRESSES = [(A, B), (B, A), (A, B), (A,), (), (A, B)]
SAME = (
    ("the first has nobody before it", 0, [], None),
    ("the same addresses in another order: clients go another way", 1, [0], None),
    ("another port", 2, [0, 1], None),
    ("only one of the addresses", 3, [0, 1, 2], None),
    ("a later one that was dialled before", 0, [1, 2, 3, 5], 5),
    ("itself", 0, [0], None),
)


@pytest.mark.parametrize("index, dialled, other", [case[1:] for case in SAME], ids=[case[0] for case in SAME])
def test_routes_to_the_same_place_are_found(index, dialled, other):
    assert plan.same_as(index, ROUTES, ADDRESSES, dialled) == other


def of_a_name(*outcomes, kind="configured"):
    """A probe of a name with two addresses, of which the first took the connection or none did."""
    return replace(probe(A, *outcomes, kind=kind, host="gate"), addresses=(A, B))


OTHER_ADDRESSES = (
    ("nothing failed so far", [of_a_name(OK, OK, OK)], []),
    ("a session", [of_a_name(OK, OK, OK, OK, OK, OK)], []),
    ("refused: all of them were dialled", [of_a_name(OK, REFUSED)], []),
    ("closed at once", [of_a_name(OK, OK, CLOSED)], [B]),
    ("the hello was not answered", [of_a_name(OK, OK, OK, TIMED_OUT)], [B]),
    ("a stranger", [of_a_name(OK, OK, OK, BAD_PEER)], [B]),
    ("the other one is a route already", [of_a_name(OK, OK, OK, RESET), through(B)], []),
    ("a neighbouring port", [of_a_name(OK, OK, OK, RESET, kind="sibling")], []),
    ("a second name of the same", [of_a_name(OK, OK, CLOSED), of_a_name(OK, OK, CLOSED)], [B]),
)


@pytest.mark.parametrize(
    "probes, addresses", [row[1:] for row in OTHER_ADDRESSES], ids=[row[0] for row in OTHER_ADDRESSES]
)
def test_the_other_addresses_of_a_name_are_tried_where_the_first_took_the_connection_in_vain(probes, addresses):
    routes = [Route(address, PORT, "address", "another address of gate") for address in addresses]
    assert list(plan.other_addresses(probes)) == routes
