"""The gate of a map: asked between a client's hello and the dial whether the gateway may hear of this client now.

Nobody passes through a gate in raw mode, where nothing is known of a client, nor after a restart: a session that goes
on was let in before. The gate itself is made of policy, a pure function of values and `now`, and of whatever that has
to remember. This file is what a connection needs to know of it.

    ask      once the hello is whole; again when a wait is over, or when the gate calls `again`
    left     once for everybody who was asked: the gateway has greeted this client, or its connection has ended
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from relay.connection.verdict import Verdict


class Applicant(NamedTuple):
    """Who asks."""

    connection_id: str
    map_name: str
    client_address: str
    hello: bytes  # what the client has said so far; an IB hello, or that of a client from before v100
    arrived_at: float  # monotonic, at accept


class Gate(Protocol):
    """One map's; several maps may share one."""

    def ask(self, applicant: Applicant, now: float, again: Callable[[], None]) -> Verdict:
        """Go, wait or no.

        `again` asks anew before a wait is over. It is to be called on the event loop's thread, not from within `ask`.
        """

    def left(self, applicant: Applicant, now: float) -> None:
        """It is not waiting or in its handshake any more."""


class Ticket:
    """One applicant at one gate. It goes from phase to phase, and is given back once."""

    __slots__ = ("applicant", "gate")

    def __init__(self, gate: Gate, applicant: Applicant) -> None:
        self.gate: Gate | None = gate
        self.applicant = applicant

    def ask(self, now: float, again: Callable[[], None]) -> Verdict:
        """What the gate says."""
        assert self.gate is not None, "it was given back"
        return self.gate.ask(self.applicant, now, again)

    def give_back(self, now: float) -> None:
        """The gate need not think of this applicant any more; the second and later calls do nothing."""
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.left(self.applicant, now)
