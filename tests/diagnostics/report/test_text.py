"""The text for a terminal, what is promised about it, and the golden reports."""

import re

import pytest

from diagnostics.evidence import Fact, Outcome, Probe, Route
from diagnostics.report.text import text_report
from diagnostics.rules.diagnose import diagnose
from tests.diagnostics.golden import NAMES, REPORTS, evidence_of, hostile, reports
from tests.diagnostics.report.samples import EVIL, HIDDEN, ROUTE, SILENCE, SILENT, diagnosis, evidence, results

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
    for line in text_report(evidence_of(name), diagnose(evidence_of(name)), width=width, verbose=True).splitlines():
        command = line.startswith("    ") and line[4:5] != " "
        assert len(line) <= width or command or len(line.split()) == 1, line
        assert line.isascii() and line == line.rstrip()


# Text


def test_the_parts_come_in_the_order_a_reader_needs_them():
    told = text_report(evidence(facts=(Fact("os", "Linux", "/proc/version"),)), diagnosis(SILENCE), verbose=True)
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
    assert "/proc/version" not in text_report(known, diagnosis())
    told = text_report(known, diagnosis(), verbose=True)
    assert "runtime: unknown (nothing, hint)" in told


def test_a_failure_ends_its_row_and_runs_over_the_empty_columns():
    refused = Probe(
        Route("10.0.0.1", 4003, "bridge", ""), results((Outcome.OK, 0.0), (Outcome.REFUSED, 0.021)), address="10.0.0.1"
    )
    table = text_report(evidence(Probe(ROUTE, SILENT), refused), diagnosis()).split("\n\n")[1]
    assert table.splitlines()[:3] == [
        "route (port 4003)     RESOLVE  CONNECT  QUIET  HELLO  START_API  SYNC",
        "host.docker.internal  OK 1 ms  OK 1 ms  OK     TIMED_OUT 5.0 s",
        "10.0.0.1              -        REFUSED 21 ms",
    ]


def test_a_long_name_has_a_line_of_its_own():
    long = Probe(Route("ib-gateway.trading.svc.cluster.local", 4003, "configured", ""), SILENT)
    working = Probe(ROUTE, results(*((Outcome.OK, 0.123),) * 6))
    table = text_report(evidence(long, working), diagnosis()).split("\n\n")[1].splitlines()
    assert table[1:3] == [
        "ib-gateway.trading.svc.cluster.local",
        " " * 18 + "  OK 1 ms    OK 1 ms    OK     TIMED_OUT 5.0 s",
    ]


def test_where_no_table_fits_the_stages_are_below_the_route():
    table = text_report(evidence(), diagnosis(), width=40).split("\n\n")[1].splitlines()
    assert table == [
        "route (port 4003), stage by stage",
        "host.docker.internal",
        "  RESOLVE OK 1 ms, CONNECT OK 1 ms,",
        "  QUIET OK, HELLO TIMED_OUT 5.0 s",
        "  host.docker.internal is 172.17.0.1",
        "  seen 2025-11-21 15:46:40 UTC, from a",
        "    place that is not recognised",
    ]


def test_colour_comes_only_when_asked_and_changes_nothing_else():
    bare = text_report(evidence(), diagnosis(SILENCE))
    coloured = text_report(evidence(), diagnosis(SILENCE), colour=True)
    assert "\x1b" not in bare
    assert "\x1b[31mTIMED_OUT 5.0 s\x1b[0m" in coloured and "\x1b[32mOK 1 ms\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == bare


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_of_a_peer_controls_the_terminal(width, verbose):
    told = text_report(*hostile(EVIL), width=width, verbose=verbose)
    assert not HIDDEN.search(told)


def test_endless_words_are_bounded():
    told = text_report(*hostile("x" * 100_000), verbose=True)
    assert len(told) < 20_000
