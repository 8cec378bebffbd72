"""A snapshot of a connection: what is known of it at a moment, as a Record, and where in its life it ends."""

from __future__ import annotations

from time import monotonic, time
from typing import TYPE_CHECKING, TypedDict

from relay.connection.first_end import EndsSeen, stage_word
from relay.connection.opening import Opening
from relay.logs.backlog import Backlog, last_moved
from relay.logs.record import CLEAN_ENDS, Cause, EndPhase, Reason, Record
from relay.wire.heard import Said
from relay.wire.observer import Observer

if TYPE_CHECKING:
    from relay.connection.connection import Connection

# Seconds. Gateways close within a second of a code that announces it; a session that outlives 100 by more ended for
# another reason (a gateway can be set to slow such clients down instead).
_ANNOUNCED = 5.0


def record(
    connection: Connection, event: str, phase: EndPhase | None = None, backlogs: tuple[Backlog, ...] = ()
) -> Record:
    """As of now; counters are read as they stand, also in the middle of a transfer. `backlogs`: look_at_both's."""
    now, begun = monotonic(), connection.opened_at
    up, down, upstream = connection.up, connection.down, connection.map.upstream
    return Record(
        event=event,
        at=time(),
        connection_id=connection.connection_id,
        map_name=connection.map.name,
        client_address=connection.client_address[0],
        client_port=connection.client_address[1],
        local_port=connection.local_port,
        server_address=upstream.host,
        server_port=upstream.port,
        peer_address=connection.peer[0],
        peer_port=connection.peer[1],
        bytes_up=up.bytes if up is not None else 0,
        bytes_down=down.bytes if down is not None else 0,
        duration=now - begun,
        connect=connection.connect_seconds,
        first_byte_up=up.first - begun if up is not None and up.first is not None else None,
        first_byte_down=down.first - begun if down is not None and down.first is not None else None,
        idle=max(0.0, now - last_moved(connection.last_activity(), now, backlogs)) if up is not None else None,
        backlogs=backlogs,
        cause=connection.cause,
        ends=connection.ends.value(connection.observer, up.bytes) if connection.ends and up is not None else None,
        phase=phase,
        active=connection.services.count() - (event == "close"),  # not this one, which is still counted while it ends
        **_session(connection),
    )


def end_phase(connection: Connection, cause: Cause) -> EndPhase:
    """Where in its life the connection is that ends for this cause."""
    if connection.services.draining:
        return EndPhase.DRAIN
    if cause.reason is Reason.LOOP_DETECTED:
        return EndPhase.CONNECT  # what was reached is no gateway
    if isinstance(connection.phase, Opening):
        return EndPhase.CONNECT if connection.phase.dial is not None else EndPhase.HANDSHAKE
    ends = connection.ends
    unready = ends.first.in_handshake if ends is not None else connection.in_handshake()
    if unready or _never_answered(connection.observer):
        return EndPhase.HANDSHAKE
    half_closed = connection.first_fin is not None and cause.reason not in CLEAN_ENDS
    return EndPhase.HALF_CLOSED if half_closed else EndPhase.DATA


def _never_answered(observer: Observer | None) -> bool:
    """Is this a session of which what came instead of a server hello was something else?"""
    return observer is not None and observer.opaque is not None and observer.server_version is None


def _announced(ends: EndsSeen | None, observer: Observer) -> int | None:
    """The code by which the gateway announced the end that came."""
    if ends is None or observer.fatal is None:
        return None
    code, at = observer.fatal
    return code if 0 <= ends.at - at <= _ANNOUNCED else None


class _Session(TypedDict, total=False):
    """The fields of a Record that only an IB session has."""

    ib_stage: str
    opaque: str | None
    client_id: int | None
    client_versions: tuple[int, int] | None
    server_version: int | None
    accounts: tuple[str, ...]
    account_count: int | None
    handshake: float | None
    messages_up: int
    messages_down: int
    requests_peak: int
    last_error_code: int | None
    holding: tuple[Said, ...]
    error_codes: tuple[int, ...]
    announced: int | None
    redirect: str | None
    not_understood: str | None


def _session(connection: Connection) -> _Session:
    observer, ready_at = connection.observer, connection.ready_at
    if observer is None:
        return {}
    return {
        "ib_stage": (connection.ends.first.stage if connection.ends is not None else None) or stage_word(observer),
        "opaque": observer.opaque,
        "client_id": observer.client_id,
        "client_versions": observer.client_range,
        "server_version": observer.server_version,
        "accounts": observer.accounts,
        "account_count": observer.account_count,
        "handshake": ready_at - connection.opened_at if ready_at is not None else None,
        # Without a gateway nothing was sent, though a hello was read.
        "messages_up": observer.messages_up if connection.up is not None else 0,
        "messages_down": observer.messages_down,
        "requests_peak": observer.requests_peak,
        "last_error_code": observer.heard.last,
        "holding": observer.heard.holding,
        "error_codes": observer.heard.answers,
        "announced": _announced(connection.ends, observer),
        "redirect": observer.redirect,
        "not_understood": str(observer.not_understood) if observer.not_understood is not None else None,
    }
