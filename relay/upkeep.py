"""What the relay does every few seconds: looks at its connections and the container bridges, reports live sessions.

Bridges are looked at besides when the kernel says that an interface has come or gone, and when a client knocks that
nobody knows: a compose network and its first client are there long before the next round.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from relay.config.load import Loaded
from relay.connection.backlogs import delivered, look
from relay.connection.connection import Connection
from relay.entry.bridges import Bridge, find_bridges
from relay.entry.link_events import LinkEvents
from relay.entry.listen_address import BindError
from relay.logs.backlog import Backlog, not_taken
from relay.logs.record import Record
from relay.net.poller import Poller

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

HOUSEKEEPING = 5.0  # seconds between two looks at bridges, stalled readers and idle connections
SAY_AGAIN = 60.0  # seconds between two lines about one connection that does not read
LEAST_BETWEEN = 0.1  # seconds between two looks at the bridges that somebody asked for


class UpkeepHooks(NamedTuple):
    """What upkeep asks of its relay."""

    loaded: Callable[[], Loaded]  # the configuration in force
    connections: Callable[[], list[Connection]]
    snapshot: Callable[[], list[Record]]
    write: Callable[[Record], None]
    settle: Callable[[], None]  # tell of what was only counted
    fault: Callable[[Connection, Exception], None]  # of ours, which costs this connection
    listen: Callable[[], None]  # on the bridges of now, and admit from them; BindError
    missing: Callable[[], bool]  # is there an address of a bridge that could not be bound yet?
    looked: Callable[[], None]  # the bridges of now are in force
    stopped: Callable[[], bool]


class Stalls:
    """Says which side of which session does not read, and how much waits for it: memory that others may need."""

    def __init__(self, log: RelayLog) -> None:
        self._log = log
        self._delivered: dict[Connection, dict[str, int]] = {}  # bytes, where a side was not reading at the last look
        self._said: dict[Connection, float] = {}  # monotonic

    def look(self, connection: Connection, now: float) -> None:
        """At two looks in a row not a byte was taken: it is no matter of a moment."""
        if not connection.patient:
            self._delivered.pop(connection, None)
            return
        before = self._delivered.get(connection, {})
        here = self._delivered[connection] = {}
        for side, flow in (("client", connection.down), ("gateway", connection.up)):
            if flow is None or flow.sink not in connection.patient:
                continue
            backlog = look(flow, now)
            here[side] = delivered(flow, backlog)
            if before.get(side) == here[side] and now - self._said.get(connection, -SAY_AGAIN) >= SAY_AGAIN:
                self._said[connection] = now
                self._say(connection, side, backlog)

    def forget_all_but(self, connections: Iterable[Connection]) -> None:
        """The others have ended."""
        gone = (self._delivered.keys() | self._said.keys()).difference(connections)
        for connection in gone:
            self._delivered.pop(connection, None)
            self._said.pop(connection, None)

    def _say(self, connection: Connection, side: str, backlog: Backlog) -> None:
        left = not_taken(backlog, "gateway" if side == "client" else "client")
        message = f"connection {connection.connection_id}: the {side} does not read: {left}"
        counts = {"waiting": backlog.waiting, "queued": backlog.queued}
        self._log.event("not.reading", message, "WARN", connection=connection.connection_id, side=side, **counts)


class Upkeep:
    """The timers of one relay. `bridges` are the container bridges as of the last look."""

    def __init__(self, relay: UpkeepHooks, log: RelayLog, loop: asyncio.AbstractEventLoop) -> None:
        self._relay = relay
        self._log = log
        self._loop = loop
        self.bridges: tuple[Bridge, ...] = ()
        self._trouble = ""  # why the bridges' addresses cannot be listened on, as it was last said; tried again
        self._unseen: tuple[str, ...] = ()  # what the last look at the bridges could not see, and why
        self._looked_at = 0.0  # monotonic
        self._next_look: asyncio.TimerHandle | None = None
        self._events: LinkEvents | None = None
        self._stalls = Stalls(log)

    def start(self, poller: Poller) -> None:
        """From now on, until `close`."""
        self._every(housekeeping_interval(self._relay.loaded()), self.housekeeping)
        self.report_progress()
        with contextlib.suppress(OSError):  # then every round has to do
            self._events = LinkEvents(poller, self.look_soon)

    def close(self) -> None:
        """The relay takes no more clients: the bridges do not matter any more."""
        if self._events is not None:
            self._events.close()
        if self._next_look is not None:
            self._next_look.cancel()
            self._look_now()  # somebody waits for it

    def look_at_bridges(self) -> None:
        """A look that failed in part is no news of what it did not see: that stays."""
        self._looked_at = monotonic()
        survey = find_bridges()
        if survey.why != self._unseen:
            self._unseen = survey.why
            if survey.why:
                self._log.event("bridge", "not all container bridges can be seen: " + "; ".join(survey.why))
        if survey.why:
            self.bridges = tuple(dict.fromkeys((*self.bridges, *survey.bridges)))
        else:
            self.bridges = survey.bridges

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        def tick() -> None:
            if self._relay.stopped():
                return
            try:
                work()
            finally:
                self._loop.call_later(seconds, tick)

        self._loop.call_later(seconds, tick)

    def housekeeping(self) -> None:
        """Look at every connection; listen again where the bridges have changed."""
        now = monotonic()
        for connection in self._relay.connections():
            try:
                connection.housekeeping(now)
                self._stalls.look(connection, now)
            except Exception as error:  # noqa: BLE001 (costs this connection, not the relay)
                self._relay.fault(connection, error)
        self._relay.settle()
        self._stalls.forget_all_but(self._relay.connections())
        self._follow_bridges()

    def look_soon(self) -> None:
        """Look at the bridges now, or as soon as the last look is old enough."""
        if self._next_look is None:
            wait = self._looked_at + LEAST_BETWEEN - monotonic()
            self._next_look = self._loop.call_later(max(0.0, wait), self._look_now)

    def _look_now(self) -> None:
        self._next_look = None
        try:
            if not self._relay.stopped():
                self._follow_bridges()
        finally:
            self._relay.looked()

    def _follow_bridges(self) -> None:
        """Listen where the bridges of now are, and let their containers in."""
        before = self.bridges
        self.look_at_bridges()
        if self.bridges == before and not self._trouble and not self._relay.missing():
            return
        try:
            self._relay.listen()
            self._trouble = ""
        except BindError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._log.event("bridge", f"a container bridge has changed, but {error}; trying again", "WARN")

    def report_progress(self) -> None:
        """A record of each live connection after an interval, and so on; an interval of 0 is asked for again later."""
        interval = self._relay.loaded().config.log_interval

        def tick() -> None:
            if self._relay.stopped():
                return
            for record in self._relay.snapshot():
                self._relay.write(record)
            self.report_progress()

        self._loop.call_later(interval or HOUSEKEEPING, tick if interval else self.report_progress)


def housekeeping_interval(loaded: Loaded) -> float:
    """Three looks within the shortest user time-out: a reader that does not read must be spared in time."""
    bounds = [port_map.user_timeout for port_map in loaded.config.maps if port_map.user_timeout]
    return min([HOUSEKEEPING, *(bound / 3 for bound in bounds)])
