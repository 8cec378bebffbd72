"""The most messages within any one second: what IB's limit of 50 a second is measured against.

Exact but for one thing: messages within 1 ms of each other share the time of the first, which bounds the memory to
about a thousand entries and can count a message two milliseconds too long, never too short.
"""

from __future__ import annotations

from array import array

WINDOW = 1.0  # s
RESOLUTION = 0.001  # s
_KEPT = WINDOW + RESOLUTION  # an entry's last message may be that much younger than its time says
_GONE = 64  # entries behind the window before their memory is given back


class PeakRate:
    """Sliding window over (time, count) pairs; `now` must not go backwards. `peak` is what was the most before."""

    __slots__ = ("_peak", "_at", "_here", "_total", "_times", "_counts", "_first")

    def __init__(self, peak: int = 0) -> None:
        self._peak = peak  # up to the latest entry
        # The latest entry, and those before it. Arrays, because beside many busy sessions a thousand floats that lie
        # about in memory cost more than the arithmetic.
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
        """A new entry: the one before it becomes one of the window, which moves on."""
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
