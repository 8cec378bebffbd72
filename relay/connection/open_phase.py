"""Open: bytes pass both ways, or still one way after a FIN. Bounded by idle_timeout, or by half_close_timeout."""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING

from relay.connection.backlogs import look_at_both
from relay.connection.ending import Flushing, Stalled, cause_of
from relay.connection.flow import Flow, Waits
from relay.connection.phase import Phase
from relay.logs.backlog import idle_since, last_moved, not_taken
from relay.logs.record import Cause, Reason
from relay.net.poller import READ

if TYPE_CHECKING:
    from relay.connection.connection import Connection

LEFT_GRACE = 2.0  # seconds a client's FIN before the session is ready may be only a half-close
EARLY = 0.01  # seconds a timer may be ahead of the clock it was set by


class Open(Phase):
    """See above."""

    __slots__ = ("down", "failing", "up")

    name = "Open"

    def __init__(self, connection: Connection, up: Flow, down: Flow) -> None:
        super().__init__(connection)
        self.up = up
        self.down = down
        # A write to this flow's source failed; what it had sent before is still being read.
        self.failing: tuple[Flow, OSError] | None = None

    def entered(self) -> None:
        self.await_more(monotonic())

    def await_more(self, now: float) -> None:
        """Set the deadline of a connection from which nothing but bytes is expected."""
        connection = self.connection
        if connection.first_fin is not None:
            connection.deadlines.set(connection, now + self._half_close_bound())
        elif connection.map.idle_timeout:
            connection.deadlines.set(connection, connection.last_activity() + connection.map.idle_timeout)

    def expired(self, now: float) -> None:
        if self.connection.first_fin is not None:
            self._half_close_expired(now)
        else:
            self._idle_expired(now)

    # What the flows report

    def source_ended(self, flow: Flow) -> None:
        connection = self.connection
        if flow.reverse.finished and flow.waits is None:
            flow.finished = True  # the second FIN: closing passes it on
            connection.end(cause_of(connection.first_end()))
            return
        flow.watch(flow.watched & ~READ)
        if self.failing is not None and self.failing[0] is flow:
            self.source_failed(flow, self.failing[1])
            return
        if flow.waits is not None:
            return  # `flush` comes back here
        try:
            flow.sink.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.sink_failed(flow, error)
            return
        flow.finished = True
        if connection.first_fin is None:
            connection.first_fin = self.side(flow)
            connection.note()
        self.await_more(monotonic())

    def source_broke(self, flow: Flow) -> None:
        self.connection.enter(Stalled(self, flow))

    def source_failed(self, flow: Flow, error: OSError) -> None:
        connection = self.connection
        connection.enter(Flushing(connection, cause_of(connection.first_end()), self.side(flow), flow))

    def sink_failed(self, flow: Flow, error: OSError) -> None:
        flow.stop()
        other = flow.reverse  # reads from the side that is gone: what that had sent is still read and delivered
        if other.eof or self.failing is not None:
            self.connection.phase.source_failed(other, error)
            return
        self.failing = (other, error)
        if other.waits is None:
            other.resume()
        elif other.waits is Waits.SINK:
            self.connection.phase.source_broke(other)

    def side(self, flow: Flow) -> str:
        """Who speaks on this flow."""
        return self.connection.side(flow)

    # Deadlines

    def _idle_expired(self, now: float) -> None:
        connection, bound = self.connection, self.connection.map.idle_timeout
        quiet_at = idle_since(connection.last_activity(), now, look_at_both(connection, now)) + bound
        if now >= quiet_at:
            connection.end(Cause("relay", "timeout", Reason.IDLE_TIMEOUT, f"{bound:g} s without a byte"))
        else:
            connection.deadlines.set(connection, quiet_at)

    def _half_close_bound(self) -> float:
        """A client that leaves in the handshake does not come back: do not keep a hung gateway's socket for long."""
        connection, bound = self.connection, self.connection.map.half_close_timeout
        return min(bound, LEFT_GRACE) if connection.first_fin == "client" and connection.in_handshake() else bound

    def _half_close_expired(self, now: float) -> None:
        connection, bound = self.connection, self._half_close_bound()
        backlogs = look_at_both(connection, now)
        quiet_at = last_moved(connection.last_activity(), now, backlogs) + bound
        if now < quiet_at - EARLY:
            connection.deadlines.set(connection, quiet_at)
            return
        stalled = next((one for one in zip((self.up, self.down), backlogs, strict=True) if one[1].left), None)
        if connection.first_fin == "client" and connection.in_handshake():
            connection.end(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE))
        elif stalled is not None:
            flow, backlog = stalled
            left = not_taken(backlog, self.side(flow))
            detail = f"in {bound:g} s: {left}"
            connection.end(Cause(self.side(flow.reverse), "timeout", Reason.WRITE_STALLED, detail))
        else:
            silent = "upstream" if connection.first_fin == "client" else "client"
            detail = f"{silent} silent for {bound:g} s after the other side had finished"
            connection.end(Cause("relay", "timeout", Reason.HALF_CLOSE_TIMEOUT, detail))
