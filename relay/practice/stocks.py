"""The stocks of the invented market: which contract a request names, or that there is none.

Every ticker of one to five letters, with a class letter behind it or not ("BRK B"), is a US stock in dollars here.
Anything else is unknown and gets error 200: other security types, currencies and exchanges, and fields that no stock
has. The id of an invented stock spells its ticker, so that the id alone is enough in a later request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.practice.market import Contract

# Contract ids as IB has them, so that examples copied from elsewhere work; other stocks get invented ids.
_CONTRACT_IDS = {"SPY": 756733, "AAPL": 265598, "MSFT": 272093, "IBM": 8314}
_SYMBOLS = {con_id: symbol for symbol, con_id in _CONTRACT_IDS.items()}

_TICKER = re.compile(r"[A-Z]{1,5}( [A-Z])?")
_EXCHANGES = frozenset(("SMART", "NASDAQ", "ISLAND", "NYSE", "ARCA", "AMEX", "BATS", "BYX", "IEX", "MEMX"))
_FIRST_INVENTED = 1_000_000_000  # above the ids IB gives to stocks; with 27^6 tickers it stays within 31 bits
_LETTERS = 27  # A to Z, and none
_LENGTH = 6  # five letters and a class


@dataclass(frozen=True, slots=True)
class Named:
    """The contract of a request as its fields name it; empty and 0 are not given."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    exchange: str = ""
    currency: str = ""
    primary_exchange: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    of_no_stock: bool = False  # an expiry, a strike, a right or a multiplier is given


def resolve(named: Named) -> Contract | None:
    """The stock that every given field agrees with; None if there is none (error 200)."""
    symbol = symbol_of(named.con_id) if named.con_id else named.symbol or named.local_symbol
    if symbol is None or not _TICKER.fullmatch(symbol):
        return None
    agrees = all(given in ("", symbol) for given in (named.symbol, named.local_symbol, named.trading_class))
    traded = {named.exchange or "SMART", named.primary_exchange or "SMART"} <= _EXCHANGES
    stock = named.sec_type in ("", "STK") and named.currency in ("", "USD") and not named.of_no_stock
    return Contract(contract_id(symbol), symbol) if agrees and traded and stock else None


def contract_id(symbol: str) -> int:
    """The id of a ticker."""
    if symbol in _CONTRACT_IDS:
        return _CONTRACT_IDS[symbol]
    ticker, _, of_class = symbol.partition(" ")
    number = 0
    for letter in f"{ticker:<{_LENGTH - 1}}{of_class:<1}":
        number = number * _LETTERS + (0 if letter == " " else ord(letter) - ord("A") + 1)
    return _FIRST_INVENTED + number


def symbol_of(con_id: int) -> str | None:
    """The ticker that has this id; None if no stock has it."""
    if con_id in _SYMBOLS:
        return _SYMBOLS[con_id]
    number, letters = con_id - _FIRST_INVENTED, ""
    if not 0 < number < _LETTERS**_LENGTH:
        return None
    for _ in range(_LENGTH):
        number, letter = divmod(number, _LETTERS)
        letters = (" " if letter == 0 else chr(ord("A") + letter - 1)) + letters
    symbol = f"{letters[:-1].rstrip()} {letters[-1]}".rstrip()
    return symbol if _TICKER.fullmatch(symbol) and contract_id(symbol) == con_id else None
