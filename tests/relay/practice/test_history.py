"""Which bars a request for historical data gets: every field that changes the answer does, or is refused by name."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from relay.practice.history import FIRST_TRADE, MAX_BARS, RequestRefused, SessionsFound, check, find, head_of
from relay.practice.market import Contract, Market
from relay.practice.requests import HistoricalData
from relay.practice.stocks import Named

NOW = 1_748_692_807.25  # Saturday 2025-05-31 12:00:07.25 UTC
SPY = Contract(756733, "SPY")
ASKED = HistoricalData(3, Named(symbol="SPY"), "", "1 min", "1 D", True, "TRADES", 2, False)


def answer(zone="UTC", version=176, now=NOW, **fields):
    wanted = replace(ASKED, **fields)
    check(wanted, version)
    return find(wanted, SPY, Market(1), now, zone)


def starts(**fields):
    return [f"{datetime.fromtimestamp(bar.start, UTC):%m-%d %H:%M}" for _, bar in answer(**fields).bars]


@pytest.mark.parametrize(
    ("fields", "count", "first", "last"),
    [
        ({}, 390, "05-30 13:30", "05-30 19:59"),
        ({"regular_hours_only": False}, 1440, "05-30 12:00", "05-31 11:59"),
        ({"bar_size": "1 hour"}, 7, "05-30 13:30", "05-30 19:00"),
        ({"bar_size": "1 hour", "duration": "2 D"}, 14, "05-29 13:30", "05-30 19:00"),
        ({"bar_size": "1 hour", "duration": "1 W"}, 35, "05-26 13:30", "05-30 19:00"),
        ({"duration": "600 S"}, 10, "05-30 19:50", "05-30 19:59"),
        ({"duration": "600 S", "regular_hours_only": False}, 10, "05-31 11:50", "05-31 11:59"),
        ({"bar_size": "1 day", "duration": "5 D"}, 5, "05-26 00:00", "05-30 00:00"),
        ({"bar_size": "1 day", "duration": "2 W"}, 10, "05-19 00:00", "05-30 00:00"),
        ({"bar_size": "1 week", "duration": "4 W"}, 4, "05-08 00:00", "05-29 00:00"),
        ({"end": "20250530 09:00:00 US/Central"}, 30, "05-30 13:30", "05-30 13:59"),
        ({"end": "20250530-14:00:00"}, 30, "05-30 13:30", "05-30 13:59"),
        ({"end": "20250530 09:00:00", "zone": "US/Central"}, 30, "05-30 13:30", "05-30 13:59"),
        ({"end": "20250530 14:00:00 UTC", "zone": "US/Central"}, 30, "05-30 13:30", "05-30 13:59"),
        ({"end": "20250602 12:00:00 UTC"}, 390, "05-30 13:30", "05-30 19:59"),
    ],
)
def test_hours_zones_and_durations_decide_which_bars_come(fields, count, first, last):
    seen = starts(**fields)
    assert (len(seen), seen[0], seen[-1]) == (count, first, last)


def test_bars_are_those_of_the_kind_of_price_asked_for():
    closes = {
        what: answer(what=what).bars[0][1].close for what in ("TRADES", "MIDPOINT", "BID", "ASK", "ADJUSTED_LAST")
    }
    assert round(closes["ASK"] - closes["BID"], 2) == 0.02
    assert closes["TRADES"] == closes["MIDPOINT"] == closes["ADJUSTED_LAST"]


def test_intraday_bars_follow_each_other_and_dates_have_the_form_asked_for():
    bars = answer(regular_hours_only=False, date_format=1, zone="US/Central").bars
    assert all(
        later.start - earlier.start == 60 and later.open == earlier.close for (_, earlier), (_, later) in pairwise(bars)
    )
    assert bars[-1][0] == "20250531 06:59:00 US/Central"
    assert answer().bars[-1][0] == str(answer().bars[-1][1].start)
    assert answer(bar_size="1 day", date_format=2).bars[-1][0] == "20250530"
    assert (head_of(1), head_of(2)) == ("19930129-14:30:00", str(FIRST_TRADE))


def test_a_schedule_is_the_regular_hours_of_new_york():
    found = answer(what="SCHEDULE", bar_size="1 day", duration="2 D")
    sessions = [
        ("20250529-09:30:00", "20250529-16:00:00", "20250529"),
        ("20250530-09:30:00", "20250530-16:00:00", "20250530"),
    ]
    assert found == SessionsFound(sessions, "20250529-09:30:00", "20250530-16:00:00", "US/Eastern")


REFUSED = [
    # what is wrong, code, what the text names
    ({"bar_size": "1 aeon"}, 321, "barSizeSetting: '1 aeon'"),
    ({"bar_size": "1 sec", "duration": "60 S"}, 321, "barSizeSetting: '1 sec'"),
    ({"what": "NONSENSE"}, 321, "whatToShow: 'NONSENSE'"),
    ({"what": ""}, 321, "whatToShow"),
    ({"what": "HISTORICAL_VOLATILITY"}, 321, "whatToShow"),
    ({"what": "SCHEDULE"}, 10295, "1 day bars"),
    ({"what": "SCHEDULE", "bar_size": "1 day", "version": 164}, 321, "client version is too low"),
    ({"what": "SCHEDULE", "bar_size": "1 day", "end": "19800101-00:00:00"}, 162, "returned no data"),
    ({"what": "ADJUSTED_LAST", "end": "20250530-14:00:00"}, 10339, "ADJUSTED_LAST"),
    ({"date_format": 3}, 321, "formatDate: 3"),
    ({"date_format": 0}, 321, "formatDate: 0"),
    ({"chart_options": True}, 321, "chartOptions"),
    ({"end": "yesterday"}, 321, "endDateTime: 'yesterday'"),
    ({"end": "20250530 14:00:00 GMT"}, 321, "endDateTime: the time zone 'GMT'"),
    ({"end": "19800101-00:00:00"}, 162, "returned no data: SPY@SMART Trades"),
    ({"end": "19800101-00:00:00", "regular_hours_only": False}, 162, "returned no data"),
    ({"end": "19800101-00:00:00", "bar_size": "1 day"}, 162, "returned no data"),
    ({"end": "20990101-00:00:00"}, 162, "returned no data"),
    ({"end": "20990101-00:00:00", "regular_hours_only": False}, 162, "returned no data"),
    ({"end": "20990101-00:00:00", "bar_size": "1 day"}, 162, "returned no data"),
    ({"end": "00010101"}, 162, "returned no data"),
    ({"end": "00010101 00:00:00 Japan"}, 162, "returned no data"),
    ({"end": "99991231 23:59:59 US/Central"}, 162, "returned no data"),
    ({"end": "99991231-23:59:59", "duration": "365 D"}, 162, "returned no data"),
    ({"end": "99991231-23:59:59", "what": "SCHEDULE", "bar_size": "1 day"}, 162, "returned no data"),
    ({"duration": "5 days"}, 321, "durationStr: '5 days'"),
    ({"duration": "0 D"}, 321, "durationStr: '0 D'"),
    ({"duration": "5"}, 321, "durationStr"),
    ({"duration": "366 D"}, 162, "Time length exceed max"),
    ({"bar_size": "1 secs", "duration": "1 D"}, 162, "invalid step: 1"),
    ({"bar_size": "1 secs", "duration": "2001 S"}, 162, "invalid step: 1"),
    ({"bar_size": "5 secs", "duration": "1 W"}, 162, "invalid step: 5"),
    ({"bar_size": "10 secs", "duration": "1 M"}, 162, "invalid step: 10"),
    ({"bar_size": "30 secs", "duration": "1 Y"}, 162, "invalid step: 30"),
    ({"bar_size": "1 hour", "duration": "60 S"}, 162, "invalid step: 3600"),
    ({"duration": "1 M", "regular_hours_only": False}, 321, f"durationStr: more than {MAX_BARS} bars"),
    ({"keep_up_to_date": True, "end": "20250530-14:00:00"}, 321, "keepUpToDate"),
    ({"keep_up_to_date": True, "what": "BID_ASK"}, 321, "keepUpToDate"),
    ({"keep_up_to_date": True, "bar_size": "1 secs", "duration": "60 S"}, 321, "keepUpToDate"),
]


@pytest.mark.parametrize(("fields", "code", "words"), REFUSED)
def test_what_is_not_honoured_is_refused_by_name(fields, code, words):
    with pytest.raises(RequestRefused) as refused:
        answer(**fields)
    assert refused.value.code == code and words in refused.value.text
