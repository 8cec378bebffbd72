r"""Opening: from accept to the dialled gateway: what the client says first, its turn at the gate, the dial.

In ib mode nothing is dialled before the client has sent a whole, valid IB hello: port scans, TCP health checks, TLS and
stray HTTP never reach the gateway. In raw mode the dial starts at once, because a server may speak first.

The client is watched and read during all of this, into a buffer that is ours and is never cancelled or thrown away:
bytes lost here would swallow `API\0` and look exactly like a gateway that does not answer. A FIN during the dial may be
a half-close, so the dial goes on for a short grace; a reset ends it at once.

Where sessions outlive this process (survival/fdstore.py), or somebody judges what the client sends (judge.py), the
client is only looked at, and its bytes stay in the kernel: whoever has a copy of its socket can begin again.
"""

from __future__ import annotations

import contextlib
import socket
from time import monotonic
from typing import TYPE_CHECKING

from relay.connection.first_end import error_name
from relay.connection.flow import show
from relay.connection.gate import Applicant, Ticket
from relay.connection.open_phase import EARLY, LEFT_GRACE
from relay.connection.peek_flow import drop
from relay.connection.phase import Phase
from relay.connection.verdict import EndWith, WaitUntil
from relay.logs.record import Cause, Reason
from relay.net import offsets
from relay.net.dial import Dial, DialFailed, Reached
from relay.net.poller import READ
from relay.wire import hello_mistakes
from relay.wire.hello import FirstBytes, classify_first_bytes
from relay.wire.hello_mistakes import told

if TYPE_CHECKING:
    from relay.connection.connection import Connection

EARLY_LIMIT = 64 * 1024  # bytes a client may send before the gateway answers the dial; then it must wait
_HELLOS = (FirstBytes.IB, FirstBytes.LEGACY)


class Opening(Phase):
    """Ends in exactly one of `connection.opened(...)` and `connection.end(...)`."""

    __slots__ = ("client", "dial", "dialled_at", "early", "finished", "peeks", "ticket", "watched")

    name = "Opening"

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        services = connection.services
        self.client = connection.client
        self.peeks = services.keeper is not None or services.policy is not None
        self.early = b""  # what the client has said
        self.finished = False  # the client has said FIN
        self.ticket: Ticket | None = None  # of the gate, once it was asked
        self.dial: Dial | None = None
        self.dialled_at = 0.0
        self.watched: int | None = None  # what the poller watches on the client; None = not registered

    @property
    def here(self) -> bool:
        """Is the connection still in this phase?"""
        return self.connection.phase is self

    def start(self, now: float) -> None:
        """Watch the client, and look at once: an IB client has usually spoken by the time it is accepted."""
        connection = self.connection
        if connection.observer is None:
            # Looked at before the dial: a client that was reset before it was accepted costs the gateway nothing.
            if self._receive():
                self._start_dial(now)
        else:
            connection.deadlines.set(connection, now + connection.map.first_bytes_timeout)
            self.first_bytes(READ)
        if self.here and self.watched is None:
            self._watch_client()

    def go_on(self, now: float, early: bytes, finished: bool) -> None:
        """Begin where another process left off; what it dialled is dialled again."""
        self.early, self.finished = early, finished
        if self.peeks:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            self.peeks = not early  # what another process has read can only be copied
        keeper = self.connection.services.keeper
        if self.peeks and keeper is not None:
            keeper.opening(self.connection)
        if finished:
            self._start_dial(now)
        elif early and self.connection.observer is not None and classify_first_bytes(early) in _HELLOS:
            self._at_the_gate(now)
        else:
            self.start(now)
            return
        if self.here:
            self._watch_client()

    def _watch_client(self) -> None:
        handler = self.first_bytes if self.dial is None and self.ticket is None else self.while_waiting
        self.watched = 0 if self.finished else READ
        self.connection.poller.watch(self.client.fileno(), self.watched, handler)

    # The client's first bytes

    def first_bytes(self, _events: int) -> bool:
        """Ib mode: collect the client's first bytes until they are a hello or cannot be one."""
        connection = self.connection
        if not self._receive():
            return True
        if self.finished:
            self._client_gone("fin")
            return True
        if not self.early:
            return False
        kind = classify_first_bytes(self.early)
        if kind in _HELLOS:
            if self.watched is not None:
                connection.poller.rewatch(self.client.fileno(), self.while_waiting)
            self._at_the_gate(monotonic())
        elif kind is not FirstBytes.MORE:
            connection.end(Cause("relay", "policy", Reason.NOT_IB, told(kind, self.early)))
        return True

    def while_waiting(self, events: int) -> bool:
        """It waits for its turn, or for the gateway to answer: keep what the client sends, notice when it leaves."""
        connection = self.connection
        if len(self.early) >= EARLY_LIMIT or self.finished:
            if events & ~READ:  # reported unasked: the connection broke
                self._client_gone("rst")
            elif self.watched:
                self._stop_reading()
            return True
        if not self._receive():
            return True
        if self.finished and self.dial is None:
            self._client_gone("fin")
            return True
        if self.finished:
            bound = self.dialled_at + connection.map.connect_timeout
            connection.deadlines.set(connection, min(monotonic() + LEFT_GRACE, bound))
        if self.finished or len(self.early) >= EARLY_LIMIT:
            self._stop_reading()
        return True

    def _left_reason(self) -> Reason:
        """What to call a client that leaves now."""
        if self.dial is not None or self.connection.observer is None:
            return Reason.CLIENT_LEFT_WHILE_CONNECTING
        return Reason.CLIENT_LEFT_WHILE_QUEUED if self.ticket is not None else Reason.CLIENT_LEFT_IN_HANDSHAKE

    def _client_gone(self, how: str, error_type: str | None = None) -> None:
        """The client is gone; in the middle of its hello, how much of that came is told."""
        reason = self._left_reason()
        begun = self._begun() if self.early and reason is Reason.CLIENT_LEFT_IN_HANDSHAKE else None
        self.connection.end(Cause("client", how, reason, begun, error_type))

    def _begun(self, when: str = "") -> str:
        """How much has come of a hello that is not whole, and what its length still waits for."""
        seen = f"{len(self.early)} bytes of a hello" if self.early else "nothing"
        why = hello_mistakes.unfinished(self.early)
        return f"{seen}{when}: {why}" if why else f"{seen}{when}"

    def _stop_reading(self) -> None:
        self.watched = 0
        self.connection.poller.change(self.client.fileno(), 0)

    def _receive(self) -> bool:
        """Read what the client has sent; False when that ended the connection."""
        if len(self.early) >= EARLY_LIMIT:
            return True
        try:
            chunk = self._look() if self.peeks else self.client.recv(EARLY_LIMIT - len(self.early))
        except BlockingIOError:
            return True
        except OSError as error:
            self._client_gone("rst", error_name(error))
            return False
        if chunk:
            self.early += chunk
        else:
            self.finished = True
        return True

    def _look(self) -> bytes:
        """What is new since the last look; it stays where it is. The kernel calls when there is more, or an end."""
        new = self.client.recv(EARLY_LIMIT, socket.MSG_PEEK)[len(self.early) :]
        if new:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(self.early) + len(new) + 1)
        elif not offsets.SUPPORTED or not offsets.has_finished(self.client):
            self._stop_reading()  # called without reason: as much is there as the kernel takes
            raise BlockingIOError
        return new

    # The gate

    def _at_the_gate(self, now: float) -> None:
        """The hello is whole: may the gateway hear of it?"""
        connection = self.connection
        gate = connection.services.gates.get(connection.map.name)
        if gate is None:
            self._start_dial(now)
            return
        address = connection.client_address[0]
        applicant = Applicant(connection.connection_id, connection.map.name, address, self.early, connection.opened_at)
        self.ticket = Ticket(gate, applicant)
        self._ask(now)

    def _ask(self, now: float) -> None:
        connection, ticket = self.connection, self.ticket
        assert ticket is not None, "nobody asks before there is a hello"
        verdict = ticket.ask(now, self._ask_again)
        if isinstance(verdict, EndWith):
            connection.end(Cause("relay", "policy", verdict.reason, verdict.detail), reset_client=True)
        elif isinstance(verdict, WaitUntil):
            connection.deadlines.set(connection, verdict.when)
        else:
            self._start_dial(now)

    def _ask_again(self) -> None:
        if self.here and self.dial is None:
            self._ask(monotonic())

    # The dial

    def _start_dial(self, now: float) -> None:
        connection = self.connection
        services, upstream = connection.services, connection.map.upstream
        known = services.literal(upstream)
        self.dialled_at = now
        bound = connection.map.connect_timeout
        if self.finished:
            bound = min(bound, LEFT_GRACE)
        elif not known:
            bound /= 2  # a name may have a second address: leave time for it
        connection.deadlines.set(connection, now + bound)
        self.dial = Dial(
            services.poller,
            services.resolver,
            services.dials,
            upstream.host,
            upstream.port,
            connection.keep_alive,
            self._dialled,
        )
        self.dial.start(known)

    def _dialled(self, result: Reached | DialFailed) -> None:
        connection = self.connection
        if isinstance(result, DialFailed):
            reason = Reason(result.reason)
            by = "relay" if reason in (Reason.DNS_ERROR, Reason.RESOURCE_EXHAUSTED) else "upstream"
            how = {Reason.CONNECTION_REFUSED: "rst", Reason.CONNECT_TIMEOUT: "timeout"}.get(reason, "error")
            connection.end(Cause(by, how, reason, result.detail, result.error_type), reset_client=True)
            return
        connection.peer = result.address[:2]
        connection.connect_seconds = monotonic() - self.dialled_at
        self.dial = None  # it refers back to us
        if self.peeks:
            with contextlib.suppress(OSError):
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        connection.opened(self, result)

    # Deadlines and ends

    def expired(self, now: float) -> None:
        """The deadline of the first bytes, of a turn, of the dial, or of a client that said FIN, has passed."""
        connection, dial = self.connection, self.dial
        if dial is None:
            self._waited(now)
            return
        bound = self.dialled_at + connection.map.connect_timeout
        if self.finished:
            self._client_gone("fin")
        elif now >= bound - EARLY:
            self._dialled(dial.too_long(connection.map.connect_timeout))
        else:
            dial.next_address()
            if self.here:
                connection.deadlines.set(connection, bound)

    def _waited(self, now: float) -> None:
        if self.ticket is not None:
            self._ask(now)
            return
        seconds = self.connection.map.first_bytes_timeout
        detail = self._begun(f" in {seconds:g} s")
        self.connection.end(Cause("relay", "timeout", Reason.HANDSHAKE_TIMEOUT, detail))

    def left(self) -> None:
        """No dial goes on behind this."""
        if self.dial is not None:
            self.dial.cancel()
        if self.ticket is not None:
            self.ticket.give_back(monotonic())

    def ending(self) -> None:
        """What the client has said is read, or close() would be a reset; a hello that had nobody to go to is shown."""
        if self.peeks and self.early:
            with contextlib.suppress(OSError):
                drop(self.client, self.connection.services.scratch, len(self.early))
        observer = self.connection.observer
        if observer is not None and (self.dial is not None or self.ticket is not None):
            show(observer.client_to_gateway, memoryview(self.early), monotonic())
