"""The codes of ERR_MSG (id 4): what they mean, and their class for the connection they came on.

IB sends everything through one message: greetings, warnings, faults of one request and the end of the session. Those
that say something of a connection, or that people often meet, have a row here; the words of the others are in
more_codes.py, and their class is that of their range, as is that of a code which is in neither. Sources: IBKR's
published message code table, ibapi errors.py (the client's own codes), ib_async wrapper.py and rust-ibapi messages.rs
(the codes they treat as a warning), and public threads for the rest (2157: log in the README of ghill2/pyfutures;
10089: softwarespartan/IB4m#158; 10090, 10091: wboayue/rust-ibapi#768 and PR 804; 10168: blampe/IbPy#40). Which codes
of a session still hold, heard.py says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from relay.wire.more_codes import more_codes


class Kind(Enum):
    """What a code means for the connection it came on."""

    OK = "ok"  # a part of the service reports that it works
    INFORMATIONAL = "informational"  # nothing to do
    DEGRADED = "degraded"  # the socket stays, something behind it does not work for now
    RECOVERED = "recovered"  # what was degraded works again
    FATAL = "fatal"  # the gateway ends this connection, now or very soon
    CLIENT_MADE = "client_made"  # made by the client library, never seen on the wire from a gateway
    REQUEST = "request"  # about one request or entitlement; the connection is fine
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Code:
    """One row: the number, its meaning in our words, and its class."""

    code: int
    meaning: str
    kind: Kind


_ROWS = (
    # 0 with request id -1 is the rate warning at about 44 a second (erdewit/ib_insync#443).
    Code(0, "message rate is close to the limit of 50 a second", Kind.INFORMATIONAL),
    # The gateway usually closes after it (erdewit/ib_insync PR 35, QuantConnect/Lean PR 913).
    Code(100, "more than 50 messages a second were sent", Kind.FATAL),
    Code(162, "historical data: no data, no permission, or pacing; the text says which", Kind.REQUEST),
    Code(165, "notice about a historical data query", Kind.REQUEST),
    Code(200, "no such contract", Kind.REQUEST),
    Code(201, "order rejected; the text says why", Kind.REQUEST),
    Code(202, "order cancelled", Kind.REQUEST),
    Code(321, "request not valid, or the API is set to read-only", Kind.REQUEST),
    Code(326, "client id already in use by another session", Kind.FATAL),
    Code(354, "market data not subscribed; the text says whether delayed data would be there", Kind.REQUEST),
    Code(357, "client version too old for this request", Kind.FATAL),
    Code(366, "no such historical data query", Kind.REQUEST),
    Code(386, "duplicate request id", Kind.REQUEST),
    Code(420, "pacing limit of real-time data requests", Kind.REQUEST),
    Code(501, "client: already connected", Kind.CLIENT_MADE),
    Code(502, "client: could not connect", Kind.CLIENT_MADE),
    Code(503, "client: gateway too old", Kind.CLIENT_MADE),
    Code(504, "client: not connected", Kind.CLIENT_MADE),
    Code(505, "client: unknown message id received", Kind.CLIENT_MADE),
    Code(506, "client: server version not supported", Kind.CLIENT_MADE),
    Code(507, "client: bad message length, or the stream ended", Kind.CLIENT_MADE),
    Code(508, "client: bad message", Kind.CLIENT_MADE),
    Code(509, "client: socket error", Kind.CLIENT_MADE),
    Code(520, "client: could not create a socket", Kind.CLIENT_MADE),
    Code(550, "client: could not send START_API", Kind.CLIENT_MADE),
    Code(579, "client: symbol contains characters it cannot send", Kind.CLIENT_MADE),
    Code(588, "client: could not encode a protobuf message", Kind.CLIENT_MADE),
    Code(1100, "gateway lost its connection to IB", Kind.DEGRADED),
    Code(1101, "connection to IB is back, subscriptions are lost", Kind.RECOVERED),
    Code(1102, "connection to IB is back, subscriptions are kept", Kind.RECOVERED),
    Code(1300, "API port of the gateway has changed, this connection is being dropped", Kind.FATAL),
    Code(2100, "account updates taken over by another subscription", Kind.INFORMATIONAL),
    Code(2101, "account updates refused, another subscription is active", Kind.INFORMATIONAL),
    Code(2103, "market data farm disconnected", Kind.DEGRADED),
    Code(2104, "market data farm connected", Kind.OK),
    Code(2105, "historical data farm disconnected", Kind.DEGRADED),
    Code(2106, "historical data farm connected", Kind.OK),
    Code(2107, "historical data farm asleep, wakes on demand", Kind.INFORMATIONAL),
    Code(2108, "market data farm asleep, wakes on demand", Kind.INFORMATIONAL),
    Code(2109, "order attribute ignored", Kind.INFORMATIONAL),
    Code(2110, "gateway is cut off from IB and will reconnect by itself", Kind.DEGRADED),
    Code(2119, "market data farm is connecting", Kind.INFORMATIONAL),
    Code(2157, "security definition farm disconnected", Kind.DEGRADED),
    Code(2158, "security definition farm connected", Kind.OK),
    Code(10089, "market data need a subscription for the API", Kind.REQUEST),
    Code(10090, "market data partly not subscribed, the other ticks come", Kind.REQUEST),
    Code(10091, "market data partly need a subscription for the API", Kind.REQUEST),
    Code(10167, "market data not subscribed, delayed data is shown", Kind.REQUEST),
    Code(10168, "market data not subscribed, delayed data is not enabled", Kind.REQUEST),
    Code(10182, "live updates of historical data stopped", Kind.REQUEST),
    Code(10186, "market data not subscribed, delayed data is not enabled", Kind.REQUEST),
    Code(10197, "market data blocked by a competing live session", Kind.REQUEST),
)

# (first, last, class) for codes without a row: the ranges of IBKR's published table. ib_async takes all of 2100..2199
# as warnings.
_RANGES = (
    (100, 499, Kind.REQUEST),
    (500, 599, Kind.CLIENT_MADE),
    (2100, 2199, Kind.INFORMATIONAL),
    (10000, 10999, Kind.REQUEST),
)


def _by_range(code: int) -> Kind:
    return next((kind for first, last, kind in _RANGES if first <= code <= last), Kind.UNKNOWN)


_MORE = tuple(Code(code, meaning, _by_range(code)) for code, meaning in more_codes())
CODES: dict[int, Code] = {row.code: row for row in sorted((*_ROWS, *_MORE), key=lambda row: row.code)}


def classify(code: int) -> Kind:
    """The class of a code, by its row or else by its range."""
    row = CODES.get(code)
    return row.kind if row is not None else _by_range(code)
