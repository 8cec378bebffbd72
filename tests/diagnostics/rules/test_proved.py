"""What one route proves is not contradicted by what is said of another one: in every recorded run, and case by case."""

from dataclasses import replace

import pytest

from diagnostics.evidence import ListeningSocket
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import LOGIN_FAULTS
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.proved import CLAIMS
from diagnostics.rules.run_view import failure, look_at
from tests.diagnostics.recorded import (
    BRIDGE,
    BRIDGE_NAMED,
    BY_NAME,
    CASES,
    CLOSED,
    DOCKER0,
    DROPPED,
    ENDED,
    HDI,
    LISTENS,
    LOGGED_IN,
    PLAIN,
    REFUSED,
    RESET,
    SILENT,
    STARTED,
    USER_NETWORK,
    probe,
    run,
    view,
)

# What cannot be the matter where a session of the same port of the same machine was had in the same run.
FALSE_BESIDE_A_SESSION = {*LOGIN_FAULTS, "IBD305", "IBD306", "IBD309", "IBD310", "IBD311", "IBD505"}


def said(diagnosis):
    """Every code, as a finding or as one of its explanations."""
    of_candidates = (one.code for finding in diagnosis.findings for one in finding.candidates)
    return [*(finding.code for finding in diagnosis.findings), *of_candidates]


def with_a_session_beside(evidence, failed):
    """The same run, in which another name of the same address has a session on the same port."""
    beside = probe("beside.example", "name", address=failed.address, port=failed.route.port, source=failed.source)
    return replace(evidence, probes=(*evidence.probes, beside))


RUNS = [(case, failed) for case in CASES for failed in look_at(case.evidence).failing if failed.address is not None]


@pytest.mark.parametrize(("case", "failed"), RUNS, ids=[f"{case.name}-{failed.route.host}" for case, failed in RUNS])
def test_no_recorded_run_contradicts_a_session_on_the_same_port(case, failed):
    evidence = with_a_session_beside(case.evidence, failed)
    alone = replace(evidence, probes=(failed, evidence.probes[-1]))
    assert not FALSE_BESIDE_A_SESSION & set(said(diagnose(alone)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_recorded_run_says_nothing_that_one_of_its_own_routes_disproves(case):
    """The same over what was recorded, without anything added: every route with a session, every one that failed."""
    view = look_at(case.evidence)
    having = {(one.address, one.route.port) for one in case.evidence.probes if failure(one) is None and one.accounts}
    for finding in diagnose(case.evidence).findings:
        about = [one for one in view.failing if f"{one.route.host}:{one.route.port}" in finding.routes]
        if about and all((one.address, one.route.port) in having for one in about):
            assert not FALSE_BESIDE_A_SESSION & {finding.code, *(one.code for one in finding.candidates)}


# What cannot be the matter with a gateway that gives somebody a session, by whatever port.
FALSE_OF_A_GATEWAY_WITH_A_SESSION = FALSE_BESIDE_A_SESSION - {"IBD306"} | {"IBD106", "IBD612", "IBD613", "IBD703"}
NOBODYS_PORT, ELSEWHERE = 5555, "203.0.113.9"


@pytest.mark.parametrize(("case", "failed"), RUNS, ids=[f"{case.name}-{failed.route.host}" for case, failed in RUNS])
def test_no_recorded_run_contradicts_a_session_on_another_port_of_the_same_address(case, failed):
    beside = probe("beside.example", "name", address=failed.address, port=NOBODYS_PORT, source=failed.source)
    alone = replace(case.evidence, probes=(failed, beside))
    assert not FALSE_OF_A_GATEWAY_WITH_A_SESSION & set(said(diagnose(alone)))


@pytest.mark.parametrize(("case", "failed"), RUNS, ids=[f"{case.name}-{failed.route.host}" for case, failed in RUNS])
def test_a_session_that_may_be_another_gateway_s_takes_nothing_away_and_doubts_what_it_would_disprove(case, failed):
    """The likeliest explanation is about the way or the port then, unless the log supports one about the gateway."""
    alone = replace(case.evidence, probes=(failed,))
    beside = replace(case.evidence, probes=(failed, probe("elsewhere.example", "name", address=ELSEWHERE)))
    before = {finding.code: finding.candidates for finding in diagnose(alone).findings}
    doubted = (FALSE_OF_A_GATEWAY_WITH_A_SESSION | {"IBD306"}) - {"IBD106"}
    for finding in diagnose(beside).findings:
        codes = [one.code for one in finding.candidates]
        if finding.code not in before or ELSEWHERE in finding.message:
            continue
        assert sorted(codes) == sorted(one.code for one in before[finding.code])
        if failed.address != LOOPBACK:  # from there what is about source addresses is doubted as well
            assert not codes or codes[0] not in doubted or set(codes) <= doubted or codes[0] == "IBD310", codes


def test_every_finding_with_explanations_is_among_the_recorded_runs():
    found = {finding.code for case in CASES for finding in diagnose(case.evidence).findings if finding.candidates}
    assert found == {entry.code for entry in CATALOGUE.values() if entry.explanations}


def test_of_a_route_to_another_machine_no_more_is_said_than_was_seen():
    """It refuses, and a session was had elsewhere: it may have another gateway, which may well be starting."""
    line = diagnose(run(BRIDGE_NAMED, probe("10.0.0.5", "configured", REFUSED), probe(HDI, "name", address=DOCKER0)))
    assert line.verdict.line.endswith(
        "it refuses the connection. A gateway works; whether this route leads to the same one is not known. (IBD201)"
    )
    dropped = diagnose(run(BRIDGE_NAMED, probe("10.0.0.5", "configured", DROPPED), probe(HDI, "name", address=DOCKER0)))
    assert "so this is routing: the gateway itself works" in dropped.verdict.line


LOOPBACK = "127.0.0.1"
REFUSED_4004 = probe(LOOPBACK, "configured", REFUSED, port=4004)
SESSION_4002 = probe(LOOPBACK, "sibling", port=4002, source=LOOPBACK)
ON_4002 = view(ListeningSocket("0.0.0.0", 4002, 0, 50))

TABLE = [
    ("a session on another port", run(PLAIN, REFUSED_4004, SESSION_4002), ["IBD204"]),
    (
        "the log says that it is logged in, and the port with the session is another one",
        run(PLAIN, REFUSED_4004, SESSION_4002, host=ON_4002, log=LOGGED_IN),
        ["IBD204"],
    ),
    (
        "an old log says that it is starting",
        run(PLAIN, REFUSED_4004, SESSION_4002, host=ON_4002, log=STARTED),
        ["IBD204"],
    ),
    (
        "the log of the live gateway, and a session of the paper one",
        run(PLAIN, probe(LOOPBACK, "configured", REFUSED, port=4001), SESSION_4002, host=ON_4002, log=STARTED),
        ["IBD204", "IBD601"],
    ),
    (
        "loopback of a container in which the gateway is",
        run(BRIDGE, REFUSED_4004, SESSION_4002),
        ["IBD204"],
    ),
    (
        "loopback of a container in which the gateway is not",
        run(BRIDGE, REFUSED_4004),
        ["IBD106"],
    ),
    (
        "both ports were named, and one is closed",
        run(PLAIN, probe(LOOPBACK, "configured", port=4002), probe(LOOPBACK, "configured", REFUSED, port=4001)),
        ["IBD204"],
    ),
    (
        "the same port by another address of the host",
        run(USER_NETWORK, probe(HDI, "configured", SILENT, DOCKER0), probe("172.18.0.1", "gateway")),
        ["IBD303", "IBD304", "IBD307", "IBD210"],
    ),
    (
        "accepted and closed, and a session on another port",
        run(PLAIN, probe(LOOPBACK, "configured", ENDED, port=4004), SESSION_4002),
        ["IBD204"],
    ),
    (
        "closed at the hello, and a session on another port",
        run(PLAIN, probe(LOOPBACK, "configured", CLOSED, port=4004), SESSION_4002, log=LOGGED_IN),
        ["IBD204"],
    ),
    (
        "accepted and closed, and another port takes connections: a forwarder does, whoever is behind it",
        run(PLAIN, probe(LOOPBACK, "configured", ENDED, port=4004), probe(LOOPBACK, "sibling", LISTENS, port=4002)),
        ["IBD301", "IBD301", "IBD302", "IBD601", "IBD602", "IBD605", "IBD607", "IBD505"],
    ),
    (
        "accepted and closed on our own address only: that is the address, not the port",
        run(
            PLAIN,
            probe("192.168.1.5", "configured", ENDED, source="192.168.1.5"),
            probe(LOOPBACK, "loopback", source=LOOPBACK),
            probe(LOOPBACK, "configured", port=4002, source=LOOPBACK),
        ),
        ["IBD302"],
    ),
    (
        "accepted and closed on our own address, and another port works on loopback",
        run(
            PLAIN,
            probe("192.168.1.5", "configured", ENDED, source="192.168.1.5"),
            probe(LOOPBACK, "configured", port=4002, source=LOOPBACK),
        ),
        ["IBD204"],
    ),
    (
        "another machine may have another gateway: what a session there makes unlikely comes last",
        run(BRIDGE_NAMED, probe("10.0.0.5", "configured", REFUSED), probe(HDI, "name", address=DOCKER0)),
        ["IBD201", "IBD201", "IBD202", "IBD208", "IBD601", "IBD602"],
    ),
]


@pytest.mark.parametrize(("evidence", "codes"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_finding_that_another_route_disproves_is_not_reported(evidence, codes):
    assert said(diagnose(evidence)) == codes


def test_the_verdict_and_the_finding_say_what_the_other_port_answered():
    diagnosis = diagnose(run(PLAIN, REFUSED_4004, SESSION_4002))
    assert diagnosis.verdict.line == (
        "Does not work: 127.0.0.1:4004 refuses the connection; but 127.0.0.1:4002 works, session usable (server "
        "version at least 176, 1 account). The port asked for is not the one that is open. (IBD204)"
    )
    assert diagnosis.findings[0].message.endswith("port 4002 takes connections (127.0.0.1:4002 gives a session)")


ENDS = [
    (REFUSED, "refused"),
    (ENDED, "connected and ended"),
    (RESET, "connected and ended"),
    (CLOSED, "connected and ended"),
]


@pytest.mark.parametrize(("end", "said_of_it"), ENDS)
def test_wherever_the_port_turns_us_away_the_session_on_the_other_one_is_said_and_proposed(end, said_of_it):
    others = (probe(LOOPBACK, "sibling", LISTENS, port=4001), SESSION_4002)
    diagnosis = diagnose(run(PLAIN, probe(LOOPBACK, "configured", end, port=4004), *others))
    (finding,) = diagnosis.findings
    assert "; but 127.0.0.1:4002 works, session usable" in diagnosis.verdict.line
    assert finding.message.startswith(f"127.0.0.1:4004: {said_of_it}; on the same host port 4002 takes connections")
    assert finding.message.endswith("(127.0.0.1:4002 gives a session)") and "nothing was said" not in finding.message
    assert finding.commands[0] == "ib-diagnose --target 127.0.0.1:4002"


def test_a_port_that_is_closed_beside_the_one_that_works_is_no_routing():
    works = probe(LOOPBACK, "configured", port=4002)
    diagnosis = diagnose(run(PLAIN, works, probe(LOOPBACK, "configured", REFUSED, port=4001)))
    assert diagnosis.verdict.line.endswith(
        "but not via 127.0.0.1:4001 as configured: it refuses the connection. The machine is the same, so it is the "
        "port. (IBD204)"
    )


def test_no_command_proposes_a_target_that_the_run_has_seen_fail():
    refused = probe(HDI, "name", REFUSED, DOCKER0)
    diagnosis = diagnose(run(BRIDGE_NAMED, probe(LOOPBACK, "configured", REFUSED), refused))
    assert diagnosis.findings[0].code == "IBD106"
    assert diagnosis.findings[0].commands == ("docker network connect NETWORK CLIENT",)
    alone = diagnose(run(BRIDGE_NAMED, probe(LOOPBACK, "configured", REFUSED)))
    assert alone.findings[0].commands[0] == "ib-diagnose --target host.docker.internal:4003"


def test_maintenance_is_no_reason_where_the_same_gateway_has_a_session():
    evidence = run(
        USER_NETWORK, probe(HDI, "configured", ENDED, DOCKER0), created=BY_NAME["maintenance"].evidence.created
    )
    assert "IBD703" in said(diagnose(evidence))
    evidence = replace(evidence, probes=(*evidence.probes, probe("172.18.0.1", "gateway")))
    assert "IBD703" not in said(diagnose(evidence))


def test_every_login_fault_is_a_claim():
    assert set(LOGIN_FAULTS) <= set(CLAIMS)
