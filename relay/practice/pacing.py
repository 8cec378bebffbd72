"""The pace of historical requests, as documented for bars of 30 seconds or less: what is too fast gets error 162.

No identical request within 15 s, fewer than 6 for one contract and kind of price within 2 s, at most 60 within 10
minutes; BID_ASK counts twice. The limits are the gateway's: all its sessions share them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SMALL_BAR = 30  # seconds; the limits were lifted for longer bars

_IDENTICAL = 15.0  # seconds
_CONTRACT, _OF_A_CONTRACT = 2.0, 6  # seconds, requests: the sixth is one too many
_WINDOW, _IN_A_WINDOW = 600.0, 60


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """One request: what makes it identical to another, its contract and kind of price, and how often it counts."""

    identity: tuple[object, ...]
    subject: tuple[object, ...]
    weight: int = 1


class HistoryPace:
    """Remembers what was allowed; `now` is monotonic."""

    def __init__(self) -> None:
        self._allowed: deque[tuple[float, HistoryQuery]] = deque()  # of ten minutes, so never more than 60

    def too_fast(self, asked: HistoryQuery, now: float) -> str | None:
        """Which limit this request breaks; None if it may pass, and then it counts."""
        while self._allowed and now - self._allowed[0][0] >= _WINDOW:
            self._allowed.popleft()
        if any(now - at < _IDENTICAL and one.identity == asked.identity for at, one in self._allowed):
            return "an identical request within 15 seconds"
        of_it = sum(one.weight for at, one in self._allowed if now - at < _CONTRACT and one.subject == asked.subject)
        if of_it + asked.weight >= _OF_A_CONTRACT:
            return "six requests for the same contract within 2 seconds"
        if sum(one.weight for _, one in self._allowed) + asked.weight > _IN_A_WINDOW:
            return "more than 60 requests within 10 minutes"
        self._allowed.append((now, asked))
        return None
