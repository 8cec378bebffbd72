"""Where the container alone cannot tell: every order has its checks; what is seen moves or removes an explanation."""

from dataclasses import replace

import pytest

from diagnostics.evidence import Forwarder, HostView, KernelView, ListeningSocket
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.rules.candidates import explanation_of, meaning
from diagnostics.rules.diagnose import diagnose
from tests.diagnostics.recorded import (
    BRIDGE,
    CASES,
    CLOSED,
    DOCKER0,
    ENDED,
    LOCAL_SILENCE,
    LOGGED_IN,
    PLAIN,
    REFUSED,
    RESET,
    SILENT,
    UNKNOWN_PLACE,
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


TAKES = ListeningSocket("127.0.0.1", 4002, 0, 4096)
HERE = {"port": 4002, "source": "127.0.0.1"}


def forwarded(end, *more, program="docker-proxy", to="172.17.0.3", port=4002):
    """Port 4002 of this machine ends like that, where a forwarder has it."""
    host = HostView(
        (TAKES, replace(TAKES, port=4001)), 0, 0, 0, (Forwarder(program, "127.0.0.1", 4002, to and f"{to}:{port}"),)
    )
    return run(PLAIN, probe("127.0.0.1", "configured", end, **HERE), *more, host=host)


def behind(end, port=4002):
    return probe("172.17.0.3", "behind", end, port=port, source="172.17.0.1")


LOGIN = ["IBD601", "IBD602", "IBD605", "IBD607"]
FORWARDED = [
    ("the gateway's own port ends it", forwarded(ENDED, behind(ENDED)), ["IBD302", "IBD301", *LOGIN]),
    ("and ends it at the hello", forwarded(CLOSED, behind(CLOSED)), ["IBD302", "IBD301", "IBD404", "IBD601"]),
    (
        "the port of an image's forwarder ends it",
        forwarded(ENDED, behind(ENDED, 4004), port=4004),
        ["IBD301", "IBD302", *LOGIN],
    ),
    ("nobody is behind it", forwarded(ENDED, behind(REFUSED, 4004), port=4004), ["IBD301", *LOGIN]),
    ("what is behind it was not seen", forwarded(ENDED), ["IBD301", "IBD302", *LOGIN]),
    ("it leads to where a name leads", forwarded(ENDED, program="socat", to=None), ["IBD301", "IBD302", *LOGIN]),
    (
        "it leads to loopback, which a gateway trusts",
        forwarded(ENDED, program="socat", to="127.0.0.1", port=4001),
        ["IBD301", *LOGIN, "IBD302"],
    ),
    *(
        (
            f"it leads to loopback, which ends it, too: {how.outcome.name} at {how.stage.name}",
            forwarded(how, probe("127.0.0.1", "behind", how, port=4001), program="socat", to="127.0.0.1", port=4001),
            wanted,
        )
        for how, wanted in (
            (ENDED, ["IBD301", *LOGIN, "IBD302"]),
            (RESET, ["IBD301", *LOGIN, "IBD302"]),
            (CLOSED, ["IBD301", "IBD404", "IBD601", "IBD302"]),
        )
    ),
    (
        "the same gateway has a session on another port",
        forwarded(ENDED, behind(ENDED), probe("172.17.0.3", "sibling", port=4004)),
        ["IBD302", "IBD301"],
    ),
    (
        "the live gateway has a session, and the paper one is asked",
        forwarded(ENDED, behind(ENDED, 4004), probe("172.17.0.3", "sibling", port=4003), port=4004),
        ["IBD301", "IBD302", *LOGIN],
    ),
    (
        "silence: what a gateway in a container leaves over is not seen here",
        forwarded(SILENT),
        ["IBD305", "IBD304", "IBD306", "IBD210", "IBD309"],
    ),
    (
        "nobody sees what has the port, as on a Mac",
        run(UNKNOWN_PLACE, probe("127.0.0.1", "configured", ENDED, source="127.0.0.1")),
        ["IBD301", "IBD302", *LOGIN, "IBD505"],
    ),
]


@pytest.mark.parametrize(("name", "evidence", "wanted"), FORWARDED, ids=[row[0] for row in FORWARDED])
def test_behind_a_forwarder_what_it_dials_decides_and_loopback_is_not_what_the_gateway_sees(name, evidence, wanted):
    assert codes(evidence) == wanted


def test_what_a_forwarder_passes_on_to_is_told_and_a_session_beside_it_is_in_the_verdict():
    diagnosis = diagnose(forwarded(ENDED, behind(ENDED), probe("172.17.0.3", "sibling", port=4004)))
    assert diagnosis.findings[0].message.endswith("; docker-proxy passes it on to 172.17.0.3:4002, which ends it, too")
    assert "; but 172.17.0.3:4004 works, session usable" in diagnosis.verdict.line
    for end, does in ((REFUSED, "refuses"), (SILENT, "gives no answer, either")):
        message = diagnose(forwarded(CLOSED, behind(end))).findings[0].message
        assert message.endswith(f"; docker-proxy passes it on to 172.17.0.3:4002, which {does}")


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
def test_from_loopback_it_is_a_relay_that_turns_away_and_what_decides_is_not_what_was_done_already(how, address):
    """A gateway trusts loopback, and forwarders with nobody behind them end with FIN: a reset is most likely a no."""
    host = HostView((ListeningSocket(address, 4003, 0, 50),), 0, 0, 1)
    (finding,) = diagnose(run(PLAIN, probe(address, "configured", how, address), host=host)).findings
    checks = {one.code: one.check for one in finding.candidates}
    assert (finding.code, finding.candidates[0].code) == ("IBD301", "IBD302" if how is RESET else "IBD301")
    assert checks["IBD302"] == "A relay has the port, and its log says acl_denied or connection_limit."


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
