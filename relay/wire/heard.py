"""Which of the codes a session has heard are true now: what was reported lost and not as back, and what was answered.

A gateway tells its state by notices: IB's servers are lost (1100, 2110) and back (1101, 1102), a data farm is broken
and works again, each farm for itself. What is back is forgotten, so that it hides nothing. Everything else that says
what went wrong, as the answer to a request does, stays until newer ones push it out. Notices that all is well never
count. Pure values, bounded whatever a peer sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from relay.wire.codes import CODES, Kind, classify

MAX_HELD = 32  # things that are lost at a time; a gateway has about ten farms. More are not kept
MAX_ANSWERS = 8  # other codes, each once; the newest are kept
_FARMS_SHOWN = 4  # by name

_NO_FAULT = frozenset({Kind.OK, Kind.INFORMATIONAL})
_IB_LOST, _IB_BACK = frozenset({1100, 2110}), frozenset({1101, 1102})
_SUBSCRIPTIONS_KEPT = 1102
# A farm that sleeps until it is needed (2107, 2108) is not broken any more; one that is connecting (2119) still is.
_FARMS = (
    (2103, frozenset({2104, 2108}), "market data"),
    (2105, frozenset({2106, 2107}), "historical data"),
    (2157, frozenset({2158}), "contract data"),
)
_FARM_CODES = frozenset(code for lost, back, _ in _FARMS for code in (lost, *back))

# Farms are called usfarm, usfarm.nj, cashfarm, secdefil, mcgw1.ibllc.com.cn. Nothing else of a text is kept: no four
# digits in a row, as they could be of an account number.
_FARM = re.compile(r"(?!.*[0-9]{4})[a-z][a-z0-9.-]{1,31}")
_TAIL = 80  # characters at the end of a text in which the name stands
_OF_NOTICE = (re.compile(r":\s*([^:\s]+)$"), re.compile(r"\.([^\s]+)$"))  # "... is OK:usfarm", "... upon demand.usfarm"
_CONNECTED = re.compile(r"(?<!not )connected:([a-z0-9.; -]{1,400})")  # "All data farms are connected: usfarm; ushmds."


class Said(NamedTuple):
    """One code that counts, and the farm it is about."""

    code: int
    farm: str = ""  # "": of no farm, or of one that was not named


class Heard(NamedTuple):
    """What counts of all codes so far, in the order in which each came last."""

    entries: tuple[Said, ...] = ()

    def and_then(self, code: int, farms: Sequence[str] = ()) -> Heard:
        """After one more code, whose text names these farms."""
        kind = classify(code)
        left = tuple(entry for entry in self.entries if not _takes_back(code, farms, entry))
        if kind in _NO_FAULT or code == _SUBSCRIPTIONS_KEPT:
            return self if len(left) == len(self.entries) else Heard(left)
        named = farms if kind is Kind.DEGRADED and farms else ("",)
        news = tuple(Said(code, farm) for farm in named)
        return _bounded((*(entry for entry in left if entry not in news), *news))

    @property
    def last(self) -> int | None:
        """The last code that still holds, or that was an answer."""
        return self.entries[-1].code if self.entries else None

    @property
    def holding(self) -> tuple[Said, ...]:
        """What was reported as lost, and not as back."""
        return tuple(entry for entry in self.entries if _holds(entry))

    @property
    def answers(self) -> tuple[int, ...]:
        """The last codes of other kinds, each once, the oldest first."""
        return tuple(entry.code for entry in self.entries if not _holds(entry))

    @property
    def upstream_lost(self) -> int | None:
        """The code by which the gateway is still cut off from IB."""
        return next((entry.code for entry in reversed(self.entries) if entry.code in _IB_LOST), None)

    @property
    def farms(self) -> frozenset[Said]:
        """The farms still broken, as values: equal for the same ones in whatever order they were told."""
        return frozenset(entry for entry in self.holding if entry.code not in _IB_LOST)

    @property
    def broken_farms(self) -> str:
        """The farms still broken, as "market data usfarm cashfarm (2103), contract data (2157)"; or ""."""
        codes = {entry.code for entry in self.entries}
        return ", ".join(
            f"{kind}{_listed(farms_of(self.entries, lost), ' ')} ({lost})" for lost, _, kind in _FARMS if lost in codes
        )


def replayed(codes: Sequence[int], farms: Sequence[str] = ()) -> Heard:
    """After these codes; `farms` are those of each code's text with blanks between, as far as they are known."""
    heard = Heard()
    for at, code in enumerate(codes):
        named = farms[at].split() if at < len(farms) else ()
        heard = heard.and_then(code, tuple(filter(is_farm, named))[:MAX_HELD])
    return heard


def farms_named(code: int, text: str) -> tuple[str, ...]:
    """The farms that a notice is about, by the end of its text, which is a peer's; () where it names none."""
    if code in _FARM_CODES:
        found = (match[1] for pattern in _OF_NOTICE if (match := pattern.search(text[-_TAIL:])) is not None)
        return tuple(name for name in found if is_farm(name))[:1]
    if code in _IB_BACK:
        listed = ";".join(match[1] for match in _CONNECTED.finditer(text))
        names = dict.fromkeys(one.strip(" .") for one in listed.split(";"))
        return tuple(filter(is_farm, names))[:MAX_HELD]
    return ()


def is_farm(name: str) -> bool:
    """Has it the form of a farm's name?"""
    return _FARM.fullmatch(name) is not None


def holding_said(holding: Iterable[Said]) -> str:
    """For people: "2110 (gateway is cut off from IB ...), 2103 (market data farm disconnected: usfarm)"."""
    entries = tuple(holding)
    codes = dict.fromkeys(entry.code for entry in entries)
    return ", ".join(code_said(code, farms_of(entries, code)) for code in codes)


def code_said(code: int, farms: Sequence[str] = ()) -> str:
    """A code with its words, where it has a row in the table: "162 (historical data: no data, ...)"."""
    row = CODES.get(code)
    named = _listed(farms, ", ")
    return str(code) if row is None else f"{code} ({row.meaning}{f':{named}' if named else ''})"


def farms_of(entries: Sequence[Said], code: int) -> tuple[str, ...]:
    """The farms a code is about, by name."""
    return tuple(entry.farm for entry in entries if entry.code == code and entry.farm)


def _holds(entry: Said) -> bool:
    return classify(entry.code) is Kind.DEGRADED


def _takes_back(code: int, farms: Sequence[str], entry: Said) -> bool:
    """Does this code say that what the entry reports is over? Where one of them names no farm, its kind decides."""
    if code in _IB_BACK:
        return entry.code in _IB_LOST or (entry.farm != "" and entry.farm in farms)
    for lost, back, _ in _FARMS:
        if entry.code == lost and code in back:
            return not farms or not entry.farm or entry.farm in farms
    return False


def _bounded(entries: tuple[Said, ...]) -> Heard:
    holding = [entry for entry in entries if _holds(entry)]
    answers = [entry for entry in entries if not _holds(entry)]
    if len(holding) <= MAX_HELD and len(answers) <= MAX_ANSWERS:
        return Heard(entries)
    kept = {*holding[:MAX_HELD], *answers[-MAX_ANSWERS:]}
    return Heard(tuple(entry for entry in entries if entry in kept))


def _listed(farms: Sequence[str], between: str) -> str:
    """A blank and the first of them; or ""."""
    more = f" and {len(farms) - _FARMS_SHOWN} more" if len(farms) > _FARMS_SHOWN else ""
    return f" {between.join(farms[:_FARMS_SHOWN])}{more}" if farms else ""
