"""The settings of a practice gateway, and the bounds on everything a client could make grow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from relay.practice.behaviours import BEHAVIOURS, check_value, parse_behaviours
from relay.wire import versions

OLDEST_SERVER_VERSION = 124  # historical data has its present text layout from here on (ibapi SYNT_REALTIME_BARS)

MAX_REQUEST = 1 << 20  # bytes of one client frame; the largest real request (a scanner or algo order) is a few KiB
MAX_OUTPUT = 256 << 10  # bytes waiting for a client that does not read; beyond it no request is read, ticks are dropped
MAX_STREAMS = 100  # live subscriptions per session; IB's own default is 100 market data lines per user
MAX_LATE = 256  # answers held back at the same time by slow-sync
LAST_WORDS = 5.0  # seconds a client has to take what was written before a close; then the rest is dropped


@dataclass(frozen=True, slots=True)
class Farms:
    """Names of IB's data farms, one notice each; a gateway on a US paper account names these first."""

    market: tuple[str, ...] = ("usfarm.nj", "usfuture", "cashfarm", "usopt", "usfarm")
    history: tuple[str, ...] = ("euhmds", "ushmds")
    definitions: tuple[str, ...] = ("secdefil",)


class Options(TypedDict, total=False):
    """The settings of a Practice besides its behaviour."""

    server_version: int
    accounts: tuple[str, ...]
    ticks_per_second: float
    time_zone: str
    farms: Farms
    first_order_id: int
    seed: int
    max_sessions: int


@dataclass(frozen=True, slots=True)
class Practice:
    """Settings of a practice gateway; ValueError if they cannot be played."""

    behaviour: str = "normal"
    value: float | str | None = None  # None: the behaviour's default, filled in
    server_version: int = versions.NEWEST  # announced unless the client's own maximum is lower
    accounts: tuple[str, ...] = ("DU1234567",)
    ticks_per_second: float = 4.0  # per subscription; a real gateway sends a market data snapshot every 250 ms
    time_zone: str = "UTC"  # of its clock in the hello, in dates, and of ends without a zone; UTC if unknown
    farms: Farms = field(default_factory=Farms)
    first_order_id: int = 1
    seed: int = 1  # prices are a function of this, the symbol and the time
    max_sessions: int = 1024
    also: tuple[tuple[str, float | str | None], ...] = ()  # composable behaviours and their values, played as well

    def __post_init__(self) -> None:
        if self.behaviour not in BEHAVIOURS:
            raise ValueError(f"unknown behaviour {self.behaviour!r}; known: {', '.join(BEHAVIOURS)}")
        object.__setattr__(self, "value", check_value(BEHAVIOURS[self.behaviour], self.value))
        for name, _ in self.also:
            if not (name in BEHAVIOURS and BEHAVIOURS[name].composable):
                raise ValueError(f"behaviour {name!r} cannot be played with another")
        object.__setattr__(self, "also", tuple((name, check_value(BEHAVIOURS[name], one)) for name, one in self.also))
        if self.behaviour == "ticks":
            object.__setattr__(self, "ticks_per_second", self.number)
        if not OLDEST_SERVER_VERSION <= self.server_version <= versions.NEWEST:
            raise ValueError(
                f"server version {self.server_version} is not between {OLDEST_SERVER_VERSION} and {versions.NEWEST}"
            )
        if not self.accounts or not all(name and name.isascii() and name.isalnum() for name in self.accounts):
            raise ValueError(f"accounts {self.accounts!r}: one or more names of letters and digits are needed")
        if not 0 <= self.ticks_per_second <= 200_000:
            raise ValueError(f"ticks_per_second {self.ticks_per_second} is not between 0 and 200000")

    @classmethod
    def named(cls, behaviour: str, **options: Unpack[Options]) -> Practice:
        """Settings from `NAME[=VALUE][+...]` as typed; ValueError as from `parse_behaviours` and the class itself."""
        (name, value), *also = parse_behaviours(behaviour)
        return cls(behaviour=name, value=value, also=tuple(also), **options)

    @property
    def played(self) -> dict[str, float | str | None]:
        """Every behaviour that is played, with its value."""
        return {self.behaviour: self.value, **dict(self.also)}

    def plays(self, name: str) -> bool:
        """Is this behaviour one of those that are played?"""
        return name in self.played

    def number_of(self, name: str) -> float:
        """The number that a behaviour was given; 0 if it is not played."""
        value = self.played.get(name)
        return value if isinstance(value, float) else 0.0

    @property
    def number(self) -> float:
        """The value of a behaviour that takes a number: seconds, a count, or a rate."""
        if not isinstance(self.value, float):
            raise TypeError(f"the value of behaviour {self.behaviour} is no number: {self.value!r}")
        return self.value

    @property
    def address(self) -> tuple[str, int]:
        """The value of a behaviour that takes HOST:PORT."""
        host, _, port = str(self.value).rpartition(":")
        return host, int(port)
