"""The code table and what its ranges say."""

import pytest

from relay.wire.codes import CODES, Kind, classify


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
        (112, Kind.REQUEST),
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
        assert list(CODES) == sorted(CODES)
        assert row.code == code and row.meaning and row.kind is not Kind.UNKNOWN
