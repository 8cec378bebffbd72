"""One timer for all connections: who must be looked at again, and when.

Most connections set a deadline and drop it milliseconds later (first bytes, dial), so setting and dropping must cost
next to nothing: a dictionary entry, no timer of their own. The loop is woken only when the earliest entry is due, and
not at all when there is none.

Sockets are read before anybody is judged: a process that stood still (SIGSTOP, a machine that slept) finds deadlines
that have passed and bytes that had come in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

SLICE = 0.001  # seconds that a crowd of deadlines may hold up the sockets


class Expires(Protocol):
    def expired(self, now: float) -> None:
        """The deadline has passed; set another one if there is more to wait for."""


class Deadlines:
    """At most one deadline (monotonic seconds) per connection.

    A fault in one `expired` goes to `on_error`, the others go on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_error: Callable[[Expires, Exception], None]) -> None:
        self._loop = loop
        self._on_error = on_error
        self._due: dict[Expires, float] = {}
        self._timer: asyncio.Handle | None = None
        self._wakes_at = float("inf")

    def set(self, who: Expires, when: float) -> None:
        """Call `who.expired(now)` once `when` has passed; replaces an earlier deadline."""
        self._due[who] = when
        if when < self._wakes_at:
            self._wake_at(when)

    def drop(self, who: Expires) -> None:
        """Forget a deadline, if there is one."""
        self._due.pop(who, None)

    def close(self) -> None:
        """Forget everything."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = when
        self._timer = self._loop.call_later(max(0.0, when - monotonic()), self._read_first)

    def _read_first(self) -> None:
        self._timer = self._loop.call_soon(self._sweep)  # the poller has its turn in between

    def _sweep(self) -> None:
        self._timer = None
        self._wakes_at = float("inf")
        now = monotonic()
        for who in sorted((who for who, when in self._due.items() if when <= now), key=self._due.__getitem__):
            if monotonic() > now + SLICE:
                break  # the others after another turn
            if self._due.get(who, now + 1) <= now:
                del self._due[who]
                try:
                    who.expired(now)
                except Exception as error:  # noqa: BLE001 (told to its owner; the others go on)
                    self._on_error(who, error)
        if self._due:
            earliest = min(self._due.values())
            if earliest < self._wakes_at:
                self._wake_at(max(earliest, now + 0.005))
