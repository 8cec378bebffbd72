"""The judge of one direction: rules on every frame before it is sent. Pure: bytes and `now` in, rulings out.

A policy sees a frame once its length and its beginning are there, and answers pass, wait until, or end with. What may
not pass is not taken from the kernel, so nothing is held here but numbers, and a kill in between loses nothing. Bytes
are shown again until they have been taken; but a frame that may pass is ruled on once, so a policy may count those.

The hello is no frame and passes by itself: for that there is the gate. Where the bytes cannot be read as frames, the
policy is asked about NO_FRAME, and if that may pass, everything behind it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from relay.connection.verdict import EndWith, Pass, Verdict, WaitUntil
from relay.wire.framing import LENGTH, LENGTH_SIZE, MAX_FRAME, WireError
from relay.wire.messages import read_id

ENOUGH = 8 * 1024  # bytes of a payload that a policy sees at the most; a client's request has a few hundred


class Frame(NamedTuple):
    """One frame; `payload` has its first ENOUGH bytes, `length` counts all of them."""

    message_id: int | None  # 0: an empty frame
    payload: bytes
    length: int


NO_FRAME = Frame(None, b"", 0)  # what is there cannot be read as frames

Policy = Callable[[Frame, float], Verdict]
Prologue = Callable[[bytes | memoryview], int]  # where a hello ends; 0 = it is not whole yet, -1 = it can never be one


class Ruling(NamedTuple):
    """How many bytes may pass; and where that is none, why: a wait, an end, or too few bytes to say."""

    passing: int
    verdict: WaitUntil | EndWith | None = None
    needed: int = 0  # bytes that must be there for the next ruling


class Judge:
    """Is shown the bytes of one direction from the first one that has not been taken."""

    __slots__ = ("_begun", "_blind", "_cleared", "_policy", "_prologue", "awaited")

    def __init__(self, policy: Policy, prologue: Prologue | None = None) -> None:
        self._policy = policy
        self._prologue = prologue
        self._cleared = 0  # bytes that may pass, counted from the next one; perhaps more than are there yet
        self._begun = b""  # the beginning of a frame, shorter than its length field, that has been sent already
        self._blind = False
        self.awaited = 1  # bytes the source's kernel was asked to have before it calls (SO_RCVLOWAT); kept by the flow

    def go_on(self, begun: bytes, cleared: int) -> None:
        """Another process has judged the stream up to here: what it has sent of a frame, and the bytes left of it."""
        self._prologue = None
        self._begun, self._cleared = begun, cleared

    def lose_track(self) -> None:
        """Nobody knows any more where a frame begins."""
        self._prologue = lambda data: -1

    def look(self, data: memoryview, now: float) -> Ruling:
        """What of `data` may pass now."""
        size = len(data)
        refusal: WaitUntil | EndWith | None = None
        needed = 0
        while self._cleared < size and not self._blind:
            end, frame = self._next(data[self._cleared :])
            if frame is None and end <= 0:
                needed = self._cleared - end
                break
            if frame is not None and not isinstance(verdict := self._policy(frame, now), Pass):
                refusal = verdict
                break
            self._blind = frame is NO_FRAME
            self._cleared += end
        passing = size if self._blind else min(self._cleared, size)
        return Ruling(passing) if passing else Ruling(0, refusal, needed)

    def taken(self, count: int) -> None:
        """So many of the bytes that may pass are on their way and will not be shown again."""
        self._cleared = max(0, self._cleared - count)

    def let_pass(self, count: int) -> None:
        """These are the last bytes, and no whole frame: nobody can rule on them, and no gateway acts on them."""
        self._cleared = max(self._cleared, count)

    def _next(self, data: memoryview) -> tuple[int, Frame | None]:
        """Where what begins here ends, and the frame it is. No frame: a hello, or minus the bytes that are needed."""
        if self._prologue is not None:
            end = self._prologue(data)
            if end == 0:
                return -len(data) - 1, None
            self._prologue = None
            return (end, None) if end > 0 else (0, NO_FRAME)
        head = self._begun + bytes(data[: LENGTH_SIZE - len(self._begun)])
        if len(head) < LENGTH_SIZE:
            return len(self._begun) - LENGTH_SIZE, None
        (length,) = LENGTH.unpack(head)
        if self._begun:  # the frame was ruled on by whoever has begun it
            begun, self._begun = len(self._begun), b""
            return LENGTH_SIZE + length - begun, None
        if length > MAX_FRAME:
            return 0, NO_FRAME
        seen = LENGTH_SIZE + min(length, ENOUGH)
        if len(data) < seen:
            return -seen, None
        payload = bytes(data[LENGTH_SIZE:seen])
        try:
            message_id = read_id(payload)[0] if length else 0
        except WireError:
            return 0, NO_FRAME
        return LENGTH_SIZE + length, Frame(message_id, payload, length)
