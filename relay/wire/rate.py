"""The most messages within any second: the number that IB limits to 50.

Exact with one exception: messages within 1 ms of each other share the time of the first. That bounds the memory to
about a thousand entries. It can count a message up to two milliseconds too long, never too short.
"""

from __future__ import annotations

from array import array

WINDOW = 1.0  # s
RESOLUTION = 0.001  # s
_KEPT = WINDOW + RESOLUTION  # an entry's last message may be that much younger than its time says
_GONE = 64  # entries behind the window before their memory is given back


class PeakRate:
    """Sliding window over (time, count) pairs; `now` must not go backwards. `peak` is an earlier maximum."""

    __slots__ = ("_peak", "_at", "_here", "_total", "_times", "_counts", "_first")

    def __init__(self, peak: int = 0) -> None:
        self._peak = peak  # up to the latest entry
        # The latest entry, and the entries before it. They are arrays because a thousand separate float objects, beside
        # many busy sessions, cost more than the arithmetic.
        self._at = float("-inf")
        self._here = 0
        self._times = array("d")
        self._counts = array("Q")
        self._first = 0  # in the window
        self._total = 0  # of those in the window

    @property
    def peak(self) -> int:
        """Until now."""
        return max(self._peak, self._total + self._here)

    def add(self, now: float, count: int) -> None:
        """`count` messages at `now`."""
        if now - self._at < RESOLUTION:
            self._here += count
        else:
            self._begin(now, count)

    def _begin(self, now: float, count: int) -> None:
        """A new entry: the latest entry joins the window, and the window moves on."""
        times, counts, first = self._times, self._counts, self._first
        total = self._total + self._here
        if total > self._peak:
            self._peak = total
        times.append(self._at)
        counts.append(self._here)
        until = now - _KEPT
        while first < len(times) and times[first] <= until:
            total -= counts[first]
            first += 1
        if first > _GONE:
            del times[:first], counts[:first]
            first = 0
        self._first, self._total, self._at, self._here = first, total, now, count
