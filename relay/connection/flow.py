"""Moves bytes one way between two sockets: the hot path where bytes are copied (peek_flow.py: where they are not).

A Flow reads from `source` and writes to `sink`. Two of them, each the other's `reverse`, carry a connection; the sink
of one is the source of the other, and every socket has one registration with the poller: the Flow that reads from it.

Received bytes are sent at once from the one scratch buffer all flows share. What the sink does not take is copied to
`pending`, and the source is not read again until that is gone: this is the back-pressure, and it bounds the memory of
a connection to one scratch buffer each way. Every chunk is shown to the observer once, by `show`, when the sink has it.

A flow with a judge looks before it takes: what may not pass stays in the source's kernel. A Flow never decides what an
end means: it reports to its owner.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from enum import Enum
from time import monotonic
from typing import Protocol

from relay.connection.first_end import how_it_failed
from relay.connection.judge import Judge
from relay.connection.verdict import EndWith, WaitUntil
from relay.net.poller import BROKEN, READ, WRITE, Poller
from relay.wire.events import Event

SCRATCH_SIZE = 256 * 1024  # one recv; larger gains nothing on bulk and leaves the L2 cache

Observe = Callable[[memoryview, float], Sequence[Event]]


class Waits(Enum):
    """Why a flow does not read."""

    SINK = "sink"  # it takes no more at the moment
    JUDGE = "judge"  # the next frame may not pass yet


class Owner(Protocol):
    """What a flow reports to; a Connection."""

    def side_ended(self, flow: Flow, how: str, error: OSError | None = None) -> None:
        """The source of `flow` has ended (fin, rst, timeout). It may be said again, and is before all else."""

    def source_ended(self, flow: Flow) -> None:
        """The source said FIN, and everything before that has been passed on or waits for the sink."""

    def source_broke(self, flow: Flow) -> None:
        """The source is gone, but what it sent last must wait for the sink."""

    def source_failed(self, flow: Flow, error: OSError) -> None:
        """The source was reset or declared dead by the kernel; all it had sent has been read."""

    def sink_failed(self, flow: Flow, error: OSError) -> None:
        """The sink takes no more; what was kept for it is dropped, there is nobody to give it to."""

    def delivered(self, flow: Flow) -> bool:
        """Nothing waits for the sink any more. True when the flow must not read on."""

    def learned(self, events: Sequence[Event]) -> None:
        """The observer understood something."""

    def held_back(self, flow: Flow, until: float) -> None:
        """The judge lets nothing pass before `until` (monotonic); then call `flow.expired`."""

    def condemned(self, flow: Flow, sentence: EndWith) -> None:
        """The judge wants the connection ended; what may not pass has not been taken from the source."""


def show(observe: Observe | None, data: memoryview, now: float) -> Sequence[Event]:
    """Show bytes to the observer of their direction; what was learnt. Nobody else calls an observer."""
    return observe(data, now) if observe is not None else ()


class Flow:
    """One direction. All methods are non-blocking and are called on the event loop's thread only."""

    most: int = 0  # bytes that `peek` looks at; 0 = as many as fit

    __slots__ = (
        "owner",
        "poller",
        "scratch",
        "source",
        "sink",
        "reverse",
        "observe",
        "judge",
        "watched",
        "waits",
        "pending",
        "bytes",
        "first",
        "last",
        "eof",
        "finished",
        "seen",
        "held",
        "lost",
    )

    def __init__(
        self, owner: Owner, poller: Poller, scratch: memoryview, source: socket.socket, sink: socket.socket
    ) -> None:
        self.owner = owner
        self.poller = poller
        self.scratch = scratch
        self.source = source
        self.sink = sink
        self.reverse: Flow = self  # the pair is tied by its owner
        self.observe: Observe | None = None
        self.judge: Judge | None = None
        self.watched = READ  # what the poller watches on `source`; -1 = not registered
        self.waits: Waits | None = None
        self.pending: memoryview | None = None  # read, not yet taken by the sink
        self.bytes = 0  # taken by the sink's kernel
        self.first: float | None = None  # monotonic
        self.last: float | None = None
        self.eof = False  # the source has said FIN
        self.finished = False  # ... and the sink has been told
        self.held = False  # what comes is held up by the sink; a sink that goes leaves it so
        self.lost = 0  # bytes read, and forgotten when the sink went
        self.seen: tuple[int, float] | None = None  # backlogs.look's: bytes delivered, and when (monotonic) it saw that

    @property
    def left(self) -> int:
        """Bytes that wait for the sink."""
        return len(self.pending) if self.pending is not None else 0

    def ready(self, events: int) -> bool | None:
        """The source's descriptor is ready: the poller's handler. True when the loop may have been touched."""
        if events == READ and self.waits is None:
            return self.pull()
        if events & WRITE and self.reverse.flush():
            return True
        if events & (READ | BROKEN):
            return self._pull_or_step_aside(events)
        return None

    def pull(self) -> bool | None:
        """Read once and pass it on."""
        if self.judge is not None:
            count = self.may_pass(self.judge)
            return self.take(count) if count > 0 else True
        try:
            count = self.source.recv_into(self.scratch)
        except BlockingIOError:
            return None
        except OSError as error:
            self.owner.source_failed(self, error)
            return True
        if not count:
            self.eof = True
            self.owner.source_ended(self)
            return True
        return self.pass_on(self.scratch[:count])

    def pass_on(self, data: memoryview) -> bool | None:
        """Send what was taken from the source, keep what the sink does not take at once, and show it.

        Send first: the far end wakes up while the rest is done.
        """
        try:
            sent = self.sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.refused(data, self.came(), error)
            return True
        now = self.came()
        self.bytes += sent
        if sent != len(data):
            self.keep(data[sent:])
        events = show(self.observe, data, now)
        if events:
            self.owner.learned(events)
            return True
        return None

    def came(self) -> float:
        """Bytes have come: now (monotonic)."""
        now = self.last = monotonic()
        if self.first is None:
            self.first = now
        return now

    def push(self, data: bytes, now: float | None = None) -> None:
        """Send bytes that were taken before, ahead of all that is read from now on; `now` None: they were shown."""
        if self.pending is not None:
            self.pending = memoryview(bytes(self.pending) + data)
        elif not self._sent(data, now):
            return
        if now is not None:
            events = show(self.observe, memoryview(data), now)
            if events:
                self.owner.learned(events)

    def _sent(self, data: bytes, now: float | None) -> bool:
        try:
            sent = self.sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.refused(memoryview(data), now, error)
            return False
        self.bytes += sent
        if sent != len(data):
            self.keep(memoryview(data)[sent:])
        return True

    def refused(self, data: memoryview, now: float | None, error: OSError) -> None:
        """The sink takes nothing any more. What the source has said it has said, though nobody heard it."""
        first_words = not self.bytes  # these count as said before the sink was gone, all others as too late
        if now is not None and first_words:
            show(self.observe, data, now)
        self.owner.side_ended(self.reverse, how_it_failed(error), error)
        if now is not None and not first_words:
            show(self.observe, data, now)
        self.owner.sink_failed(self, error)

    def keep(self, rest: memoryview) -> None:
        """The sink is full: keep a copy of `rest` (the scratch buffer is reused), stop reading until it is writable."""
        self.pending = memoryview(bytes(rest))
        self._wait_for_sink()

    def flush(self) -> bool:
        """The sink is writable: send what is kept, then read on. True when the owner was told something."""
        if self.pending is None:
            self.reverse.watch(self.reverse.watched & ~WRITE)
            return False
        try:
            sent = self.sink.send(self.pending)
        except BlockingIOError:
            return False
        except OSError as error:
            self.owner.sink_failed(self, error)
            return True
        self.bytes += sent
        self.last = monotonic()
        if sent != len(self.pending):
            self.pending = self.pending[sent:]
            return False
        self.waits = self.pending = None
        self.held = False
        self.reverse.watch(self.reverse.watched & ~WRITE)
        if self.eof:
            self.owner.source_ended(self)
            return True
        if self.owner.delivered(self):
            return True
        self.resume()
        return False

    def resume(self) -> None:
        """Read from the source again."""
        if not self.eof:
            self.watch((max(0, self.watched)) | READ)

    def watch(self, events: int) -> None:
        """Change what the source's descriptor is watched for."""
        if events == self.watched:
            return
        if self.watched < 0:
            if events <= 0:
                return
            self.poller.watch(self.source.fileno(), events, self.ready)
        else:
            self.poller.change(self.source.fileno(), events)
        self.watched = events

    def unwatch(self) -> None:
        """Take the source off the poller (it reports hang-ups whether asked or not)."""
        if self.watched >= 0:
            self.poller.unwatch(self.source.fileno())
            self.watched = -1

    def stop(self) -> None:
        """The sink is gone: forget what was kept for it, and read no more."""
        self.lost += len(self.pending) if self.pending is not None else 0
        self.waits = self.pending = None
        self.watch(self.watched & ~READ)

    def _wait_for_sink(self) -> None:
        self.waits = Waits.SINK
        self.held = True
        self.watch(self.watched & ~READ)
        self.reverse.watch(self.reverse.watched | WRITE)

    def _pull_or_step_aside(self, events: int) -> bool | None:
        """The source hung up or broke: read what it left behind, or step aside while that has to wait."""
        if self.eof:
            error = self.source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.unwatch()
            if error:
                self.owner.source_failed(self, OSError(error, "after FIN"))
                return True
            return None
        if self.waits is None:
            return self.pull()
        if events & BROKEN:
            self.unwatch()  # would be reported for ever; `resume` registers it again
            if self.waits is Waits.SINK:
                self.owner.source_broke(self)
                return True
        return None

    # With a judge

    def expired(self, now: float) -> None:
        """The judge's wait is over."""
        if self.waits is Waits.JUDGE:
            self.waits = None
            self.resume()
            self.pull()

    def peek(self) -> int:
        """Look at what waits, which is in `scratch` then: how much. 0 = the owner was told of an end, -1 = nothing."""
        try:
            count = self.source.recv_into(self.scratch, self.most, socket.MSG_PEEK)
        except BlockingIOError:
            return -1
        except OSError as error:
            self.owner.source_failed(self, error)
            return 0
        if not count:
            self.eof = True
            self.owner.source_ended(self)
        return count

    def take(self, count: int) -> bool | None:
        """Pass on the first `count` bytes of what `peek` saw."""
        count = self.source.recv_into(self.scratch, count)
        if self.judge is not None:
            self.judge.taken(count)
        return self.pass_on(self.scratch[:count])

    def may_pass(self, judge: Judge) -> int:
        """Look, and how much of that may be taken. 0 = the owner was told of an end, -1 = nothing now.

        Where nothing may pass yet, the flow waits: for the moment the judge has named, or for more bytes.
        """
        count = self.peek()
        if count <= 0:
            return count
        now = monotonic()
        ruling = judge.look(self.scratch[:count], now)
        if count < ruling.needed == judge.awaited:  # called with less than was asked for: an end within a frame
            judge.let_pass(count)
            ruling = judge.look(self.scratch[:count], now)
        if ruling.passing:
            self._have_kernel_wait(judge, 1)
            return ruling.passing
        if isinstance(ruling.verdict, EndWith):
            self.owner.condemned(self, ruling.verdict)
            return 0
        if isinstance(ruling.verdict, WaitUntil):
            self.waits = Waits.JUDGE
            self.watch(self.watched & ~READ)
            self.owner.held_back(self, ruling.verdict.when)
        else:
            self._have_kernel_wait(judge, ruling.needed)
        return -1

    def _have_kernel_wait(self, judge: Judge, count: int) -> None:
        if count != judge.awaited:
            judge.awaited = count
            self.await_bytes(count)

    def await_bytes(self, count: int) -> None:
        """Have the source's kernel call when it has so many bytes (1 without this), or at the end."""
        self.source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
