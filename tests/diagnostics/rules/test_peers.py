"""Recorded runs about what answers behind an accepted connection: each gives its findings, in order, and no others."""

from dataclasses import replace

import pytest

from diagnostics.evidence import Asked
from diagnostics.findings.entry import Side
from diagnostics.probing.collect import with_log
from diagnostics.rules.diagnose import diagnose
from tests.diagnostics.recorded import (
    BRIDGE,
    CLOSED,
    DOCKER0,
    OPEN,
    PEERS,
    PLAIN,
    REFUSED,
    REFUSED_BEHIND,
    SILENT,
    STRANGER,
    check,
    probe,
    run,
    view,
)


@pytest.mark.parametrize("case", PEERS, ids=lambda case: case.name)
def test_a_recorded_run_gives_its_findings_and_no_others(case):
    check(case)


LISTENED = "2026-11-18T12:00:00Z API server listening on port 4001\n"
LOGIN = "IBC: Login has completed\n"
AT = " (2026-11-18 12:00:00 UTC, 3 h before this run)"
CLOSED_NOW = "nothing listens on it here: it is closed now, or the log is another machine's"
UP = [
    # the gateway's log, the port that is dialled, what is said
    (
        LISTENED + "API in Read-Only mode: true\n",
        4001,
        f"says that the API listened on port 4001{AT}, and {CLOSED_NOW}",
    ),
    (
        LISTENED,
        4002,
        f"says that the API listens on port 4001{AT}",
    ),
    (LOGIN + "API server listening on port 4001\n", 4001, f"says that the API listened on port 4001, and {CLOSED_NOW}"),
    (LOGIN, 4001, "says that the login is complete, and nothing listens on the port here"),
]


@pytest.mark.parametrize("log, port, said", UP)
def test_what_a_log_says_of_a_port_that_is_closed_is_said_and_no_more(log, port, said):
    """A line about the API is none about a login."""
    refused = run(PLAIN, probe("127.0.0.1", "configured", REFUSED, port=port), host=view())
    diagnosis = diagnose(with_log(refused, log))
    found = [(finding.code, finding.message) for finding in diagnosis.findings]
    code, begins = ("IBD310", "") if port == 4001 else ("IBD311", "nothing listens on the port here; ")
    assert found == [(code, f"127.0.0.1:{port}: {begins}the gateway's log {said}")]
    assert "logged in" not in diagnosis.verdict.line


def test_a_port_that_an_old_file_does_not_have_makes_no_login_of_it():
    states = ("api_listening",)
    (found,) = diagnose(run(PLAIN, probe("127.0.0.1", "configured", REFUSED), host=view(), log=states)).findings
    said = "the gateway's log says that the API listens, and nothing listens on the port here"
    assert (found.code, found.message) == ("IBD310", f"127.0.0.1:4003: {said}")


THREE = "ib_insync 0.9.86 (157..176), ib_async 2.1.0 (157..178), rust-ibapi 3.3.0 (213..225)"
VERSIONS = [
    # what the gateway answers, the range that was asked for (None: ours), what is said
    (176, None, None),  # or any newer one: we ask for no more
    (175, None, "server version 175; newer ones are needed by rust-ibapi 3.3.0 (213..225)"),
    (157, None, "server version 157; newer ones are needed by rust-ibapi 3.3.0 (213..225)"),
    (156, None, f"server version 156; newer ones are needed by {THREE}"),
    (142, (157, 178), "server version 142; 157..178 was asked for"),
    (187, (203, 223), "server version 187; 203..223 was asked for"),
    (160, (157, 178), None),
    (151, (100, 151), None),
    (187, (100, 226), None),
    (99, (100, 151), "server version 99; 100..151 was asked for"),
    (177, None, "server version 177; 100..176 was asked for"),
    (300, (157, 178), "server version 300; 157..178 was asked for"),
]


@pytest.mark.parametrize("version, asked, message", VERSIONS)
def test_a_gateway_is_too_old_for_the_client_in_question_or_else_for_libraries_that_are_named(version, asked, message):
    lowest, highest = asked or (Asked().min_version, Asked().max_version)
    answers = lowest <= version <= highest
    one = probe(DOCKER0, "configured", *(() if answers else (STRANGER,)), server_version=version)
    diagnosis = diagnose(run(BRIDGE, one, asked=Asked(min_version=lowest, max_version=highest)))
    found = [(finding.code, finding.message) for finding in diagnosis.findings]
    assert found == ([] if message is None else [("IBD406", f"{DOCKER0}:4003: {message}")])
    assert diagnosis.verdict.line.startswith("Works" if answers else "Does not work")


@pytest.mark.parametrize(
    "version, asked, words, pulls",
    [
        (99, (100, 151), "Update IB Gateway or TWS", True),
        (142, (157, 178), "Update IB Gateway or TWS", True),
        (176, (100, 150), "Update the client library", False),
    ],
)
def test_what_is_to_be_updated_is_what_is_older(version, asked, words, pulls):
    one = probe(DOCKER0, "configured", STRANGER, server_version=version)
    (found,) = diagnose(run(BRIDGE, one, asked=Asked(min_version=asked[0], max_version=asked[1]))).findings
    assert found.fix.startswith(words) and any("docker pull" in command for command in found.commands) is pulls


HALVES = [
    # how it went on, what is known of the hello, what is said
    (SILENT, {"bytes_received": 12, "hello_length": 30}, "only 12 of 30 bytes of the gateway's hello came in 5.0 s"),
    (SILENT, {"bytes_received": 1}, "only 1 byte came in 5.0 s; a gateway's hello may begin so"),
    (SILENT, {"bytes_received": 5, "hello_length": 30}, "only 5 of 30 bytes of the gateway's hello came in 5.0 s"),
    (
        CLOSED,
        {"bytes_received": 4, "hello_length": 30},
        "4 bytes came, then it was closed (FIN) after 3 ms; a gateway's hello may begin so",
    ),
    (
        CLOSED,
        {"bytes_received": 10, "hello_length": 30},
        "10 of 30 bytes of the gateway's hello came, then it was closed (FIN) after 3 ms",
    ),
    (
        REFUSED_BEHIND,
        {"bytes_received": 10, "hello_length": 30},
        "10 of 30 bytes of the gateway's hello came, then it was reset after 3 ms",
    ),
]


@pytest.mark.parametrize("end, known, message", HALVES)
def test_the_beginning_of_a_gateways_hello_is_no_strangers_answer_and_not_none(end, known, message):
    end = end if end is SILENT else replace(end, seconds=0.003)
    diagnosis = diagnose(run(BRIDGE, probe(DOCKER0, "configured", end, **known)))
    assert [(one.code, one.message) for one in diagnosis.findings] == [("IBD408", f"{DOCKER0}:4003: {message}")]
    assert diagnosis.verdict.side is Side.UNCLEAR
    waits_longer = any("--timeout 20" in command for command in diagnosis.findings[0].commands)
    assert waits_longer is (end is SILENT), "more time is of use only where time ran out"


def test_a_gateway_that_ends_the_handshake_may_speak_none_of_the_versions_a_client_asks_for():
    for asked, said in (
        (Asked(), "without an answer"),
        (Asked(min_version=203, max_version=223), "; 203..223 was asked for, of which it may speak none"),
    ):
        (finding,) = diagnose(run(BRIDGE, probe(DOCKER0, "configured", CLOSED), asked=asked)).findings
        assert finding.code == "IBD404" and finding.message.endswith(said)


PAPER_OF_OTHERS = probe("127.0.0.1", "sibling", port=4002, source="127.0.0.1")
VERSIONS = [
    # (what is there, how it ends, other routes, the findings with our own range)
    ("nothing else", CLOSED, (), ["IBD404"]),
    ("another gateway on the machine", CLOSED, (PAPER_OF_OTHERS,), ["IBD204"]),
    ("a reset, alone", REFUSED_BEHIND, (), ["IBD404"]),
]


@pytest.mark.parametrize("end, others, codes", [row[1:] for row in VERSIONS], ids=[row[0] for row in VERSIONS])
def test_an_end_at_the_hello_of_a_client_is_first_of_all_its_versions_and_not_the_port(end, others, codes):
    one = probe("127.0.0.1", "configured", end, port=5003, source="127.0.0.1")
    ours = run(PLAIN, one, *others, host=view(replace(OPEN, port=5003)))
    assert [finding.code for finding in diagnose(ours).findings] == codes
    (finding,) = diagnose(replace(ours, asked=Asked(min_version=203, max_version=223))).findings
    first, second = finding.candidates[:2]
    assert (finding.code, first.code, second.code) == ("IBD404", "IBD404", "IBD301")
    assert first.check.startswith("ib-diagnose --target 127.0.0.1:5003 without --client-versions")
    assert finding.commands[0] == "ib-diagnose --target 127.0.0.1:5003 --verbose"
