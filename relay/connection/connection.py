"""One relayed connection, from accept to its end record. What it does at a moment is its phase (phase.py).

Everything runs on the event loop's thread; `start` begins, `end` finishes, both are called once. A connection that
another process began is made by survival/resume.py, and one that another process goes on with is left with `leave`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from time import monotonic

from relay.config.keys import Protocol
from relay.config.load import PortMap
from relay.connection import snapshot
from relay.connection.backlogs import look_at_both
from relay.connection.first_end import EndsSeen, error_name, first_end, how_it_failed, in_handshake
from relay.connection.flow import Flow
from relay.connection.handshake import handshake
from relay.connection.judge import Judge, Prologue
from relay.connection.open_phase import Open
from relay.connection.opening import Opening
from relay.connection.phase import CLOSED, MAY_FOLLOW, Phase
from relay.connection.services import Copies, PolicyOf, Services
from relay.connection.verdict import EndWith
from relay.logs.ends import FirstEnd
from relay.logs.record import Cause, Record
from relay.net import offsets, tcp
from relay.net.deadlines import Deadlines
from relay.net.dial import Reached
from relay.net.poller import READ, Poller
from relay.wire.direction import Direction
from relay.wire.events import Event
from relay.wire.hello import client_hello_end
from relay.wire.observer import Observer
from relay.wire.stage import Stage


class Connection:
    """See above. The owner of its two sockets and of the two flows between them."""

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
        "phase",
        "up",
        "down",
        "observer",
        "first_fin",
        "ends",
        "cause",
        "patient",
        "kept",
    )

    def __init__(
        self,
        services: Services,
        port_map: PortMap,
        keep_alive: tcp.KeepAlive,
        connection_id: str,
        client: socket.socket,
        client_address: tuple[str, int],
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
        self.up: Flow | None = None
        self.down: Flow | None = None
        self.observer = Observer() if port_map.protocol is Protocol.IB else None
        self.first_fin: str | None = None  # who said FIN first, "client" or "upstream", once it was passed on
        self.ends: EndsSeen | None = None  # once a side has ended, passed on or not
        self.cause: Cause | None = None  # why it has ended
        self.patient: tuple[socket.socket, ...] = ()  # sockets whose user time-out is lifted
        self.kept: Copies | None = None  # once somebody else has copies of our sockets
        self.phase: Phase = Opening(self)

    @property
    def poller(self) -> Poller:
        return self.services.poller

    @property
    def deadlines(self) -> Deadlines:
        return self.services.deadlines

    @property
    def closed(self) -> bool:
        return self.phase is CLOSED

    # Its phases

    def enter(self, phase: Phase) -> None:
        """The one place that changes the phase."""
        before = self.phase
        assert phase.name in MAY_FOLLOW[before.name], f"{phase.name} after {before.name}"
        self.phase = phase
        before.left()
        self.deadlines.drop(self)
        phase.entered()

    def start(self) -> None:
        """The client was accepted and admitted: write the open record, wait for first bytes or dial."""
        opening = self.phase
        assert isinstance(opening, Opening), opening
        if self.services.keeper is not None:
            self.services.keeper.opening(self)  # before anything else: until then it dies with us
        self.services.log.write(snapshot.record(self, "open"))
        opening.start(self.opened_at)

    def opened(self, opening: Opening, reached: Reached) -> None:
        """The gateway answered the dial: tie the two flows and pass on what the client has already sent."""
        keeper, upstream = self.services.keeper, reached.sock
        self.upstream = upstream
        up, down = self.tie_flows(upstream)
        ticket, opening.ticket = opening.ticket, None
        early, finished = (b"", False) if opening.peeks else (opening.early, opening.finished)
        if self.observer is None:
            self.enter(Open(self, up, down))
            self.poller.watch(upstream.fileno(), down.watched, down.ready)
        else:
            greeting = handshake(self, up, down, ticket)
            self.enter(greeting)
            self.poller.watch(upstream.fileno(), down.watched, greeting.ready)
        self._take_over_client(up, opening.watched)
        if opening.peeks:
            if keeper is not None:
                keeper.opened(self)  # before a byte has moved: it was begun again from none
            up.pull()
        elif early:
            now = monotonic()
            up.first = up.last = now
            up.push(early, now)
        if reached.reset and isinstance(self.phase, Open) and self.phase.failing is None:
            self.sink_failed(up, ConnectionResetError(errno.ECONNRESET, "reset after accept"))
        if finished and not self.closed:
            up.eof = True
            self.source_ended(up)
        if keeper is not None and not opening.peeks and not self.closed:
            keeper.opened(self)

    def tie_flows(self, upstream: socket.socket) -> tuple[Flow, Flow]:
        """The two directions between the two sockets, not watched yet; observed and judged in ib mode."""
        services, observer = self.services, self.observer
        up = self.up = services.flow(self, services.poller, services.scratch, self.client, upstream)
        down = self.down = services.flow(self, services.poller, services.scratch, upstream, self.client)
        up.reverse, down.reverse = down, up
        if observer is not None and observer.opaque is None and not observer.legacy:
            up.observe, down.observe = observer.client_to_gateway, observer.gateway_to_client
        if observer is not None and services.policy is not None:
            up.judge = self._judge(services.policy, Direction.CLIENT_TO_GATEWAY, client_hello_end)
            down.judge = self._judge(services.policy, Direction.GATEWAY_TO_CLIENT, None)  # its hello goes out before
        return up, down

    def _judge(self, policy_of: PolicyOf, direction: Direction, prologue: Prologue | None) -> Judge | None:
        policy = policy_of(self, direction)
        return Judge(policy, prologue) if policy is not None else None

    def _take_over_client(self, up: Flow, watched: int | None) -> None:
        """From the opening's handler to the flow's, if the client had to be waited for at all."""
        fd = self.client.fileno()
        if watched is None:
            self.poller.watch(fd, READ, up.ready)
            return
        self.poller.rewatch(fd, up.ready)
        if watched != READ:
            self.poller.change(fd, READ)

    # What its flows report; see flow.Owner

    def side_ended(self, flow: Flow, how: str, error: OSError | None = None) -> None:
        now, error_type = monotonic(), error_name(error) if error is not None else None
        if self.ends is None:
            before = _ended_unseen(flow.reverse)
            if before is None:
                self.ends = self._ended(self.side(flow), how, error_type, now)
                return
            self.ends = self._ended(self.side(flow.reverse), before, None, now)
        self.ends.add(self.side(flow), how, error_type, now)

    def _ended(self, by: str, how: str, error_type: str | None, now: float) -> EndsSeen:
        observer, up = self.observer, self.up
        first = first_end(by, how, error_type, now, self.opened_at, observer)
        counts = observer.counts_up if observer is not None and by == "upstream" else {}
        return EndsSeen(first, now, counts, up.bytes + len(up.pending or b"") if up is not None else 0)

    def source_ended(self, flow: Flow) -> None:
        self.side_ended(flow, "fin")
        self.phase.source_ended(flow)

    def source_broke(self, flow: Flow) -> None:
        self.side_ended(flow, "rst")  # presumably: which error it is will be read behind the bytes that wait
        self.phase.source_broke(flow)

    def source_failed(self, flow: Flow, error: OSError) -> None:
        self.side_ended(flow, how_it_failed(error), error)
        self.phase.source_failed(flow, error)

    def sink_failed(self, flow: Flow, error: OSError) -> None:
        self.side_ended(flow.reverse, how_it_failed(error), error)
        self.phase.sink_failed(flow, error)

    def delivered(self, flow: Flow) -> bool:
        return self.phase.delivered(flow)

    def held_back(self, flow: Flow, until: float) -> None:
        self.deadlines.set(flow, until)

    def condemned(self, flow: Flow, sentence: EndWith) -> None:
        self.end(Cause("relay", "policy", sentence.reason, sentence.detail), reset_client=True, reset_upstream=True)

    def learned(self, events: Sequence[Event]) -> None:
        observer = self.observer
        assert observer is not None, "nobody else learns anything"
        if self.ends is not None:
            self.ends.heard(observer, monotonic())
        elif self.ready_at is None and observer.stage is Stage.READY:
            self.ready_at = monotonic()
            self.services.log.write(snapshot.record(self, "ready"))
            if self.services.keeper is not None:
                self.services.keeper.ready(self)
        if (observer.opaque is not None or observer.legacy) and self.up is not None and self.down is not None:
            self.up.observe = self.down.observe = None
        self.phase.learned()
        if self.services.learned is not None:
            self.services.learned(self, events)

    # Deadlines and housekeeping

    def expired(self, now: float) -> None:
        """The deadline of its phase has passed."""
        self.phase.expired(now)

    def housekeeping(self, now: float) -> None:
        """Every few seconds: lift the user time-out from peers that live but do not read, and set it again."""
        for flow in (self.up, self.down):
            if flow is None or self.closed:
                return
            if flow.sink in self.patient:
                self._look_at_patient(flow)
            elif tcp.is_not_reading(flow.sink):
                tcp.be_patient(flow.sink)
                self.patient += (flow.sink,)

    def _look_at_patient(self, flow: Flow) -> None:
        if flow.waits is None and not tcp.unsent(flow.sink):
            tcp.be_strict(flow.sink, self.keep_alive)
            self.patient = tuple(sock for sock in self.patient if sock is not flow.sink)
        elif tcp.has_left_probes_unanswered(flow.sink):
            self.source_failed(flow.reverse, OSError(errno.ETIMEDOUT, "window probes unanswered"))

    # The end

    def end(self, cause: Cause, reset_client: bool = False, reset_upstream: bool = False) -> None:
        """Release everything and write the close record; the second and later calls do nothing."""
        if self.closed:
            return
        self.cause = cause
        end_phase, last = snapshot.end_phase(self, cause), self.phase
        self.enter(CLOSED)
        last.ending()
        up, down = self.up, self.down
        both_finished = up is not None and down is not None and up.finished and down.finished
        backlogs = look_at_both(self, monotonic())  # a socket that is closed tells nothing
        # While somebody else has a copy of a socket, close() neither takes it out of the epoll nor tells its peer.
        alone = self.services.keeper is None
        forget, close = (self.poller.forget, socket.socket.close) if alone else (self.poller.unwatch, tcp.finish)
        forget(self.client.fileno())
        undelivered = down is not None and down.waits is not None
        (tcp.reset if reset_client or undelivered else close)(self.client)
        if self.upstream is not None:
            forget(self.upstream.fileno())
            # An unfinished API handshake goes with a reset: a FIN would stay in CLOSE_WAIT at a gateway that hangs.
            unfinished = not both_finished and self.in_handshake()
            undelivered = up is not None and up.waits is not None
            (tcp.reset if reset_upstream or undelivered or unfinished else close)(self.upstream)
        if self.services.keeper is not None:
            self.services.keeper.ended(self)
        try:
            self.services.log.write(snapshot.record(self, "close", end_phase, backlogs))
        finally:
            self.services.ended(self)
        self._untie()

    def leave(self) -> None:
        """Let go of the sockets without a word: somebody else has copies, and the session goes on with those."""
        self.enter(CLOSED)
        for sock in (self.client, self.upstream):
            if sock is not None:
                self.poller.unwatch(sock.fileno())
                sock.close()
        self._untie()

    def _untie(self) -> None:
        """No cycles are left: the garbage collector need not come by."""
        for flow in (self.up, self.down):
            if flow is not None:
                if flow.judge is not None:
                    self.deadlines.drop(flow)
                del flow.reverse
        self.up = self.down = None

    def note(self) -> None:
        """Something changed that the next process must know."""
        if self.kept is not None:
            self.kept.changed()

    # Questions

    def record(self, event: str) -> Record:
        """What is known of this connection now."""
        backlogs = look_at_both(self, monotonic()) if event == "progress" and not self.closed else ()
        return snapshot.record(self, event, backlogs=backlogs)

    def in_handshake(self) -> bool:
        """An IB session that is understood and not ready yet."""
        return in_handshake(self.observer)

    def side(self, flow: Flow) -> str:
        """Who speaks on this flow."""
        return "client" if flow is self.up else "upstream"

    def first_end(self) -> FirstEnd:
        """The end of a side that was seen first; there is one."""
        assert self.ends is not None, "no side has ended"
        return self.ends.first

    def last_activity(self) -> float:
        """When the last byte was read, either way (monotonic)."""
        last = self.opened_at
        for flow in (self.up, self.down):
            if flow is not None and flow.last is not None and flow.last > last:
                last = flow.last
        return last


def _ended_unseen(flow: Flow) -> str | None:
    """How the source of a flow that does not read at the moment has ended: before anything that is seen now."""
    if flow.waits is None or flow.eof or not offsets.SUPPORTED:
        return None
    try:
        return offsets.end_of(flow.source)
    except OSError:
        return None
