"""A brake on lines about connections that never reached the gateway: a scan or a retrying client must not fill a disk.

The first of a kind are written in full: a kind is a client's address, a map and a reason. What comes beyond that in the
same minute is counted, and one line tells how many there were. A connection that has reached its gateway is never one
of them, so whatever happens to a session is written, with its `open` line before it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from relay.logs.lines import severity
from relay.logs.record import Reason, Record

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

WINDOW = 60.0  # seconds
IN_FULL = 30  # ends of one kind in a window: a client that tries every two seconds is seen every time
MOST_KINDS = 1024  # counted one by one; a scan from a whole /64 is one kind from there on
ELSEWHERE = "other addresses"
_ALWAYS = (Reason.INTERNAL_ERROR, Reason.RESOURCE_EXHAUSTED)  # faults here, not of those who knock


class Alike(NamedTuple):
    """What ends alike."""

    address: str
    map_name: str
    reason: Reason


class _Count:
    """Of one kind, in one window."""

    __slots__ = ("begun", "held", "last", "written")

    def __init__(self, now: float, last: Record) -> None:
        self.begun, self.last = now, last
        self.written = self.held = 0


class Brake:
    """Between those who have records and the log. `settle` is to be called every few seconds, and at the end."""

    def __init__(self, log: RelayLog, clock: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._clock = clock
        self._counts: dict[Alike, _Count] = {}
        self._loud: set[tuple[str, str]] = set()  # address and map with a kind that is only counted now
        self._opened: dict[str, Record] = {}  # by connection, `open` lines that wait for what comes of them

    def write(self, record: Record) -> None:
        """Pass it on, hold it back or count it."""
        where = record.map_name
        if record.event == "open" and self._loud & {(record.client_address, where), (ELSEWHERE, where)}:
            self._opened[record.connection_id] = record
            return
        opened = self._opened.pop(record.connection_id, None)
        if record.event == "close" and self._is_one_too_many(record):
            return
        if opened is not None:
            self._log.write(opened)
        self._log.write(record)

    def settle(self, at_once: bool = False) -> None:
        """Tell of what was counted in windows that are over, or in all of them."""
        now = self._clock()
        for kind, count in list(self._counts.items()):
            if at_once or now - count.begun >= WINDOW:
                self._tell(kind, count, now)

    def _is_one_too_many(self, record: Record) -> bool:
        cause = record.cause
        if cause is None or record.peer_address is not None or cause.reason in _ALWAYS:
            return False
        kind, now = Alike(record.client_address, record.map_name, cause.reason), self._clock()
        if kind not in self._counts and len(self._counts) >= MOST_KINDS:
            kind = kind._replace(address=ELSEWHERE)
        count = self._counts.get(kind)
        if count is not None and now - count.begun >= WINDOW:
            self._tell(kind, count, now)
            count = None
        if count is None:
            count = self._counts[kind] = _Count(now, record)
        if count.written < IN_FULL:
            count.written += 1
            return False
        count.held += 1
        count.last = record
        self._loud.add((kind.address, kind.map_name))
        return True

    def _tell(self, kind: Alike, count: _Count, now: float) -> None:
        del self._counts[kind]
        self._loud = {(one.address, one.map_name) for one, other in self._counts.items() if other.held}
        if not count.held:
            return
        fields = {
            "client.address": kind.address,
            "ib_relay.map": kind.map_name,
            "end.reason": kind.reason.value,
            "connections": count.held,
        }
        many = f"{count.held} more connection{'s' * (count.held != 1)}"
        message = f"{kind.map_name}: {many} of {kind.address} in {now - count.begun:.0f} s ended as {kind.reason.value}"
        self._log.event("connection.repeated", message, severity(count.last), **fields)
