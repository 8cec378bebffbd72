"""An invented market: prices are a function of seed, symbol and time, so all runs and all clients see the same prices.

A price is a few waves per symbol, from weeks to minutes, plus a cent or two of noise per second; a bar opens where the
previous bar closed. Trading never stops; daily bars leave out weekends, holidays are not known. Bid and ask are a cent
below and above the last trade. Which bars a request gets is decided in history.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

MIN_TICK = 0.01
DAY = 86_400  # seconds

BAR_SECONDS = {
    **{f"{n} secs": n for n in (1, 5, 10, 15, 30)},  # not "1 sec", which a gateway refuses since 2023
    **{f"{n} min{'s' * (n > 1)}": n * 60 for n in (1, 2, 3, 5, 10, 15, 20, 30)},
    **{f"{n} hour{'s' * (n > 1)}": n * 3600 for n in (1, 2, 3, 4, 8)},
    **dict.fromkeys(("1 day", "1D"), DAY),
    **dict.fromkeys(("1 week", "1W"), 7 * DAY),
    **dict.fromkeys(("1 month", "1M"), 30 * DAY),
}

TRADED = ("TRADES", "ADJUSTED_LAST")  # the same here: there are neither splits nor dividends
PRICES = (*TRADED, "MIDPOINT", "BID", "ASK", "BID_ASK")  # the kinds of price that this market knows

# Of a kind of price: how far below or above the trades its lowest and its highest lie.
_QUOTED = {
    "MIDPOINT": (0.0, 0.0),
    "BID": (-MIN_TICK, -MIN_TICK),
    "ASK": (MIN_TICK, MIN_TICK),
    "BID_ASK": (-MIN_TICK, MIN_TICK),
}

# Seconds of one wave, and its height as part of the price.
_WAVES = ((23 * DAY, 0.05), (1.7 * DAY, 0.008), (5100.0, 0.002), (310.0, 0.0005))


@dataclass(frozen=True, slots=True)
class Contract:
    """The part of a contract that matters here."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = "STK"
    exchange: str = "SMART"
    currency: str = "USD"

    @property
    def key(self) -> str:
        """What its prices depend on."""
        return f"{self.symbol or self.con_id}/{self.sec_type}/{self.currency}"


@dataclass(frozen=True, slots=True)
class Bar:
    """`start` is seconds since 1970, midnight UTC for daily and longer bars."""

    start: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    average: float  # -1, as volume and count, for bars of quotes
    count: int


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask and the last trade."""

    bid: float
    ask: float
    last: float
    bid_size: int
    ask_size: int
    last_size: int


class Market:
    """Prices for any contract at any time."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._shape = lru_cache(maxsize=128)(self._new_shape)

    def _new_shape(self, key: str) -> tuple[float, float]:
        """The difference between the prices of contracts: the level, and the place in the waves."""
        return 20.0 + 380.0 * self._noise(key, "base"), math.tau * self._noise(key, "phase")

    def price(self, contract: Contract, at: float) -> float:
        """The price at a moment, to the cent, always positive."""
        key = contract.key
        base, phase = self._shape(key)
        waves = sum(height * math.sin(at / period * math.tau + phase) for period, height in _WAVES)
        wobble = 0.0001 * (self._noise(key, int(at)) - 0.5)
        return round(base * (1.0 + waves + wobble), 2)

    def quote(self, contract: Contract, at: float) -> Quote:
        """The top of the book at a moment."""
        price, size = self.price(contract, at), int(100 + 900 * self._noise(contract.key, "size", int(at)))
        return Quote(round(price - MIN_TICK, 2), round(price + MIN_TICK, 2), price, size, size + 100, size // 10)

    def bar(self, contract: Contract, start: int, seconds: int) -> Bar:
        """The bar of `seconds` that begins at `start`."""
        open_, close = self.price(contract, start), self.price(contract, start + seconds)
        span = self._noise(contract.key, "span", start, seconds)
        reach = 0.012 * math.sqrt(seconds / DAY)  # a random walk's range grows with the root of time
        high = round(max(open_, close) * (1.0 + reach * span), 2)
        low = round(min(open_, close) * (1.0 - reach * (1.0 - span)), 2)
        volume = int(seconds * (50 + 200 * span))
        return Bar(start, open_, high, low, close, volume, round((open_ + high + low + close) / 4, 3), volume // 7 + 1)

    def bar_of(self, what: str, contract: Contract, start: int, seconds: int) -> Bar:
        """The bar of one of PRICES. BID_ASK: average bid, highest ask, lowest bid, average ask."""
        bar = self.bar(contract, start, seconds)
        if what in TRADED:
            return bar
        below, above = _QUOTED[what]
        first, last = (bar.average, bar.average) if what == "BID_ASK" else (bar.open, bar.close)
        open_, high, low, close = (
            round(price + distance, 2)
            for price, distance in ((first, below), (bar.high, above), (bar.low, below), (last, above))
        )
        return Bar(start, open_, high, low, close, volume=-1, average=-1, count=-1)

    def _noise(self, *what: object) -> float:
        """A number in [0, 1) that looks random and is always the same for the same arguments."""
        digest = blake2b(repr((self._seed, *what)).encode(), digest_size=6).digest()
        return int.from_bytes(digest, "big") / (1 << 48)
