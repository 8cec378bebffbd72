"""When IB resets its servers: dated windows per region, and whether a moment is inside one of them.

They are local times of the region, so the time zone database is needed; images without it (no tzdata) get None, which
is "not known". Another table can be given where IB's has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

# IBKR's system status page as of November 2026, the copy of interactivebrokers.co.uk. Times of the daily reset have
# changed before (23:45 to 00:45 ET is what is often quoted), so look it up again before trusting a minute of it.
AS_OF = "2026-11"
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(7)
SUNDAY_TO_FRIDAY = (SUNDAY, MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)


@dataclass(frozen=True, slots=True)
class Window:
    """A time of planned maintenance: days are those it begins on."""

    name: str
    zone: str
    days: tuple[int, ...]
    start: time
    length: timedelta

    @property
    def sentence(self) -> str:
        """Name and time, for people."""
        end = (datetime.combine(date(2000, 1, 1), self.start) + self.length).time()
        return f"{self.name}, {self.start:%H:%M} to {end:%H:%M} {self.zone}"


WINDOWS = (
    Window("weekend maintenance", "America/New_York", (FRIDAY,), time(23, 0), timedelta(hours=4)),
    Window(
        "daily reset, North America", "America/New_York", SUNDAY_TO_FRIDAY, time(0, 15), timedelta(hours=1, minutes=30)
    ),
    Window("daily reset, Europe", "Europe/Zurich", SUNDAY_TO_FRIDAY, time(6, 25), timedelta(hours=1, minutes=20)),
    Window("daily reset, Asia", "Asia/Hong_Kong", SUNDAY_TO_FRIDAY, time(4, 45), timedelta(hours=1, minutes=20)),
    Window("second daily reset, Asia", "Asia/Hong_Kong", SUNDAY_TO_FRIDAY, time(20, 15), timedelta(hours=1)),
)


def inside(moment: float, windows: tuple[Window, ...] = WINDOWS) -> tuple[Window, ...] | None:
    """The windows that Unix time is in; None where a zone is not known here."""
    open_now = []
    for window in windows:
        local = _local(moment, window.zone)
        if local is None:
            return None
        if any(_is_open(window, local, days) for days in (0, 1)):
            open_now.append(window)
    return tuple(open_now)


def is_weekly_login(moment: float) -> bool | None:
    """Within a day of Sunday 01:00 in New York, when tokens of the automatic restart end (IBKR's guide)?"""
    local = _local(moment, "America/New_York")
    if local is None:
        return None
    return (local - timedelta(hours=1)).weekday() == SUNDAY


def _is_open(window: Window, local: datetime, days: int) -> bool:
    """Whether a window that began so many days ago is still open. Times are of the wall clock, as IB publishes them."""
    day = local.date() - timedelta(days=days)
    start = datetime.combine(day, window.start)
    return day.weekday() in window.days and start <= local < start + window.length


def _local(moment: float, zone: str) -> datetime | None:
    """The wall clock there; None without its zone, or for a time no calendar has."""
    from zoneinfo import ZoneInfo  # here, because most runs have no use for it and it costs some milliseconds

    try:
        return datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    except (KeyError, OSError, OverflowError, ValueError):  # ZoneInfoNotFoundError is a KeyError
        return None
