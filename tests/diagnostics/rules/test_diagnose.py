"""All rules together: a healthy run has no finding, every code has its run, a cause silences its effects, none raises.

What each recorded run has to give is checked in the tests of the rules it is about.
"""

import re
from dataclasses import fields, replace

import pytest

from diagnostics.evidence import (
    Asked,
    DialSeen,
    Evidence,
    Fact,
    Forwarder,
    HostView,
    KernelView,
    ListeningSocket,
    LogView,
    Probe,
    Route,
    StageResult,
)
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.rules.diagnose import RULES, diagnose
from diagnostics.rules.diagnosis import Level
from diagnostics.saved_evidence import dump, load, plain_object
from tests.diagnostics.recorded import (
    BANNER,
    BRIDGE,
    BY_NAME,
    CASES,
    DOCKER_ROOTLESS,
    FOLDER,
    HEALTHY,
    HOST_NETWORK,
    NO_NETWORK,
    NO_NETWORK_PLACE,
    NOT_PLAYED,
    OPEN,
    PLAIN,
    SLIRP,
    STORED,
    STRANGER,
    UNKNOWN_PLACE,
    check,
    docker,
    files,
    run,
    view,
)
from tests.diagnostics.recorded import (
    probe as route,
)


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_a_healthy_set_up_has_no_finding(case):
    check(case)


def test_names_of_cases_are_unique():
    assert len(BY_NAME) == len(CASES)


def test_the_files_are_what_the_cases_say():
    """After a change `python -m tests.diagnostics.recorded` writes them anew."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")} == files()


@pytest.mark.parametrize("name", STORED)
def test_a_file_is_read_as_the_run_it_was_made_of(name):
    assert load((FOLDER / f"{name}.json").read_text(encoding="utf-8")) == BY_NAME[name].evidence


def test_the_files_have_a_value_for_every_field_of_the_format():
    known = set().union(*(keys_with_values(plain_object(BY_NAME[name].evidence)) for name in STORED))
    kinds = (
        Asked,
        DialSeen,
        Evidence,
        Fact,
        Forwarder,
        HostView,
        KernelView,
        ListeningSocket,
        LogView,
        Probe,
        Route,
        StageResult,
    )
    every = {field.name for kind in kinds for field in fields(kind)}
    assert every - known == {"same_as"}  # of two names for one address; none of the recorded runs has any


def keys_with_values(value):
    if isinstance(value, list):
        return set().union(*map(keys_with_values, value))
    if not isinstance(value, dict):
        return set()
    named = {key for key, inner in value.items() if inner not in (None, [], "")}
    return named.union(*map(keys_with_values, value.values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_saved_run_is_diagnosed_like_the_run(case):
    saved = load(dump(case.evidence))
    assert saved == case.evidence and diagnose(saved) == diagnose(case.evidence)


def test_no_code_is_without_a_case_and_no_case_without_a_code():
    found = {code for case in CASES for code in case.codes}
    offered = {code for case in CASES for code in case.candidates}
    # A stopped process looks like a wedged gateway from every place a run can look from: only offered, never found.
    assert set(CATALOGUE) - found == {"IBD306"}
    assert "IBD306" in offered
    assert found | offered <= set(CATALOGUE)


def test_every_code_has_one_rule_at_most_and_every_rule_a_code():
    codes = [code for code, _ in RULES]
    assert len(codes) == len(set(codes))
    assert set(CATALOGUE) - set(codes) == {"IBD306", "IBD703"}  # 703 is about the findings, see diagnose


def test_what_needs_a_log_or_hardware_is_covered_by_a_recorded_run():
    assert {code for case in CASES for code in case.codes} >= NOT_PLAYED


def test_what_was_asked_for_comes_first():
    diagnosis = diagnose(BY_NAME["refused-here-dropped-there"].evidence)
    assert [(one.code, one.routes) for one in diagnosis.findings] == [
        ("IBD205", ("10.0.0.5:4003",)),
        ("IBD201", ("host.docker.internal:4003",)),
    ]


def test_a_cause_silences_its_effect_on_its_own_routes_only():
    """Refused on two routes, one of them loopback of the container itself: the other one still needs an answer."""
    alone, both = BY_NAME["localhost-in-container"].evidence, BY_NAME["refused-everywhere"].evidence
    mixed = replace(both, probes=alone.probes + both.probes)
    assert [(one.code, one.routes) for one in diagnose(mixed).findings] == [
        ("IBD106", ("127.0.0.1:4003",)),
        ("IBD201", ("host.docker.internal:4003", "172.18.0.1:4003")),
    ]


def test_on_loopback_a_full_queue_is_thought_of_before_a_firewall():
    local = diagnose(BY_NAME["filtered-on-loopback"].evidence).findings[0]
    away = diagnose(BY_NAME["filtered"].evidence).findings[0]
    assert [one.candidates[0].code for one in (local, away)] == ["IBD207", "IBD205"]
    assert "accept queue" in local.fix and "accept queue" not in away.fix and "firewall" in away.fix
    assert local.commands == ("ss -ltn 'sport = :4003'",)


def test_commands_are_filled_in_for_the_route():
    refused = diagnose(BY_NAME["refused-everywhere"].evidence).findings[0]
    assert refused.commands[0] == "ss -ltnp 'sport = :4003'"
    sibling = diagnose(BY_NAME["another-port-answers"].evidence).findings[0]
    assert sibling.commands[0] == "ib-diagnose --target 172.17.0.1:4001"
    redirected = diagnose(BY_NAME["redirected"].evidence).findings[0]
    assert redirected.commands == ("ib-diagnose --target 10.0.0.9:4001",)


@pytest.mark.parametrize("host", ["a;reboot", "$(reboot)", "-oProxyCommand=x", "", "a b", "`x`", "a\nb"])
def test_a_host_that_is_no_plain_name_gets_into_no_command(host):
    evidence = BY_NAME["name-unknown-everywhere"].evidence
    route = replace(evidence.probes[0].route, host=host, kind="configured")
    found = diagnose(replace(evidence, probes=(replace(evidence.probes[0], route=route),)))
    commands = [line for one in found.findings for line in one.commands]
    assert [line for line in commands if host and host in line] == []
    assert [line for line in commands if re.search(r"\bHOST\b", line)] == [], "which nobody can type"


def test_a_run_without_routes_or_stages_is_no_error():
    empty = BY_NAME["filtered"].evidence
    probe = replace(empty.probes[0], stages=(), addresses=(), address=None)
    for probes in ((), (probe,), (probe, probe)):
        diagnosis = diagnose(replace(empty, probes=probes))
        assert (diagnosis.findings, diagnosis.verdict.level) == ((), Level.NO_TCP)


@pytest.mark.slow
def test_any_step_left_out_or_failed_anywhere_is_no_error():
    """Evidence may come from a file: every rule meets probes that no run would have made."""
    for case in CASES:
        for at, probe in enumerate(case.evidence.probes):
            for kept in range(len(probe.stages)):
                for stages in (probe.stages[:kept], probe.stages[kept:][::-1]):
                    for changed in (
                        replace(probe, stages=stages),
                        replace(probe, stages=stages, address=None, addresses=(), kernel=None),
                    ):
                        probes = (*case.evidence.probes[:at], changed, *case.evidence.probes[at + 1 :])
                        assert diagnose(replace(case.evidence, probes=probes)).verdict.line


def test_what_is_not_known_is_not_taken_for_no():
    """Without facts, host view and log nothing may be excluded that they would have excluded."""
    doubtful = {f"IBD{number}" for number in (104, 106, 202, 207, 304, 305, 309, 310, 505)}
    for case in CASES:
        blind: Evidence = replace(case.evidence, facts=(), host=None, log_states=(), gateway_log=None)
        for finding in diagnose(blind).findings:
            assert finding.code not in doubtful
            assert not finding.code.startswith("IBD6")


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        (SLIRP, "IBD211", "allow_host_loopback=true"),
        (DOCKER_ROOTLESS, "IBD211", "DISABLE_HOST_LOOPBACK=false"),
        (BRIDGE, "IBD209", "network"),
        (NO_NETWORK_PLACE, "IBD209", "network"),
    ],
    ids=["slirp4netns", "rootless-docker", "bridge", "none"],
)
def test_no_network_although_there_is_a_gateway_is_the_rootless_engine(place, code, words):
    found = diagnose(run(place, route("10.0.2.2", "configured", NO_NETWORK))).findings
    assert [one.code for one in found] == [code] and words in found[0].fix
    if code == "IBD211":
        assert "ib-relay run --listen HOSTIP:4003 --allow HOSTIP/32" in found[0].commands


@pytest.mark.parametrize(
    ("place", "address", "codes"),
    [
        (PLAIN, "0.0.0.0", ["IBD901"]),
        (PLAIN, "::", ["IBD901"]),
        (HOST_NETWORK, "0.0.0.0", ["IBD901"]),
        (PLAIN, "127.0.0.1", []),
        (BRIDGE, "0.0.0.0", []),
        (docker("host", "10.0.2.100", "10.0.2.2", "10.0.2.3", rootless="yes"), "0.0.0.0", []),
        (UNKNOWN_PLACE, "0.0.0.0", []),
    ],
)
def test_a_forwarder_that_is_open_to_everybody_is_told_on_the_machine_it_is_on(place, address, codes):
    host = replace(view(OPEN), forwarders=(Forwarder("socat", address, 4003),))
    found = diagnose(run(place, route("127.0.0.1", "configured"), host=host)).findings
    assert [one.code for one in found] == codes
    assert not codes or "socat for port 4003" in found[0].message


@pytest.mark.parametrize(
    ("end", "known", "code"),
    [
        (BANNER, {"first_bytes": "ssh", "spoke_first": True}, "IBD401"),
        (STRANGER, {"first_bytes": "http"}, "IBD402"),
        (STRANGER, {"first_bytes": "tls"}, "IBD403"),
        (STRANGER, {"first_bytes": "garbage"}, "IBD405"),
        (STRANGER, {"server_version": 99}, "IBD406 IBD901"),
        (STRANGER, {"redirect": "10.0.0.9:4001"}, "IBD407 IBD901"),
    ],
)
def test_nobody_trades_by_way_of_a_forwarder_that_leads_to_another_service(end, known, code):
    """Another forwarder of the same machine may lead to a gateway all the same."""
    socat = Forwarder("socat", "0.0.0.0", 4003, "127.0.0.1:8080")
    evidence = run(PLAIN, route("127.0.0.1", "configured", end, **known), host=replace(view(OPEN), forwarders=(socat,)))
    assert {one.code for one in diagnose(evidence).findings} == set(code.split())
    both = replace(view(OPEN), forwarders=(socat, replace(socat, port=4001)))
    (exposed,) = [one for one in diagnose(replace(evidence, host=both)).findings if one.code == "IBD901"]
    assert "port 4001" in exposed.message and ("port 4003" in exposed.message) is ("IBD901" in code)
