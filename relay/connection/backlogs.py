"""Asks the kernels what waits for each side of a connection. A few system calls: for a line of the log and for timers.

On Linux the kernel says when a byte last went out. Where it does not, that is when a look last found more delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.connection.flow import Flow
from relay.logs.backlog import Backlog
from relay.net import offsets, tcp

if TYPE_CHECKING:
    from relay.connection.connection import Connection


def look(flow: Flow, now: float) -> Backlog:
    """What waits for the sink of a flow whose sockets are open."""
    queue = tcp.send_queue(flow.sink, flow.finished)
    queued = flow.lost + (len(flow.pending) if flow.pending is not None else 0)
    if flow.waits is not None or flow.held:  # else it is read at once
        queued += offsets.unread(flow.source)
    still = queue.still
    if still is None and queue.unacknowledged is not None:
        count = flow.bytes - queue.unacknowledged
        if flow.seen is None or flow.seen[0] != count:
            flow.seen = (count, now if flow.seen is not None else flow.last or now)
        still = now - flow.seen[1]
    return Backlog(queued, queue.unacknowledged, queue.shut, still if flow.bytes else None)


def look_at_both(connection: Connection, now: float) -> tuple[Backlog, ...]:
    """For the gateway and for the client; nothing before the gateway is reached, or afterwards."""
    return tuple(look(flow, now) for flow in (connection.up, connection.down) if flow is not None)


def delivered(flow: Flow, backlog: Backlog) -> int:
    """Bytes that the sink's peer has acknowledged; where the kernel does not tell, those that it was given."""
    return flow.bytes - (backlog.unacknowledged or 0)
