"""What each end means, and the two phases of a connection that has lost a side.

An end is never guessed at: FIN, reset, time-out and refusal stay four different things up to the record. A FIN is
passed on as a FIN and the other direction lives on. A reset is passed on as a reset, but only after everything that was
read before it has been acknowledged by the receiver: a reset makes its kernel drop what is still on the way.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from relay.connection.backlogs import delivered, look
from relay.connection.flow import Flow
from relay.connection.phase import Phase
from relay.logs.backlog import not_taken
from relay.logs.ends import FirstEnd
from relay.logs.record import Cause, Reason
from relay.net import tcp
from relay.net.poller import READ

if TYPE_CHECKING:
    from relay.connection.connection import Connection
    from relay.connection.open_phase import Open

STALL_POLL = 0.5  # seconds between two looks at a reader that holds up the last bytes of a peer that is gone
FLUSH_POLL = 0.02  # seconds between two looks at the kernel's send queue before a reset is passed on


_FIN = {"client": Reason.CLIENT_CLOSED, "upstream": Reason.UPSTREAM_CLOSED}
_RST = {"client": Reason.CLIENT_RESET, "upstream": Reason.UPSTREAM_RESET}
_TIMEOUT = {"client": Reason.CLIENT_DEAD, "upstream": Reason.UPSTREAM_DEAD}


def cause_of(first: FirstEnd) -> Cause:
    """Why a connection ended of which this was the first end. What the other side did later changes nothing."""
    reason = {"fin": _FIN, "rst": _RST, "timeout": _TIMEOUT}[first.how][first.by]
    if first.by == "client" and first.in_handshake and first.how != "timeout":
        reason = Reason.CLIENT_LEFT_IN_HANDSHAKE  # however it went
    return Cause(first.by, first.how, reason, None, first.error_type)


class Flushing(Phase):
    """`broken` has lost its source: what is left of it is delivered to the other side, which then is reset, too."""

    __slots__ = ("broken", "cause", "left_before", "side", "since")

    name = "Flushing"

    def __init__(self, connection: Connection, cause: Cause, side: str, broken: Flow) -> None:
        """`side` is the one that is gone."""
        super().__init__(connection)
        self.cause = cause
        self.side = side
        self.broken = broken
        self.left_before = -1  # bytes
        self.since = monotonic()  # when they last became fewer

    def entered(self) -> None:
        self.connection.note()
        self.broken.unwatch()
        self.broken.reverse.stop()
        self._flush_or_end(self.since)

    def expired(self, now: float) -> None:
        self._flush_or_end(now)

    def source_ended(self, flow: Flow) -> None:
        flow.watch(flow.watched & ~READ)  # there are no ends left to pass on

    def source_broke(self, flow: Flow) -> None:
        """The deadline is running."""

    def source_failed(self, flow: Flow, error: OSError) -> None:
        if flow is self.broken:
            self._flush_or_end(monotonic())
        else:
            self._end(self.cause)

    def sink_failed(self, flow: Flow, error: OSError) -> None:
        self._end(self.cause)

    def delivered(self, flow: Flow) -> bool:
        self._flush_or_end(monotonic())
        return True

    def _flush_or_end(self, now: float) -> None:
        """Reset the living side as soon as it has acknowledged everything, or when it has stalled too long."""
        connection, flow = self.connection, self.broken
        left = flow.left + (tcp.unsent(flow.sink) or 0)
        bound = connection.map.flush_timeout
        if not left:
            self._end(self.cause)
        elif left == self.left_before and now - self.since >= bound:
            other = "upstream" if self.side == "client" else "client"
            detail = f"after {self.cause.reason.value}, in {bound:g} s: {not_taken(look(flow, now), self.side)}"
            self._end(Cause(other, "timeout", Reason.WRITE_STALLED, detail))
        else:
            if left != self.left_before:
                self.left_before, self.since = left, now
            connection.deadlines.set(connection, now + FLUSH_POLL)

    def _end(self, cause: Cause) -> None:
        self.connection.end(cause, reset_client=True, reset_upstream=True)


class Stalled(Phase):
    """`flow` has lost its source, and its sink does not read: its last bytes are kept as long as that takes some.

    Everything else is as before: what the flows report is still for `open`, to which the connection goes back when
    the sink reads on.
    """

    __slots__ = ("delivered_before", "flow", "open", "since")

    name = "Stalled"

    def __init__(self, open: Open, flow: Flow) -> None:
        super().__init__(open.connection)
        self.open = open
        self.flow = flow
        self.since = monotonic()  # when they last became more
        self.delivered_before = delivered(flow, look(flow, self.since))  # what our kernel takes waits there

    def entered(self) -> None:
        self._look_again()

    def expired(self, now: float) -> None:
        connection, flow = self.connection, self.flow
        bound = connection.map.flush_timeout
        if flow.waits is None:
            connection.enter(self.open)  # it reads on, and will find the end
            return
        backlog = look(flow, now)
        taken = delivered(flow, backlog)
        if taken == self.delivered_before and now - self.since >= bound:
            gone, reader = self.open.side(flow), self.open.side(flow.reverse)
            detail = f"the {gone} is gone, in {bound:g} s: {not_taken(backlog, gone)}"
            connection.end(Cause(reader, "timeout", Reason.WRITE_STALLED, detail), True, True)
        else:
            if taken != self.delivered_before:
                self.delivered_before, self.since = taken, now
            self._look_again()

    def source_ended(self, flow: Flow) -> None:
        self.open.source_ended(flow)
        self._look_again()

    def source_broke(self, flow: Flow) -> None:
        self.open.source_broke(flow)

    def source_failed(self, flow: Flow, error: OSError) -> None:
        self.open.source_failed(flow, error)

    def sink_failed(self, flow: Flow, error: OSError) -> None:
        self.open.sink_failed(flow, error)
        self._look_again()

    def _look_again(self) -> None:
        connection = self.connection
        if connection.phase is self:
            connection.deadlines.set(connection, monotonic() + STALL_POLL)
