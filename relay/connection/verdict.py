"""What a gate says of a client and a judge of a frame: go on, wait, or end. Values; who decides is elsewhere."""

from __future__ import annotations

from typing import NamedTuple

from relay.logs.record import Reason


class Pass:
    """Go on."""

    __slots__ = ()


class WaitUntil(NamedTuple):
    """Not yet: ask again when this moment (monotonic) has come."""

    when: float


class EndWith(NamedTuple):
    """No: the connection ends, with this reason in its record."""

    reason: Reason
    detail: str | None = None


Verdict = Pass | WaitUntil | EndWith

PASS = Pass()
