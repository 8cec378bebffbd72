"""Delivers the gateway's hello to the client whole, in one write, and never glued to what follows.

The official Python client reads its hello with a single recv(4096) and throws the result away when the hello is
incomplete, or whatever stands behind it when there is more (ibapi 9.81.1 to 10.51.1, client.py and comm.py, run). So
the first frame from the gateway is collected until it is whole, and bytes that came in the same read wait until the
client has spoken again, which shows that it has read its hello, or for GLUE_WAIT. Nothing else in the relay ever holds
a byte.
"""

from __future__ import annotations

import socket
from time import monotonic

from relay.connection.flow import Flow
from relay.connection.peek_flow import PeekFlow
from relay.net.poller import BROKEN, READ, WRITE
from relay.wire.hello import server_hello_end

GLUE_WAIT = 0.1  # seconds; a client that reads its hello answers with START_API within a millisecond


def hold(flow: Flow) -> WholeHello:
    """The hold that fits to how this flow moves bytes."""
    return PeekedHello(flow) if isinstance(flow, PeekFlow) else WholeHello(flow)


class WholeHello:
    """Reads in place of `flow` (gateway to client) until the hello has gone out."""

    __slots__ = ("flow", "held", "rest")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.held = b""
        self.rest = b""  # what came glued to the hello

    @property
    def glued(self) -> bytes:
        """What waits behind the hello, if it is in our hands."""
        return self.rest

    def ready(self, events: int) -> bool:
        """The poller's handler for the gateway's descriptor while the hello is not out."""
        flow = self.flow
        if events & WRITE:
            flow.reverse.flush()
            if flow.owner.hold is not self or events == WRITE:
                return True  # the write failed and released us, or there is nothing to read
        if self.rest:
            if events & BROKEN:
                flow.unwatch()  # would be reported for ever; `release` registers it again
            return True
        try:
            count = self._look()
        except BlockingIOError:
            return True
        except OSError as error:
            self.release()
            if not flow.owner.closed:
                flow.owner.source_failed(flow, error)
            return True
        if not count:
            self.release()
            if not flow.owner.closed:
                flow.eof = True
                flow.owner.source_ended(flow)
            return True
        now = monotonic()
        flow.last = now
        if flow.first is None:
            flow.first = now
        self._collect(count, now)
        return True

    def _look(self) -> int:
        return self.flow.source.recv_into(self.flow.scratch)

    def _collect(self, count: int, now: float) -> None:
        self.held += self.flow.scratch[:count]
        end = server_hello_end(self.held)
        if end:
            self._deliver(len(self.held) if end < 0 else end, now)

    def _deliver(self, end: int, now: float) -> None:
        flow = self.flow
        hello, self.rest, self.held = self.held[:end], self.held[end:], b""
        flow.push(hello)
        owner = flow.owner
        if owner.closed:
            return
        events = flow.observe(memoryview(hello), now) if flow.observe is not None else ()
        if events:
            owner.learned(events)
        self._delivered()

    def _delivered(self) -> None:
        flow, owner = self.flow, self.flow.owner
        if owner.closed:
            return
        if not self.rest:
            self._hand_over()
            return
        flow.watch(flow.watched & ~READ)
        owner.wait_for_client(GLUE_WAIT)

    def release(self) -> None:
        """Pass on whatever is still held, in order, and let the flow read for itself from now on."""
        flow = self.flow
        data, self.held, self.rest = self.held or self.rest, b"", b""
        if data:
            flow.push(data)
            if flow.observe is not None and not flow.owner.closed:
                events = flow.observe(memoryview(data), monotonic())
                if events:
                    flow.owner.learned(events)
        if not flow.owner.closed:
            self._hand_over()

    def _hand_over(self) -> None:
        flow = self.flow
        flow.owner.hold = None
        if flow.watched >= 0:
            flow.poller.rewatch(flow.source.fileno(), flow.ready)
        if flow.pending is None:
            flow.resume()


class PeekedHello(WholeHello):
    """The same for a flow whose bytes stay in the kernel: an incomplete hello is looked at and left where it is.

    It would be reported as ready for ever; so the kernel is told to call again only when there is more (SO_RCVLOWAT),
    and a call without more can only mean that the gateway has ended.
    """

    __slots__ = ("seen",)

    def __init__(self, flow: PeekFlow) -> None:
        super().__init__(flow)
        self.seen = 0

    @property
    def glued(self) -> bytes:
        return b""  # it is in the kernel

    def _look(self) -> int:
        return self.flow.source.recv_into(self.flow.scratch, 0, socket.MSG_PEEK)

    def _collect(self, count: int, now: float) -> None:
        flow = self.flow
        end = server_hello_end(flow.scratch[:count])
        if not end and count > self.seen:
            self.seen = count
            flow.source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count + 1)
            return
        if not end:
            self.release()
            return
        self.rest = b"+" if 0 < end < count else b""  # only that there is some
        self._call_for_everything()
        flow.give(count if end < 0 else end, now)
        if flow.owner.hold is self:
            self._delivered()

    def release(self) -> None:
        """Let the flow read for itself from now on: nothing was taken from the kernel."""
        self.rest = b""
        if not self.flow.owner.closed:
            self._call_for_everything()
            self._hand_over()

    def _call_for_everything(self) -> None:
        self.flow.source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
