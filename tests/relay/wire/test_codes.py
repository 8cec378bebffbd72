"""The code table and what its ranges say."""

import pytest

from relay.wire.codes import CODES, Kind, broken_farms, classify, upstream_lost


@pytest.mark.parametrize(
    "code, kind",
    [
        (2104, Kind.OK),
        (2106, Kind.OK),
        (2158, Kind.OK),
        (2107, Kind.INFORMATIONAL),
        (2108, Kind.INFORMATIONAL),
        (2103, Kind.DEGRADED),
        (2105, Kind.DEGRADED),
        (2157, Kind.DEGRADED),
        (2110, Kind.DEGRADED),
        (1100, Kind.DEGRADED),
        (1101, Kind.RECOVERED),
        (1102, Kind.RECOVERED),
        (326, Kind.FATAL),
        (1300, Kind.FATAL),
        (100, Kind.FATAL),
        (502, Kind.CLIENT_MADE),
        (162, Kind.REQUEST),
        (10197, Kind.REQUEST),
    ],
)
def test_codes_of_a_connection_have_their_class(code, kind):
    assert classify(code) is kind


@pytest.mark.parametrize(
    "code, kind",
    [
        (101, Kind.REQUEST),
        (499, Kind.REQUEST),
        (599, Kind.CLIENT_MADE),
        (2150, Kind.INFORMATIONAL),
        (10999, Kind.REQUEST),
        (-1, Kind.UNKNOWN),
        (1, Kind.UNKNOWN),
        (1200, Kind.UNKNOWN),
        (2200, Kind.UNKNOWN),
        (11000, Kind.UNKNOWN),
    ],
)
def test_codes_without_a_row_are_classified_by_range(code, kind):
    assert code not in CODES
    assert classify(code) is kind


def test_every_row_says_something():
    for code, row in CODES.items():
        assert row.code == code and row.meaning and row.kind is not Kind.UNKNOWN


NEWS = [
    # codes as they came, by which IB is lost, the farms that are broken
    ((), None, ""),
    ((2104, 2106, 2158), None, ""),
    ((1100,), 1100, ""),
    ((2110, 1100), 1100, ""),
    ((1100, 2110), 2110, ""),
    ((1100, 1102), None, ""),
    ((2110, 1101, 2104), None, ""),
    ((1102, 1100), 1100, ""),
    ((2103, 2104), None, ""),
    ((2104, 2103, 2157), None, "market data (2103), contract data (2157)"),
    ((2105, 1100, 2103, 1102, 2106), None, "market data (2103)"),
]


@pytest.mark.parametrize("codes, lost, broken", NEWS)
def test_the_later_one_of_lost_and_back_holds(codes, lost, broken):
    assert (upstream_lost(codes), broken_farms(codes)) == (lost, broken)
