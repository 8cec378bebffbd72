"""What a gate says of a client and a judge of a frame: go on, wait, or end. Values; who decides is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from relay.logs.record import Reason


@dataclass(frozen=True, slots=True)
class Pass:
    """Go on."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Not yet: ask again when this moment (monotonic) has come."""

    when: float


@dataclass(frozen=True, slots=True)
class EndWith:
    """No: the connection ends, with this reason in its record."""

    reason: Reason
    detail: str | None = None


Verdict = Pass | WaitUntil | EndWith

PASS = Pass()
