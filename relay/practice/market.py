"""An invented market: prices are a function of seed, symbol and time, so all runs and all clients see the same prices.

A price is a few waves per symbol, from weeks to minutes, plus a cent or two of noise per second; a bar opens where the
previous bar closed. Trading never stops; daily bars leave out weekends, holidays are not known, `useRTH` changes
nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b

MIN_TICK = 0.01
DAY = 86_400  # seconds
MAX_BARS = 2000  # per request; more is cut at the front (a real gateway refuses such a request)

BAR_SECONDS = {
    **{f"{n} sec{s}": n for n in (1, 5, 10, 15, 30) for s in ("", "s")},
    **{f"{n} min{s}": n * 60 for n in (1, 2, 3, 5, 10, 15, 20, 30) for s in ("", "s")},
    **{f"{n} hour{s}": n * 3600 for n in (1, 2, 3, 4, 8) for s in ("", "s")},
    **{f"1 {unit}": DAY for unit in ("day", "D", "d")},
    **{f"1 {unit}": 7 * DAY for unit in ("week", "W", "w")},
    **{f"1 {unit}": 30 * DAY for unit in ("month", "M", "m")},
}

# Unit of a duration: its seconds, and its number of weekdays when the bars are daily.
_DURATION = {"S": (1, 0), "D": (DAY, 1), "W": (7 * DAY, 5), "M": (30 * DAY, 21), "Y": (365 * DAY, 252)}
# Seconds of one wave, and its height as part of the price.
_WAVES = ((23 * DAY, 0.05), (1.7 * DAY, 0.008), (5100.0, 0.002), (310.0, 0.0005))
_DURATION_TEXT = re.compile(r"(\d{1,6}) ?([SDWMY])")
_END_TEXT = re.compile(r"(\d{8})(?:[ -]+(\d\d):(\d\d)(?::(\d\d))?(?: .*)?)?")


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
    average: float
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

    def bars(self, contract: Contract, end: float, seconds: int, duration: str) -> list[Bar]:
        """The bars before `end` that `duration` ("5 D") asks for, oldest first; ValueError if that is no duration."""
        match = _DURATION_TEXT.fullmatch(duration.strip())
        if match is None:
            raise ValueError(f"duration {duration!r}, expected a number and one of S, D, W, M, Y")
        covered, weekdays = (int(match[1]) * each for each in _DURATION[match[2]])
        starts: Sequence[int]
        if seconds == DAY:
            starts = _weekdays(end, max(1, weekdays))
        elif seconds > DAY:
            starts = _calendar(end, max(1, covered // seconds), seconds // DAY)
        else:
            count = min(MAX_BARS, max(1, covered // seconds))
            last = int(end) // seconds * seconds
            starts = range(last - count * seconds, last, seconds)
        return [self.bar(contract, start, seconds) for start in starts]

    def _noise(self, *what: object) -> float:
        """A number in [0, 1) that looks random and is always the same for the same arguments."""
        digest = blake2b(repr((self._seed, *what)).encode(), digest_size=6).digest()
        return int.from_bytes(digest, "big") / (1 << 48)


def parse_end(text: str, now: float) -> float:
    """`endDateTime` of a request as seconds since 1970, read as UTC whatever its zone; empty means now."""
    if not text.strip():
        return now
    match = _END_TEXT.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError("not of that form")
        day, *clock = match.groups()
        moment = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"end date {text!r}, expected yyyymmdd hh:mm:ss [zone]") from error
    hours, minutes, seconds = (int(part or 0) for part in clock)
    return (moment + timedelta(hours=hours, minutes=minutes, seconds=seconds)).timestamp()


def _weekdays(end: float, count: int) -> list[int]:
    day = int(end) // DAY * DAY
    starts: list[int] = []
    while len(starts) < min(MAX_BARS, count):
        if (day // DAY + 3) % 7 < 5:  # day 0, 1970-01-01, was a Thursday
            starts.append(day)
        day -= DAY
    return starts[::-1]


def _calendar(end: float, count: int, step: int) -> list[int]:
    last = int(end) // DAY // step * step
    return [day * DAY for day in range(last - (min(MAX_BARS, count) - 1) * step, last + 1, step)]
