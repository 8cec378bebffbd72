"""A session that somebody else has copies of, and its checkpoint, which is brought up to date with every chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relay.connection.connection import Connection
from relay.connection.flow import Flow
from relay.connection.handshake import Handshake
from relay.connection.peek_flow import PeekFlow
from relay.survival.checkpoint import Checkpoint
from relay.survival.state import behind_of, state_of, to_json
from relay.wire import observer_state
from relay.wire.events import Event

PARTS = ("slate", "client", "upstream")  # what is kept of a session; the first is its checkpoint


class KeptSession:
    """See above. The connection has it as `kept`; whoever gave copies away decides what becomes of it."""

    __slots__ = ("behind", "checkpoint", "connection", "down_frames", "frames", "stored", "up_frames")

    def __init__(self, connection: Connection, checkpoint: Checkpoint | None = None) -> None:
        """From between two handlers only; OSError when there is no memory for a checkpoint."""
        self.connection = connection
        self.stored = False  # by the manager; else it is in flight
        self.checkpoint = Checkpoint() if checkpoint is None else checkpoint
        self.behind = behind_of(connection)
        self.up_frames = self.down_frames = self.frames = 0
        if connection.observer is not None:
            self.up_frames, self.down_frames = observer_state.frames(connection.observer)
            self.frames = self.up_frames + self.down_frames
        self.changed()
        for flow in (connection.up, connection.down):
            if isinstance(flow, PeekFlow):
                flow.note = self.note

    def note(self, flow: Flow, events: Sequence[Event]) -> None:
        """The flow's observer has seen what was just sent; its source still has it."""
        connection = self.connection
        observer, up, down = connection.observer, connection.up, connection.down
        if observer is None or up is None or down is None:
            return
        now = observer_state.positions(observer)
        if flow is up:
            self.up_frames += now.frames - self.frames
        else:
            self.down_frames += now.frames - self.frames
        self.frames = now.frames
        if events:
            self._prepare()
        row = (up.bytes, now.up, self.up_frames, down.bytes, now.down, self.down_frames, now.peak)
        self.checkpoint.write(row, now.up_held, now.down_held)

    def changed(self) -> None:
        """Something besides the position in the streams is new."""
        connection = self.connection
        self._prepare()
        if connection.observer is None:
            self.checkpoint.write((0,) * 7, None, None)
            return
        now = observer_state.positions(connection.observer)
        up, down = (_seen(flow) for flow in (connection.up, connection.down))
        row = (up, now.up, self.up_frames, down, now.down, self.down_frames, now.peak)
        self.checkpoint.write(row, now.up_held, now.down_held)

    def _prepare(self) -> None:
        state = state_of(self.connection, self.behind)
        if state.observer is not None:  # what it holds is in the row
            nothing = [observer_state.HELLO, None]
            state = replace(state, observer=state.observer | {"up": nothing, "down": nothing})
        self.checkpoint.prepare_text(to_json(state).encode())

    def descriptors(self) -> dict[str, int]:
        """What to keep, by name."""
        connection = self.connection
        files = {"slate": self.checkpoint.fd, "client": connection.client.fileno()}
        if connection.upstream is not None:
            files["upstream"] = connection.upstream.fileno()
        return {f"{connection.connection_id}.{part}": fd for part, fd in files.items()}

    def give_up(self) -> None:
        """Nobody took copies: as if it had never been written down."""
        for flow in (self.connection.up, self.connection.down):
            if isinstance(flow, PeekFlow):
                flow.note = None
        self.checkpoint.close()


def kept_of(connection: Connection) -> KeptSession | None:
    """What is kept of this connection."""
    return connection.kept if isinstance(connection.kept, KeptSession) else None


def is_in_our_hands(connection: Connection) -> bool:
    """Are there bytes that no kernel has? They are soon gone, or wait for somebody who does not read."""
    if any(flow is not None and flow.pending is not None for flow in (connection.up, connection.down)):
        return True
    return isinstance(connection.phase, Handshake) and bool(connection.phase.held or connection.phase.glued)


def _seen(flow: Flow | None) -> int:
    """Bytes its observer has been shown."""
    return flow.bytes + len(flow.pending or b"") if flow is not None else 0
