"""Gives sessions to the service manager for safe keeping, so that a kill of this process is no end for them.

systemd keeps copies of descriptors for a service and hands them to its next start (FileDescriptorStoreMax=). Per
session these are the two sockets and a checkpoint; the bytes themselves need no keeping, because a PeekFlow leaves them
in the kernel.

    ID.slate  ID.client  ID.upstream      a session; the first is its checkpoint
    numbers                               the next connection's number, so that no id is given twice
    young in, young out ...               the ends of inflight.py's queues
    bound HEX PORT                        sockets that listen, see kept_listeners.py

A session beyond the manager's room (config/limits.py) is carried all the same, and ends at a restart; how many there
are is told (shortage.py).

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
from collections.abc import Callable, Mapping
from time import monotonic

from relay.config.limits import USUAL_STORE, kept_sessions
from relay.connection.connection import Connection
from relay.manager import systemd
from relay.survival import inflight
from relay.survival.checkpoint import Checkpoint
from relay.survival.inflight import InFlight
from relay.survival.kept import PARTS, KeptSession, is_in_our_hands, kept_of
from relay.survival.state import state_of, to_json

AGE = 1.0  # seconds after which a connection is no longer a short one
TICK = 0.25  # seconds between two looks at the young ones
SLICE = 0.001  # seconds of giving away before the sockets have their turn
PROBE_WAIT = 1.0  # seconds PID 1 may take to show whether it keeps anything
NUMBERS = "numbers"


class StoreKeeper:
    """Decides when a session is given to the manager, and asks it back at the session's end.

    `room` is how many sessions the manager keeps. `outside` is called whenever there are more or less than before that
    it does not keep: how many, how many of these a kill would end, too, and the room.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        room: int,
        outside: Callable[[int, int, int], None],
        environ: Mapping[str, str] = os.environ,
        inflight: InFlight | None = None,
    ) -> None:
        self._loop = loop
        self._environ = environ
        self.inflight = InFlight() if inflight is None else inflight  # the manager must have its `files`
        self._young: dict[Connection, float] = {}  # connection -> when it is given away
        self._unwanted: set[str] = set()  # names the manager had no time to hear about
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Handle | None = None
        self.room = room
        self._tell_outside = outside
        self._outside: dict[Connection, bool] = {}  # no room for these; whether a kill ends it, too: not in flight
        self._exposed = 0  # of these, how many a kill ends

    def opening(self, connection: Connection) -> None:
        """Its upstream is not reached: whoever has the client, whose words are still in the kernel, begins again."""
        if connection.kept is None:
            self.inflight.put(connection.connection_id, to_json(state_of(connection)), [connection.client.fileno()])

    def opened(self, connection: Connection) -> None:
        """Its age counts from here."""
        if connection.kept is None:
            self._young[connection] = monotonic() + AGE
            self._wake()
            self._take_in(connection)

    def _take_in(self, connection: Connection) -> None:
        """In flight with it; without room there it takes its chance until it is given away."""
        kept = None if is_in_our_hands(connection) else self._written_down(connection)
        if kept is not None and self.inflight.put(connection.connection_id, "", list(kept.descriptors().values())):
            connection.kept = kept
            return
        self.inflight.remove(connection.connection_id)  # what was there is out of date
        if kept is not None:
            kept.give_up()

    def ready(self, connection: Connection) -> None:
        """A session that works is worth keeping at once, but not from within its flow."""
        if connection in self._young:
            self._young[connection] = 0.0
            self._soon()

    def adopt(self, connection: Connection, checkpoint: Checkpoint, stored: bool) -> None:
        """A session the manager has, or that is in flight, since an earlier process."""
        kept = connection.kept = KeptSession(connection, checkpoint)
        kept.stored = stored
        self._young.pop(connection, None)
        if stored:
            self._count += 1
        else:
            self._young[connection] = monotonic() + AGE
            self._wake()

    def ended(self, connection: Connection) -> None:
        """It has been shut down; the copies are not needed any more."""
        self._young.pop(connection, None)
        self._has_room(connection)
        self.inflight.remove(connection.connection_id)
        kept, connection.kept = kept_of(connection), None
        if kept is not None:
            if kept.stored:
                self._count -= 1
                self.forget(connection.connection_id)
            kept.checkpoint.close()

    def forget(self, connection_id: str) -> None:
        """Ask all copies of this session back."""
        self._ask_back({f"{connection_id}.{part}" for part in PARTS})

    def keep(self, connection: Connection, wait: float = 0, last: bool = False) -> bool:
        """Give it away now; False when the manager has no room or no time, and it is as it was.

        Bytes in our own hands would be lost in a kill, so it waits until there are none; unless this is the `last`
        thing that is done with it, when they go onto the checkpoint.
        """
        before = kept_of(connection)
        if before is not None and before.stored:
            return True
        if self._count >= self.room:
            self._has_no_room(connection)
            return False
        if not last and is_in_our_hands(connection):
            return False
        kept = self._written_down(connection)
        if kept is None:
            return False
        files = kept.descriptors()
        sent = systemd.store(files, wait, self._environ)
        if len(sent) < len(files):
            self._ask_back(sent)
            if before is None:
                kept.give_up()
            return False
        connection.kept = kept
        kept.stored = True
        self._count += 1
        self._young.pop(connection, None)
        self._has_room(connection)
        self.inflight.remove(connection.connection_id)
        return True

    def _has_no_room(self, connection: Connection) -> None:
        if connection not in self._outside:
            exposed = self._outside[connection] = connection.connection_id not in self.inflight
            self._exposed += exposed
            self._tell_outside(len(self._outside), self._exposed, self.room)

    def _has_room(self, connection: Connection) -> None:
        exposed = self._outside.pop(connection, None)
        if exposed is not None:
            self._exposed -= exposed
            self._tell_outside(len(self._outside), self._exposed, self.room)

    def _written_down(self, connection: Connection) -> KeptSession | None:
        """The connection as of now; None when there is no memory for it, or too much to write."""
        kept = kept_of(connection)
        try:
            if kept is None:
                return KeptSession(connection)
            kept.changed()
        except (OSError, ValueError):
            return None
        return kept

    def settle(self, wait: float) -> None:
        """Ask back what is owed, and what an earlier release would not take up, as nobody remembers it after us."""
        self._settle(wait)
        self.inflight.leave_to_any_release()
        systemd.unstore(inflight.NAMES[2:], wait, self._environ)

    def close(self) -> None:
        """No more timers."""
        for timer in (self._timer, self._looking):
            if timer is not None:
                timer.cancel()
        self._timer = self._looking = None

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick_over)

    def _soon(self) -> None:
        """Look at the young ones after the poller has had its turn."""
        if self._looking is None:
            self._looking = self._loop.call_soon(self._tick)

    def _tick_over(self) -> None:
        self._timer = None
        self._settle()
        self._tick()
        if self._young or self._unwanted:
            self._wake()

    def _tick(self) -> None:
        self._looking = None
        now = monotonic()
        for connection in [young for young, due in self._young.items() if due <= now]:
            if monotonic() > now + SLICE:
                self._soon()  # the others
                break
            if not self.keep(connection):
                self._young[connection] = now + AGE

    def _ask_back(self, names: set[str]) -> None:
        owed = bool(self._unwanted)
        self._unwanted |= names
        if not owed:  # else the manager has no time: all of them, when the timer asks again
            self._settle()

    def _settle(self, wait: float = 0) -> None:
        if self._unwanted:
            self._unwanted -= systemd.unstore(sorted(self._unwanted), wait, self._environ)
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


def room(open_files: int, listening: int, environ: Mapping[str, str] = os.environ) -> int:
    """How many sessions the manager keeps for a service whose starts have this limit and are handed these sockets."""
    return kept_sessions(systemd.store_limit(environ) or USUAL_STORE, open_files, listening)


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
