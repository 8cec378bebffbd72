"""What is wished for: ours held against other relays, or against a limit. Reported, never asserted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.bench import peers


class Against(Enum):
    """What a goal compares our relay with: the least favourable of these relays, or none: an absolute figure."""

    SOCAT = ("socat", (peers.SOCAT,))  # as users start it
    HAPROXY = ("HAProxy", (peers.HAPROXY,))
    BETTER = ("better of HAProxy and nginx", (peers.HAPROXY, peers.NGINX))
    BEST = ("best of four", (peers.SOCAT, peers.HAPROXY, peers.NGINX, peers.PROXYD))  # as they are installed
    BUSY = ("busy-polling", (peers.BUSY,))
    RAW = ("raw", (peers.RAW,))  # what observation costs
    OFF = ("off", (peers.OFF,))  # what adaptive latency brings, or costs
    SURVIVE = ("survive", (peers.SURVIVE,))  # what it costs that sessions are kept
    LIMIT = ("limit", ())

    def __init__(self, title: str, relays: tuple[str, ...]) -> None:
        self.title, self.relays = title, relays


@dataclass(frozen=True, slots=True)
class Goal:
    """Ratios are written so that more is better for us, whatever the row's unit; `ahead` demands more than `value`.

    A limit is in the row's unit, and what is below it is reached.
    """

    against: Against
    value: float
    ahead: bool = False

    def wish(self, unit: str) -> str:
        """As a reader has it: `best of four >= 1.80`, `<= 80 ms`."""
        if self.against is Against.LIMIT:
            return f"<= {self.value:g} {unit}"
        return f"{self.against.title} {'>' if self.ahead else '>='} {self.value:.2f}"


class Verdict(Enum):
    PASS = "PASS"
    SHORT = "short"
    UNKNOWN = "not measured"


def judge(goal: Goal, figure: float | None) -> Verdict:
    """Is it reached with this ratio (for a limit: this figure)?"""
    if figure is None:
        return Verdict.UNKNOWN
    if goal.against is Against.LIMIT:
        reached = figure <= goal.value
    else:
        reached = figure > goal.value if goal.ahead else figure >= goal.value
    return Verdict.PASS if reached else Verdict.SHORT


def at_least(against: Against, value: float) -> Goal:
    return Goal(against, value)


def ahead(against: Against) -> Goal:
    return Goal(against, 1.0, ahead=True)


def at_most(limit: float) -> Goal:
    return Goal(Against.LIMIT, limit)
