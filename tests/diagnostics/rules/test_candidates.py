"""Where the container alone cannot tell: every order has its checks; what is seen moves or removes an explanation."""

from dataclasses import replace

import pytest

from diagnostics.evidence import HostView, KernelView, ListeningSocket
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.rules.candidates import explanation_of, meaning
from diagnostics.rules.diagnose import diagnose
from tests.diagnostics.recorded import (
    BRIDGE,
    CASES,
    DOCKER0,
    ENDED,
    LOCAL_SILENCE,
    LOGGED_IN,
    PLAIN,
    RESET,
    SILENT,
    probe,
    run,
)

OPEN = ListeningSocket("0.0.0.0", 4003, 0, 50)


def codes(evidence):
    return [one.code for one in diagnose(evidence).findings[0].candidates]


def silence(**known):
    return run(BRIDGE, probe(DOCKER0, "configured", SILENT, **known))


def here(**seen):
    return run(PLAIN, *LOCAL_SILENCE, host=HostView(**seen))


KNOWN = [
    ("nothing more is known", silence(), ["IBD305", "IBD304", "IBD306", "IBD307", "IBD210", "IBD309"]),
    (
        "the bytes were acknowledged",
        silence(kernel=KernelView(0, 0, 0)),
        ["IBD305", "IBD304", "IBD306", "IBD307", "IBD309"],
    ),
    (
        "a kernel that says nothing",
        silence(kernel=KernelView()),
        ["IBD305", "IBD304", "IBD306", "IBD307", "IBD210", "IBD309"],
    ),
    ("sockets that could not be looked at", here(), ["IBD305", "IBD306", "IBD307", "IBD304", "IBD309"]),
    ("nobody dials", here(syn_sent=0), ["IBD305", "IBD306", "IBD304", "IBD309"]),
    (
        "the queue is empty: a stopped process is unlikely, unless a relay has the port",
        here(listeners=(OPEN,)),
        ["IBD305", "IBD307", "IBD304", "IBD306", "IBD309"],
    ),
]


@pytest.mark.parametrize(("name", "evidence", "wanted"), KNOWN, ids=[row[0] for row in KNOWN])
def test_what_is_known_moves_or_removes_an_explanation(name, evidence, wanted):
    assert codes(evidence) == wanted


def test_sockets_of_the_container_say_nothing_about_a_gateway_elsewhere():
    """/proc/net/tcp of a container with its own network: empty, and the route leads out of it."""
    away = replace(silence(), host=HostView((), 0, 0, 0))
    assert codes(away) == codes(silence())


def test_a_log_that_says_logged_in_removes_the_login():
    case = next(one for one in CASES if one.name == "closed-at-once")
    assert codes(replace(case.evidence, log_states=LOGGED_IN)) == ["IBD310", "IBD301", "IBD302", "IBD505"]


AT_ACCEPT = [(how, address) for how in (ENDED, RESET) for address in ("127.0.0.1", "::1", "127.0.0.2")]


@pytest.mark.parametrize(("how", "address"), AT_ACCEPT)
def test_loopback_is_the_last_address_that_a_gateway_turns_away(how, address):
    """However it ended; and what decides is not what was done already."""
    (finding,) = diagnose(run(PLAIN, probe(address, "configured", how, address))).findings
    assert (finding.code, finding.candidates[0].code, finding.candidates[-1].code) == ("IBD301", "IBD301", "IBD302")
    assert finding.candidates[-1].check == "A relay has the port, and its log says acl_denied or connection_limit."


def test_a_reset_from_elsewhere_may_well_be_for_the_address():
    assert codes(run(BRIDGE, probe(DOCKER0, "configured", RESET)))[0] == "IBD302"


@pytest.mark.parametrize("case", [one for one in CASES if one.candidates], ids=lambda case: case.name)
def test_every_explanation_comes_with_a_check_that_no_other_has(case):
    for finding in diagnose(case.evidence).findings:
        checks = [one.check for one in finding.candidates]
        assert all(10 <= len(check) <= 180 and check[-1] in ".?" for check in checks)
        assert len(set(checks)) == len(checks)


def test_how_it_ended_tells_what_a_relay_in_between_has_met():
    """A refused dial comes back as a reset, one that was closed as a FIN: each has its word in the relay's log."""
    words = {"closed-after-hello": "upstream_closed", "nothing-behind-the-relay": "connection_refused"}
    for case in (one for one in CASES if one.name in words):
        checks = {one.code: one.check for one in diagnose(case.evidence).findings[0].candidates}
        assert [word for word in words.values() if word in checks["IBD301"]] == [words[case.name]]


def test_what_a_candidate_is_depends_on_the_finding_it_explains():
    assert meaning("IBD303", "IBD305") == CATALOGUE["IBD305"].title
    assert meaning("IBD201", "IBD201") == CATALOGUE["IBD201"].causes[0], "a finding is no explanation of itself"
    assert meaning("IBD404", "IBD301").startswith("a relay or another forwarder"), "what its entry says of it"
    assert explanation_of("IBD303", "IBD101") is None and meaning("IBD303", "IBD101") == CATALOGUE["IBD101"].title
