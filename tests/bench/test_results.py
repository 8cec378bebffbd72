"""What becomes of many samples: the best quarter, the spread, what a relay adds, and ratios in which more is better."""

from __future__ import annotations

import pytest

from tests.bench import peers
from tests.bench.goals import Against, Goal, Verdict, ahead, at_least, at_most, judge
from tests.bench.peers import PEERS
from tests.bench.results import Results, best_quarter, spread, times_better
from tests.bench.rows import ROWS, Row

ROW = {row.key: row for row in ROWS}


@pytest.mark.parametrize(
    "samples, most, least",
    [
        ([5.0], 5.0, 5.0),
        ([1.0, 2.0, 3.0, 4.0], 4.0, 1.0),
        ([4.0, 1.0, 3.0, 2.0, 5.0], 4.5, 1.5),  # the best two of five
        ([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 11.0, 12.0], 11.0, 2.0),
        ([100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 9000.0, 8000.0], 8500.0, 100.5),
    ],
)
def test_the_best_quarter_is_the_median_of_the_best_ones(samples, most, least):
    assert (best_quarter(samples, True), best_quarter(samples, False)) == (most, least)


def test_there_is_no_best_of_nothing():
    with pytest.raises(ValueError, match="no samples"):
        best_quarter([], True)


def test_three_disturbed_bursts_of_four_do_not_move_the_figure():
    calm, disturbed = [100.0] * 4, [100.0, 4000.0, 250.0, 900.0]
    assert best_quarter(calm, False) == best_quarter(disturbed, False)


@pytest.mark.parametrize(
    "samples, apart",
    [([], None), ([3.0], None), ([0.0, 0.0, 0.0], None), ([10.0] * 5, 0.0), ([8.0, 9.0, 10.0, 11.0, 1000.0], 0.2)],
)
def test_the_spread_is_that_of_the_middle_half(samples, apart):
    assert spread(samples) == apart


@pytest.mark.parametrize(
    "key, ours, theirs, ratio",
    [
        ("ticks", 300.0, 200.0, 1.5),
        ("rtt_p50", 50.0, 100.0, 2.0),
        ("idle_cpu", 0.0, 0.0, 1.0),
        ("idle_cpu", 0.0, 0.05, 5.0),  # 0 is no measure; what is below `least` counts as that
        ("day_ticks_p50", -3.0, 4.0, 4.0),
    ],
)
def test_more_is_better_for_us_whatever_the_unit(key, ours, theirs, ratio):
    assert times_better(ROW[key], ours, theirs) == pytest.approx(ratio)


def results_of(key: str, **samples: list[float | None]) -> tuple[Results, Row]:
    by_key = {name.replace("_", "-"): values for name, values in samples.items()}
    results = Results([PEERS[name] for name in by_key], [ROW[key]])
    for name, values in by_key.items():
        for value in values:
            results.add(ROW[key], PEERS[name], value)
    return results, ROW[key]


def test_a_ratio_is_that_of_the_best_quarters():
    results, row = results_of("rtt_p50", ib_relay=[50.0, 51.0, 60.0, 900.0], socat=[500.0, 100.0, 120.0, 101.0])
    assert (results.figure(row, "ib-relay"), results.figure(row, "socat"), results.ratio(row, "socat")) == (50, 100, 2)
    assert results.median(row, "socat") == 110.5


def test_what_is_added_is_the_best_less_the_best_of_no_relay():
    results, row = results_of(
        "day_ticks_p50", ib_relay=[70.0, 75.0, 200.0, 90.0], socat=[110.0, 150.0], direct=[30.0, 90.0, 31.0, 40.0]
    )
    assert (results.figure(row, "ib-relay"), results.figure(row, "socat")) == (40.0, 80.0)
    assert results.ratio(row, "socat") == 2.0
    assert results.figure(row, "direct") == 30.0  # itself in full
    assert results.median(row, "ib-relay") == 82.5 - 35.5


def test_nothing_is_known_of_what_is_added_without_no_relay():
    results, row = results_of("day_ticks_p50", ib_relay=[70.0], socat=[110.0])
    assert results.figure(row, "ib-relay") is results.ratio(row, "socat") is None


def test_the_best_of_several_is_the_one_worst_for_us_and_all_of_them_must_be_there():
    samples = {"ib_relay": [50.0], "socat": [100.0], "haproxy": [60.0], "nginx": [80.0]}
    results, row = results_of("rtt_p50", **samples)
    assert results.against(row, Against.BETTER) == 1.2
    assert results.against(row, Against.BEST) is None
    results, row = results_of("rtt_p50", **samples, proxyd=[55.0])
    assert results.against(row, Against.BEST) == 1.1


def test_a_burst_that_failed_leaves_its_row_unmeasured_and_the_others_count():
    results, row = results_of("rtt_p50", ib_relay=[50.0, None, 52.0, 51.0], direct=[10.0])
    assert not results.measured(row) and results.figure(row, "ib-relay") == 50.0
    results, row = results_of("cpu_rtt", ib_relay=[20.0], direct=[])
    assert results.measured(row)  # no relay has no CPU time


def test_noise_is_the_typical_spread():
    results, _ = results_of("rtt_p50", ib_relay=[10.0] * 5, socat=[8.0, 9.0, 10.0, 11.0, 12.0], nginx=[1.0])
    assert results.noise() == 0.1


@pytest.mark.parametrize(
    "goal, figure, verdict",
    [
        (at_least(Against.BEST, 1.8), 1.8, Verdict.PASS),
        (at_least(Against.BEST, 1.8), 1.79, Verdict.SHORT),
        (ahead(Against.SOCAT), 1.0, Verdict.SHORT),
        (ahead(Against.SOCAT), 1.01, Verdict.PASS),
        (at_most(80), 80.0, Verdict.PASS),
        (at_most(80), 80.1, Verdict.SHORT),
        (at_most(80), None, Verdict.UNKNOWN),
    ],
)
def test_a_goal_is_reached_or_not(goal: Goal, figure: float | None, verdict: Verdict):
    assert judge(goal, figure) is verdict


def test_every_relay_that_is_compared_with_exists():
    named = {key for against in Against for key in against.relays}
    assert named <= set(PEERS)
    assert named >= {peers.SOCAT, peers.HAPROXY, peers.NGINX, peers.PROXYD, peers.BUSY}
