"""The first line of a report: what it says of a run, and what it must never say."""

from dataclasses import replace

import pytest

from diagnostics.evidence import Asked, KernelView, Outcome, ProbeStage, RepairedSetting
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import Side
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.diagnosis import Level, exit_code
from diagnostics.rules.verdict import FAILS
from diagnostics.saved_evidence import dump, load
from tests.diagnostics.recorded import BRIDGE, CASES, DOCKER0, HDI, LISTENS, REFUSED, SILENT, probe, run, slow

LINES = {
    "healthy-docker-bridge": "Works via 172.17.0.1:4003: session usable (server version at least 176, 1 account).",
    "healthy-hello-only": (
        "Answers via 172.17.0.1:4003: handshake done (server version at least 176); no session was asked for."
    ),
    "seed-accept-then-silence": (
        "Does not work: every route connects, and the gateway never answers the handshake (tried via "
        "host.docker.internal:4003). The same on every route: the fault is on the gateway's side, not in Docker's "
        "networking. (IBD303)"
    ),
    "reset-at-no-dials-time": (
        "Does not work: host.docker.internal:4003 connects, and the connection is reset in answer to the handshake. "
        "The fault is at the gateway or at what forwards to it, not on the way from here. (IBD404)"
    ),
    "refused-everywhere": (
        "Does not work: every route refuses the connection. The same on every route: look on the gateway's side "
        "(what listens there, and for whom), not in Docker's networking. (IBD201)"
    ),
    "bound-to-the-other-bridge": (
        "Works via host.docker.internal:4003: session usable (server version at least 176, 1 account), but not via "
        "172.18.0.1:4003 as configured: it refuses the connection. The routes differ, so this is routing: the "
        "gateway itself works. (IBD203)"
    ),
    "refused-here-dropped-there": (
        "Does not work: 10.0.0.5:4003 leaves the connection attempt without an answer; host.docker.internal:4003 "
        "refuses the connection. The routes fail differently, so this does not tell on which side the fault is. "
        "(IBD205)"
    ),
    "id-in-use": (
        "Does not work: 172.17.0.1:4003 reaches the gateway, where the client id is in use. The way there works: "
        "the fault is on the gateway's side, not in Docker's networking. (IBD501)"
    ),
    "twofa-pending": (
        "Does not work: host.docker.internal:4003 connects and is closed at once, before a byte was said. The "
        "fault is on the gateway's side, not in Docker's networking: the login waits for the second factor. "
        "(IBD602)"
    ),
    "silence-nothing-known-of-the-kernel": (
        "Does not work: 192.168.1.5:4003 connects, and the gateway never answers the handshake. The fault is most "
        "likely on the gateway's side. (IBD303)"
    ),
    "upstream-lost": (
        "Works via 172.17.0.1:4003: session usable (server version at least 176, 1 account). Note: connectivity is "
        "fine, and the gateway has lost IB's servers. (IBD701)"
    ),
    "localhost-in-container": (
        "Does not work: 127.0.0.1:4003 refuses the connection. The target is wrong, not the gateway. (IBD106)"
    ),
}
BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("name", LINES)
def test_the_line(name):
    assert diagnose(BY_NAME[name].evidence).verdict.line == LINES[name]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_line_is_one_line_that_says_what_the_level_says(case):
    verdict = diagnose(case.evidence).verdict
    first = {Level.USABLE: "Works via ", Level.ANSWERS: "Answers via "}.get(verdict.level, "Does not work: ")
    assert verdict.line.startswith(first) and "\n" not in verdict.line and len(verdict.line) <= 360
    assert (verdict.route is None) == (verdict.level is Level.NO_TCP)
    codes = [code for code in case.codes if CATALOGUE[code].severity != "info"]
    assert not codes or f"({codes[0]})" in verdict.line


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_connection_without_a_handshake_is_never_called_working(case):
    """Every case again, as far as TCP."""
    probes = tuple(
        replace(
            one,
            stages=(*one.stages[:3], *(replace(stage, outcome=Outcome.SKIPPED) for stage in one.stages[3:])),
            codes=(),
        )
        for one in case.evidence.probes
    )
    verdict = diagnose(replace(case.evidence, probes=probes)).verdict
    assert verdict.level in (Level.NO_TCP, Level.NO_HANDSHAKE)
    assert "orks via" not in verdict.line and "Answers" not in verdict.line


def test_routes_that_only_connect_prove_nothing():
    verdict = diagnose(run(BRIDGE, probe(DOCKER0, "configured", LISTENS))).verdict
    assert (verdict.level, verdict.side) == (Level.NO_HANDSHAKE, Side.UNCLEAR)
    assert verdict.line == "Not known: 172.17.0.1:4003 connects, which proves nothing yet, and no handshake was tried."


def test_no_route_at_all():
    verdict = diagnose(run(BRIDGE)).verdict
    assert (verdict.line, verdict.level, verdict.route) == ("Does not work: no route was tried.", Level.NO_TCP, None)


def test_silence_on_all_routes_gives_no_advice_about_routing():
    found = diagnose(BY_NAME["seed-accept-then-silence"].evidence)
    words = " ".join((found.verdict.line, *(CATALOGUE[one.code].fix for one in found.findings)))
    assert found.verdict.side is Side.GATEWAY
    assert not {"extra_hosts", "--add-host", "network connect", "host networking"} & set(words.split())


def test_a_handshake_that_works_on_another_route_makes_silence_a_matter_of_routing():
    evidence = run(
        BRIDGE,
        probe(HDI, "configured", SILENT, "192.168.65.254", kernel=KernelView(0, 0, 0)),
        probe(DOCKER0, "gateway"),
    )
    verdict = diagnose(evidence).verdict
    assert (verdict.level, verdict.route, verdict.side) == (Level.USABLE, "172.17.0.1:4003", Side.ROUTING)


def test_the_level_is_about_what_was_asked():
    case = BY_NAME["never-ready"]
    hello_only = replace(case.evidence, asked=Asked(False))
    assert diagnose(hello_only).verdict.level is Level.ANSWERS
    assert diagnose(case.evidence).verdict.level is Level.NO_SESSION


def test_an_error_without_words_of_its_own_is_named_by_stage_and_number():
    odd = replace(SILENT, stage=ProbeStage.CONNECT, outcome=Outcome.UNREACHABLE, error="EMFILE")
    verdict = diagnose(run(BRIDGE, probe(DOCKER0, "configured", odd))).verdict
    assert verdict.line.startswith("Does not work: 172.17.0.1:4003 cannot be reached")


def test_the_table_names_ways_to_fail():
    assert not {outcome for _, outcome in FAILS} & {Outcome.OK, Outcome.SKIPPED}


CONFIGURED = [
    ("it works itself", (probe(HDI, "configured", address=DOCKER0),), None),
    (
        "it refuses, and another one works",
        (probe("10.0.0.5", "configured", REFUSED), probe(DOCKER0, "gateway")),
        "no_tcp",
    ),
    ("it is silent", (probe("10.0.0.5", "configured", SILENT), probe(DOCKER0, "gateway")), "no_handshake"),
    ("one of two works", (probe("10.0.0.5", "configured", REFUSED), probe(DOCKER0, "configured")), None),
    ("nothing works", (probe("10.0.0.5", "configured", REFUSED), probe(DOCKER0, "gateway", REFUSED)), None),
    ("nothing was configured", (probe("10.0.0.5", "name", REFUSED), probe(DOCKER0, "gateway")), None),
]


@pytest.mark.parametrize("probes, level", [row[1:] for row in CONFIGURED], ids=[row[0] for row in CONFIGURED])
def test_a_route_that_works_elsewhere_does_not_make_the_configured_target_good(probes, level):
    diagnosis = diagnose(run(BRIDGE, *probes))
    assert diagnosis.verdict.configured == (Level(level) if level else None)
    if level:
        assert diagnosis.verdict.level is Level.USABLE and exit_code(diagnosis) in (2, 3)


def test_a_repaired_setting_is_a_warning_and_keeps_the_session():
    setting = RepairedSetting("IB_HOST", "'gw\\r'", ("a CR at its end",), "gw")
    asked = Asked(configured_from="IB_HOST", repaired=(setting,))
    evidence = run(BRIDGE, probe("gw", "configured", address=DOCKER0), asked=asked)
    diagnosis = diagnose(load(dump(evidence)))
    assert [(one.code, one.message) for one in diagnosis.findings] == [
        ("IBD107", "IB_HOST 'gw\\r' has a CR at its end; gw was used")
    ]
    assert (exit_code(diagnosis), exit_code(diagnosis, fail_on_warning=True)) == (0, 5)


def test_a_version_is_ours_at_our_maximum_only_and_every_account_counts():
    evidence = run(BRIDGE, probe(DOCKER0, "configured", account_count=40))
    assert diagnose(evidence).verdict.line.endswith("session usable (server version at least 176, 40 accounts).")
    kept = replace(evidence.probes[0], accounts=("DU***567",) * 16, account_count=None)  # of a file from before
    line = diagnose(replace(evidence, probes=(kept,))).verdict.line
    assert line.endswith("session usable (server version at least 176, 16 accounts or more).")
    asked = replace(evidence.asked, max_version=223)
    assert "(server version 176, 40" in diagnose(replace(evidence, asked=asked)).verdict.line
    old = replace(
        evidence, asked=replace(asked, max_version=151), probes=(replace(evidence.probes[0], server_version=151),)
    )
    assert diagnose(old).findings == ()


def test_an_answer_that_the_usual_clients_do_not_wait_for_is_a_warning():
    evidence = run(BRIDGE, probe(DOCKER0, "configured"))
    for seconds, codes in ((3.9, []), (5.5, ["IBD507"])):
        late = replace(evidence, probes=(slow(evidence.probes[0], seconds),))
        assert [one.code for one in diagnose(late).findings] == codes
