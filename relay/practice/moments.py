"""Moments as IB writes them: the end of a request, the date of a bar, and the regular hours of New York.

`yyyymmdd-hh:mm:ss` is UTC, a zone behind the time says whose clock it is, and without one it is the gateway's own zone.
Time zones come from the host's database; the hours of New York need none, so that `useRTH` works everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_END = re.compile(
    r"(\d{8})(?:(?P<mark> +|-)(\d\d):(\d\d)(?::(\d\d))?(?: +(?P<zone>[A-Za-z][\w/+-]{0,40}))?)?", re.ASCII
)

# Names that are only links, and missing where tzdata-legacy is not installed (Debian 13, Ubuntu 24.04).
_LINKS = {
    "US/Eastern": "America/New_York",
    "US/Central": "America/Chicago",
    "US/Mountain": "America/Denver",
    "US/Pacific": "America/Los_Angeles",
    "GB-Eire": "Europe/London",
    "Japan": "Asia/Tokyo",
    "Hongkong": "Asia/Hong_Kong",
}
_EARLIEST, _LATEST = -62_135_596_800.0, 253_402_300_799.0  # the years 1 to 9999 in UTC, all that datetime knows
_REFUSED = frozenset(("GMT",))  # a real gateway does not know it (atreyu-backtrader-api#14: error 10314)


def zone_named(name: str) -> tzinfo | None:
    """The time zone of that name; None if it is none, or if this host does not know it."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(_LINKS.get(name, name)) if name and name not in _REFUSED else None
    except (ValueError, OSError):  # no such key, no such file, or a folder
        return None
    except KeyError:  # ZoneInfoNotFoundError
        return None


def parse_end(text: str, now: float, own_zone: str) -> float:
    """`endDateTime` as seconds since 1970; empty means now. ValueError says what is wrong with it."""
    text = text.strip()
    if not text:
        return now
    match = _END.fullmatch(text)
    try:
        if match is None or (match["mark"] == "-" and match["zone"]):
            raise ValueError("not of that form")
        day, _, *clock = match.groups()[:5]
        hours, minutes, seconds = (int(part or 0) for part in clock)
        local = datetime(int(day[:4]), int(day[4:6]), int(day[6:]), hours, minutes, seconds, tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not yyyymmdd-hh:mm:ss (UTC) or yyyymmdd hh:mm:ss [zone]") from None
    name = "UTC" if match["mark"] == "-" else match["zone"] or own_zone
    zone = zone_named(name)
    if zone is None:
        raise ValueError(f"the time zone {name[:40]!r} is not known here")
    return min(max(local.timestamp() - _offset(local, zone).total_seconds(), _EARLIEST), _LATEST)


def _offset(local: datetime, zone: tzinfo) -> timedelta:
    """From UTC, at a time of that zone's clock; none in the first and the last year there is."""
    try:
        return local.replace(tzinfo=zone).utcoffset() or timedelta()
    except OverflowError:
        return timedelta()


def written(at: float, zone: str) -> str:
    """`yyyymmdd hh:mm:ss ZONE`, in UTC if the zone is not known."""
    known = zone_named(zone)
    return datetime.fromtimestamp(at, known or UTC).strftime(f"%Y%m%d %H:%M:%S {zone if known else 'UTC'}")


def hello_time(at: float, zone: str) -> str:
    """The time of a server hello: the gateway's own clock and whatever its zone is called."""
    return datetime.fromtimestamp(at, zone_named(zone) or UTC).strftime("%Y%m%d %H:%M:%S ") + zone


def regular_hours(day: date) -> tuple[int, int] | None:
    """Open and close of New York on a date, in seconds since 1970; None at a weekend. Holidays are not known."""
    if day.weekday() >= 5:
        return None
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + _behind_utc(day) * 3600
    return midnight + 34_200, midnight + 57_600  # 09:30 and 16:00


def is_regular(at: float) -> bool:
    """Is New York in its regular hours?"""
    hours = regular_hours(datetime.fromtimestamp(at, UTC).date())  # they lie within one day of UTC all year
    return hours is not None and hours[0] <= at < hours[1]


def sessions_before(end: float) -> Iterator[tuple[date, int, int]]:
    """The days with regular hours that begin before `end`, latest first: date, open, close."""
    day = datetime.fromtimestamp(end, UTC).date()
    while day.year > 1900:
        hours = regular_hours(day)
        if hours is not None and hours[0] < end:
            yield day, *hours
        day -= timedelta(days=1)


def _behind_utc(day: date) -> int:
    """Hours from New York to UTC, by the rule of 2007 for all years: enough for invented prices of earlier ones."""
    march, november = date(day.year, 3, 8), date(day.year, 11, 1)
    starts = march + timedelta(days=(6 - march.weekday()) % 7)  # the second Sunday
    ends = november + timedelta(days=(6 - november.weekday()) % 7)  # the first
    return 4 if starts <= day < ends else 5
