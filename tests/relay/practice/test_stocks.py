"""Which contracts are stocks of the invented market, and the ids they have."""

import itertools
import string

import pytest

from relay.practice.market import Contract
from relay.practice.stocks import Named, contract_id, resolve, symbol_of

SPY = Contract(756733, "SPY")


@pytest.mark.parametrize(
    "named",
    [
        Named(symbol="SPY"),
        Named(756733),
        Named(756733, "SPY", "STK", "SMART", "USD"),
        Named(symbol="SPY", sec_type="STK", exchange="ARCA", primary_exchange="ARCA", currency="USD"),
        Named(local_symbol="SPY"),
        Named(symbol="SPY", local_symbol="SPY", trading_class="SPY"),
    ],
)
def test_every_way_to_name_a_stock_leads_to_it(named):
    assert resolve(named) == SPY


@pytest.mark.parametrize(
    "named",
    [
        Named(),
        Named(symbol="ZZZZNOPE"),
        Named(symbol="spy"),
        Named(symbol="700"),
        Named(12345),
        Named(-1),
        Named(265598, "SPY"),
        Named(symbol="SPY", sec_type="FUT"),
        Named(symbol="EUR", sec_type="CASH", exchange="IDEALPRO"),
        Named(symbol="SPY", currency="EUR"),
        Named(symbol="SPY", exchange="LSE"),
        Named(symbol="SPY", primary_exchange="LSE"),
        Named(symbol="SPY", local_symbol="QQQ"),
        Named(symbol="SPY", trading_class="QQQ"),
        Named(symbol="SPY", of_no_stock=True),
    ],
)
def test_what_names_no_stock_is_unknown(named):
    assert resolve(named) is None


def test_the_id_of_a_stock_leads_back_to_its_ticker():
    tickers = [
        "".join(letters) for size in (1, 2) for letters in itertools.product(string.ascii_uppercase, repeat=size)
    ]
    tickers += ["SPY", "ZZZZZ", "BRK B", "ZZZZZ Z", "A A"]
    ids = [contract_id(ticker) for ticker in tickers]
    assert [symbol_of(one) for one in ids] == tickers
    assert len(set(ids)) == len(ids) and max(ids) < 1 << 31
    assert symbol_of(contract_id("SPX") + 27**3) is None  # SPY has IB's own id, and no other
