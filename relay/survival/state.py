"""A relayed connection as plain values: what another process must know, besides its two sockets, to go on with it.

`state_of` takes it from a living connection, `to_json` and `from_json` carry it over, resume.py makes a connection of
it again. Times are monotonic, which on one machine is one clock for all processes until it is restarted.

Bytes are in here only when this process had them and no kernel (a copying flow that waits for a slow reader, a client's
first words during the dial); JSON carries them as Latin-1. None still means "never" or "not known". Names and order of
the fields are what older and newer programs read: a change of them is a change of FORMAT.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relay.connection import first_end
from relay.connection.connection import Connection
from relay.connection.ending import Flushing
from relay.connection.first_end import EndsSeen
from relay.connection.flow import Flow
from relay.connection.handshake import Handshake
from relay.connection.opening import Opening
from relay.logs.record import Cause, Reason
from relay.net import offsets
from relay.wire import observer_state

FORMAT = 1  # a program that finds another number does not guess

Behind = Mapping[Flow, tuple[int | None, int | None]]  # see FlowState


class InvalidState(ValueError):
    """What was handed over is not what this program understands."""


@dataclass(frozen=True, slots=True)
class FlowState:
    """One direction.

    `*_behind`: how far the kernel's count was ahead of ours at a quiet moment, a constant of the handshake; None where
    the kernel does not count.
    """

    bytes: int = 0
    first: float | None = None
    last: float | None = None
    pending: str = ""  # read, and not in the sink's kernel
    taken_behind: int | None = None
    written_behind: int | None = None


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """Everything about one connection that is not in a kernel."""

    connection_id: str
    map_name: str
    protocol: str
    upstream: tuple[str, int]
    client_address: tuple[str, int]
    local_port: int
    opened_at: float
    early: str = ""  # not open yet: what the client has said
    client_finished: bool = False  # ... and whether that was all
    peer: tuple[str | None, int | None] = (None, None)
    connect_seconds: float | None = None
    ready_at: float | None = None
    first_fin: str | None = None
    cause: tuple[str, str, str, str | None, str | None] | None = None  # flushing: why it will end
    broken: str | None = None  # ... and whose words are being delivered: "client" or "upstream"
    held: str = ""  # an incomplete hello of the gateway
    glued: str = ""  # what waits behind the hello
    up: FlowState | None = None  # None: the gateway is not reached yet
    down: FlowState | None = None
    observer: dict[str, Any] | None = None  # with `ends` in it: a release that knows no such field passes it by


def state_of(connection: Connection, behind: Behind | None = None) -> ConnectionState:
    """As of now; no byte is taken. `behind` is what `behind_of` said earlier: it can be asked between handlers only."""
    if behind is None:
        behind = behind_of(connection)
    upstream, phase = connection.map.upstream, connection.phase
    opening = phase if isinstance(phase, Opening) and not phase.peeks else None  # what it looks at is in the kernel
    return ConnectionState(
        connection.connection_id,
        connection.map.name,
        connection.map.protocol.value,
        (upstream.host, upstream.port),
        connection.client_address[:2],
        connection.local_port,
        connection.opened_at,
        early=_text(opening.early) if opening is not None else "",
        client_finished=opening is not None and opening.finished,
        peer=connection.peer,
        connect_seconds=connection.connect_seconds,
        ready_at=connection.ready_at,
        first_fin=connection.first_fin,
        cause=_cause(phase.cause) if isinstance(phase, Flushing) else None,
        broken=phase.side if isinstance(phase, Flushing) else None,
        held=_text(phase.held) if isinstance(phase, Handshake) else "",
        glued=_text(phase.glued) if isinstance(phase, Handshake) else "",
        up=_flow(connection.up, behind) if connection.up is not None else None,
        down=_flow(connection.down, behind) if connection.down is not None else None,
        observer=_observed(connection),
    )


def behind_of(connection: Connection) -> Behind:
    """What the kernels have counted more than we, for each flow. Nothing may be on its way: not from within a flow."""
    flows = (flow for flow in (connection.up, connection.down) if flow is not None)
    return {
        flow: (
            _ahead(offsets.taken, flow.source, flow.bytes + len(flow.pending or b"")),
            _ahead(offsets.written, flow.sink, flow.bytes),
        )
        for flow in flows
    }


def to_json(state: ConnectionState) -> str:
    """One line."""
    return json.dumps({"format": FORMAT, **_values(state)}, separators=(",", ":"))


def from_json(text: str | bytes) -> ConnectionState:
    """InvalidState when it is none of ours, or of another format."""
    try:
        values = json.loads(text)
        if values.pop("format") != FORMAT:
            raise InvalidState("the state of a connection in another format")
        for name in ("up", "down"):
            values[name] = FlowState(**values[name]) if values[name] is not None else None
        for name in ("upstream", "client_address", "peer"):
            values[name] = tuple(values[name])
        values["cause"] = tuple(values["cause"]) if values["cause"] is not None else None
        state = ConnectionState(**values)
        cause_of(state)  # it must be one
    except InvalidState:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidState(f"no state of a connection: {error!r}") from error
    return state


def cause_of(state: ConnectionState) -> Cause | None:
    """Why it will end, if that is known already."""
    if state.cause is None:
        return None
    by, how, reason, detail, error_type = state.cause
    return Cause(by, how, Reason(reason), detail, error_type)


def ends_of(state: ConnectionState) -> EndsSeen | None:
    """Which side has ended first, if one has."""
    values = (state.observer or {}).get("ends")
    try:
        return first_end.restored(values, state.first_fin)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidState(f"connection {state.connection_id}: no ends of a connection: {error!r}") from error


def _values(state: ConnectionState | FlowState) -> dict[str, Any]:
    """As dataclasses.asdict, without its copies: every new connection is written down before anything else."""
    return {
        name: _values(value) if isinstance(value := getattr(state, name), FlowState) else value
        for name in state.__slots__
    }


def _observed(connection: Connection) -> dict[str, Any] | None:
    observer, ends = connection.observer, connection.ends
    values: dict[str, Any] = observer_state.saved(observer) if observer is not None else {}
    if ends is not None:
        values["ends"] = first_end.saved(ends)
    return values or None


def _cause(cause: Cause) -> tuple[str, str, str, str | None, str | None]:
    return (cause.by, cause.how, cause.reason.value, cause.detail, cause.error_type)


def _flow(flow: Flow, behind: Behind) -> FlowState:
    return FlowState(flow.bytes, flow.first, flow.last, _text(flow.pending or b""), *behind[flow])


def _ahead(question: Callable[[socket.socket], int], sock: socket.socket, ours: int) -> int | None:
    if not offsets.SUPPORTED:
        return None
    try:
        return question(sock) - ours
    except OSError:
        return None


def _text(data: bytes | memoryview) -> str:
    return bytes(data).decode("latin-1")
