"""What stands between a route and the gateway: by what it is known, and that no more is said than was seen."""

from dataclasses import replace

import pytest

from diagnostics.evidence import DialSeen, Forwarder, ListeningSocket
from diagnostics.rules.between import Basis, Between, answering, between, dial_in_vain, nobody_behind
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.run_view import look_at
from tests.diagnostics.recorded import (
    BRIDGE,
    BRIDGE_NAMED,
    DESKTOP,
    DOCKER0,
    HDI,
    HOST_NETWORK,
    OPEN,
    PLAIN,
    SILENT,
    STRANGER,
    UNKNOWN_PLACE,
    USER_NETWORK,
    probe,
    run,
    view,
)

HERE = probe("127.0.0.1", "configured", SILENT, source="127.0.0.1")
AT_4001 = probe("127.0.0.1", "configured", SILENT, port=4001)
UP = "127.0.0.1:4002"
RELAY = Forwarder("ib-relay", "", 4003, UP, open=False)
BY_DEFAULT = replace(RELAY, assumed=True)
SOCAT = Forwarder("socat", "0.0.0.0", 4003, "192.168.1.9:4001")
PROXY = Forwarder("docker-proxy", "0.0.0.0", 4001, "172.18.0.3:4003")
DIAL = DialSeen("127.0.0.1", 4002, 50116)
LIVE = DialSeen("127.0.0.1", 4001, 50118)
OURS = DialSeen("127.0.0.1", 4003, 50120)
LOST = DialSeen("192.168.1.9", 4001, 50122, True)  # where SOCAT leads
STRANGE = DialSeen("10.9.0.9", 4001, 50124, True)


def seen(*forwarders, dials=(), queue=0):
    return replace(view(replace(OPEN, queue=queue)), forwarders=forwarders, dials=dials)


ROWS = [
    # (what is seen, the place, the route, the sockets of this machine, what stands between)
    ("its command line", PLAIN, HERE, seen(RELAY), Between(4003, UP, "ib-relay", Basis.SEEN)),
    ("its dial", PLAIN, HERE, seen(BY_DEFAULT, dials=(DIAL,)), Between(4003, UP, "ib-relay", Basis.SEEN)),
    (
        "a dial that its defaults do not say",
        *(PLAIN, HERE, seen(BY_DEFAULT, dials=(LIVE, OURS))),
        Between(4003, "127.0.0.1:4001", "ib-relay", Basis.SEEN),
    ),
    ("its process only", PLAIN, HERE, seen(BY_DEFAULT), Between(4003, UP, "ib-relay", Basis.DEFAULTS)),
    (
        "its port, and no upstream",
        *(PLAIN, HERE, seen(replace(BY_DEFAULT, address="127.0.0.1"))),
        Between(4003, UP, "ib-relay", Basis.UPSTREAM_BY_DEFAULT),
    ),
    (
        "a port of its own on what it finds, and no upstream",
        *(PLAIN, AT_4001, replace(view(replace(OPEN, port=4001)), forwarders=(replace(BY_DEFAULT, port=4001),))),
        Between(4001, UP, "ib-relay", Basis.UPSTREAM_BY_DEFAULT),
    ),
    (
        "its upstream, and no port",
        *(PLAIN, HERE, seen(replace(BY_DEFAULT, upstream="127.0.0.1:4001"))),
        Between(4003, "127.0.0.1:4001", "ib-relay", Basis.PORT_BY_DEFAULT),
    ),
    ("two dials", PLAIN, HERE, seen(BY_DEFAULT, dials=(DIAL, LIVE)), Between(4003, UP, "ib-relay", Basis.DEFAULTS)),
    ("a dial and no program", PLAIN, HERE, seen(dials=(DIAL,)), Between(4003, UP, "ib-relay", Basis.DIALLED)),
    (
        "a dial from another port",
        *(PLAIN, AT_4001, seen(dials=(DIAL,))),
        Between(4001, UP, "a forwarder", Basis.DIALLED),
    ),
    ("socat", PLAIN, HERE, seen(SOCAT), Between(4003, "192.168.1.9:4001", "socat", Basis.SEEN)),
    (
        "docker-proxy, and a container's own socat",
        *(PLAIN, AT_4001, seen(Forwarder("socat", "", 4001, "x:1"), PROXY)),
        Between(4001, "172.18.0.3:4003", "docker-proxy", Basis.SEEN),
    ),
    (
        "one on another address",
        *(PLAIN, HERE, seen(replace(SOCAT, address="10.0.0.1"))),
        Between(4003, UP, "ib-relay", Basis.PORT),
    ),
    ("one that leads nobody knows where", PLAIN, AT_4001, seen(Forwarder("socat", "", 4001)), None),
    ("one whose place is no place, in a file", PLAIN, AT_4001, seen(Forwarder("socat", "", 4001, "x:y")), None),
    ("its port", PLAIN, HERE, None, Between(4003, UP, "ib-relay", Basis.PORT)),
    ("another port", PLAIN, AT_4001, seen(), None),
    ("it is itself that does not accept", PLAIN, HERE, seen(RELAY, queue=1), None),
    (
        "the host's name",
        *(BRIDGE_NAMED, probe(HDI, "configured", SILENT, DOCKER0), None),
        Between(4003, UP, "ib-relay", Basis.PORT),
    ),
    (
        "the host of a virtual machine",
        *(DESKTOP, probe(HDI, "configured", SILENT, "192.168.65.254"), None),
        Between(4003, UP, "ib-relay", Basis.PORT),
    ),
    ("the bridge", BRIDGE, probe(DOCKER0, "configured", SILENT), None, Between(4003, UP, "ib-relay", Basis.PORT)),
    (
        "another container: its image's own port",
        USER_NETWORK,
        probe("gw", "configured", SILENT, "172.18.0.3"),
        None,
        None,
    ),
    ("a place that is not known", UNKNOWN_PLACE, probe("192.168.1.5", "configured", SILENT), None, None),
    # What is seen here is of this machine: nothing of it is said of another one.
    ("another machine", PLAIN, probe("192.168.1.9", "configured", SILENT, port=4001), seen(PROXY), None),
]


@pytest.mark.parametrize(("place", "route", "host", "found"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_stands_between(place, route, host, found):
    assert between(look_at(run(place, route, host=host)), route) == found


def test_every_basis_is_reached_and_has_a_sentence_of_its_own():
    found = {row[-1].basis: row[-1] for row in ROWS if row[-1]}
    assert set(found) == set(Basis)
    assert len({one.said for one in found.values()}) == len(Basis)
    assert all(str(one.port) in one.said and one.upstream in one.said for one in found.values())
    assert [one.is_sure for one in found.values()] == [basis is Basis.SEEN for basis in found]


def test_without_a_route_nothing_stands_between():
    assert between(look_at(run(PLAIN)), None) is None


GATEWAY = ListeningSocket("127.0.0.1", 4002, 3, 50)
FULL = replace(view(OPEN, GATEWAY, ListeningSocket("127.0.0.2", 4002, 9, 50)), forwarders=(RELAY,))


def test_who_answers_is_behind_a_forwarder_that_was_seen():
    def listeners(host):
        return answering(look_at(run(PLAIN, HERE, host=host)), HERE)

    assert listeners(FULL) == (GATEWAY,)
    assert listeners(replace(FULL, forwarders=())) == (OPEN,), "a default port proves nothing"
    assert listeners(replace(FULL, forwarders=(SOCAT,))) == (), "what is on another machine is not seen here"
    assert listeners(replace(FULL, listeners=None)) == ()
    assert listeners(replace(FULL, forwarders=(replace(RELAY, upstream="localhost:4002"),))) == (GATEWAY,)


@pytest.mark.parametrize(
    ("host", "nobody"),
    [
        (FULL, False),
        (seen(RELAY), True),
        (seen(BY_DEFAULT), False),
        (seen(SOCAT), False),
        (replace(seen(RELAY), listeners=None), False),
        (None, False),
    ],
    ids=["somebody", "nobody", "not sure", "another machine", "not looked at", "elsewhere"],
)
def test_that_nobody_is_behind_it_is_known_only_where_it_was_seen(host, nobody):
    run_here = look_at(run(PLAIN, HERE, host=host))
    assert nobody_behind(run_here, HERE) is nobody


def test_a_wedged_gateway_is_found_behind_the_relay_and_looked_for_there():
    found = diagnose(run(PLAIN, HERE, host=FULL)).findings[0]
    assert found.code == "IBD305" and "3 connections not accepted yet at 127.0.0.1:4002" in found.message
    assert "ss -tn state close-wait '( sport = :4002 )'" in found.commands
    assert diagnose(run(PLAIN, HERE, host=replace(FULL, forwarders=()))).findings[0].code == "IBD303"


HTTP = {"first_bytes": "http", "bytes_received": 47}
VERDICTS = [
    (RELAY, "what ib-relay leads to, 127.0.0.1:4002, is another service."),
    (SOCAT, "what socat leads to, 192.168.1.9:4001, is another service."),
    (BY_DEFAULT, "the host or port asked for is another service's, or ib-relay has the port and leads to one."),
]


@pytest.mark.parametrize(("forwarder", "sentence"), VERDICTS, ids=["seen", "another", "by default"])
def test_the_verdict_names_the_port_that_was_asked_for_only_where_that_one_answers(forwarder, sentence):
    route = probe("127.0.0.1", "configured", STRANGER, **HTTP)
    assert sentence in diagnose(run(PLAIN, route, host=seen(forwarder))).verdict.line.replace("What", "what").replace(
        "The host", "the host"
    )


def test_behind_the_relay_the_web_server_itself_is_asked():
    route = probe(HDI, "configured", STRANGER, DOCKER0, **HTTP)
    found = diagnose(run(BRIDGE_NAMED, route)).findings[0]
    assert found.commands == (
        f"curl -sI http://{HDI}:4003/",
        "curl -sI http://127.0.0.1:4002/",
        "ss -ltnp 'sport = :4003 or sport = :4002'",
    )
    assert found.fix.startswith("If ib-relay has port 4003: it leads to a web server.")
    assert found.fix.endswith(
        "Otherwise: Dial the socket port that the API settings of IB Gateway or TWS name: a web server has this one."
    )
    direct = diagnose(run(BRIDGE_NAMED, replace(route, route=replace(route.route, port=4001)))).findings[0]
    assert direct.commands == (f"curl -sI http://{HDI}:4001/", "ss -ltnp 'sport = :4001'") and not direct.between


def test_behind_docker_proxy_the_sockets_are_those_of_the_container():
    found = diagnose(run(HOST_NETWORK, AT_4001, host=seen(PROXY))).findings[0]
    assert "docker exec GATEWAY ss -tn state close-wait '( sport = :4003 )'" in found.commands


def dialling(*dials, forwarders=()):
    return replace(seen(*forwarders, dials=dials), syn_sent=sum(dial.waiting is not False for dial in dials))


BEHIND = probe("192.168.1.9", "behind", SILENT, port=4001)
IN_VAIN = [
    # (what is seen, the sockets of this machine, other routes, where the dial goes or None)
    ("where the forwarder leads", dialling(STRANGE, LOST, forwarders=(SOCAT,)), (), "192.168.1.9:4001"),
    ("elsewhere", dialling(STRANGE, forwarders=(SOCAT,)), (), None),
    ("to another port there", dialling(replace(LOST, port=4002), forwarders=(SOCAT,)), (), None),
    ("where a name leads", dialling(LOST, forwarders=(replace(SOCAT, upstream="gw:4001"),)), (), "192.168.1.9:4001"),
    ("no forwarder that is known", dialling(STRANGE), (), "10.9.0.9:4001"),
    ("a program by its defaults", dialling(STRANGE, forwarders=(BY_DEFAULT,)), (), "10.9.0.9:4001"),
    ("one that leads nobody knows where", dialling(LOST, forwarders=(replace(SOCAT, upstream=None),)), (), LOST),
    ("we connected there ourselves", dialling(LOST, forwarders=(SOCAT,)), (BEHIND,), None),
    ("and nobody else did elsewhere", dialling(LOST, STRANGE), (BEHIND,), "10.9.0.9:4001"),
    ("its dial was answered", dialling(replace(LOST, waiting=False), forwarders=(SOCAT,)), (), None),
    ("nobody dials", dialling(), (), None),
    ("an older file", replace(dialling(), syn_sent=1), (), "such a port"),
    ("an older file with dials", replace(dialling(DIAL), syn_sent=1), (), "such a port"),
    ("not looked at", None, (), None),
]


@pytest.mark.parametrize("host, others, place", [row[1:] for row in IN_VAIN], ids=[row[0] for row in IN_VAIN])
def test_a_dial_in_vain_is_the_forwarders_where_it_goes_to_where_that_one_leads(host, others, place):
    wanted = f"{place.address}:{place.port}" if isinstance(place, DialSeen) else place
    evidence = run(PLAIN, HERE, *others, host=host)
    assert dial_in_vain(look_at(evidence), HERE) == wanted
    assert ("IBD307" in [one.code for one in diagnose(evidence).findings]) is (wanted is not None)


def test_the_place_of_a_dial_in_vain_is_told():
    found = diagnose(run(PLAIN, HERE, host=dialling(LOST, forwarders=(SOCAT,)))).findings[0]
    said = "no answer to the hello, and a dial to 192.168.1.9:4001 gets no answer here (SYN_SENT)"
    assert (found.code, found.message) == ("IBD307", f"127.0.0.1:4003: {said}")
