"""The most messages within any one second: what IB's limit of 50 a second is measured against.

Exact but for one thing: messages within 1 ms of each other share the time of the first, which bounds the memory to
about a thousand entries and can count a message one millisecond too long, never too short.
"""

from __future__ import annotations

from bisect import bisect_right

WINDOW = 1.0  # s
RESOLUTION = 0.001  # s
_KEPT = WINDOW + RESOLUTION  # an entry's last message may be that much younger than its time says


class PeakRate:
    """Sliding window over (time, count) pairs; `now` must not go backwards."""

    __slots__ = ("peak", "_total", "_times", "_counts")

    def __init__(self) -> None:
        self.peak = 0
        self._total = 0  # in the window
        self._times: list[float] = []
        self._counts: list[int] = []

    def add(self, now: float, count: int) -> None:
        """`count` messages at `now`."""
        times, counts = self._times, self._counts
        if times and times[0] <= now - _KEPT:
            self._forget(now - _KEPT)
        if times and now - times[-1] < RESOLUTION:
            counts[-1] += count
        else:
            times.append(now)
            counts.append(count)
        self._total = total = self._total + count
        if total > self.peak:
            self.peak = total

    def _forget(self, until: float) -> None:
        gone = bisect_right(self._times, until)
        self._total -= sum(self._counts[:gone])
        del self._times[:gone], self._counts[:gone]
