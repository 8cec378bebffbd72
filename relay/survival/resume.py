"""Makes a living connection of a ConnectionState and its two sockets: where another process left off, this one goes on.

After a kill nobody knows what the dead process did last, except the kernels. A PeekFlow drops bytes from the source
only when the sink has them, so with T taken from the source and W written into the sink, the first W - T bytes that
still wait in the source have arrived already: they are dropped here, and everything behind them is passed on as usual.
The observer had seen S bytes, and T <= S <= W: what it had not seen is shown to it first. If S lies elsewhere, bytes
went by unseen; then its session is reported as not understood from here on, and never continued by a guess.

An end needs no memory: a socket whose peer has said FIN, or was reset, says so again to whoever reads it.
"""

from __future__ import annotations

import contextlib
import socket
from time import monotonic

from relay.config.keys import Protocol
from relay.config.load import PortMap
from relay.connection.connection import Connection
from relay.connection.ending import Flushing
from relay.connection.flow import Flow, show
from relay.connection.handshake import Handshake, handshake
from relay.connection.judge import Judge
from relay.connection.open_phase import Open
from relay.connection.opening import Opening
from relay.connection.peek_flow import drop
from relay.connection.services import Services
from relay.net import offsets, tcp
from relay.survival.checkpoint import Progress
from relay.survival.state import ConnectionState, FlowState, InvalidState, cause_of, ends_of
from relay.wire import observer_state
from relay.wire.direction_table import DirectionTable
from relay.wire.framing import LENGTH_SIZE, frame_end
from relay.wire.observer import Observer

LOST_SIGHT = "the relay was restarted in the middle of a message"
_LAST = 256 * 1024  # bytes shown again at the most: one scratch buffer, as no more can be on its way


def restore(
    services: Services,
    port_map: PortMap,
    state: ConnectionState,
    progress: Progress | None,
    client: socket.socket,
    upstream: socket.socket | None,
) -> Connection:
    """The connection as it was, not started yet; InvalidState when its parts do not go together."""
    keep_alive = tcp.keep_alive_of(port_map)
    connection = Connection(
        services, port_map, keep_alive, state.connection_id, client, state.client_address, state.local_port
    )
    connection.opened_at = state.opened_at
    connection.peer, connection.connect_seconds = state.peer, state.connect_seconds
    connection.ready_at, connection.first_fin = state.ready_at, state.first_fin
    connection.ends = ends_of(state)
    connection.observer = _observer(state, progress) if port_map.protocol is Protocol.IB else None
    for sock in (client, upstream):
        if sock is not None:
            sock.setblocking(False)
    if upstream is None or state.up is None or state.down is None:
        return connection
    connection.upstream = upstream
    up, down = connection.tie_flows(upstream)
    seen_up, seen_down = (progress.up_seen, progress.down_seen) if progress is not None else (None, None)
    for flow, flow_state, seen in ((up, state.up, seen_up), (down, state.down, seen_down)):
        flow.bytes, flow.first, flow.last = flow_state.bytes, flow_state.first, flow_state.last
        if seen is not None:
            _catch_up(connection, flow, flow_state, seen)
    if connection.observer is not None:
        _judge_on(up.judge, connection.observer, observer_state.UP)
        _judge_on(down.judge, connection.observer, observer_state.DOWN)
    return connection


def go_on(connection: Connection, state: ConnectionState) -> None:
    """Watch and move bytes from now on; the connection may end in here."""
    opening, up, down = connection.phase, connection.up, connection.down
    if not isinstance(opening, Opening):
        raise InvalidState(f"connection {state.connection_id} was begun already")
    if up is None or down is None or state.up is None or state.down is None:
        opening.go_on(monotonic(), state.early.encode("latin-1"), state.client_finished)
        return
    for sock in (up.source, down.source):
        _set_timers(connection, sock)
    handler = down.ready
    if state.held or _awaits_hello(connection):
        # What another process has taken of a hello is in our hands, however bytes are moved otherwise.
        greeting = Handshake(connection, up, down) if state.held else handshake(connection, up, down)
        greeting.held = state.held.encode("latin-1")
        connection.enter(greeting)
        handler = greeting.ready
    else:
        connection.enter(Open(connection, up, down))
    connection.poller.watch(down.source.fileno(), down.watched, handler)
    connection.poller.watch(up.source.fileno(), up.watched, up.ready)
    for flow, kept in ((up, state.up.pending), (down, state.down.pending + state.glued)):
        if kept and not connection.closed:
            flow.push(kept.encode("latin-1"))
    cause = cause_of(state)
    if cause is not None and isinstance(connection.phase, Open):
        side = state.broken or cause.by
        connection.enter(Flushing(connection, cause, side, up if side == "client" else down))
    if connection.closed:
        return
    if connection.observer is not None and state.ready_at is None:
        connection.learned(())
    if connection.services.keeper is not None and cause is None and not connection.closed:
        connection.services.keeper.opened(connection)


def _observer(state: ConnectionState, progress: Progress | None) -> Observer:
    if state.observer is None:
        raise InvalidState(f"connection {state.connection_id} has no observer")
    try:
        observer = observer_state.restored(state.observer)
        if progress is not None and observer.opaque is None and not observer.legacy:
            up, down = observer_state.frames(observer)
            observer_state.advance(
                observer, observer_state.UP, progress.up_state, progress.up_held, max(0, progress.up_frames - up)
            )
            observer_state.advance(
                observer,
                observer_state.DOWN,
                progress.down_state,
                progress.down_held,
                max(0, progress.down_frames - down),
            )
            observer_state.raise_peak(observer, progress.peak)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidState(f"connection {state.connection_id}: no state of an observer: {error!r}") from error
    return observer


def _catch_up(connection: Connection, flow: Flow, state: FlowState, seen: int) -> None:
    """See the theory above. Afterwards nothing that waits in the source has arrived already."""
    kept = len(state.pending)  # taken, not written, and in our hands
    taken = offsets.taken(flow.source) - (state.taken_behind or 0)
    written = offsets.written(flow.sink) - (state.written_behind or 0)
    flow.bytes = max(written, 0)
    last = (flow.last, offsets.last_received(flow.source, monotonic()))
    flow.last = max(filter(None, last), default=None) if written else None
    # Nothing unread: the counts may be one off.
    arrived = min(max(0, written + kept - taken), offsets.unread(flow.source))
    if arrived > _LAST:
        raise InvalidState(f"connection {connection.connection_id}: {arrived} bytes would have to be dropped")
    if flow.observe is not None:
        _show(connection, flow, seen - taken, arrived)
    drop(flow.source, flow.scratch, arrived)


def _show(connection: Connection, flow: Flow, from_here: int, arrived: int) -> None:
    """Show the observer what has arrived and it has not seen: bytes `from_here` up to `arrived` of what waits."""
    gone = not arrived and offsets.is_dead(flow.source)  # nothing more will ever come, nothing can be missed
    if not 0 <= from_here <= arrived and not gone:
        if connection.observer is not None:
            observer_state.lose(connection.observer, LOST_SIGHT)
        flow.observe = flow.reverse.observe = None
    elif 0 <= from_here < arrived:
        count = flow.source.recv_into(flow.scratch, arrived, socket.MSG_PEEK)
        show(flow.observe, flow.scratch[from_here:count], monotonic())


def _judge_on(judge: Judge | None, observer: Observer, table: DirectionTable) -> None:
    """What the sink has by now is what the observer has been shown: from there on it is judged."""
    if judge is None:
        return
    state, held = observer_state.position(observer, table)
    if state == observer_state.OFF:
        judge.lose_track()
    elif state != observer_state.HELLO:
        begun, cleared = (held, 0) if len(held) < LENGTH_SIZE else (b"", frame_end(held) - len(held))
        judge.go_on(begun, max(state, cleared, 0))


def _awaits_hello(connection: Connection) -> bool:
    observer, down = connection.observer, connection.down
    if observer is None or observer.opaque is not None or observer.legacy or down is None or down.bytes:
        return False
    return observer.server_version is None and observer.redirect is None


def _set_timers(connection: Connection, sock: socket.socket) -> None:
    """The map's options of today; and every byte is to be reported, also if a hello was waited for."""
    with contextlib.suppress(OSError):  # dead already: its flow will see it
        tcp.set_options(sock, connection.keep_alive)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    if tcp.is_not_reading(sock):
        tcp.be_patient(sock)
        connection.patient += (sock,)
