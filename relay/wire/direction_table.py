"""The constants of each direction of a watched connection: which ids are read, and how a frame finds its counter.

The first four payload bytes of a frame, read as one integer (its *word*), always tell its id (see messages.MAX_ID). A
memo from word to counter makes that one dict access for every frame after the first of its kind. Frames with an
interesting id are never in the memo, so the same look-up also answers "may this frame be passed by?".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct

from relay.wire import messages
from relay.wire.framing import LENGTH_SIZE

HEAD = Struct(">II")  # length and word
HEAD_SIZE = HEAD.size
_WORD_SIZE = HEAD_SIZE - LENGTH_SIZE

# Entries. Words with the same text id differ in the bytes after it, so a peer could fill a memo; it is then cleared.
_MEMO_SIZE = 4096

NO_ID = -2  # zero-length frames have no id. ibapi swallows them, so they are counted and raise no doubt


@dataclass(frozen=True, slots=True)
class DirectionTable:
    """One direction. Both share one dict of counters, which halves its memory: slot = base + id."""

    name: str  # of the sender
    base: int
    interesting: frozenset[int]
    limit: int  # bytes; a longer frame is passed by even if its id is interesting, and known only to have come
    memo: dict[int, int] = field(default_factory=dict)

    def counter(self, word: bytes) -> tuple[int, bool]:
        """Slot of a frame by its first payload bytes (four, if it has so many), and whether it is interesting."""
        number = messages.message_id(word) if word else NO_ID
        slot = self.base + number
        if number in self.interesting:
            return slot, True
        if len(word) == _WORD_SIZE:
            if len(self.memo) >= _MEMO_SIZE:
                self.memo.clear()
            self.memo[int.from_bytes(word, "big")] = slot
        return slot, False

    def by_id(self, counts: dict[int, int]) -> dict[int, int]:
        """One direction's part of the shared counters, by message id."""
        return {slot - self.base: n for slot, n in counts.items() if 0 <= slot - self.base - NO_ID < _SPAN}


_SPAN = messages.MAX_ID - NO_ID

# START_API is a number and a short text; ERR_MSG and MANAGED_ACCTS can be long (the JSON of a rejected order, the
# accounts of an advisor: 60 KiB hold about 6,000). Both limits together are the 64 KiB an observer may hold.
UP = DirectionTable("client", 2 * messages.MAX_ID, frozenset({71}), 4 * 1024)
DOWN = DirectionTable("gateway", 0, frozenset({4, 9, 15}), 60 * 1024)
