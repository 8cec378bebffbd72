"""What the relay does every few seconds: looks at its connections and the container bridges, reports live sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from relay.config.load import Loaded
from relay.connection.connection import Connection
from relay.entry.bridges import Bridge, find_bridges
from relay.entry.listeners import BindError
from relay.logs.record import Record

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

HOUSEKEEPING = 5.0  # seconds between two looks at bridges, stalled readers and idle connections


class UpkeepHooks(NamedTuple):
    """What upkeep asks of its relay."""

    loaded: Callable[[], Loaded]  # the configuration in force
    connections: Callable[[], list[Connection]]
    snapshot: Callable[[], list[Record]]
    fault: Callable[[Connection, Exception], None]  # of ours, which costs this connection
    listen: Callable[[], None]  # on the bridges of now; BindError
    missing: Callable[[], bool]  # is there an address of a bridge that could not be bound yet?
    stopped: Callable[[], bool]


class Upkeep:
    """The timers of one relay. `bridges` are the container bridges as of the last look."""

    def __init__(self, relay: UpkeepHooks, log: RelayLog, loop: asyncio.AbstractEventLoop) -> None:
        self._relay = relay
        self._log = log
        self._loop = loop
        self.bridges: tuple[Bridge, ...] = ()
        self._trouble = ""  # why the bridges' addresses could not be listened on, as it was last said
        self._unseen: tuple[str, ...] = ()  # what the last look at the bridges could not see, and why

    def start(self) -> None:
        """From now on, until the relay has stopped."""
        self._every(housekeeping_interval(self._relay.loaded()), self.housekeeping)
        self.report_progress()

    def look_at_bridges(self) -> None:
        """A look that failed in part is no news of what it did not see: that stays."""
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
            except Exception as error:  # noqa: BLE001 (costs this connection, not the relay)
                self._relay.fault(connection, error)
        before = self.bridges
        self.look_at_bridges()
        if self.bridges == before and not self._relay.missing():
            return
        try:
            self._relay.listen()
            self._trouble = ""
        except BindError as error:
            self.bridges = before  # so that the next round tries again
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
                self._log.write(record)
            self.report_progress()

        self._loop.call_later(interval or HOUSEKEEPING, tick if interval else self.report_progress)


def housekeeping_interval(loaded: Loaded) -> float:
    """Three looks within the shortest user time-out: a reader that does not read must be spared in time."""
    bounds = [port_map.user_timeout for port_map in loaded.config.maps if port_map.user_timeout]
    return min([HOUSEKEEPING, *(bound / 3 for bound in bounds)])
