"""The log's items as values: the record of a relayed connection, the closed set of end reasons, and other events.

Up is client to gateway, down is gateway to client. Durations are float seconds; None means "never" or "not known".
Field names follow the OpenTelemetry semantic conventions where these have a name, and are `ib_relay.*` and `ib.*`
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from relay.logs.backlog import Backlog
from relay.logs.ends import Ends
from relay.wire.heard import Said

if TYPE_CHECKING:
    from relay.logs.events import EventName


class Reason(StrEnum):
    """Why a connection ended. The values are public: never renamed, never reused."""

    CLIENT_CLOSED = "client_closed"
    UPSTREAM_CLOSED = "upstream_closed"
    CLIENT_RESET = "client_reset"
    UPSTREAM_RESET = "upstream_reset"
    CLIENT_LEFT_WHILE_CONNECTING = "client_left_while_connecting"
    CLIENT_LEFT_IN_HANDSHAKE = "client_left_in_handshake"
    CLIENT_LEFT_WHILE_QUEUED = "client_left_while_queued"
    CONNECTION_REFUSED = "connection_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    UNREACHABLE = "unreachable"
    DNS_ERROR = "dns_error"
    LOOP_DETECTED = "loop_detected"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    NOT_IB = "not_ib"
    CONNECTION_LIMIT = "connection_limit"
    ACL_DENIED = "acl_denied"
    IDLE_TIMEOUT = "idle_timeout"
    HALF_CLOSE_TIMEOUT = "half_close_timeout"
    CLIENT_DEAD = "client_dead"
    UPSTREAM_DEAD = "upstream_dead"
    WRITE_STALLED = "write_stalled"
    SHUTDOWN = "shutdown"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    INTERNAL_ERROR = "internal_error"


CLEAN_ENDS = (Reason.CLIENT_CLOSED, Reason.UPSTREAM_CLOSED)  # both sides sent FIN and nothing was lost

# Reasons reserved for admission queues, the gateway's health and the control socket; no connection ends with them yet.
RESERVED_REASONS = frozenset(
    {
        "queue_full",
        "queue_timeout",
        "gateway_not_ready",
        "rate_limited",
        "client_id_conflict",
        "killed",
    }
)


class EndPhase(StrEnum):
    """Where in its life a connection was when it ended."""

    HANDSHAKE = "handshake"  # before the session is ready, dial excepted
    CONNECT = "connect"
    DATA = "data"
    HALF_CLOSED = "half_closed"
    DRAIN = "drain"


class Cause(NamedTuple):
    """Who ended it (client, upstream, relay), how (fin, rst, timeout, error, policy) and why."""

    by: str
    how: str
    reason: Reason
    detail: str | None = None
    error_type: str | None = None  # an errno's name; None where there was no error


class Record(NamedTuple):
    """One line about one connection: at open, when ready, every log interval, and at close."""

    event: str  # open | ready | progress | close
    at: float  # Unix time
    connection_id: str
    map_name: str
    client_address: str  # taken at accept
    client_port: int
    local_port: int
    server_address: str  # as configured
    server_port: int
    peer_address: str | None = None  # the upstream address that answered
    peer_port: int | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    duration: float = 0.0
    connect: float | None = None
    first_byte_up: float | None = None
    first_byte_down: float | None = None
    idle: float | None = None
    backlogs: tuple[Backlog, ...] = ()  # for the gateway and for the client; of a live line and a close
    cause: Cause | None = None
    ends: Ends | None = None  # of the two sides; None: neither has ended
    phase: EndPhase | None = None
    ib_stage: str | None = None  # None for protocol "raw"
    opaque: str | None = None
    client_id: int | None = None
    client_versions: tuple[int, int] | None = None
    server_version: int | None = None
    accounts: tuple[str, ...] = ()  # the first, masked
    account_count: int | None = 0  # all the gateway named; None: some, and not known how many
    handshake: float | None = None
    messages_up: int | None = None
    messages_down: int | None = None
    requests_peak: int | None = None
    last_error_code: int | None = None  # the last code that still holds, or was an answer
    holding: tuple[Said, ...] = ()  # what the gateway has reported as lost, and not as back
    error_codes: tuple[int, ...] = ()  # other codes, each once, the oldest first
    announced: int | None = None  # the code that announced the end, where the end came soon after it
    redirect: str | None = None  # host[:port] to which the gateway sent the client
    not_understood: str | None = None  # messages that could not be read: how many, and why the first
    active: int = 0  # connections of the relay that are open


def end_of(record: Record) -> tuple[Cause, EndPhase]:
    """The cause and the phase that every close record has; ValueError for a record without them."""
    if record.cause is None or record.phase is None:
        raise ValueError(f"a {record.event} record without cause or phase")
    return record.cause, record.phase


class LogEvent(NamedTuple):
    """An item that is not about one connection: what happened, as text and as fields."""

    name: EventName
    severity: str  # INFO | WARN | ERROR
    message: str
    at: float  # Unix time
    fields: Mapping[str, object]
