"""Moments as IB writes them."""

from datetime import UTC, date, datetime

import pytest

from relay.practice import moments
from relay.practice.moments import hello_time, is_regular, parse_end, regular_hours, sessions_before, written

NOW = 1_748_692_807.25


def at(*when):
    return datetime(*when, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "own", "expected"),
    [
        ("", "UTC", NOW),
        (" ", "US/Central", NOW),
        ("20250531", "UTC", at(2025, 5, 31)),
        ("20250531", "America/Chicago", at(2025, 5, 31, 5)),
        ("20250531 12:30:01", "UTC", at(2025, 5, 31, 12, 30, 1)),
        ("20250531 12:30:01", "US/Central", at(2025, 5, 31, 17, 30, 1)),
        ("20250531-12:30:01", "US/Central", at(2025, 5, 31, 12, 30, 1)),
        ("20250531  12:30", "UTC", at(2025, 5, 31, 12, 30)),
        ("20250531 12:30:01 UTC", "US/Central", at(2025, 5, 31, 12, 30, 1)),
        ("20250531 12:30:01 US/Eastern", "UTC", at(2025, 5, 31, 16, 30, 1)),
        ("20250131 12:30:01 US/Central", "UTC", at(2025, 1, 31, 18, 30, 1)),
        ("20250531 16:00:00 Japan", "UTC", at(2025, 5, 31, 7)),
        ("20261101 01:30:00 US/Eastern", "UTC", at(2026, 11, 1, 5, 30)),  # the first of the two
    ],
)
def test_an_end_is_read_by_the_clock_it_names(text, own, expected):
    assert parse_end(text, NOW, own) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("now", "is not yyyymmdd"),
        ("2025-05-31", "is not yyyymmdd"),
        ("20251301", "is not yyyymmdd"),
        ("20250531 99:00:00", "is not yyyymmdd"),
        ("20250531 12:30:01x", "is not yyyymmdd"),
        ("20250531-12:30:01 UTC", "is not yyyymmdd"),
        ("20250531 12:30:01 GMT", "time zone 'GMT' is not known"),
        ("20250531 12:30:01 Mars/Phobos", "time zone 'Mars/Phobos' is not known"),
        ("20250531 12:30:01 America", "time zone 'America' is not known"),
    ],
)
def test_what_is_no_moment_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        parse_end(text, NOW, "UTC")


def test_a_gateway_of_an_unknown_zone_reads_no_bare_time():
    with pytest.raises(ValueError, match="'China Standard Time' is not known"):
        parse_end("20250531 12:30:01", NOW, "China Standard Time")


def test_a_host_without_zones_knows_utc_and_regular_hours(monkeypatch):
    monkeypatch.setattr(moments, "ZoneInfo", lambda name: {}[name])
    assert parse_end("20250531 12:30:01 UTC", NOW, "UTC") == at(2025, 5, 31, 12, 30, 1)
    with pytest.raises(ValueError, match="'US/Central' is not known"):
        parse_end("20250531 12:30:01 US/Central", NOW, "UTC")
    assert is_regular(at(2025, 5, 30, 13, 30))


def test_times_are_written_in_the_gateways_zone():
    assert written(NOW, "UTC") == "20250531 12:00:07 UTC"
    assert written(NOW, "US/Central") == "20250531 07:00:07 US/Central"
    assert written(NOW, "China Standard Time") == "20250531 12:00:07 UTC"
    assert hello_time(NOW, "US/Central") == "20250531 07:00:07 US/Central"
    assert hello_time(NOW, "China Standard Time") == "20250531 12:00:07 China Standard Time"


@pytest.mark.parametrize(
    ("day", "opens"),
    [
        (date(2026, 3, 6), at(2026, 3, 6, 14, 30)),
        (date(2026, 3, 9), at(2026, 3, 9, 13, 30)),
        (date(2026, 10, 30), at(2026, 10, 30, 13, 30)),
        (date(2026, 11, 2), at(2026, 11, 2, 14, 30)),
    ],
)
def test_regular_hours_follow_the_clocks_of_new_york(day, opens):
    assert regular_hours(day) == (opens, opens + 6.5 * 3600)
    assert is_regular(opens) and is_regular(opens + 23_399)
    assert not is_regular(opens - 1) and not is_regular(opens + 23_400)


def test_weekends_have_no_regular_hours():
    assert regular_hours(date(2025, 5, 31)) is None and not is_regular(NOW)
    days = sessions_before(NOW)
    assert [next(days)[0].day for _ in range(6)] == [30, 29, 28, 27, 26, 23]
