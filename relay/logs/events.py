"""What the log says: one table of the events that are not about one connection, and one of a record's fields.

The JSON form of an event has the time, the severity, `event.name` (the name with `ib_relay.` before it), the message
and the fields of its row. The names and fields are public: never renamed, never reused. For readers and
for types: a running relay does not load this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

EventName = Literal[
    "accept.paused",
    "bridge",
    "connection.repeated",
    "fault",
    "keep.full",
    "latency",
    "listener.closed",
    "listener.lost",
    "listener.unused",
    "listening",
    "log.dropped",
    "not.reading",
    "reload",
    "resume.failed",
    "resumed",
    "stopped",
    "stopping",
    "upgrade",
    "warning",
]


class EventKind(NamedTuple):
    """A row of the table: when the event comes, and each field it can have besides the message."""

    meaning: str
    fields: Mapping[str, str] = {}


EVENTS: Mapping[EventName, EventKind] = {
    "listening": EventKind(
        "the relay listens on an address",
        {
            "ib_relay.map": "the map's name",
            "network.local.address": "ours",
            "network.local.port": "its port",
        },
    ),
    "listener.closed": EventKind("an address is no longer listened on", {"ib_relay.map": "the map's name"}),
    "listener.lost": EventKind("an address could not be taken back after a failed reload"),
    "listener.unused": EventKind("the service manager handed over a socket that no map takes"),
    "accept.paused": EventKind("no file descriptors are left; new clients wait"),
    "bridge": EventKind("a container bridge cannot be seen, or cannot be listened on"),
    "connection.repeated": EventKind(
        "more than 30 connections of one address ended alike in a minute, none at the gateway: the rest is counted",
        {
            "client.address": "the address they came from",
            "ib_relay.map": "the map's name",
            "end.reason": "the reasons above",
            "connections": "how many have no lines of their own",
        },
    ),
    "latency": EventKind("how the relay waits follows a laptop's battery, or is limited by its cores"),
    "warning": EventKind("a setting is allowed and probably not what was meant"),
    "reload": EventKind(
        "the configuration was read again", {"ok": "true if it is in force, false if the old one stays"}
    ),
    "upgrade": EventKind(
        "the new program is about to take over, or was refused", {"ok": "false where it was refused; else missing"}
    ),
    "resumed": EventKind(
        "sessions went on after a restart or an upgrade",
        {"live": "sessions that go on", "lost": "sessions that could not, or were not kept"},
    ),
    "resume.failed": EventKind("one session could not go on and was reset", {"connection": "the connection's id"}),
    "not.reading": EventKind(
        "one side of a session takes nothing of what waits for it",
        {
            "connection": "the connection's id",
            "side": "`client` or `gateway`",
            "waiting": "bytes passed on to it that it has not acknowledged",
            "queued": "bytes that came for it and are not passed on yet; the other side's kernel may have more",
        },
    ),
    "keep.full": EventKind(
        "the service manager has no room for another session: what comes now ends at a restart",
        {"room": "sessions it keeps"},
    ),
    "stopping": EventKind("the relay takes no new clients", {"live": "connections that are still open"}),
    "stopped": EventKind("every connection has ended or was left to the service manager"),
    "fault": EventKind("a fault of ours, which cost one connection at most", {"where": "file and line"}),
    "log.dropped": EventKind(
        "lines were dropped because nobody read them", {"log.dropped": "dropped lines since the start"}
    ),
}


class RecordField(NamedTuple):
    """A field of a connection's record in its JSON form: in which records it is, and what it means."""

    name: str
    records: str
    meaning: str


_ALL, _LATER, _IB, _CLOSE = "all", "not open", "IB, not open", "close"
_ENDED = "after a side's end"
_LOOKED = "progress, close"  # once the gateway is reached, and where the kernel tells

# In the order of the JSON form. null means "known to be absent"; a field that does not apply is missing.
RECORD_FIELDS = (
    RecordField("timestamp", _ALL, "when the line was written: RFC 3339, UTC"),
    RecordField("severity_text", _ALL, "INFO, WARN or ERROR"),
    RecordField("event.name", _ALL, "`ib_relay.connection.` and `open`, `ready`, `progress` or `close`"),
    RecordField("connection.id", _ALL, "stays the same over restarts and upgrades"),
    RecordField("ib_relay.map", _ALL, "the map's name"),
    RecordField("client.address", _ALL, "the client's address at accept"),
    RecordField("client.port", _ALL, "its port"),
    RecordField("server.address", _ALL, "`upstream` as it was configured"),
    RecordField("server.port", _ALL, "its port"),
    RecordField("network.peer.address", _ALL, "the address of `upstream` that answered; null before"),
    RecordField("network.peer.port", _ALL, "its port; null before"),
    RecordField("network.local.port", _ALL, "the port the client came to"),
    RecordField("network.transport", _ALL, "`tcp`"),
    RecordField("network.type", _ALL, "`ipv4` or `ipv6`: how the client came"),
    RecordField("ib_relay.bytes.up", _LATER, "bytes of the client passed on to the gateway"),
    RecordField("ib_relay.bytes.down", _LATER, "bytes of the gateway passed on to the client"),
    RecordField("duration_s", _LATER, "seconds since accept"),
    RecordField("connect_s", _LATER, "seconds the dial took; null if nobody answered"),
    RecordField("first_byte_up_s", _LATER, "seconds from accept to the client's first byte that went on; null before"),
    RecordField("first_byte_down_s", _LATER, "seconds from accept to the gateway's first byte; null before"),
    RecordField("idle_s", _LATER, "seconds since a byte last moved either way; null before the dial"),
    RecordField("ib_relay.delivered.up", _LOOKED, "bytes the gateway's kernel has acknowledged; missing where unknown"),
    RecordField("ib_relay.waiting.up", _LOOKED, "those of `ib_relay.bytes.up` it has not; missing where unknown"),
    RecordField(
        "ib_relay.queued.up", _LOOKED, "bytes that came from the client and are not passed on; as `waiting.up`"
    ),
    RecordField("ib_relay.blocked.up_s", _LOOKED, "seconds the gateway has taken nothing; missing where it reads"),
    RecordField(
        "ib_relay.delivered.down", _LOOKED, "bytes the client's kernel has acknowledged; missing where unknown"
    ),
    RecordField("ib_relay.waiting.down", _LOOKED, "those of `ib_relay.bytes.down` it has not; missing where unknown"),
    RecordField(
        "ib_relay.queued.down", _LOOKED, "bytes that came from the gateway and are not passed on; as `waiting.down`"
    ),
    RecordField("ib_relay.blocked.down_s", _LOOKED, "seconds the client has taken nothing; missing where it reads"),
    RecordField("ib.stage", _IB, "how far the session has come: the stages above"),
    RecordField("ib.opaque", _IB, "why the bytes are not understood; null if they are"),
    RecordField("ib.client_id", _IB, "as in START_API; null before, and if that is longer than the relay reads"),
    RecordField("ib.client_versions", _IB, "lowest and highest version of the client's hello; null before"),
    RecordField("ib.server_version", _IB, "of the server hello; null before"),
    RecordField("ib.accounts", _IB, "account numbers, masked, of the first 16"),
    RecordField(
        "ib.account_count", _IB, "all that were named, 0 before; null if the list is longer than the relay reads"
    ),
    RecordField("ib.handshake_s", _IB, "seconds from accept to a session that is ready; null before"),
    RecordField("ib.messages.up", _IB, "messages of the client"),
    RecordField("ib.messages.down", _IB, "messages of the gateway"),
    RecordField("ib.requests_peak", _IB, "most messages of the client within one second; IB allows 50"),
    RecordField("ib.last_error_code", _IB, "the last code that still holds, or that was an answer; null without one"),
    RecordField(
        "ib.holding",
        _IB,
        "what the gateway reports as lost, not yet as back (`code`, and the `farms` it names); missing if nothing",
    ),
    RecordField("ib.error_codes", _IB, "the last eight other codes, each once, the oldest first; missing if none"),
    RecordField("ib.redirect", _IB, "where the gateway sent the client; missing if nowhere"),
    RecordField("ib.not_understood", _IB, "messages that could not be read, and why; missing if none"),
    RecordField("end.by", _CLOSE, "who ended it: `client`, `upstream` or `relay`"),
    RecordField("end.how", _CLOSE, "`fin`, `rst`, `timeout`, `error` or `policy`"),
    RecordField("end.phase", _CLOSE, "`handshake`, `connect`, `data`, `half_closed` or `drain`"),
    RecordField("end.reason", _CLOSE, "the reasons above"),
    RecordField("end.code", _CLOSE, "two letters as HAProxy logs them; `--` for a clean end"),
    RecordField("message", _CLOSE, "the reason as a sentence"),
    RecordField("end.ib_code", _CLOSE, "the code by which the gateway announced the end; may be missing"),
    RecordField("end.detail", _CLOSE, "what else is known; may be missing"),
    RecordField("error.type", _CLOSE, "the name of the system's error (`ECONNRESET`); may be missing"),
    RecordField("end.first_by", _ENDED, "whose end was seen first: `client` or `upstream`"),
    RecordField("end.first_how", _ENDED, "`fin`, `rst` or `timeout`"),
    RecordField("end.first_s", _ENDED, "seconds from accept to that; null if an older relay saw it"),
    RecordField("end.waited_s", _ENDED, "seconds a client that left had waited for an answer; may be missing"),
    RecordField(
        "end.then", _ENDED, "what followed (`by`, `what`: `fin`, `rst`, `timeout`, `answer`, `after_s`); may be missing"
    ),
    RecordField("end.late_messages", _ENDED, "messages to a gateway that had ended, by name; may be missing"),
    RecordField("end.late_bytes", _ENDED, "bytes to a gateway that had ended; may be missing"),
    RecordField("connections.active", _ALL, "connections that are open now; at a close the others"),
    RecordField("log.dropped", _ALL, "log lines dropped since the start"),
)
