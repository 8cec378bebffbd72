"""The text, the JSON and the page of a code: what is promised about each, and the golden reports."""

import json
import re

import pytest

from diagnostics.evidence import Asked, Evidence, Fact, Outcome, Probe, Route, Stage, StageResult, load, plain
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import Side
from diagnostics.report import json_report
from diagnostics.report import text as report
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.diagnosis import Candidate, Diagnosis, Finding, Level, Verdict
from tests.diagnostics.golden import NAMES, REPORTS, evidence_of, hostile, reports

EVIL = "a\x1b[31m\x00\u202e\u2066b\x9b2J\r\nc\ud800"
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def results(*outcomes):
    """(outcome, seconds) from RESOLVE on, SKIPPED after them."""
    outcomes += ((Outcome.SKIPPED, None),) * (len(Stage) - len(outcomes))
    return tuple(StageResult(stage, *one) for stage, one in zip(Stage, outcomes, strict=True))


SILENT = results((Outcome.OK, 0.001), (Outcome.OK, 0.001), (Outcome.OK, 0.15), (Outcome.TIMED_OUT, 5.0))
ROUTE = Route("host.docker.internal", 4003, "name", "the host")


def evidence(*probes, **known):
    return Evidence(
        1763740000.0, "1.2.3", Asked(), probes=probes or (Probe(ROUTE, SILENT, address="172.17.0.1"),), **known
    )


def diagnosis(
    *findings, line="does not work: nothing answers", level=Level.NO_HANDSHAKE, route="host.docker.internal:4003"
):
    return Diagnosis(Verdict(level, line, route, Side.GATEWAY), findings)


SILENCE = Finding(
    "IBD303",
    "no answer in 5.0 s",
    ("host.docker.internal:4003",),
    (Candidate("IBD305", "look for CLOSE_WAIT"), Candidate("IBD304", "look at the screen")),
    ("ss -tn state close-wait '( sport = :4003 )'", "docker logs GATEWAY"),
)


# Golden


@pytest.mark.parametrize("name", NAMES)
def test_the_reports_are_the_golden_ones(name):
    for file, content in reports(name).items():
        assert content == (REPORTS / file).read_text(encoding="utf-8"), f"{file}: python -m tests.diagnostics.golden"


def test_no_golden_report_is_left_over():
    assert {path.name for path in REPORTS.glob("*")} == {file for name in NAMES for file in reports(name)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [80, 60, 40])
def test_texts_keep_to_the_width_but_for_commands(name, width):
    for line in report.text(evidence_of(name), diagnose(evidence_of(name)), width=width, verbose=True).splitlines():
        command = line.startswith("    ") and line[4:5] != " "
        assert len(line) <= width or command or len(line.split()) == 1, line
        assert line.isascii() and line == line.rstrip()


# Text


def test_the_parts_come_in_the_order_a_reader_needs_them():
    told = report.text(evidence(facts=(Fact("os", "Linux", "/proc/version"),)), diagnosis(SILENCE), verbose=True)
    parts = [
        "does not work: nothing answers",
        "RESOLVE  CONNECT  QUIET  HELLO",
        "host.docker.internal  OK 1 ms",
        "error IBD303",
        "seen  no answer",
        "1. IBD305",
        "look for CLOSE_WAIT",
        "2. IBD304",
        "fix ",
        "    ss -tn",
        "    ib-diagnose explain IBD303",
        "The routes in detail",
        "What is known",
        "os: Linux (/proc/version)",
    ]
    places = [told.index(part) for part in parts]
    assert places == sorted(places) and places[0] == 0


def test_facts_are_told_on_request_only():
    known = evidence(facts=(Fact("os", "Linux", "/proc/version"), Fact("runtime", None, "nothing", "hint")))
    assert "/proc/version" not in report.text(known, diagnosis())
    told = report.text(known, diagnosis(), verbose=True)
    assert "runtime: unknown (nothing, hint)" in told


def test_a_failure_ends_its_row_and_runs_over_the_empty_columns():
    refused = Probe(
        Route("10.0.0.1", 4003, "bridge", ""), results((Outcome.OK, 0.0), (Outcome.REFUSED, 0.021)), address="10.0.0.1"
    )
    table = report.text(evidence(Probe(ROUTE, SILENT), refused), diagnosis()).split("\n\n")[1]
    assert table.splitlines()[:3] == [
        "route (port 4003)     RESOLVE  CONNECT  QUIET  HELLO  START_API  SYNC",
        "host.docker.internal  OK 1 ms  OK 1 ms  OK     TIMED_OUT 5.0 s",
        "10.0.0.1              -        REFUSED 21 ms",
    ]


def test_a_long_name_has_a_line_of_its_own():
    long = Probe(Route("ib-gateway.trading.svc.cluster.local", 4003, "configured", ""), SILENT)
    working = Probe(ROUTE, results(*((Outcome.OK, 0.123),) * 6))
    table = report.text(evidence(long, working), diagnosis()).split("\n\n")[1].splitlines()
    assert table[1:3] == [
        "ib-gateway.trading.svc.cluster.local",
        " " * 18 + "  OK 1 ms    OK 1 ms    OK     TIMED_OUT 5.0 s",
    ]


def test_where_no_table_fits_the_stages_are_below_the_route():
    table = report.text(evidence(), diagnosis(), width=40).split("\n\n")[1].splitlines()
    assert table == [
        "route (port 4003), stage by stage",
        "host.docker.internal",
        "  RESOLVE OK 1 ms, CONNECT OK 1 ms,",
        "  QUIET OK, HELLO TIMED_OUT 5.0 s",
        "  host.docker.internal is 172.17.0.1",
    ]


def test_colour_comes_only_when_asked_and_changes_nothing_else():
    bare = report.text(evidence(), diagnosis(SILENCE))
    coloured = report.text(evidence(), diagnosis(SILENCE), colour=True)
    assert "\x1b" not in bare
    assert "\x1b[31mTIMED_OUT 5.0 s\x1b[0m" in coloured and "\x1b[32mOK 1 ms\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == bare


@pytest.mark.parametrize(
    "level, codes, tone",
    [
        (Level.USABLE, (), "good"),
        (Level.ANSWERS, (), "good"),
        (Level.USABLE, ("IBD703",), "good"),
        (Level.USABLE, ("IBD701", "IBD703"), "warning"),
        (Level.USABLE, ("IBD101",), "warning"),
        (Level.NO_SESSION, ("IBD503",), "bad"),
        (Level.NO_HANDSHAKE, (), "bad"),
        (Level.NO_TCP, ("IBD201",), "bad"),
    ],
)
def test_the_tone_is_that_of_the_worst_that_matters(level, codes, tone):
    assert report.tone(diagnosis(*(Finding(code, "") for code in codes), level=level)) == tone


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_of_a_peer_controls_the_terminal(width, verbose):
    told = report.text(*hostile(EVIL), width=width, verbose=verbose)
    assert not HIDDEN.search(told)


def test_endless_words_are_bounded():
    told = report.text(*hostile("x" * 100_000), verbose=True)
    assert len(told) < 20_000


@pytest.mark.parametrize(
    "words, width, lines",
    [
        ("", 10, [""]),
        ("a b", 3, ["a b"]),
        ("a b", 2, ["a", "b"]),
        ("aaaaaa b", 3, ["aaaaaa", "b"]),
        ("one two three", 7, ["one two", "three"]),
    ],
)
def test_wrap(words, width, lines):
    assert report.wrap(words, width) == lines


# Commands


def test_placeholders_are_explained_where_they_occur():
    assert (
        report.stands_for(("docker logs GATEWAY",)) == "In the commands GATEWAY is the name of the gateway's container."
    )
    assert report.stands_for(("docker ps",)) == ""


def test_every_word_in_capitals_in_a_command_is_a_placeholder_or_a_name():
    words = {
        word for entry in CATALOGUE.values() for line in entry.commands for word in re.findall(r"\b[A-Z]{2,}\b", line)
    }
    assert words <= set(report.PLACEHOLDERS)


def test_no_command_of_the_catalogue_is_wider_than_a_terminal():
    assert [line for entry in CATALOGUE.values() for line in entry.commands if len(line) > 76] == []


# JSON


def documented() -> dict[str, str]:
    """Of the table in the docstring: key, and what is said of it."""
    table, key = {}, None
    for line in json_report.__doc__.splitlines():
        if match := re.match(r"    ([a-z_.]+) {2,}(.+)", line):
            key = match[1]
            table[key] = match[2]
        elif key and line.startswith(" " * 25):
            table[key] += " " + line.strip()
    return table


def test_the_keys_of_the_object_are_the_documented_ones():
    told = json.loads(json_report.json_text(evidence(facts=(Fact("os", "Linux", "here"),)), diagnosis(SILENCE)))
    assert [key for key in documented() if "." not in key] == list(told)
    route, finding = told["routes"][0], told["findings"][0]
    inside = {
        "verdict": told["verdict"],
        "routes": route,
        "routes.stages": route["stages"][0],
        "findings": finding,
        "findings.candidates": finding["candidates"][0],
        "facts": told["facts"][0],
    }
    assert {key: documented()[key].split(", ") for key in inside} == {key: list(found) for key, found in inside.items()}


def test_the_json_is_one_object_of_printable_ascii():
    told = json_report.json_text(*hostile(EVIL))
    assert told.isascii() and told.endswith("}\n")
    for text in strings(json.loads(told)):
        assert not HIDDEN.search(text)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def test_the_evidence_in_the_json_can_be_read_back():
    given = evidence(facts=(Fact("os", "Linux", "here"),))
    told = json.loads(json_report.json_text(given, diagnosis()))
    assert load(json.dumps(told["evidence"])) == given
    assert told["evidence"] == plain(given)


# The page of a code


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_has_a_page_that_fits(code):
    page = report.explain_text(code)
    entry = CATALOGUE[code]
    assert page.startswith(f"{code} {entry.slug}: ")
    assert max(map(len, page.splitlines())) <= 80
    for words in (entry.docs, entry.fix, entry.check, *entry.causes):
        assert " ".join(words.split()) in " ".join(page.split())
    for line in entry.commands:
        assert f"\n    {line}\n" in page
