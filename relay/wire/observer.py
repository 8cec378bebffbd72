"""Watches both directions of somebody else's IB connection and knows how far it has come; never answers, never raises.

How it works. Each direction is a stream of frames. For nearly all frames only the length and the id matter. Both are in
the first eight bytes, read as two integers; a memo (direction_table.py) maps the second integer to the counter. So a
frame costs one unpack and two dict accesses, 0.2 us, and its body is never touched. Only frames of a few ids are
collected and decoded.

    state of a direction   > 0      inside a frame: where in the next chunk the frame behind it starts. `held` has its
                                    head if it is one that is to be read, and too long for that
                           BOUNDARY the next byte starts a frame
                           PARTIAL  `held` has the beginning of a frame
                           HELLO    `held` has the beginning of a hello, or nothing yet
                           OFF      not looked at any more

Held bytes are copies, because the caller reuses its buffer. Where it doubts that the stream is in step, or how far the
session has come, the observer goes opaque, gives the reason, and stays OFF in both directions; its counters keep their
values. A message that says nothing of the stage and cannot be read is only counted (knowledge.py). Reasons never depend
on the chunks a stream comes in, and never hold bytes of it (peer_text.py).
"""

from __future__ import annotations

from relay.wire import events, messages, versions
from relay.wire.direction_table import DOWN, HEAD, HEAD_SIZE, UP, DirectionTable
from relay.wire.events import Event
from relay.wire.framing import LENGTH, LENGTH_SIZE, MAX_FRAME, Bytes, WireError, too_long
from relay.wire.hello import (
    LARGEST_CLIENT_HELLO,
    LARGEST_SERVER_HELLO,
    ClientHello,
    FirstBytes,
    Redirect,
    classify_first_bytes,
    client_hello_end,
    decode_server_hello,
    name_is_final,
    no_hello,
    server_hello_end,
)
from relay.wire.knowledge import Knowledge
from relay.wire.messages import BodyError
from relay.wire.rate import WINDOW, PeakRate
from relay.wire.stage import Stage

BOUNDARY, PARTIAL, HELLO, OFF = 0, -1, -2, -3

_LARGEST_FRAME = MAX_FRAME + LENGTH_SIZE  # bytes, the length prefix included

_UP_MEMO, _DOWN_MEMO = UP.memo, DOWN.memo  # begun anew in place, never replaced
_unpack_head = HEAD.unpack_from


class Observer(Knowledge):
    """One watched connection. Feed it every chunk once and in order; read the attributes at any time."""

    __slots__ = ("_up", "_up_held", "_down", "_down_held", "_counts", "_rate", "_request_at")

    def __init__(self) -> None:
        super().__init__()
        self._up = HELLO
        self._up_held: bytearray | None = None
        self._down = HELLO
        self._down_held: bytearray | None = None
        self._counts: dict[int, int] = {}
        self._rate: PeakRate | None = None
        self._request_at: float | None = None

    # What the relay reads for its records.

    @property
    def counts_up(self) -> dict[int, int]:
        """Client frames by message id; zero-length frames, which have no id, are counted under -2."""
        return UP.by_id(self._counts)

    @property
    def counts_down(self) -> dict[int, int]:
        """Gateway frames by message id."""
        return DOWN.by_id(self._counts)

    @property
    def messages_up(self) -> int:
        """Frames the client sent, its hello included."""
        return sum(self.counts_up.values()) + (self.client_hello_at is not None)

    @property
    def messages_down(self) -> int:
        """Frames the gateway sent, its hello included."""
        return sum(self.counts_down.values()) + (self.server_hello_at is not None)

    @property
    def requests_peak(self) -> int:
        """Most client frames within one second, the hello not counted; rate.py says how exact that is."""
        if self._rate is not None:
            return self._rate.peak
        return 0 if self._request_at is None else 1

    @property
    def held(self) -> int:
        """Bytes that are kept of an incomplete hello or frame, at most 64 KiB in both directions together."""
        return len(self._up_held or b"") + len(self._down_held or b"")

    # The hot path: first a chunk that is exactly one uninteresting frame, then any chunk of such frames. It is written
    # twice because a call would cost more.

    def client_to_gateway(self, data: Bytes, now: float) -> tuple[Event, ...] | list[Event]:
        """Takes bytes of the client; what was learnt from them."""
        at, size = self._up, len(data)
        if at == BOUNDARY and 7 < size <= _LARGEST_FRAME:
            length, word = _unpack_head(data)
            if length + 4 == size:
                slot = _UP_MEMO.get(word)
                if slot is not None:
                    counts = self._counts
                    try:
                        counts[slot] += 1
                    except KeyError:
                        counts[slot] = 1
                    if self._rate is not None:
                        self._rate.add(now, 1)
                    else:
                        self._count_requests(1, now)
                    return ()
        if at >= BOUNDARY:
            if not at or self._up_held is None:
                at = self._pass_by(UP, data, at, now)
                if at >= size:
                    self._up = at - size
                    return ()
        elif at == OFF:
            return ()
        return self._watch(UP, data, max(at, 0), now)

    def gateway_to_client(self, data: Bytes, now: float) -> tuple[Event, ...] | list[Event]:
        """Takes bytes of the gateway; what was learnt from them."""
        at, size = self._down, len(data)
        if at == BOUNDARY and 7 < size <= _LARGEST_FRAME:
            length, word = _unpack_head(data)
            if length + 4 == size:
                slot = _DOWN_MEMO.get(word)
                if slot is not None:
                    counts = self._counts
                    try:
                        counts[slot] += 1
                    except KeyError:
                        counts[slot] = 1
                    return ()
        if at >= BOUNDARY:
            if not at or self._down_held is None:
                at = self._pass_by(DOWN, data, at, now)
                if at >= size:
                    self._down = at - size
                    return ()
        elif at == OFF:
            return ()
        return self._watch(DOWN, data, max(at, 0), now)

    def _count_requests(self, count: int, now: float) -> None:
        """The meter is made at the second request within a second: idle sessions do without it."""
        if self._rate is not None:
            self._rate.add(now, count)
        elif count > 1 or (self._request_at is not None and now - self._request_at <= WINDOW):
            self._rate = PeakRate()
            if self._request_at is not None:
                self._rate.add(self._request_at, 1)
            self._rate.add(now, count)
        self._request_at = now

    # Everything else.

    def _watch(self, table: DirectionTable, data: Bytes, at: int, now: float) -> tuple[Event, ...] | list[Event]:
        """A chunk from `at` on, with doubt turned into Opaque."""
        if not data:
            return ()
        found: list[Event] = []
        try:
            self._chunk(table, data, at, now, found)
        except WireError as doubt:
            self.opaque = f"{table.name}: {doubt}"
            self._switch_off()
            found.append(events.Opaque(now, self.opaque))
        return found or ()

    def _chunk(self, table: DirectionTable, data: Bytes, at: int, now: float, found: list[Event]) -> None:
        if table is UP:
            if self._up == HELLO:
                at = self._client_opening(data, now, found)
            if self._up > HELLO:
                self._up, self._up_held = self._frames(UP, self._up_held, data, at, now, found)
        else:
            if self._down == HELLO:
                at = self._gateway_opening(data, now, found)
            if self._down > HELLO:
                self._down, self._down_held = self._frames(DOWN, self._down_held, data, at, now, found)

    def _switch_off(self) -> None:
        self._up = self._down = OFF
        self._up_held = self._down_held = None

    # Hellos. Both methods return where in `data` the first frame starts.

    def _client_opening(self, data: Bytes, now: float, found: list[Event]) -> int:
        before = len(self._up_held or b"")
        held = (self._up_held or bytearray()) + data[: LARGEST_CLIENT_HELLO - before]
        opening = classify_first_bytes(held)
        if opening is FirstBytes.MORE:
            self._up_held = held
            return len(data)
        self._up_held = None
        if opening is FirstBytes.LEGACY:
            self.legacy, self.client_hello_at, self.stage = True, now, Stage.CLIENT_HELLO
            self._switch_off()
            found.append(events.LegacyHelloSeen(now))
            return len(data)
        if opening is not FirstBytes.IB:
            raise WireError("first bytes are not an IB hello")
        end = client_hello_end(held)
        hello = ClientHello.decode(bytes(held[:end]))
        self.client_range = (hello.min_version, hello.max_version)
        self.client_hello_at, self.stage, self._up = now, Stage.CLIENT_HELLO, BOUNDARY
        found.append(events.ClientHelloSeen(now, hello.min_version, hello.max_version, hello.options))
        return end - before

    def _gateway_opening(self, data: Bytes, now: float, found: list[Event]) -> int:
        if self.client_range is None:
            raise WireError("spoke before the client's hello")
        before = len(self._down_held or b"")
        held = (self._down_held or bytearray()) + data[: LARGEST_SERVER_HELLO - before]
        end = server_hello_end(held)
        if end < 0 and name_is_final(held):
            raise WireError(no_hello(held))
        if end <= 0:
            self._down_held = held
            return len(data)
        self._down_held = None
        hello = decode_server_hello(held[:end])
        if isinstance(hello, Redirect):
            self._down = OFF  # there is no server version, so nothing to read by
            self.redirect = hello.target
            found.append(events.Redirected(now, hello.host, hello.port))
            return len(data)
        self.server_version, self.server_hello_at, self._down = hello.server_version, now, BOUNDARY
        self.stage = Stage.SERVER_HELLO if self.start_api_at is None else Stage.START_API
        found.append(events.ServerHelloSeen(now, hello.server_version, hello.connection_time))
        return end - before

    # Frames. `at` is the position in `data`.

    def _frames(
        self,
        table: DirectionTable,
        held: bytearray | None,
        data: Bytes,
        at: int,
        now: float,
        found: list[Event],
    ) -> tuple[int, bytearray | None]:
        """All frames in the rest of a chunk; the first may continue `held`. The new state and the new held bytes."""
        size = len(data)
        unread = held is not None and at > 0
        while True:
            if held is None:
                at = self._pass_by(table, data, at, now)
                if at >= size:
                    return at - size, None
                held = bytearray()
            if not unread:
                state, at = self._one_frame(table, held, data, at, now, found)
                if state == PARTIAL:
                    return PARTIAL, held
                at, unread = at + state, state > BOUNDARY and len(held) > 0
            if unread and at > size:
                return at - size, held
            if unread:
                self._has_passed(messages.message_id(held[LENGTH_SIZE:]), table.name, now, found)
            held, unread = None, False

    def _pass_by(self, table: DirectionTable, data: Bytes, at: int, now: float) -> int:
        """Passes uninteresting frames; where the first interesting frame starts, or where the last frame ends.

        That end may lie behind `data`. This is the second half of the hot path.
        """
        counts, memo_get = self._counts, table.memo.get
        last = len(data) - HEAD_SIZE
        frames = 0
        while at <= last:
            length, word = _unpack_head(data, at)
            if not 4 <= length <= MAX_FRAME:
                break
            slot = memo_get(word)
            if slot is None:
                break
            try:
                counts[slot] += 1
            except KeyError:
                counts[slot] = 1
            frames += 1
            at += length + 4
        if frames and table is UP:
            self._count_requests(frames, now)
        return at

    def _one_frame(
        self, table: DirectionTable, held: bytearray, data: Bytes, at: int, now: float, found: list[Event]
    ) -> tuple[int, int]:
        """Continues the frame in `held`, which may be empty: its length, its id, and the body if we read it.

        Afterwards `held` has something of a frame that is to be read and is not whole, or is too long.
        """
        if len(held) < LENGTH_SIZE:
            at = _fill(held, LENGTH_SIZE, data, at)
            if len(held) < LENGTH_SIZE:
                return PARTIAL, at
        (length,) = LENGTH.unpack_from(held)
        if length > MAX_FRAME:
            raise WireError(too_long())
        end = LENGTH_SIZE + length
        head = min(end, HEAD_SIZE)
        if length == 0 or len(held) < head:
            at = _fill(held, head, data, at)
            if len(held) < head:
                return PARTIAL, at
            interesting = self._count(table, bytes(held[LENGTH_SIZE:]), now)
            if not interesting:
                held.clear()
            if not interesting or end > table.limit:
                return end - head, at
        at = _fill(held, end, data, at)
        if len(held) < end:
            return PARTIAL, at
        self._read(table, bytes(held[LENGTH_SIZE:]), now, found)
        return BOUNDARY, at

    def _count(self, table: DirectionTable, word: bytes, now: float) -> bool:
        """Counts a frame by its first payload bytes; is its body to be read?"""
        slot, interesting = table.counter(word)
        self._counts[slot] = self._counts.get(slot, 0) + 1
        if table is UP:
            self._count_requests(1, now)
        return interesting

    def _read(self, table: DirectionTable, payload: bytes, now: float, found: list[Event]) -> None:
        direction, version = messages.DOWN, self.server_version
        if table is UP:  # by its shape: an early START_API comes before the server version is known
            direction, version = messages.UP, versions.BINARY_IDS if payload[0] == 0 else versions.V100
        if version is None:  # only after an observer was restored from values that contradict each other
            raise WireError("a frame came before the server hello")
        try:
            message = messages.decode(direction, payload, version)
        except BodyError as doubt:
            self._not_understood(doubt, table.name, now, found)
        else:
            self._learn(message, now, found)


def _fill(held: bytearray, wanted: int, data: Bytes, at: int) -> int:
    """Moves bytes from `data` until `held` has `wanted` of them or `data` ends."""
    end = at + wanted - len(held)
    held += data[at:end]
    return min(end, len(data))
