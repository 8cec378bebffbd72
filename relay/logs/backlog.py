"""What waits for one side of a session, as values, and what follows: it does not read, bytes moved then, it is idle.

That we read and write says nothing of it. What we have written stays in our kernel until the side takes it, and while
it takes nothing, we read nothing for it: by our own calls, a session in which megabytes wait looks like a silent one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from relay.logs.ends import NOTABLE


class Backlog(NamedTuple):
    """Of one direction, as of one look. None: the kernel does not tell."""

    queued: int  # bytes the other side has sent that our socket to this side has not taken
    unacknowledged: int | None  # bytes it has taken that this side's kernel has not acknowledged
    shut: bool | None  # this side's window is shut
    still: float | None  # seconds since a byte last went out to this side

    @property
    def waiting(self) -> int:
        """Bytes that are known to wait."""
        return self.queued + (self.unacknowledged or 0)

    @property
    def stuck(self) -> bool:
        """Bytes wait, and that is no matter of a moment."""
        return self.waiting > 0 and self.still is not None and self.still >= NOTABLE

    @property
    def blocked(self) -> bool:
        """They do because this side does not read."""
        return bool(self.shut) and self.stuck


def last_moved(last: float, now: float, backlogs: Iterable[Backlog]) -> float:
    """When a byte last moved: `last` is when we last read or wrote one. All monotonic."""
    return max([last, *(now - backlog.still for backlog in backlogs if backlog.still is not None)])


def idle_since(last: float, now: float, backlogs: Iterable[Backlog]) -> float:
    """Since when no byte has moved and none has waited; `now` for a session that is not idle."""
    backlogs = tuple(backlogs)
    return now if any(backlog.waiting for backlog in backlogs) else last_moved(last, now, backlogs)
