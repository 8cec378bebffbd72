"""Every text of a finding in every kind of place: no word that does not belong there."""

import re
from dataclasses import replace

import pytest

from diagnostics.evidence import Fact
from diagnostics.findings.catalogue import CATALOGUE, ELSEWHERE
from diagnostics.findings.wording import worded
from diagnostics.place.setting import (
    DOCKERS,
    HOST_NETWORK,
    IN_VM,
    NO_CONTAINER,
    NO_NETWORK,
    PODMANS,
    ROOTLESS,
    WSL,
    Setting,
    setting_of,
)
from diagnostics.report.explain import page_text
from diagnostics.report.text import text_report
from diagnostics.rules.advice import advice
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.run_view import look_at
from tests.diagnostics.findings.test_commands import readable
from tests.diagnostics.place.test_setting import PLACES
from tests.diagnostics.recorded import CASES, REFUSED, probe, run

POD, SYSTEM, MACOS = {Setting.POD}, {Setting.SYSTEM_CONTAINER}, {Setting.MACOS}
LINUX_ONLY = r"\bufw\b|\bnft\b|iptables|\bbridge\b"
SS = r"(?<!GATEWAY )\bss -"
FOREIGN = [
    # (where, words that do not belong there)
    (NO_CONTAINER, r"this container|(start|attach|give|inside) (the|a|this) container(?!')|\bCLIENT\b|docker run"),
    (NO_CONTAINER | SYSTEM | POD, r"container's network|network_mode|extra_hosts|--add-host"),
    (MACOS, rf"{LINUX_ONLY}|{SS}|\bip (route|neigh|link|-4)|getent|docker0|systemd|systemctl"),
    (WSL, rf"{LINUX_ONLY}|subnet"),
    (IN_VM, rf"\bufw\b|\bnft\b|iptables|docker0|{SS}|on the bridge|--add-host"),
    (PODMANS, r"\bdocker (?!-)|\bDocker\b|docker-proxy|host\.docker\.internal"),
    (POD, r"\bdocker |\bDocker\b|docker-proxy|podman|this container|docker0|bridge|\bCLIENT\b|the published port"),
    (SYSTEM, r"\bDocker\b|docker-proxy"),
    (set(Setting) - POD, r"kubectl|\bpods?\b|Kubernetes|targetPort"),
    ((DOCKERS | PODMANS) - HOST_NETWORK, r"\bthis machine\b"),
    (DOCKERS | NO_CONTAINER | SYSTEM | POD, r"\b[Pp]odman\b|host\.containers\.internal"),
    (NO_CONTAINER | HOST_NETWORK | NO_NETWORK | POD | SYSTEM, r"host\.(docker|containers)\.internal(?!:host-gateway)"),
    (HOST_NETWORK, r"docker run|network connect|host-gateway"),
    ({Setting.DOCKER_SWARM}, r"docker run|network connect|docker compose|network_mode"),
    (set(Setting) - {Setting.DOCKER_SWARM}, r"docker service|docker_gwbridge|stack file|overlay"),
    (ROOTLESS, r"listens? on the bridge|--add-host|host-gateway(?!-ip)(?! is| means)"),
    (set(Setting) - MACOS, r"\blsof\b|macOS"),
    (set(Setting) - WSL, r"\.exe\b|mirrored"),
    (MACOS | IN_VM | WSL, r"Recv-Q (of the listening|above)"),
]
# Not found there: rules/routes.py asks for the place first.
ONLY_IN = {
    "IBD104": IN_VM,
    "IBD211": ROOTLESS,
    "IBD901": {Setting.LINUX} | HOST_NETWORK,
    "IBD106": (DOCKERS | PODMANS | {Setting.SYSTEM_CONTAINER}) - HOST_NETWORK,
}


def words(known, code):
    """All that is said of a code in a place: on a route that was refused, and about the gateway as a whole."""
    facts = tuple(Fact(name, value, "a test") for name, value in known.items())
    seen = look_at(run(facts, probe("ib-gateway", "configured", REFUSED, "172.18.0.3")))
    return [advice(seen, code, probes) for probes in (seen.judged, ())]


@pytest.mark.parametrize(("known", "setting"), PLACES, ids=[f"{at}-{one.name}" for at, (_, one) in enumerate(PLACES)])
def test_no_word_of_a_fix_a_check_or_a_command_is_foreign(known, setting):
    wrong = []
    for code in CATALOGUE:
        if setting not in ONLY_IN.get(code, set(Setting)):
            continue
        for said in words(known, code):
            for text in (said.fix, said.check, *said.commands):
                wrong += [
                    (code, match[0], text)
                    for where, pattern in FOREIGN
                    if setting in where and (match := re.search(pattern, text))
                ]
    assert wrong == []


OF_A_PLACE = ("os", "container", "runtime", "flavour", "network_mode", "rootless")


def report(known, case):
    """What a recorded run would say in that place, a line for each text; what was dialled and seen has no names."""
    facts = [fact for fact in case.evidence.facts if fact.name not in OF_A_PLACE]
    facts += [Fact(name, value, "a test") for name, value in known.items()]
    evidence = replace(case.evidence, facts=tuple(facts))
    told = text_report(evidence, diagnose(evidence), width=10_000)
    for host in sorted({one.route.host for one in evidence.probes}, key=len, reverse=True):
        told = told.replace(host, "TARGET")
    for forwarder in evidence.host.forwarders if evidence.host else ():
        told = re.sub(rf"\b{forwarder.program}(?= (passes|has|leads|for) )", "PROGRAM", told)
    return told


@pytest.mark.parametrize(("known", "setting"), PLACES, ids=[f"{at}-{one.name}" for at, (_, one) in enumerate(PLACES)])
def test_no_word_of_a_report_is_foreign(known, setting):
    """Verdict, titles, what was seen, what it may be: of every run there is, as if it had been made there."""
    foreign = [pattern for where, pattern in FOREIGN if setting in where]
    wrong = {
        line
        for case in CASES
        for line in report(known, case).splitlines()
        if any(re.search(pattern, line) for pattern in foreign)
    }
    assert wrong == set()


def test_in_mirrored_mode_a_time_out_may_be_a_closed_port():
    known = next(known for known, setting in PLACES if setting is Setting.WSL_MIRRORED)
    told = report(known, next(case for case in CASES if case.name == "filtered"))
    assert "without one it is closed, which mirrored mode swallows" in told and "it is swallowed, not refused" in told


@pytest.mark.parametrize("code", CATALOGUE)
def test_the_page_of_a_code_does_not_say_where_its_reader_is(code):
    assert not re.search(r"\bthis (very )?(container|machine|pod|run)\b", page_text(CATALOGUE[code], width=10_000))


@pytest.mark.parametrize("setting", Setting, ids=lambda setting: setting.name)
def test_no_word_of_what_decides_between_candidates_is_foreign(setting):
    for entry in CATALOGUE.values():
        for known in entry.explanations:
            if setting in ONLY_IN.get(known.code, set(Setting)):
                for text in (known.check, known.check_after_fin):
                    said = worded(setting, text)
                    found = [pattern for where, pattern in FOREIGN if setting in where and re.search(pattern, said)]
                    assert found == [], (entry.code, known.code, said)


@pytest.mark.parametrize(("known", "setting"), PLACES, ids=[f"{at}-{one.name}" for at, (_, one) in enumerate(PLACES)])
def test_every_command_of_ours_can_be_read_in_every_place(known, setting):
    for code in CATALOGUE:
        for said in words(known, code):
            assert said.fix and said.check
            for command in said.commands:
                assert readable(command) or not command.startswith("ib-"), command


@pytest.mark.parametrize("code", ELSEWHERE)
def test_the_words_for_a_place_are_as_short_and_plain_as_the_others(code):
    for row in ELSEWHERE[code]:
        assert row.where and (row.fix or row.check or row.commands is not None)
        assert len(row.fix) <= 260 and len(row.check) <= 160 and all(len(line) <= 76 for line in row.commands or ())
        for text in filter(None, (row.fix, row.check)):
            assert text.isascii() and text[-1] in ".?" and "  " not in text
        assert set(re.findall(r"IBD\d+", row.fix + row.check)) <= set(CATALOGUE)


@pytest.mark.parametrize("code", ELSEWHERE)
def test_every_row_of_words_for_a_place_is_reached(code):
    firsts = [
        next((row for row in ELSEWHERE[code] if row.holds(setting, on_loopback)), None)
        for setting in Setting
        for on_loopback in (False, True)
    ]
    assert all(row in firsts for row in ELSEWHERE[code])


def test_a_place_of_the_table_is_the_one_it_says():
    assert all(setting_of(known.get) is setting for known, setting in PLACES)
