"""Says how many sessions the service manager has no room for: before, while there are some, and after a kill."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from relay.config.limits import MOST_SESSIONS

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

SAY_AGAIN = 60.0  # seconds between two lines: clients that come and go at the limit must not fill the log
_MORE_ROOM = f"`ib-relay service install` makes room for max_connections, up to {MOST_SESSIONS}"


class Shortage:
    """What is said of one manager's room. `count` sessions are outside of it now."""

    def __init__(self, log: RelayLog, note: Callable[[int], None]) -> None:
        """`note` is told how many sessions would end in a kill."""
        self._log = log
        self._note = note
        self._said: float | None = None  # monotonic
        self.count = 0

    def changed(self, count: int, exposed: int, room: int) -> None:
        """So many sessions are outside of a room for `room`; a kill ends those that are not in flight either."""
        first = count and not self.count
        self.count = count
        self._note(exposed)
        now = monotonic()
        if first and (self._said is None or now - self._said >= SAY_AGAIN):
            self._said = now
            message = f"the service manager has no room for more than {room} sessions: others end at a restart"
            self._log.event("keep.full", f"{message}; {_MORE_ROOM}", "WARN", room=room)


def shortage_ahead(max_connections: int, room: int) -> tuple[str, ...]:
    """A warning where more connections are let in than there is room for."""
    if max_connections <= room:
        return ()
    message = f"up to {max_connections} connections are let in, and the service manager has room for {room} sessions"
    return (f"{message}: others end at a restart; {_MORE_ROOM}",)


def outlived(live: int, lost: int, unkept: int, how: str, pause: str) -> str:
    """What became of the sessions: `lost` were kept and could not go on, `unkept` the manager had no room for."""
    words = [f"{live} session{'s' * (live != 1)} outlived {how}{pause}"]
    words += [f"{lost} did not"] * bool(lost)
    words += [f"{unkept} ended with the old process, as there was no room to keep them"] * bool(unkept)
    return ", ".join(words)
