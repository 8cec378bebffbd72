"""One relayed connection, from accept to its end record: the phases of its life and what each kind of end means.

    opening    the client's first bytes, then the dial (opening.py)
    open       two flows carry bytes; in ib mode one observer watches both
    flushing   one side was reset or vanished: the other gets what was read, then a reset of its own
    closed     the record is out, the sockets are gone

An end is never guessed at: FIN, reset, time-out and refusal stay four different things up to the record. A FIN is
passed on as a FIN and the other direction lives on, a reset is passed on as a reset, but only after everything that was
read before it has been acknowledged by the receiver (a reset makes its kernel drop what is still on the way).

A few lines beyond 400: the ends depend on each other, and a reader has to see them on one page.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from relay.config.load import PortMap, Protocol
from relay.connection import snapshot
from relay.connection.flow import Flow
from relay.connection.opening import LEFT_GRACE, Opening, error_name
from relay.connection.whole_hello import WholeHello, hold
from relay.logs.record import Cause, EndPhase, Reason, Record
from relay.net import tcp
from relay.net.deadlines import Deadlines
from relay.net.dial import Reached, literal_address
from relay.net.poller import READ
from relay.net.resolver import Resolver
from relay.wire.observer import Observer
from relay.wire.stage import Stage

STALL_POLL = 0.5  # seconds between two looks at a reader that holds up the last bytes of a peer that is gone
FLUSH_POLL = 0.02  # seconds between two looks at the kernel's send queue before a reset is passed on


@dataclass(slots=True)
class Services:
    """What every connection of a relay uses."""

    poller: Any
    deadlines: Deadlines
    resolver: Resolver
    scratch: memoryview
    log: Any  # .write(Record)
    ended: Any  # called with the connection when its record is out
    count: Any  # () -> live connections
    draining: bool = False
    flow: type[Flow] = Flow  # how bytes are moved
    keeper: Any = None  # keep.Keeper: whom sessions are given to that are to outlive this process
    literals: dict = field(default_factory=dict)  # upstream -> its address, if it needs no look-up

    def literal(self, upstream) -> list:
        """The address of an upstream given as an IP address; empty for a name."""
        known = self.literals.get(upstream)
        if known is None:
            known = self.literals[upstream] = literal_address(upstream.host, upstream.port)
        return known


class Connection:
    """See above. Everything runs on the event loop's thread; `start` begins, `end` finishes, both are called once."""

    __slots__ = (
        "services",
        "map",
        "keep_alive",
        "connection_id",
        "client",
        "upstream",
        "client_address",
        "local_port",
        "peer",
        "opened_at",
        "connect_seconds",
        "ready_at",
        "opening",
        "up",
        "down",
        "observer",
        "hold",
        "first_fin",
        "cause",
        "broken",
        "sink_error",
        "stalled",
        "flush_left",
        "flush_since",
        "patient",
        "closed",
        "half_closed",
        "kept",
    )

    def __init__(
        self,
        services: Services,
        port_map: PortMap,
        keep_alive: tcp.KeepAlive,
        connection_id: str,
        client: socket.socket,
        client_address: tuple,
        local_port: int,
    ) -> None:
        self.services = services
        self.map = port_map
        self.keep_alive = keep_alive
        self.connection_id = connection_id
        self.client = client
        self.upstream: socket.socket | None = None
        self.client_address = client_address
        self.local_port = local_port
        self.peer: tuple[str | None, int | None] = (None, None)  # the upstream address that answered
        self.opened_at = monotonic()
        self.connect_seconds: float | None = None
        self.ready_at: float | None = None
        self.opening: Opening | None = None
        self.up: Flow | None = None
        self.down: Flow | None = None
        self.observer = Observer() if port_map.protocol is Protocol.IB else None
        self.hold: WholeHello | None = None
        self.first_fin: str | None = None  # "client" or "upstream"
        self.cause: Cause | None = None
        self.broken: Flow | None = None  # flushing: the flow whose source is gone
        self.sink_error: tuple[Flow, OSError] | None = (
            None  # a write failed; what that side had sent is still being read
        )
        self.stalled: Flow | None = None  # its source is gone, its sink does not read
        self.flush_left = 0
        self.flush_since = 0.0
        self.patient: tuple[socket.socket, ...] = ()  # sockets whose user time-out is lifted
        self.closed = False
        self.half_closed = False
        self.kept: Any = None  # keep.Kept, once somebody else has copies of our sockets

    # Opening

    @property
    def poller(self):
        return self.services.poller

    @property
    def deadlines(self) -> Deadlines:
        return self.services.deadlines

    def start(self) -> None:
        """The client was accepted and admitted: write the open record, wait for first bytes or dial."""
        self.opening = Opening(self)
        if self.services.keeper is not None:
            self.services.keeper.opening(self)  # before anything else: until then it dies with us
        self.services.log.write(self.record("open"))
        self.opening.start(self.opened_at)

    def opened(self, reached: Reached, early: bytes, client_finished: bool, watched: int | None) -> None:
        """The gateway answered the dial: tie the two flows and pass on what the client has already sent."""
        services, self.opening, upstream = self.services, None, reached.sock
        self.upstream = upstream
        up, down = self.tie_flows()
        observer, handler = self.observer, down.ready
        if observer is not None:
            self.hold = hold(down)
            handler = self.hold.ready
        services.poller.watch(upstream.fileno(), down.watched, handler)
        self._take_over_client(up, watched)
        if services.keeper is not None and not early:
            services.keeper.opened(self)  # before a byte has moved: it was begun again from none
            up.pull()
        elif early:
            now = monotonic()
            up.first = up.last = now
            up.push(early)
            if observer is not None and not self.closed:
                self.learned(observer.client_to_gateway(memoryview(early), now))
        if reached.reset and not self.closed and self.sink_error is None:
            self.sink_failed(up, ConnectionResetError(errno.ECONNRESET, "reset after accept"))
        if self.closed:
            return
        if client_finished:
            up.eof = True
            up.watch(up.watched & ~READ)
            self.source_ended(up)
        else:
            self._idle_expired(monotonic())
        if services.keeper is not None and early:
            services.keeper.opened(self)

    def tie_flows(self) -> tuple[Flow, Flow]:
        """The two directions between the two sockets, not watched yet; in ib mode the observer sees both."""
        services, observer = self.services, self.observer
        up = self.up = services.flow(self, services.poller, services.scratch, self.client, self.upstream)
        down = self.down = services.flow(self, services.poller, services.scratch, self.upstream, self.client)
        up.reverse, down.reverse = down, up
        if observer is not None and observer.opaque is None and not observer.legacy:
            up.observe, down.observe = observer.client_to_gateway, observer.gateway_to_client
        return up, down

    def _take_over_client(self, up: Flow, watched: int | None) -> None:
        """From the opening's handler to the flow's, if the client had to be waited for at all."""
        fd = self.client.fileno()
        if watched is None:
            self.poller.watch(fd, READ, up.ready)
            return
        self.poller.rewatch(fd, up.ready)
        if watched != READ:
            self.poller.change(fd, READ)

    def await_more(self, now: float) -> None:
        """Set the deadline of an open connection that is neither held nor flushing."""
        if self.half_closed:
            self.deadlines.set(self, now + self._half_close_bound())
        else:
            self._idle_expired(now)

    def go_on_flushing(self, cause: Cause, broken: Flow) -> None:
        """Another process knew already why this ends; what it had to deliver before that is delivered."""
        self.cause, self.broken = cause, broken
        broken.unwatch()
        broken.reverse.watch(broken.reverse.watched & ~READ)
        self.flush_since, self.flush_left = monotonic(), -1
        self.deadlines.set(self, self.flush_since + FLUSH_POLL)

    # While open: what the flows report

    def learned(self, events: tuple) -> None:
        """The observer understood something; only a few things need an act."""
        observer = self.observer
        if self.ready_at is None and observer.stage is Stage.READY:
            self.ready_at = monotonic()
            self.services.log.write(self.record("ready"))
            if self.services.keeper is not None:
                self.services.keeper.ready(self)
        if observer.opaque is not None or observer.legacy:
            self.up.observe = self.down.observe = None
        if self.hold is not None and (observer.legacy or (observer.stage >= Stage.START_API and self.hold.rest)):
            self._release_hold()

    def _release_hold(self) -> None:
        """What the hold kept goes out; its deadline gives way to what else may be due."""
        self.deadlines.drop(self)
        self.hold.release()
        if not self.closed:
            self.await_more(monotonic())

    def wait_for_client(self, seconds: float) -> None:
        """Bytes stand behind the hello: release them when the client has spoken, or then."""
        self.deadlines.set(self, monotonic() + seconds)

    def source_ended(self, flow: Flow) -> None:
        """`flow.source` said FIN (or, after a failed write to it, ran dry)."""
        if flow.reverse.finished and flow.pending is None and self.cause is None:
            flow.finished = True  # the second FIN: closing passes it on
            self._finished()
            return
        flow.watch(flow.watched & ~READ)
        if self.sink_error is not None and self.sink_error[0] is flow:
            self.source_failed(flow, self.sink_error[1])
            return
        if flow.pending is not None or self.cause is not None:
            return  # `flush` comes back here; a connection that is flushing has no ends left to pass on
        try:
            flow.sink.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.sink_failed(flow, error)
            return
        flow.finished = True
        if self.first_fin is None:
            self.first_fin = self._side(flow)
            self._note()
        self.half_closed = True
        self.deadlines.set(self, monotonic() + self._half_close_bound())
        if self.hold is not None and self.hold.rest:
            self._release_hold()  # a client that has said FIN will not speak again

    def _finished(self) -> None:
        """Both sides have said FIN and everything is delivered."""
        reason = Reason.CLIENT_CLOSED if self.first_fin == "client" else Reason.UPSTREAM_CLOSED
        self.end(self._handshake_cause(Cause(self.first_fin, "fin", reason)))

    def source_failed(self, flow: Flow, error: OSError) -> None:
        """`flow.source` is gone and drained: deliver what is kept, then reset the other side."""
        if self.cause is not None:
            if flow is self.broken:
                self._flush_then_reset(monotonic())
            else:
                self.end(self.cause, reset_client=True, reset_upstream=True)
            return
        self.cause = self._failure_cause(flow, error)
        self.broken = flow
        self._note()
        self.hold = None
        flow.unwatch()
        other = flow.reverse
        other.drop_pending()
        other.watch(other.watched & ~READ)
        self.flush_since = monotonic()
        self.flush_left = -1
        self._flush_then_reset(self.flush_since)

    def sink_failed(self, flow: Flow, error: OSError) -> None:
        """`flow.sink` takes no more. What it had sent before is still read and delivered, then it counts as failed."""
        flow.drop_pending()
        other = flow.reverse  # reads from the dead side
        if self.cause is not None:
            self.end(self.cause, reset_client=True, reset_upstream=True)
            return
        flow.watch(flow.watched & ~READ)
        if other.eof or self.sink_error is not None:
            self.source_failed(other, error)
            return
        self.sink_error = (other, error)
        if self.hold is not None:
            self.hold.release()
        if self.closed:
            return
        if other.pending is None:
            other.resume()
        else:
            self.source_broke(other)

    def source_broke(self, flow: Flow) -> None:
        """`flow.source` is gone, but its last bytes wait for a sink that does not read: bound the wait."""
        self.stalled = flow
        self.flush_left, self.flush_since = flow.bytes, monotonic()
        self.deadlines.set(self, self.flush_since + STALL_POLL)

    def delivered(self, flow: Flow) -> bool:
        """`flow` has no more pending bytes; True when it must not read on."""
        if self.broken is None:
            return False
        self._flush_then_reset(monotonic())
        return True

    # Deadlines and housekeeping

    def expired(self, now: float) -> None:
        """The one deadline of this phase has passed."""
        if self.opening is not None:
            self.opening.expired(now)
        elif self.broken is not None:
            self._flush_then_reset(now)
        elif self.stalled is not None:
            self._stall_expired(now)
        elif self.hold is not None and self.hold.rest:
            self._release_hold()
        elif self.half_closed:
            self._half_close_expired(now)
        else:
            self._idle_expired(now)

    def housekeeping(self, now: float) -> None:
        """Every few seconds: lift the user time-out from peers that live but do not read; start the idle clock."""
        if self.up is None or self.closed:
            return
        for flow in (self.up, self.down):
            if flow.sink in self.patient:
                self._look_at_patient(flow)
            elif tcp.is_not_reading(flow.sink):
                tcp.be_patient(flow.sink)
                self.patient += (flow.sink,)
            if self.closed:
                return

    def _look_at_patient(self, flow: Flow) -> None:
        if flow.pending is None and not tcp.unsent(flow.sink):
            tcp.be_strict(flow.sink, self.keep_alive)
            self.patient = tuple(sock for sock in self.patient if sock is not flow.sink)
        elif tcp.has_left_probes_unanswered(flow.sink):
            self.source_failed(flow.reverse, OSError(errno.ETIMEDOUT, "window probes unanswered"))

    def _idle_expired(self, now: float) -> None:
        bound = self.map.idle_timeout
        if not bound:
            return
        if now >= self.last_activity() + bound:
            self.end(Cause("relay", "timeout", Reason.IDLE_TIMEOUT, f"{bound:g} s without a byte"))
        else:
            self.deadlines.set(self, self.last_activity() + bound)

    def _stall_expired(self, now: float) -> None:
        """The source is gone: its last bytes are kept for a reader as long as that one takes some, and no longer."""
        flow = self.stalled
        if flow.pending is None:
            self.stalled = None  # it reads on, and will find the end
            return
        if flow.bytes != self.flush_left:
            self.flush_left, self.flush_since = flow.bytes, now
        elif now - self.flush_since >= self.map.flush_timeout:
            detail = f"the {self._side(flow)} is gone, {flow.left} bytes not taken in {self.map.flush_timeout:g} s"
            self.end(Cause(self._side(flow.reverse), "timeout", Reason.WRITE_STALLED, detail), True, True)
            return
        self.deadlines.set(self, now + STALL_POLL)

    def _half_close_bound(self) -> float:
        """A client that leaves in the handshake does not come back: do not keep a hung gateway's socket for long."""
        bound = self.map.half_close_timeout
        return min(bound, LEFT_GRACE) if self.first_fin == "client" and self.in_handshake() else bound

    def _half_close_expired(self, now: float) -> None:
        quiet_at = self.last_activity() + self._half_close_bound()
        if now < quiet_at - 0.01:
            self.deadlines.set(self, quiet_at)
            return
        stalled = next((flow for flow in (self.up, self.down) if flow.pending is not None), None)
        if stalled is not None:
            left = f"{stalled.left} bytes not delivered in {self._half_close_bound():g} s"
            self.end(Cause(self._side(stalled.reverse), "timeout", Reason.WRITE_STALLED, left))
        elif self.first_fin == "client" and self.in_handshake():
            self.end(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE))
        else:
            silent = "upstream" if self.first_fin == "client" else "client"
            detail = f"{silent} silent for {self._half_close_bound():g} s after the other side had finished"
            self.end(Cause("relay", "timeout", Reason.HALF_CLOSE_TIMEOUT, detail))

    def _flush_then_reset(self, now: float) -> None:
        """Reset the living side as soon as it has acknowledged everything, or when it has stalled too long."""
        flow = self.broken
        left = flow.left + (tcp.unsent(flow.sink) or 0)
        if not left:
            self.end(self.cause, reset_client=True, reset_upstream=True)
            return
        if left != self.flush_left:
            self.flush_left, self.flush_since = left, now
        elif now - self.flush_since >= self.map.flush_timeout:
            detail = f"after {self.cause.reason.value}, {left} bytes not taken in {self.map.flush_timeout:g} s"
            stalled = Cause(self._side(flow.reverse), "timeout", Reason.WRITE_STALLED, detail)
            self.end(stalled, reset_client=True, reset_upstream=True)
            return
        self.deadlines.set(self, now + FLUSH_POLL)

    # The end

    def end(self, cause: Cause, reset_client: bool = False, reset_upstream: bool = False) -> None:
        """Release everything and write the close record; the second and later calls do nothing."""
        if self.closed:
            return
        self.closed = True
        self.cause = cause
        self.deadlines.drop(self)
        phase = snapshot.phase(self)
        poller = self.services.poller
        if self.opening is not None:
            self.opening.end()
            if self.opening.dial is not None and self.observer is not None:  # a hello that had nobody to go to
                self.observer.client_to_gateway(self.opening.early, monotonic())
        # While somebody else has a copy of a socket, close() neither takes it out of the epoll nor tells its peer.
        alone = self.services.keeper is None
        forget, close = (poller.forget, socket.socket.close) if alone else (poller.unwatch, tcp.finish)
        forget(self.client.fileno())
        both_finished = self.up is not None and self.up.finished and self.down.finished
        unfinished = not both_finished and self.in_handshake()
        undelivered = self.down is not None and self.down.pending is not None
        (tcp.reset if reset_client or undelivered else close)(self.client)
        if self.upstream is not None:
            forget(self.upstream.fileno())
            # An unfinished API handshake goes with a reset: a FIN would stay in CLOSE_WAIT at a gateway that hangs.
            undelivered = self.up is not None and self.up.pending is not None
            (tcp.reset if reset_upstream or undelivered or unfinished else close)(self.upstream)
        if self.services.keeper is not None:
            self.services.keeper.ended(self)
        try:
            self.services.log.write(self.record("close", phase))
        finally:
            self.services.ended(self)
        if self.up is not None:
            self.up.reverse = self.down.reverse = None  # no cycles: the garbage collector need not come by
        self.opening = self.up = self.down = self.hold = self.broken = self.stalled = self.sink_error = None

    def leave(self) -> None:
        """Let go of the sockets without a word: somebody else has copies, and the session goes on with those."""
        self.closed = True
        self.deadlines.drop(self)
        if self.opening is not None:
            self.opening.cancel()
        for sock in (self.client, self.upstream):
            if sock is not None:
                self.poller.unwatch(sock.fileno())
                sock.close()
        if self.up is not None:
            self.up.reverse = self.down.reverse = None
        self.opening = self.up = self.down = self.hold = self.broken = self.stalled = self.sink_error = None

    def _note(self) -> None:
        """Something changed that the next process must know."""
        if self.kept is not None:
            self.kept.changed()

    def record(self, event: str, phase: EndPhase | None = None) -> Record:
        """What is known of this connection now."""
        return snapshot.record(self, event, phase)

    def _side(self, flow: Flow) -> str:
        """Who speaks on this flow."""
        return "client" if flow is self.up else "upstream"

    def in_handshake(self) -> bool:
        """An IB session that is understood and not ready yet."""
        observer = self.observer
        if observer is None or observer.opaque is not None or observer.legacy:
            return False
        return observer.stage < Stage.READY

    def last_activity(self) -> float:
        """When the last byte was read, either way (monotonic)."""
        return max(self.opened_at, self.up.last or 0.0, self.down.last or 0.0)

    def _failure_cause(self, flow: Flow, error: OSError) -> Cause:
        side = self._side(flow)
        if error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
            if self.first_fin == side:  # FIN, then RST because more data came: that is how close() looks from here
                closed = Reason.CLIENT_CLOSED if side == "client" else Reason.UPSTREAM_CLOSED
                return self._handshake_cause(Cause(side, "fin", closed))
            reset = Reason.CLIENT_RESET if side == "client" else Reason.UPSTREAM_RESET
            return self._handshake_cause(Cause(side, "rst", reset, None, "ECONNRESET"))
        dead = Reason.CLIENT_DEAD if side == "client" else Reason.UPSTREAM_DEAD
        return Cause(side, "timeout", dead, None, error_name(error))

    def _handshake_cause(self, cause: Cause) -> Cause:
        """A client that goes before the session was ready left in the handshake, however it went."""
        if cause.by == "client" and self.in_handshake():
            return cause._replace(reason=Reason.CLIENT_LEFT_IN_HANDSHAKE)
        return cause
