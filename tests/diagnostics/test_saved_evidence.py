"""Evidence survives being saved, and a file that is none is refused with the place of the trouble."""

import json
from dataclasses import replace

import pytest

from diagnostics.evidence import (
    Asked,
    Evidence,
    Fact,
    HostView,
    KernelView,
    ListeningSocket,
    LogView,
    Outcome,
    Probe,
    ProbeStage,
    Route,
    StageResult,
)
from diagnostics.report.json_report import json_report
from diagnostics.rules.diagnose import diagnose
from diagnostics.saved_evidence import EvidenceError, dump, load, plain

FULL = Evidence(
    1_790_000_000.5,
    "0.1.0",
    Asked(True, 7, 5.0, "IB_HOST"),
    (Fact("os", "Linux 6.1", "uname"), Fact("docker0", None, "/sys/class/net")),
    (
        Probe(
            Route("host.docker.internal", 4003, "name", "Docker's name for its host"),
            (
                StageResult(ProbeStage.RESOLVE, Outcome.OK, 0.001),
                StageResult(ProbeStage.CONNECT, Outcome.REFUSED, 0.0004, "nothing listens there", "ECONNREFUSED"),
                StageResult(ProbeStage.QUIET, Outcome.SKIPPED, detail="CONNECT failed"),
            ),
            ("172.17.0.1", "fe80::1"),
            "172.17.0.1",
            "172.17.0.2",
            None,
            KernelView(1, 3, 17),
            "http",
            True,
            12,
            176,
            "gate:4001",
            ("DU***567",),
            (2104, 326),
            2,
        ),
    ),
    HostView((ListeningSocket("0.0.0.0", 4003, 5, 4),), 3, None),
    ("login_completed",),
    1_790_000_000.0,
)


def test_what_is_saved_is_read_back_the_same():
    assert load(dump(FULL)) == FULL


@pytest.mark.parametrize("field", ["farms", "account_count", "answering"])
def test_a_file_from_before_a_field_was_kept_is_read(field):
    saved = json.loads(dump(FULL))
    del saved["probes"][0][field]
    assert load(json.dumps(saved)) == FULL
    assert load(dump(Evidence(1.0, "0.1.0", Asked()))) == Evidence(1.0, "0.1.0", Asked())


def changed(path, value):
    found = plain(FULL)
    at = found
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return json.dumps(found)


BAD = [
    ("nothing", "", "not JSON"),
    ("no JSON", "{", "not JSON"),
    ("nested without end", "[" * 100_000, "not JSON"),
    ("another object", '{"a": 1}', "no evidence of ib-diagnose"),
    ("a list", "[]", "no evidence of ib-diagnose"),
    ("a later schema", '{"schema_version": 2}', "schema_version 2 was seen, this version reads 1"),
    ("half of it", '{"schema_version": 1}', "evidence: created, tool_version, asked missing"),
    ("a key of another tool", changed(["colour"], 1), "evidence: unknown key 'colour'"),
    ("a text for a number", changed(["created"], "now"), "evidence.created: float was expected, str 'now' was seen"),
    ("no number", changed(["created"], float("nan")), "evidence.created: a number up to"),
    ("a time beyond time", changed(["created"], 1e300), "evidence.created: a number up to"),
    ("a truth for a number", changed(["asked", "client_id"], True), "evidence.asked.client_id: int was expected"),
    (
        "an unknown outcome",
        changed(["probes", 0, "stages", 1, "outcome"], "FINE"),
        "evidence.probes[0].stages[1].outcome: one of",
    ),
    ("too many", changed(["log_states"], ["x"] * 1001), "evidence.log_states: a list of at most 1000"),
    (
        "null where it matters",
        changed(["probes", 0, "route"], None),
        "evidence.probes[0].route: an object was expected, null",
    ),
]


@pytest.mark.parametrize("name, text, message", BAD, ids=[case[0] for case in BAD])
def test_anything_else_is_refused_with_its_place(name, text, message):
    with pytest.raises(EvidenceError) as error:
        load(text)
    assert str(error.value).startswith(message)


def test_an_account_that_somebody_wrote_into_the_file_is_masked():
    text = dump(FULL).replace("DU***567", "U1234567").replace("nothing listens there", "asked as DU7654321")
    (one,) = load(text).probes
    assert (one.accounts, one.stages[1].detail) == (("U***67",), "asked as DU***321")
    opened = replace(FULL, gateway_log=LogView(dialogs=("Account U1234567", "Account U***67")))
    assert load(dump(opened)).gateway_log.dialogs == ("Account U***67", "Account U***67")


def test_what_is_masked_is_not_masked_again():
    for account in ("DU***567", "U***56", "D***", "***", ""):
        one = replace(FULL.probes[0], accounts=(account,))
        assert load(dump(replace(FULL, probes=(one,)))).probes[0].accounts == (account or "***",)


def test_a_report_is_read_for_the_evidence_in_it():
    assert load(json_report(FULL, diagnose(FULL))) == FULL
    with pytest.raises(EvidenceError, match="schema_version 7 was seen"):
        load(json.dumps({"schema_version": 1, "verdict": {}, "evidence": {"schema_version": 7}}))
