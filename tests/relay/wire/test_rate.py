"""The sliding window of one second."""

import random

import pytest

from relay.wire.rate import RESOLUTION, PeakRate


def peak_of(entries):
    rate = PeakRate()
    for at, count in entries:
        rate.add(at, count)
    return rate.peak


@pytest.mark.parametrize(
    "name, entries, peak",
    [
        ("one", [(5.0, 1)], 1),
        ("a burst in one chunk", [(5.0, 70)], 70),
        ("two halves of a second", [(0.0, 30), (0.5, 30)], 60),
        ("two seconds apart", [(0.0, 30), (2.0, 30)], 30),
        ("a burst across a clock second", [(0.9, 40), (1.1, 40), (2.5, 10)], 80),
        ("steady 50 a second", [(n / 50, 1) for n in range(500)], 51),
        ("the peak stays after it has passed", [(0.0, 50), (10.0, 1), (20.0, 1)], 50),
    ],
)
def test_the_peak_is_that_of_the_worst_second(name, entries, peak):
    assert peak_of(entries) == peak


def test_it_agrees_with_counting_every_window_to_a_millisecond():
    rng = random.Random(7)
    for _ in range(30):
        at, times = 0.0, []
        for _ in range(rng.randrange(1, 150)):
            at += rng.choice((0.0, 0.0004, 0.003, 0.02, 0.3)) * rng.random()
            times.append(at)
        exact, longer = (max(sum(t <= s < t + w for s in times) for t in times) for w in (1.0, 1.0 + 2 * RESOLUTION))
        assert exact <= peak_of([(t, 1) for t in times]) <= longer


def test_memory_is_bounded_however_fast_messages_come():
    rate = PeakRate()
    for n in range(20000):
        rate.add(n * 0.0001, 1)
    assert len(rate._times) == len(rate._counts) <= 1003 + 65
    assert rate.peak == pytest.approx(10000, abs=25)
