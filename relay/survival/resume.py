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

from relay.config.load import PortMap, Protocol
from relay.connection.connection import Connection, Services
from relay.connection.flow import Flow
from relay.connection.opening import Opening
from relay.connection.peek_flow import drop
from relay.connection.whole_hello import WholeHello, hold
from relay.net import offsets, tcp
from relay.survival.checkpoint import Progress
from relay.survival.state import ConnectionState, FlowState, InvalidState, cause_of
from relay.wire import observer_state

LOST_SIGHT = "the relay was restarted in the middle of a message"
_LAST = 256 * 1024  # bytes shown again at the most: one scratch buffer, as no more can be on its way


def restore(
    services: Services,
    port_map: PortMap,
    state: ConnectionState,
    row: Progress | None,
    client: socket.socket,
    upstream: socket.socket | None,
) -> Connection:
    """The connection as it was, not started yet; InvalidState when its parts do not go together."""
    keep_alive = tcp.keep_alive_of(port_map)
    connection = Connection(
        services, port_map, keep_alive, state.connection_id, client, state.client_address, state.local_port
    )
    connection.opened_at = state.opened_at
    connection.peer, connection.connect_seconds, connection.ready_at = state.peer, state.connect_seconds, state.ready_at
    connection.first_fin, connection.half_closed = state.first_fin, state.first_fin is not None
    connection.observer = _observer(state, row) if port_map.protocol is Protocol.IB else None
    for sock in (client, upstream):
        if sock is not None:
            sock.setblocking(False)
    if upstream is None or state.up is None:
        return connection
    connection.upstream = upstream
    up, down = connection.tie_flows()
    for flow, of, seen in ((up, state.up, row and row.up_seen), (down, state.down, row and row.down_seen)):
        flow.bytes, flow.first, flow.last = of.bytes, of.first, of.last
        if row is not None:
            _catch_up(connection, flow, of, seen)
    return connection


def go_on(connection: Connection, state: ConnectionState) -> None:
    """Watch and move bytes from now on; the connection may end in here."""
    now = monotonic()
    if connection.up is None:
        connection.opening = Opening(connection)
        connection.opening.go_on(now, state.early.encode("latin-1"), state.client_finished)
        return
    up, down = connection.up, connection.down
    for sock in (connection.client, connection.upstream):
        _set_timers(connection, sock)
    handler = down.ready
    if state.held or _awaits_hello(connection):
        connection.hold = WholeHello(down) if state.held else hold(down)
        connection.hold.held = state.held.encode("latin-1")
        handler = connection.hold.ready
    connection.poller.watch(connection.upstream.fileno(), down.watched, handler)
    connection.poller.watch(connection.client.fileno(), up.watched, up.ready)
    cause = cause_of(state)
    if cause is not None:
        connection.go_on_flushing(cause, up if state.broken == "client" else down)
    for flow, kept in ((up, state.up.pending), (down, state.down.pending + state.glued)):
        if kept and not connection.closed:
            flow.push(kept.encode("latin-1"))
    if connection.closed:
        return
    if connection.observer is not None and state.ready_at is None:
        connection.learned(())
    if not connection.closed and cause is None:
        connection.await_more(now)
        if connection.services.keeper is not None:
            connection.services.keeper.opened(connection)


def _observer(state: ConnectionState, row: Progress | None):
    if state.observer is None:
        raise InvalidState(f"connection {state.connection_id} has no observer")
    try:
        observer = observer_state.restored(state.observer)
        if row is not None and observer.opaque is None and not observer.legacy:
            up, down = observer_state.frames(observer)
            observer_state.advance(observer, observer_state.UP, row.up_state, row.up_held, max(0, row.up_frames - up))
            observer_state.advance(
                observer, observer_state.DOWN, row.down_state, row.down_held, max(0, row.down_frames - down)
            )
            observer_state.raise_peak(observer, row.peak)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidState(f"connection {state.connection_id}: no state of an observer: {error!r}") from error
    return observer


def _catch_up(connection: Connection, flow: Flow, state: FlowState, seen: int) -> None:
    """See the theory above. Afterwards nothing that waits in the source has arrived already."""
    kept = len(state.pending)  # taken, not written, and in our hands
    taken = offsets.taken(flow.source) - (state.taken_behind or 0)
    written = offsets.written(flow.sink) - (state.written_behind or 0)
    flow.bytes = max(written, 0)
    flow.last = (
        max(filter(None, (flow.last, offsets.last_received(flow.source, monotonic()))), default=None)
        if written
        else None
    )
    arrived = min(
        max(0, written + kept - taken), offsets.unread(flow.source)
    )  # nothing unread: the counts may be one off
    if arrived > _LAST:
        raise InvalidState(f"connection {connection.connection_id}: {arrived} bytes would have to be dropped")
    if flow.observe is not None:
        _show(connection, flow, seen - taken, arrived)
    drop(flow.source, flow.scratch, arrived)


def _show(connection: Connection, flow: Flow, from_here: int, arrived: int) -> None:
    """Show the observer what has arrived and it has not seen: bytes `from_here` up to `arrived` of what waits."""
    gone = not arrived and offsets.is_dead(
        flow.source
    )  # nothing more will ever come: there is nothing to lose sight of
    if not 0 <= from_here <= arrived and not gone:
        observer_state.lose(connection.observer, LOST_SIGHT)
        connection.up.observe = connection.down.observe = None
    elif 0 <= from_here < arrived:
        count = flow.source.recv_into(flow.scratch, arrived, socket.MSG_PEEK)
        flow.observe(flow.scratch[from_here:count], monotonic())


def _awaits_hello(connection: Connection) -> bool:
    observer = connection.observer
    if observer is None or observer.opaque is not None or observer.legacy or connection.down.bytes:
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
