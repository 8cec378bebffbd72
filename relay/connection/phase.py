"""What a connection is doing. One phase at a time: it owns the connection's deadline and hears what its flows report.

    Opening     the client's first bytes, its turn at the gate, the dial              opening.py
    Handshake   an IB session until the gateway's hello has gone out                  handshake.py
    Open        bytes pass both ways, or still one way                                open_phase.py
    Stalled     one side is gone; its last bytes wait for the other, which does not read    ending.py
    Flushing    one side is gone: the other gets what was read, then a reset          ending.py
    Closed      the record is out, or somebody else goes on with the session

`Connection.enter` is the one place that changes the phase; MAY_FOLLOW says which ones may come next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.connection.flow import Flow

if TYPE_CHECKING:
    from relay.connection.connection import Connection

MAY_FOLLOW = {
    "Opening": ("Handshake", "Open", "Closed"),
    "Handshake": ("Open", "Flushing", "Closed"),
    "Open": ("Stalled", "Flushing", "Closed"),
    "Stalled": ("Open", "Stalled", "Flushing", "Closed"),
    "Flushing": ("Closed",),
    "Closed": (),
}


class Phase:
    """One part of a connection's life. What a phase does not expect to hear is a fault of ours, logged as one."""

    __slots__ = ("connection",)

    name = ""  # in MAY_FOLLOW

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def entered(self) -> None:
        """It begins; the deadline of the phase before is gone."""

    def left(self) -> None:
        """It is over: give back what only this phase had."""

    def ending(self) -> None:
        """The connection ends in here: after `left`, before the sockets are closed."""

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        raise NotImplementedError(f"a deadline in phase {self.name}")

    def learned(self) -> None:
        """The observer understood something."""

    # What the flows report; see flow.Owner.

    def source_ended(self, flow: Flow) -> None:
        raise NotImplementedError(f"a FIN in phase {self.name}")

    def source_broke(self, flow: Flow) -> None:
        raise NotImplementedError(f"a hang-up in phase {self.name}")

    def source_failed(self, flow: Flow, error: OSError) -> None:
        raise NotImplementedError(f"{error!r} in phase {self.name}")

    def sink_failed(self, flow: Flow, error: OSError) -> None:
        raise NotImplementedError(f"{error!r} in phase {self.name}")

    def delivered(self, flow: Flow) -> bool:
        """Nothing waits for the sink of `flow` any more. True: it must not read on."""
        return False


class Closed(Phase):
    """The end, one for all connections: it has no deadline, and nobody reports to it."""

    __slots__ = ()

    name = "Closed"

    def __init__(self) -> None: ...


CLOSED = Closed()
