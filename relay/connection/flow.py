"""Moves bytes one way between two sockets; the only file on the hot path.

A Flow reads from `source` and writes to `sink`. Two of them, each the other's `reverse`, carry a connection; the sink
of one is the source of the other, and every socket has one registration with the poller: the Flow that reads from it.

Received bytes are sent at once from the one scratch buffer all flows share. What the sink does not take is copied to
`pending`, and the source is not read again until that is gone: this is the back-pressure, and it bounds the memory of a
connection to one scratch buffer each way. A Flow never decides what an end means: it reports to its owner
(connection.py)

    source_ended(flow)         the source said FIN
    source_broke(flow)         the source is gone, but what it sent last must wait for the sink
    source_failed(flow, error) the source was reset or declared dead by the kernel; all it had sent has been read
    sink_failed(flow, error)   the sink takes no more; what was kept for it is dropped, there is nobody to give it to
    learned(events)            the observer understood something
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic

from relay.net.poller import BROKEN, READ, WRITE

SCRATCH_SIZE = 256 * 1024  # one recv; larger gains nothing on bulk and leaves the L2 cache

Observe = Callable[[memoryview, float], tuple]


class Flow:
    """One direction. All methods are non-blocking and are called on the event loop's thread only."""

    __slots__ = (
        "owner",
        "poller",
        "scratch",
        "source",
        "sink",
        "reverse",
        "observe",
        "watched",
        "pending",
        "bytes",
        "first",
        "last",
        "eof",
        "finished",
    )

    def __init__(self, owner, poller, scratch: memoryview, source: socket.socket, sink: socket.socket) -> None:
        self.owner = owner
        self.poller = poller
        self.scratch = scratch
        self.source = source
        self.sink = sink
        self.reverse: Flow = self  # the pair is tied by its owner
        self.observe: Observe | None = None
        self.watched = READ  # what the poller watches on `source`; -1 = not registered
        self.pending: memoryview | None = None  # read, not yet taken by the sink
        self.bytes = 0  # taken by the sink's kernel
        self.first: float | None = None  # monotonic
        self.last: float | None = None
        self.eof = False  # the source has said FIN
        self.finished = False  # ... and the sink has been told

    @property
    def left(self) -> int:
        """Bytes that were read and wait for the sink."""
        return len(self.pending) if self.pending is not None else 0

    def ready(self, events: int) -> bool | None:
        """The source's descriptor is ready: the poller's handler. True when the loop may have been touched."""
        if events == READ and self.pending is None:
            return self.pull()
        if events & WRITE and self.reverse.flush():
            return True
        if events & (READ | BROKEN):
            return self._pull_or_wait(events)
        return None

    def pull(self) -> bool | None:
        """Read once and pass it on."""
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
        now = monotonic()
        self.last = now
        if self.first is None:
            self.first = now
        data = self.scratch[:count]
        try:
            sent = self.sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.owner.sink_failed(self, error)
            return True
        self.bytes += sent
        if sent != count:
            self.keep(data[sent:])
        if self.observe is not None:
            events = self.observe(data, now)
            if events:
                self.owner.learned(events)
                return True
        return None

    def push(self, data: bytes | memoryview) -> None:
        """Send bytes that were read before this flow began; keeps what the sink does not take at once."""
        if self.pending is not None:
            self.pending = memoryview(bytes(self.pending) + bytes(data))
            return
        try:
            sent = self.sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.owner.sink_failed(self, error)
            return
        self.bytes += sent
        if sent != len(data):
            self.keep(memoryview(data)[sent:])

    def keep(self, rest: memoryview) -> None:
        """The sink is full: keep a copy of `rest` (the scratch buffer is reused), stop reading until it is writable."""
        self.pending = memoryview(bytes(rest))
        self.watch(self.watched & ~READ)
        self.reverse.watch(self.reverse.watched | WRITE)

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
        self.pending = None
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

    def drop_pending(self) -> None:
        """The sink is gone: forget what was kept for it."""
        self.pending = None

    def _pull_or_wait(self, events: int) -> bool | None:
        """The source hung up or broke: read what it left behind, or step aside while the sink is full."""
        if self.eof:
            error = self.source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.unwatch()
            if error:
                self.owner.source_failed(self, OSError(error, "after FIN"))
                return True
            return None
        if self.pending is None:
            return self.pull()
        if events & BROKEN:
            self.unwatch()  # would be reported for ever; `resume` registers it again
            self.owner.source_broke(self)
            return True
        return None
