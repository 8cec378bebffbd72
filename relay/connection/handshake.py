"""Handshake: an IB session from the dial until the gateway's hello has gone out, whole and not glued to what follows.

The official Python client reads its hello with a single recv(4096) and throws the result away when the hello is
incomplete, or whatever stands behind it when there is more (ibapi 9.81.1 to 10.51.1, client.py and comm.py, run). So
the first frame from the gateway is collected until it is whole, and bytes that came in the same read wait until the
client has spoken again, which shows that it has read its hello, or for GLUE_WAIT. Nothing else in the relay ever holds
a byte back without being told to.
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING

from relay.connection.first_end import how_it_failed
from relay.connection.flow import Flow
from relay.connection.gate import Ticket
from relay.connection.open_phase import Open
from relay.connection.peek_flow import PeekFlow
from relay.net.poller import BROKEN, READ, WRITE
from relay.wire.hello import server_hello_end
from relay.wire.stage import Stage

if TYPE_CHECKING:
    from relay.connection.connection import Connection

GLUE_WAIT = 0.1  # seconds; a client that reads its hello answers with START_API within a millisecond


def handshake(connection: Connection, up: Flow, down: Flow, ticket: Ticket | None = None) -> Handshake:
    """The kind of handshake that matches the kind of flow."""
    kind = PeekHandshake if isinstance(down, PeekFlow) else Handshake
    return kind(connection, up, down, ticket)


class Handshake(Open):
    """As open, but it reads in place of `down` (gateway to client)."""

    __slots__ = ("glued", "held", "ticket")

    name = "Handshake"

    def __init__(self, connection: Connection, up: Flow, down: Flow, ticket: Ticket | None = None) -> None:
        super().__init__(connection, up, down)
        self.ticket = ticket  # of the gate, which counts those that are not greeted yet
        self.held = b""  # the beginning of the hello
        self.glued = b""  # what came behind it

    @property
    def waiting(self) -> bool:
        """Does something wait behind the hello?"""
        return bool(self.glued)

    def left(self) -> None:
        """From now on `down` reads for itself."""
        down = self.down
        if down.watched >= 0:
            down.poller.rewatch(down.source.fileno(), down.ready)
        if self.ticket is not None:
            self.ticket.give_back(monotonic())

    def ready(self, events: int) -> bool:
        """The poller's handler for the gateway's descriptor."""
        connection, down = self.connection, self.down
        if events & WRITE:
            self.up.flush()
            if connection.phase is not self or events == WRITE:
                return True  # the write failed and ended this, or there is nothing to read
        if self.waiting:
            if events & BROKEN:
                down.unwatch()  # would be reported for ever; `resume` registers it again
            return True
        try:
            count = self._look()
        except BlockingIOError:
            return True
        except OSError as error:
            connection.side_ended(down, how_it_failed(error), error)
            self.release()
            if not connection.closed:
                connection.source_failed(down, error)
            return True
        if not count:
            connection.side_ended(down, "fin")
            if self.held and connection.ends is not None:
                connection.ends.in_hello(self.held)  # the observer has not seen it yet
            self.release()
            if not connection.closed:
                down.eof = True
                connection.source_ended(down)
            return True
        now = monotonic()
        down.last = now
        if down.first is None:
            down.first = now
        self._collect(count, now)
        return True

    def _look(self) -> int:
        return self.down.source.recv_into(self.down.scratch)

    def _collect(self, count: int, now: float) -> None:
        self.held += self.down.scratch[:count]
        end = server_hello_end(self.held)
        if not end:
            return
        if end < 0:  # this is no hello
            end = len(self.held)
        hello, self.glued, self.held = self.held[:end], self.held[end:], b""
        self.down.push(hello, now)
        self._delivered()

    def _delivered(self) -> None:
        """The hello has gone out."""
        connection, down = self.connection, self.down
        if connection.phase is not self:
            return
        if not self.waiting:
            self._open()
            return
        down.watch(down.watched & ~READ)
        connection.deadlines.set(connection, monotonic() + GLUE_WAIT)

    def release(self) -> None:
        """Pass on whatever is still held, in order, and let the flow read for itself from now on."""
        data, self.held, self.glued = self.held or self.glued, b"", b""
        if data:
            self.down.push(data, monotonic())
        self._open()

    def _open(self) -> None:
        connection, down = self.connection, self.down
        if connection.phase is self:
            connection.enter(Open(connection, self.up, down))
            if down.waits is None:
                down.resume()

    # What is heard meanwhile

    def expired(self, now: float) -> None:
        if self.waiting:
            self.release()
        else:
            super().expired(now)

    def learned(self) -> None:
        """The client has spoken again; or it is one from before v100, whose hello is no frame."""
        observer = self.connection.observer
        if observer is not None and (observer.legacy or (self.waiting and observer.stage >= Stage.START_API)):
            self.release()

    def source_ended(self, flow: Flow) -> None:
        super().source_ended(flow)
        if self.waiting and self.connection.phase is self:
            self.release()  # a client that has said FIN will not speak again

    def source_broke(self, flow: Flow) -> None:
        self.release()
        if not self.connection.closed:
            self.connection.source_broke(flow)

    def sink_failed(self, flow: Flow, error: OSError) -> None:
        if flow is self.down:
            self.held = self.glued = b""  # there is nobody to give it to
        self.release()
        if not self.connection.closed:
            self.connection.sink_failed(flow, error)


class PeekHandshake(Handshake):
    """The same where bytes stay in the kernel: an incomplete hello is looked at and left where it is.

    It would be reported as ready for ever; so the kernel is told to call again only when there is more (SO_RCVLOWAT),
    and a call without more can only mean that the gateway has ended.
    """

    __slots__ = ("_waiting", "seen")

    def __init__(self, connection: Connection, up: Flow, down: Flow, ticket: Ticket | None = None) -> None:
        super().__init__(connection, up, down, ticket)
        self._waiting = False
        self.seen = 0  # bytes of an incomplete hello; the kernel was told to call with more than these

    @property
    def waiting(self) -> bool:
        return self._waiting

    def left(self) -> None:
        self._await_any()
        super().left()

    def _await_any(self) -> None:
        if self.seen:
            self.down.await_bytes(1)
            self.seen = 0

    def _look(self) -> int:
        return self.down.source.recv_into(self.down.scratch, 0, socket.MSG_PEEK)

    def _collect(self, count: int, now: float) -> None:
        down = self.down
        end = server_hello_end(down.scratch[:count])
        if not end and count > self.seen:
            self.seen = count
            down.await_bytes(count + 1)
            return
        if not end:
            self.release()
            return
        self._waiting = 0 < end < count
        self._await_any()
        down.take(count if end < 0 else end)
        self._delivered()

    def release(self) -> None:
        """Let the flow read for itself from now on: nothing was taken from the kernel."""
        self._waiting = False
        self._open()
