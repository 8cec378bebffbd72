"""The tables a reader gets of known samples."""

from __future__ import annotations

import pytest

from tests.bench import report
from tests.bench.peers import BEFORE, BEFORE_RAW, OFF, PEERS, Peer, versions_of_ours
from tests.bench.results import Results
from tests.bench.rows import ROWS

ROW = {row.key: row for row in ROWS}


@pytest.fixture
def results() -> Results:
    """Four bursts of ours, of socat and of no relay; of a time, an added time and a share of CPU."""
    results = Results([PEERS[key] for key in ("ib-relay", "socat", "direct")], [])
    for key, ours, socat, direct in (
        ("rtt_p50", [50.0, 51.0, 52.0, 53.0], [100.0, 101.0, 102.0, 103.0], [10.0] * 4),
        ("day_answers_p50", [90.0, 91.0, 92.0, 93.0], [130.0, 140.0, 150.0, None], [40.0] * 4),
        ("one_cpu", [0.05, 0.05, 0.05, 0.05], [0.2] * 4, []),
    ):
        results.rows.append(ROW[key])
        for relay, samples in zip(results.relays, (ours, socat, direct), strict=True):
            for sample in samples:
                results.add(ROW[key], relay, sample)
    return results


def test_the_first_table_has_the_best_quarters(results):
    assert report.figures(results) == [
        ["", "unit", "ib-relay", "socat", "no relay"],
        ["round trip p50", "us", "50.0", "100.0", "10.0"],
        ["day: answers p50, added", "us", "+50.0", "+90.0 (failed)", "40.0"],
        ["CPU with 1 tick a second", "%", "0.05", "0.20", "-"],
    ]


def test_the_second_table_has_the_medians_and_how_far_the_samples_are_apart(results):
    assert report.noise(results) == [
        ["", "unit", "ib-relay", "socat", "no relay"],
        ["round trip p50", "us", "51.5 (3%)", "101.5 (1%)", "10.0 (0%)"],
        ["day: answers p50, added", "us", "+51.5 (2%)", "+100.0 (7%)", "40.0 (0%)"],
        ["CPU with 1 tick a second", "%", "0.05 (0%)", "0.20 (0%)", "-"],
    ]


def test_ratios_have_a_column_for_what_was_in_the_run_only_and_goals_say_what_is_unknown(results):
    head, trip, day, one = report.ratios(results)
    assert head == ["ib-relay is", "x socat", "goals"]
    assert trip[:2] == ["round trip p50", "2.00"]
    assert "not measured (best of four >= 1.80)" in trip[2]
    assert day[:2] == ["day: answers p50, added", "1.80"]
    assert one == ["CPU with 1 tick a second", "4.00", "PASS (<= 0.1 %)"]
    assert report.goals_reached(results) == (1, 1)


def test_what_was_not_measured_at_all_is_said(results):
    results.rows.append(ROW["connections"])
    assert report.figures(results)[-1] == ["connections opened and closed", "1/s", "failed", "failed", "failed"]


def test_the_price_of_latency_needs_both(results):
    assert report.price_of_latency(results) == ""
    results.relays.append(PEERS[OFF])
    results.add(ROW["one_cpu"], PEERS[OFF], 0.02)
    assert report.price_of_latency(results) == "CPU with 1 tick a second: 0.05 %, latency off 0.02 %, difference 0.03 %"


def test_another_build_stands_beside_todays(tmp_path):
    relays: list[Peer] = versions_of_ours(tmp_path / "old.pyz", tmp_path)
    assert [relay.key for relay in relays] == ["ib-relay", "ib-relay-raw", BEFORE, BEFORE_RAW]
    results = Results(relays, [ROW["ticks"]])
    for relay, value in zip(relays, (300.0, 400.0, 150.0, 400.0), strict=True):
        results.add(ROW["ticks"], relay, value)
    assert report.beside_before(results) == [
        ["now is", "x before", "x before, raw"],
        ["ticks down, 1 per write", "2.00", "1.00"],
    ]


def test_the_same_table_for_a_terminal_and_for_a_readme(results):
    table = [["", "unit", "socat"], ["round trip", "us", "100.0"]]
    assert report.as_text(table) == "            unit  socat\nround trip  us    100.0"
    assert report.as_markdown(table) == "|  | unit | socat |\n| --- | --- | ---: |\n| round trip | us | 100.0 |"
