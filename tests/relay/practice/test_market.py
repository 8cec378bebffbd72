"""The invented market: always the same, and looking like one."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from relay.practice.market import DAY, MAX_BARS, Contract, Market, parse_end

SPY, QQQ = Contract(symbol="SPY"), Contract(symbol="QQQ")
SATURDAY = datetime(2025, 5, 31, 12, 0, 7, tzinfo=UTC).timestamp()


def test_prices_depend_on_seed_symbol_and_time_alone():
    assert Market(1).bars(SPY, SATURDAY, 60, "1 D") == Market(1).bars(SPY, SATURDAY, 60, "1 D")
    different = {Market(1).price(SPY, SATURDAY), Market(2).price(SPY, SATURDAY), Market(1).price(QQQ, SATURDAY)}
    assert len(different) == 3


@pytest.mark.parametrize(
    ("seconds", "duration", "count"),
    [
        (60, "600 S", 10),
        (60, "1 D", 1440),
        (3600, "1 D", 24),
        (5, "3 S", 1),
        (1, "1 D", MAX_BARS),
        (DAY, "1 D", 1),
        (DAY, "5 D", 5),
        (DAY, "2 W", 10),
        (DAY, "1 M", 21),
        (DAY, "1 Y", 252),
        (DAY, "99 Y", MAX_BARS),
        (DAY, "600 S", 1),
        (7 * DAY, "4 W", 4),
        (30 * DAY, "1 Y", 12),
    ],
)
def test_a_duration_gives_as_many_bars_as_it_says(seconds, duration, count):
    assert len(Market(1).bars(SPY, SATURDAY, seconds, duration)) == count


def test_daily_bars_leave_out_the_weekend_and_start_at_midnight():
    days = [datetime.fromtimestamp(bar.start, UTC) for bar in Market(1).bars(SPY, SATURDAY, DAY, "7 D")]
    said = ", ".join(f"{day:%a %d %H}" for day in days)
    assert said == "Thu 22 00, Fri 23 00, Mon 26 00, Tue 27 00, Wed 28 00, Thu 29 00, Fri 30 00"


def test_intraday_bars_follow_each_other_and_end_before_the_end():
    bars = Market(1).bars(SPY, SATURDAY, 60, "1 D")
    assert all(later.start - earlier.start == 60 and later.open == earlier.close for earlier, later in pairwise(bars))
    assert SATURDAY - 120 < bars[-1].start + 60 <= SATURDAY


def test_a_bar_and_a_quote_are_possible_ones():
    market = Market(7)
    for bar in market.bars(QQQ, SATURDAY, 3600, "1 W"):
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.low <= bar.average <= bar.high and bar.volume > 0 and bar.count > 0
    for second in range(100):
        quote = market.quote(QQQ, SATURDAY + second)
        assert 0 < quote.bid < quote.last < quote.ask and min(quote.bid_size, quote.ask_size, quote.last_size) > 0


@pytest.mark.parametrize("duration", ["", "D", "5", "5 days", "-1 D", "5 X", "5\N{ARABIC-INDIC DIGIT ONE} D D"])
def test_what_is_no_duration_is_refused_by_name(duration):
    with pytest.raises(ValueError, match="expected a number and one of S, D, W, M, Y"):
        Market(1).bars(SPY, SATURDAY, 60, duration)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", datetime(2000, 1, 1, tzinfo=UTC)),
        ("20250531", datetime(2025, 5, 31, tzinfo=UTC)),
        ("20250531 12:30:01", datetime(2025, 5, 31, 12, 30, 1, tzinfo=UTC)),
        ("20250531-12:30:01", datetime(2025, 5, 31, 12, 30, 1, tzinfo=UTC)),
        ("20250531  12:30", datetime(2025, 5, 31, 12, 30, tzinfo=UTC)),
        ("20250531 12:30:01 US/Eastern", datetime(2025, 5, 31, 12, 30, 1, tzinfo=UTC)),
    ],
)
def test_the_ways_clients_write_an_end_date(text, expected):
    assert parse_end(text, datetime(2000, 1, 1, tzinfo=UTC).timestamp()) == expected.timestamp()


@pytest.mark.parametrize("text", ["now", "2025-05-31", "20251301", "20250531 99:00:00x", "20250531 12:30:01x"])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError, match=f"^end date '{text}', expected yyyymmdd hh:mm:ss "):
        parse_end(text, 0.0)
