"""What every connection of a relay uses, and whom it tells what: as values and callables, so that it knows nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from relay.config.addresses import Upstream
from relay.connection.flow import Flow
from relay.connection.gate import Gate
from relay.connection.judge import Policy
from relay.logs.record import Record
from relay.net.deadlines import Deadlines
from relay.net.dial import Address, literal_address
from relay.net.own_dials import OwnDials
from relay.net.poller import Poller
from relay.net.resolver import Resolver
from relay.wire.direction import Direction
from relay.wire.events import Event

if TYPE_CHECKING:
    from relay.connection.connection import Connection


class RecordLog(Protocol):
    """Where records go. Never blocks and never raises."""

    def write(self, record: Record) -> None: ...


class Copies(Protocol):
    """What somebody else has of a connection: copies of its sockets, and what is written down about it."""

    def changed(self) -> None:
        """Something besides the position in the streams is new."""


class Keeper(Protocol):
    """Sees to it that sessions outlive this process. It sets `connection.kept` once somebody has copies."""

    def opening(self, connection: Connection) -> None:
        """Accepted; not a byte has been taken from the client."""

    def opened(self, connection: Connection) -> None:
        """The gateway is reached."""

    def ready(self, connection: Connection) -> None:
        """The session is ready."""

    def ended(self, connection: Connection) -> None:
        """It has been shut down."""


PolicyOf = Callable[["Connection", Direction], Policy | None]  # who judges the frames of that direction


@dataclass(slots=True)
class Services:
    """One relay's. Gates, policy and learned are nobody's unless somebody asks for them."""

    poller: Poller
    deadlines: Deadlines
    resolver: Resolver
    scratch: memoryview
    log: RecordLog
    ended: Callable[[Connection], None]  # its record is out
    count: Callable[[], int]  # live connections
    draining: bool = False
    flow: type[Flow] = Flow  # how bytes are moved
    keeper: Keeper | None = None
    gates: Mapping[str, Gate] = field(default_factory=dict)  # by map
    policy: PolicyOf | None = None
    learned: Callable[[Connection, Sequence[Event]], None] | None = None  # hears of all that an observer understands
    literals: dict[Upstream, list[Address]] = field(default_factory=dict)
    dials: OwnDials = field(default_factory=OwnDials)

    def literal(self, upstream: Upstream) -> list[Address]:
        """The address of an upstream given as an IP address; empty for a name, which must be looked up."""
        known = self.literals.get(upstream)
        if known is None:
            known = self.literals[upstream] = literal_address(upstream.host, upstream.port)
        return known
