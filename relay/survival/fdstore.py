"""Gives sessions to the service manager for safe keeping, so that a kill of this process is no end for them.

systemd keeps copies of descriptors for a service and hands them to its next start (FileDescriptorStoreMax=). Per
session these are the two sockets and a checkpoint; the bytes themselves need no keeping, because a PeekFlow leaves them
in the kernel.

    ID.slate  ID.client  ID.upstream      a session; the first is its checkpoint
    numbers                               the next connection's number, so that no id is given twice
    young in, young out                   the two ends of inflight.py

A session is given away when it is ready or one second old, whichever comes first: PID 1 closes every copy in a process
of its own, and a thousand short connections would keep it busy for seconds. Until then it is in flight (inflight.py),
which costs PID 1 nothing: before its upstream is reached as a client whose words are still in the kernel, afterwards
with all three parts.

As long as somebody has copies, close() says nothing to the peer and takes nothing out of an epoll; so the end of a
session is said with shutdown(), and only then the copies are asked back.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic

from relay.connection.flow import Flow
from relay.manager import systemd
from relay.survival import inflight
from relay.survival.checkpoint import Checkpoint
from relay.survival.inflight import InFlight
from relay.survival.state import behind_of, state_of, to_json
from relay.wire import observer_state

AGE = 1.0  # seconds after which a connection is no longer a short one
TICK = 0.25  # seconds between two looks at the young ones
PROBE_WAIT = 1.0  # seconds PID 1 may take to show whether it keeps anything
PARTS = ("slate", "client", "upstream")
NUMBERS = "numbers"
OTHERS = 1 + len(inflight.NAMES)  # descriptors the manager keeps that are no session's
_USUAL_LIMIT = 1024  # descriptors, where systemd does not say how many it keeps (before version 254)


class KeptSession:
    """One session that somebody else has copies of, and what is written down about it."""

    __slots__ = ("connection", "checkpoint", "stored", "behind", "up_frames", "down_frames", "frames")

    def __init__(self, connection, checkpoint: Checkpoint | None = None) -> None:
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
            if flow is not None:
                flow.note = self.note

    def note(self, flow: Flow, events: tuple) -> None:
        """The flow's observer has seen what was just sent; its source still has it."""
        connection = self.connection
        now = observer_state.positions(connection.observer)
        if flow is connection.up:
            self.up_frames += now.frames - self.frames
        else:
            self.down_frames += now.frames - self.frames
        self.frames = now.frames
        if events:
            self._prepare()
        up, down = connection.up, connection.down
        row = (up.bytes, now.up, self.up_frames, down.bytes, now.down, self.down_frames, now.peak)
        self.checkpoint.write(row, now.up_held, now.down_held)

    def changed(self) -> None:
        """Something besides the position in the streams is new."""
        connection = self.connection
        self._prepare()
        if connection.observer is None:
            self.checkpoint.write((0,) * 7, None, None)
            return
        now, up, down = observer_state.positions(connection.observer), connection.up, connection.down
        seen = (up.bytes + len(up.pending or b""), down.bytes + len(down.pending or b"")) if up is not None else (0, 0)
        row = (seen[0], now.up, self.up_frames, seen[1], now.down, self.down_frames, now.peak)
        self.checkpoint.write(row, now.up_held, now.down_held)

    def _prepare(self) -> None:
        state = state_of(self.connection, self.behind)
        if state.observer is not None:  # what it holds is in the row
            state = replace(
                state,
                observer=state.observer | {"up": [observer_state.HELLO, None], "down": [observer_state.HELLO, None]},
            )
        self.checkpoint.prepare_text(to_json(state).encode())

    def descriptors(self) -> dict[str, int]:
        """What to keep, by name."""
        connection = self.connection
        files = {"slate": self.checkpoint.fd, "client": connection.client.fileno()}
        if connection.upstream is not None:
            files["upstream"] = connection.upstream.fileno()
        return {f"{connection.connection_id}.{part}": fd for part, fd in files.items()}


class Keeper:
    """Decides when a session is given to the manager, and asks it back at the session's end."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, environ: Mapping[str, str] = os.environ, inflight: InFlight | None = None
    ) -> None:
        self._loop = loop
        self._environ = environ
        self.inflight = InFlight() if inflight is None else inflight  # the manager must have its `files`
        self._young: dict[object, float] = {}  # connection -> when it is given away
        self._unwanted: set[str] = set()  # names the manager had no time to hear about
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        limit = systemd.store_limit(environ) or _USUAL_LIMIT
        self.room = (limit - OTHERS) // len(PARTS)  # sessions

    def opening(self, connection) -> None:
        """Its upstream is not reached: whoever has the client, whose words are still in the kernel, begins again."""
        if connection.kept is None:
            self.inflight.put(connection.connection_id, to_json(state_of(connection)), [connection.client.fileno()])

    def opened(self, connection) -> None:
        """Its age counts from here."""
        if connection.kept is None:
            self._young[connection] = monotonic() + AGE
            self._wake()
            self._take_in(connection)

    def _take_in(self, connection) -> None:
        """In flight with it; without room there it takes its chance until it is given away."""
        kept = None if _is_in_our_hands(connection) else self._written_down(connection)
        if kept is not None and self.inflight.put(connection.connection_id, "", kept.descriptors().values()):
            connection.kept = kept
            return
        self.inflight.remove(connection.connection_id)  # what was there is out of date
        if kept is not None:
            _give_up(kept)

    def ready(self, connection) -> None:
        """A session that works is worth keeping at once, but not from within its flow."""
        if connection in self._young:
            self._young[connection] = 0.0
            self._loop.call_soon(self._tick)

    def adopt(self, connection, checkpoint: Checkpoint, stored: bool) -> None:
        """A session the manager has, or that is in flight, since an earlier process."""
        kept = connection.kept = KeptSession(connection, checkpoint)
        kept.stored = stored
        self._young.pop(connection, None)
        if stored:
            self._count += 1
        else:
            self._young[connection] = monotonic() + AGE
            self._wake()

    def ended(self, connection) -> None:
        """It has been shut down; the copies are not needed any more."""
        self._young.pop(connection, None)
        self.inflight.remove(connection.connection_id)
        kept, connection.kept = connection.kept, None
        if kept is not None:
            if kept.stored:
                self._count -= 1
                self.forget(connection.connection_id)
            kept.checkpoint.close()

    def forget(self, connection_id: str) -> None:
        """Ask all copies of this session back."""
        self._ask_back({f"{connection_id}.{part}" for part in PARTS})

    def keep(self, connection, wait: float = 0, last: bool = False) -> bool:
        """Give it away now; False when the manager has no room or no time, and it is as it was.

        Bytes in our own hands would be lost in a kill, so it waits until there are none; unless this is the `last`
        thing that is done with it, when they go onto the checkpoint.
        """
        before = connection.kept
        if before is not None and before.stored:
            return True
        if self._count >= self.room or (not last and _is_in_our_hands(connection)):
            return False
        kept = self._written_down(connection)
        if kept is None:
            return False
        files = kept.descriptors()
        sent = systemd.store(files, wait, self._environ)
        if len(sent) < len(files):
            self._ask_back(sent)
            if before is None:
                _give_up(kept)
            return False
        connection.kept = kept
        kept.stored = True
        self._count += 1
        self._young.pop(connection, None)
        self.inflight.remove(connection.connection_id)
        return True

    def _written_down(self, connection) -> KeptSession | None:
        """The connection as of now; None when there is no memory for it, or too much to write."""
        try:
            if connection.kept is None:
                return KeptSession(connection)
            connection.kept.changed()
        except (OSError, ValueError):
            return None
        return connection.kept

    def settle(self, wait: float) -> None:
        """Ask back what is owed, as nobody remembers it after us."""
        if self._unwanted:
            self._unwanted -= systemd.unstore(sorted(self._unwanted), wait, self._environ)

    def close(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick_over)

    def _tick_over(self) -> None:
        self._timer = None
        self._tick()
        if self._young or self._unwanted:
            self._wake()

    def _tick(self) -> None:
        now = monotonic()
        self._ask_back(set())
        for connection in [one for one, due in self._young.items() if due <= now]:
            if not self.keep(connection):
                self._young[connection] = now + AGE

    def _ask_back(self, names: set[str]) -> None:
        self._unwanted |= names
        if self._unwanted:
            self._unwanted -= systemd.unstore(sorted(self._unwanted), environ=self._environ)
            if self._unwanted:
                self._wake()


def sort(stored: Mapping[str, int]) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """What came back: the parts of each session by its connection id; and what is no part of a session."""
    sessions: dict[str, dict[str, int]] = {}
    others = {}
    for name, fd in stored.items():
        connection_id, dot, part = name.rpartition(".")
        if dot and part in PARTS:
            sessions.setdefault(connection_id, {})[part] = fd
        else:
            others[name] = fd
    return sessions, others


def manager_keeps(environ: Mapping[str, str] = os.environ) -> bool:
    """Does the service manager keep descriptors for us? Asked by giving it one: systemd before 254 does not say.

    A pipe whose writing end we have closed hangs up, unless somebody has a copy.
    """
    if not systemd.managed(environ) or not hasattr(os, "memfd_create"):
        return False
    limit = systemd.store_limit(environ)
    if limit is not None:
        return limit > len(PARTS)
    reading, writing = os.pipe()
    try:
        try:
            sent = systemd.store({"probe": writing}, PROBE_WAIT, environ)
        finally:
            os.close(writing)
        if not sent or not systemd.barrier(PROBE_WAIT, environ):
            return False
        poll = select.poll()
        poll.register(reading, 0)
        return not poll.poll(0)
    finally:
        systemd.unstore(["probe"], PROBE_WAIT, environ)
        os.close(reading)


def _is_in_our_hands(connection) -> bool:
    """Are there bytes that no kernel has? They are soon gone, or wait for somebody who does not read."""
    hold = connection.hold
    if any(flow is not None and flow.pending for flow in (connection.up, connection.down)):
        return True
    return hold is not None and bool(hold.held or hold.glued)


def _give_up(kept: KeptSession) -> None:
    """Nobody took copies: as if it had never been written down."""
    for flow in (kept.connection.up, kept.connection.down):
        if flow is not None:
            flow.note = None
    kept.checkpoint.close()
