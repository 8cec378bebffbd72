"""Subscriptions: messages that a session sends repeatedly until they are cancelled, produced in batches when due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.practice.answers import Answers
from relay.practice.market import Contract, Market

# Quotes on a tick tape; three ticks each. The tape is encoded once per subscription and played in a loop; that makes
# 200,000 ticks a second possible. With 40 quotes it stays under 5 KiB.
TAPE_QUOTES = 40

# Seconds. A client that did not read for longer has missed the ticks of that time; a real gateway aggregates as well.
CATCH_UP = 1.0

# Messages of one stream in one batch, about 140 KiB of ticks: a write every 20 ms then carries 200,000 a second.
MAX_BATCH = 4096

_EPSILON = 1e-6  # seconds; a timer may fire a hair early, and 0.25 is not exactly four times 0.0625


@dataclass(slots=True)
class Stream:
    """`produce(count)` gives the bytes of the next `count` messages, or of the last if a bar replaces earlier bars."""

    period: float  # seconds between two messages
    due_at: float  # monotonic time of the next message
    produce: Callable[[int], bytes]

    def take(self, now: float) -> bytes:
        """The bytes of every message that is due."""
        behind = now - self.due_at
        if behind < -_EPSILON:
            return b""
        count = 1 if behind > CATCH_UP else int((behind + _EPSILON) / self.period) + 1
        if behind > CATCH_UP or count > MAX_BATCH:
            count, self.due_at = min(count, MAX_BATCH), now + self.period
        else:
            self.due_at += count * self.period
        return self.produce(count)


class TickTape:
    """The ticks of one market data subscription: bid, ask, last, bid, ask, last, ..., repeated without end."""

    def __init__(self, answers: Answers, request_id: int, market: Market, contract: Contract, start: float) -> None:
        quotes = [market.quote(contract, start + step) for step in range(TAPE_QUOTES)]
        frames: list[bytes] = []
        for before, quote in zip([quotes[-1], *quotes[:-1]], quotes, strict=True):
            frames += answers.quote(request_id, quote, rising=quote.bid > before.bid)
        self._tape = b"".join(frames)
        self._ends = [0]
        for frame in frames:
            self._ends.append(self._ends[-1] + len(frame))
        self._at = 0  # the frame to play next

    def play(self, count: int) -> bytes:
        """The next `count` ticks."""
        length = len(self._ends) - 1
        pieces: list[bytes] = []
        while count:
            step = min(count, length - self._at)
            pieces.append(self._tape[self._ends[self._at] : self._ends[self._at + step]])
            self._at = (self._at + step) % length
            count -= step
        return b"".join(pieces)
