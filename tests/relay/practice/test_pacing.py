"""The pace of historical requests."""

import pytest

from relay.practice.pacing import HistoryPace, HistoryQuery


def asked(number, subject="SPY", weight=1):
    return HistoryQuery((number,), (subject,), weight)


IDENTICAL = "an identical request within 15 seconds"
SIX = "six requests for the same contract within 2 seconds"
SIXTY = "more than 60 requests within 10 minutes"


@pytest.mark.parametrize(
    ("requests", "last"),
    [
        ([(0.0, asked(1)), (14.9, asked(1))], IDENTICAL),
        ([(0.0, asked(1)), (15.0, asked(1))], None),
        ([(0.1 * n, asked(n)) for n in range(5)], None),
        ([(0.1 * n, asked(n)) for n in range(6)], SIX),
        ([(0.1 * n, asked(n)) for n in range(5)] + [(0.5, asked(9, "QQQ"))], None),
        ([(0.4 * n, asked(n)) for n in range(6)], None),
        ([(0.1 * n, asked(n, weight=2)) for n in range(2)], None),
        ([(0.1 * n, asked(n, weight=2)) for n in range(3)], SIX),
        ([(float(n), asked(n, n)) for n in range(60)], None),
        ([(float(n), asked(n, n)) for n in range(61)], SIXTY),
        ([(float(n), asked(n, n)) for n in range(60)] + [(600.0, asked(99))], None),
        ([(float(n), asked(n, n, 2)) for n in range(30)], None),
        ([(float(n), asked(n, n, 2)) for n in range(31)], SIXTY),
    ],
)
def test_the_last_request_is_too_fast_or_not(requests, last):
    pace = HistoryPace()
    *before, final = [pace.too_fast(one, at) for at, one in requests]
    assert (before, final) == ([None] * len(before), last)


def test_a_request_that_was_refused_does_not_count():
    pace = HistoryPace()
    assert pace.too_fast(asked(1), 0.0) is None
    assert [pace.too_fast(asked(1), at) for at in (10.0, 14.9)] == [IDENTICAL] * 2
    assert pace.too_fast(asked(1), 15.0) is None
