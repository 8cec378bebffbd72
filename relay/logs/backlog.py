"""What waits for one side of a session, as values, and what follows: it does not read, bytes moved then, it is idle.

That we read and write says nothing of it. What we have written stays in our kernel until the side takes it, and while
it takes nothing, we read nothing for it: by our own calls, a session in which megabytes wait looks like a silent one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from relay.logs.ends import NOTABLE
from relay.logs.units import size


class Backlog(NamedTuple):
    """Of one direction, as of one look. None: the kernel does not tell."""

    queued: int  # bytes of the other side that came here and are not passed on: unread, or kept by us
    unacknowledged: int | None  # bytes passed on ("up", "down") that this side's kernel has not acknowledged
    shut: bool | None  # this side's window is shut
    still: float | None  # seconds since a byte last went out to this side

    @property
    def waiting(self) -> int:
        """Those passed on and known not to be taken; with the delivered ones, all that were passed on."""
        return self.unacknowledged or 0

    @property
    def left(self) -> bool:
        """Bytes are known to wait, passed on or not."""
        return bool(self.queued or self.waiting)

    @property
    def stuck(self) -> bool:
        """Bytes wait, and that is no matter of a moment."""
        return self.left and self.still is not None and self.still >= NOTABLE

    @property
    def blocked(self) -> bool:
        """They do because this side does not read."""
        return bool(self.shut) and self.stuck


def not_taken(backlog: Backlog, sender: str) -> str:
    """What waits, for every text that tells of it: of what was passed on, then what `sender` has sent besides."""
    waiting = (
        "unknown whether all was taken" if backlog.unacknowledged is None else f"{size(backlog.waiting)} not taken"
    )
    sender = "gateway" if sender == "upstream" else sender
    return waiting + (f", {size(backlog.queued)} more from the {sender} not passed on" if backlog.queued else "")


def last_moved(last: float, now: float, backlogs: Iterable[Backlog]) -> float:
    """When a byte last moved: `last` is when we last read or wrote one. All monotonic."""
    return max([last, *(now - backlog.still for backlog in backlogs if backlog.still is not None)])


def idle_since(last: float, now: float, backlogs: Iterable[Backlog]) -> float:
    """Since when no byte has moved and none has waited; `now` for a session that is not idle."""
    backlogs = tuple(backlogs)
    return now if any(backlog.left for backlog in backlogs) else last_moved(last, now, backlogs)
