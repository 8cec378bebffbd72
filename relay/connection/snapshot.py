"""The card of a connection: what is known of it at a moment, as a Record, and the phase its life is in."""

from __future__ import annotations

from time import monotonic, time

from relay.logs.record import CLEAN_ENDS, EndPhase, Record


def record(connection, event: str, phase: EndPhase | None) -> Record:
    """A snapshot of the connection; counters are read as they stand, also in the middle of a transfer."""
    now = monotonic()
    up, down, upstream = connection.up, connection.down, connection.map.upstream
    begun = connection.opened_at
    return Record(
        event,
        time(),
        connection.connection_id,
        connection.map.name,
        connection.client_address[0],
        connection.client_address[1],
        connection.local_port,
        upstream.host,
        upstream.port,
        *connection.peer,
        up.bytes if up else 0,
        down.bytes if down else 0,
        now - begun,
        connection.connect_seconds,
        up.first - begun if up and up.first else None,
        down.first - begun if down and down.first else None,
        now - connection.last_activity() if up else None,
        connection.cause,
        phase,
        *_ib_fields(connection, begun, up is not None),
        connection.services.count(),
    )


def phase(connection) -> EndPhase:
    """Where in its life the connection is, for the record of its end."""
    if connection.services.draining:
        return EndPhase.DRAIN
    if connection.opening is not None:
        return EndPhase.CONNECT if connection.opening.dial is not None else EndPhase.HANDSHAKE
    if connection.in_handshake() or _never_answered(connection.observer):
        return EndPhase.HANDSHAKE
    clean = connection.cause is not None and connection.cause.reason in CLEAN_ENDS
    return EndPhase.HALF_CLOSED if connection.half_closed and not clean else EndPhase.DATA


def _never_answered(observer) -> bool:
    """Is this a session of which what came instead of a server hello was something else?"""
    return observer is not None and observer.opaque is not None and observer.server_version is None


_NOT_IB = (None, None, None, None, None, (), None, None, None, None, None, None)


def _ib_fields(connection, begun: float, passed: bool) -> tuple:
    """`passed`: bytes have gone to the gateway, and so what was read of the client's counts as messages."""
    observer = connection.observer
    if observer is None:
        return _NOT_IB
    return (
        _stage_word(observer),
        observer.opaque,
        observer.client_id,
        observer.client_range,
        observer.server_version,
        observer.accounts,
        connection.ready_at - begun if connection.ready_at is not None else None,
        observer.messages_up if passed else 0,
        observer.messages_down,
        observer.requests_peak,
        observer.last_error_code,
        observer.redirect,
    )


def _stage_word(observer) -> str:
    if observer.opaque is not None:
        return "opaque"
    return "legacy" if observer.legacy else observer.stage.name.lower()
