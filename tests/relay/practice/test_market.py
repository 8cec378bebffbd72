"""The invented market: always the same, and looking like one."""

from datetime import UTC, datetime

import pytest

from relay.practice.market import PRICES, Contract, Market

SPY, QQQ = Contract(symbol="SPY"), Contract(symbol="QQQ")
SATURDAY = datetime(2025, 5, 31, 12, 0, 7, tzinfo=UTC).timestamp()


def test_prices_depend_on_seed_symbol_and_time_alone():
    assert [Market(1).bar_of(what, SPY, int(SATURDAY), 60) for what in PRICES] == [
        Market(1).bar_of(what, SPY, int(SATURDAY), 60) for what in PRICES
    ]
    different = {Market(1).price(SPY, SATURDAY), Market(2).price(SPY, SATURDAY), Market(1).price(QQQ, SATURDAY)}
    assert len(different) == 3


@pytest.mark.parametrize(
    ("what", "distances"),
    [
        ("ADJUSTED_LAST", (0, 0, 0, 0)),
        ("MIDPOINT", (0, 0, 0, 0)),
        ("BID", (-1, -1, -1, -1)),
        ("ASK", (1, 1, 1, 1)),
        ("BID_ASK", (None, 1, -1, None)),
    ],
)
def test_every_kind_of_price_has_its_own_bar(what, distances):
    trades, bar = (Market(1).bar_of(one, SPY, int(SATURDAY), 60) for one in ("TRADES", what))
    pairs = zip(
        (bar.open, bar.high, bar.low, bar.close), (trades.open, trades.high, trades.low, trades.close), strict=True
    )
    cents = [round((mine - theirs) * 100) for mine, theirs in pairs]
    assert [None if distance is None else got for got, distance in zip(cents, distances, strict=True)] == [*distances]
    assert (bar == trades) if what == "ADJUSTED_LAST" else (bar.volume, bar.average, bar.count) == (-1, -1, -1)
    if what == "BID_ASK":
        assert round(bar.close - bar.open, 2) == 0.02


def test_a_bar_and_a_quote_are_possible_ones():
    market = Market(7)
    for hour in range(100):
        bar = market.bar(QQQ, int(SATURDAY) + hour * 3600, 3600)
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.low <= bar.average <= bar.high and bar.volume > 0 and bar.count > 0
    for second in range(100):
        quote = market.quote(QQQ, SATURDAY + second)
        assert 0 < quote.bid < quote.last < quote.ask and min(quote.bid_size, quote.ask_size, quote.last_size) > 0
