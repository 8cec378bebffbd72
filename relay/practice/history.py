"""Historical data: which bars or which schedule a request gets, or the error that it gets instead. No bytes, no clock.

A field that is not honoured is refused with error 321, which names it. Bars with `useRTH` are those of New York from
09:30 to 16:00, Monday to Friday; without it they are those of all hours. A duration counts days of trading: with
`useRTH`, `1 D` is the last day with regular hours that has a bar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from relay.practice.market import BAR_SECONDS, DAY, PRICES, Bar, Contract, Market
from relay.practice.moments import parse_end, sessions_before, written
from relay.practice.requests import HistoricalData

FIRST_TRADE = 728_317_800  # 1993-01-29 14:30:00 UTC: no stock has older prices
MAX_BARS = 12_000  # of one answer, some 700 KB; the longest that people ask for, a week of minutes, is 10,080

SCHEDULE = "SCHEDULE"
_SCHEDULE_FROM = 165  # ibapi MIN_SERVER_VER_HISTORICAL_SCHEDULE
_ZONE = "US/Eastern"  # of a schedule: the stock exchange's own
_DURATION = re.compile(r"(\d{1,5}) ([SDWMY])", re.ASCII)
# Of each unit: its seconds, its weekdays, its largest number, and the smallest bar in seconds (IB's step table, 2025).
_UNITS = {
    "S": (1, 0, 86_400, 1),
    "D": (DAY, 1, 365, 5),
    "W": (7 * DAY, 5, 52, 10),
    "M": (30 * DAY, 21, 12, 30),
    "Y": (365 * DAY, 252, 68, 60),
}
_SECONDS_OF_SECONDS = 2000  # of bars of one second: the longest duration


class RequestRefused(Exception):
    """The error that answers the request."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


@dataclass(frozen=True, slots=True)
class BarsFound:
    """Bars with their dates as text, and the span that was asked for."""

    bars: list[tuple[str, Bar]]
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class SessionsFound:
    """A schedule: (open, close, reference date) of each session, all in the zone."""

    sessions: list[tuple[str, str, str]]
    start: str
    end: str
    zone: str = _ZONE


def invalid(field: str, why: str) -> RequestRefused:
    """Error 321, as a gateway words it."""
    return RequestRefused(321, f"Error validating request.-'practice' : cause - {field}: {why}")


def service_error(what: str) -> RequestRefused:
    """Error 162: no data, a wrong step, or too fast."""
    return RequestRefused(162, f"Historical Market Data Service error message:{what}")


def check(wanted: HistoricalData, server_version: int) -> None:
    """Raise RequestRefused for a field that is wrong or that cannot be honoured."""
    if wanted.bar_size not in BAR_SECONDS:
        raise invalid("barSizeSetting", f"{wanted.bar_size[:24]!r} is no bar size")
    check_kind(wanted.what, (*PRICES, SCHEDULE))
    check_format(wanted.date_format)
    if wanted.chart_options:
        raise invalid("chartOptions", "the practice gateway knows none")
    if wanted.what == SCHEDULE and server_version < _SCHEDULE_FROM:
        raise invalid("whatToShow", "client version is too low for:Historical Schedule")
    if wanted.what == SCHEDULE and BAR_SECONDS[wanted.bar_size] != DAY:
        raise RequestRefused(10295, "Historical schedule can only be requested with 1 day bars")
    if wanted.end and wanted.what == "ADJUSTED_LAST":
        raise RequestRefused(10339, "Setting end date/time for ADJUSTED_LAST is not allowed")
    if wanted.keep_up_to_date and (wanted.end or wanted.what not in ("TRADES", "MIDPOINT", "BID", "ASK")):
        raise invalid("keepUpToDate", "only of TRADES, MIDPOINT, BID or ASK, and without an endDateTime")
    if wanted.keep_up_to_date and BAR_SECONDS[wanted.bar_size] < 5:
        raise invalid("keepUpToDate", "only of bars of 5 secs or more")


def check_kind(what: str, known: tuple[str, ...]) -> None:
    """Raise RequestRefused unless this `whatToShow` is one of them."""
    if what not in known:
        raise invalid("whatToShow", f"{what[:32]!r} is none of {', '.join(known)}")


def check_format(date_format: int) -> None:
    """Raise RequestRefused unless dates are wanted as text (1) or as seconds since 1970 (2)."""
    if date_format not in (1, 2):
        raise invalid("formatDate", f"{date_format} is neither 1 nor 2")


def find(
    wanted: HistoricalData, contract: Contract, market: Market, now: float, zone: str
) -> BarsFound | SessionsFound:
    """What a request that passed `check` gets at the wall time `now`; RequestRefused if there is nothing."""
    seconds = BAR_SECONDS[wanted.bar_size]
    number, unit = _duration(wanted.duration, seconds)
    try:
        end = parse_end(wanted.end, now, zone)
    except ValueError as error:
        raise invalid("endDateTime", str(error)) from None
    covered, weekdays = (number * each for each in _UNITS[unit][:2])
    if wanted.what == SCHEDULE:
        return _schedule(end, max(1, weekdays), now)
    starts = list(islice(_starts(wanted, end, seconds, covered, weekdays, now), MAX_BARS + 1))
    if len(starts) > MAX_BARS:
        raise invalid("durationStr", f"more than {MAX_BARS} bars, the practice gateway's limit")
    if not starts:
        raise service_error(f"HMDS query returned no data: {contract.symbol}@{contract.exchange} {wanted.what.title()}")
    epoch = wanted.date_format == 2
    bars = [market.bar_of(wanted.what, contract, start, seconds) for start in reversed(starts)]
    span = written(max(end - covered, 0.0), zone), written(end, zone)
    return BarsFound([(date_of(bar, seconds, epoch, zone), bar) for bar in bars], *span)


def date_of(bar: Bar, seconds: int, epoch: bool, zone: str) -> str:
    """The date of a bar: a day for daily and longer bars whatever the format, else epoch or text in the zone."""
    if seconds >= DAY:
        return datetime.fromtimestamp(bar.start, UTC).strftime("%Y%m%d")
    return str(bar.start) if epoch else written(bar.start, zone)


def head_of(date_format: int) -> str:
    """The first trade, in UTC as text or in seconds since 1970."""
    return (
        str(FIRST_TRADE) if date_format == 2 else datetime.fromtimestamp(FIRST_TRADE, UTC).strftime("%Y%m%d-%H:%M:%S")
    )


def _duration(text: str, seconds: int) -> tuple[int, str]:
    """Number and unit of a duration that bars of that size may have."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise invalid("durationStr", f"{text[:24]!r} is not a number, a blank and one of S, D, W, M, Y")
    number, unit = int(match[1]), match[2]
    length, _, most, smallest = _UNITS[unit]
    if number > most:
        raise service_error(f"Time length exceed max: at most {most} {unit}")
    too_long = seconds == 1 and number * length > _SECONDS_OF_SECONDS
    if seconds < smallest or too_long or number * length < min(seconds, DAY):
        raise service_error(f"invalid step: {seconds}")
    return number, unit


def _starts(wanted: HistoricalData, end: float, seconds: int, covered: int, weekdays: int, now: float) -> Iterator[int]:
    """Where the bars begin, latest first: complete ones before the end, none of the future or before FIRST_TRADE."""
    if seconds >= DAY:
        days = _days(end, max(1, weekdays if seconds == DAY else covered // seconds), seconds)
        yield from (day for day in days if FIRST_TRADE - DAY < day <= now)
    elif wanted.regular_hours_only:
        yield from _regular_starts(end, seconds, covered, weekdays, now)
    else:
        last = int(end) // seconds * seconds
        first = max(last - max(1, covered // seconds) * seconds, FIRST_TRADE)
        last = min(last, int(now) // seconds * seconds)
        yield from range(last - seconds, first - 1, -seconds)


def _regular_starts(end: float, seconds: int, covered: int, weekdays: int, now: float) -> Iterator[int]:
    """On the clock's grid, and the first bar of a day at the open, however short that makes it (IB's hour bars)."""
    days, count = 0, covered // seconds
    for _, opens, closes in sessions_before(end):
        if opens < FIRST_TRADE or (weekdays and days == weekdays) or (not weekdays and count <= 0):
            return
        if opens >= now and weekdays:
            days += 1  # a day of the future counts, and has no bars
            continue
        grid = range(opens // seconds * seconds, closes, seconds)
        starts = [max(start, opens) for start in grid if min(start + seconds, closes) <= end]
        days += bool(starts)
        for start in reversed(starts):
            if weekdays or count > 0:
                count -= 1
                if start < now:
                    yield start


def _days(end: float, count: int, seconds: int) -> Iterator[int]:
    """The days of daily bars, Monday to Friday; of weekly and monthly ones, multiples of 7 and 30 days."""
    step = seconds // DAY
    day = int(end) // DAY // step * step
    while count > 0 and day > 0:
        if step > 1 or (day + 3) % 7 < 5:  # day 0, 1970-01-01, was a Thursday
            yield day * DAY
            count -= 1
        day -= step


def _schedule(end: float, count: int, now: float) -> SessionsFound:
    """The regular hours of the last days, New York's own clock."""
    found = [
        (f"{day:%Y%m%d}-09:30:00", f"{day:%Y%m%d}-16:00:00", f"{day:%Y%m%d}")
        for day, opens, _ in islice(sessions_before(end), count)
        if FIRST_TRADE <= opens <= now
    ][::-1]
    if not found:
        raise service_error("HMDS query returned no data: Schedule")
    return SessionsFound(found, found[0][0], found[-1][1])
