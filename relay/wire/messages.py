"""The dozen messages the relay understands, in the three eras of the protocol.

    server version     message id                     body
    up to 200          text field                     text fields
    201 and up         u32 big-endian, 200 or less    text fields
                       u32 big-endian, above 200      protobuf of message id - 200

Which form a message has on a session is versions.py's business when we write; when we read, the id itself says it. All
ids given out here are normalised: 200 is already subtracted from a protobuf id.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from relay.wire import protobuf, versions
from relay.wire.direction import Direction
from relay.wire.framing import LENGTH, WireError, encode_frame, join_fields, split_fields

UP = Direction.CLIENT_TO_GATEWAY
DOWN = Direction.GATEWAY_TO_CLIENT

# Ids in use end at 111 (311 as protobuf) after 20 years. Three digits is far above that: beyond, a stream is out of
# step. It also means that the first four bytes of a payload always tell its id, in either form.
MAX_ID = 1000

NO_REQUEST = -1  # request id of an ERR_MSG that is about the connection


@dataclass(frozen=True, slots=True)
class StartApi:
    """The client's id: what it sends when it has read the server hello."""

    client_id: int
    capabilities: str = ""


@dataclass(frozen=True, slots=True)
class NextValidId:
    """The next order id; one of the two messages that make a session usable."""

    order_id: int


@dataclass(frozen=True, slots=True)
class ManagedAccounts:
    """The accounts of the session; the other of the two."""

    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    r"""ERR_MSG: faults, warnings and greetings alike; codes.py says which.

    `text` is as sent: from server version 153 to 202 what is not ASCII is escaped as \uXXXX.
    """

    request_id: int
    code: int
    text: str
    advanced_reject: str = ""
    time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CurrentTimeRequest:
    """Asks for the gateway's clock. A gateway answers one a second at most and drops the others (ib_insync#604)."""


@dataclass(frozen=True, slots=True)
class CurrentTime:
    """The gateway's clock, in seconds since 1970."""

    seconds: int


@dataclass(frozen=True, slots=True)
class MarketDataRequest:
    """Streaming prices of one stock, by its symbol."""

    request_id: int
    symbol: str
    exchange: str = "SMART"
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class TickPrice:
    """One price of a MarketDataRequest; tick type 1 is bid, 2 ask, 4 last, 9 previous close."""

    request_id: int
    tick_type: int
    price: float


Message = (
    StartApi
    | NextValidId
    | ManagedAccounts
    | ErrorMessage
    | CurrentTimeRequest
    | CurrentTime
    | MarketDataRequest
    | TickPrice
)


def read_id(payload: bytes, server_version: int | None = None) -> tuple[int, bool, int]:
    """Normalised id, is it protobuf, and where the body starts. WireError if there is no id a peer could mean.

    Without a server version the shape decides: a text id never starts with a zero byte, a binary one always does.
    """
    if not payload:
        raise WireError("empty frame: no message id")
    binary = payload[0] == 0
    if server_version is not None and binary != (server_version >= versions.BINARY_IDS):
        form = "binary" if binary else "text"
        raise WireError(f"{form} message id at server version {server_version}")
    return _binary_id(payload) if binary else _text_id(payload)


def _binary_id(payload: bytes) -> tuple[int, bool, int]:
    if len(payload) < LENGTH.size:
        raise WireError(f"frame of {len(payload)} bytes is too short for a binary message id")
    (wire_id,) = LENGTH.unpack_from(payload)
    is_protobuf = wire_id > versions.PROTOBUF_OFFSET
    number = wire_id - versions.PROTOBUF_OFFSET if is_protobuf else wire_id
    if number >= MAX_ID:
        raise WireError(f"message id {wire_id} is out of range")
    return number, is_protobuf, LENGTH.size


_TEXT_ID = re.compile(rb"(-1|\d{1,3})\0")  # -1: "connection ends", known to the Java client


def _text_id(payload: bytes) -> tuple[int, bool, int]:
    match = _TEXT_ID.match(payload)
    if match is None:
        raise WireError(f"{bytes(payload[:8])!r} is no message id")
    return int(match[1]), False, match.end()


def message_id(payload: bytes, server_version: int | None = None) -> int:
    """The normalised message id of a payload; WireError if it has none."""
    return read_id(payload, server_version)[0]


def decode(direction: Direction, payload: bytes, server_version: int) -> Message | None:
    """The message, or None for one we do not read. WireError for a bad id or a body that does not fit its id."""
    number, is_protobuf, start = read_id(payload, server_version)
    codec = _DECODERS.get((direction, number))
    if codec is None:
        return None
    from_text, from_protobuf = codec
    if is_protobuf:
        return from_protobuf(protobuf.read_fields(payload[start:]))
    try:
        return from_text(split_fields(payload[start:]), server_version)
    except IndexError:
        raise WireError(f"message {number}: too few fields") from None


def encode(message: Message, server_version: int) -> bytes:
    """The message as a whole frame, in the form it has at that server version."""
    direction, number, to_text, to_protobuf = _ENCODERS[type(message)]
    if versions.is_protobuf(direction, number, server_version):
        head = LENGTH.pack(number + versions.PROTOBUF_OFFSET)
        return encode_frame(head + to_protobuf(message))
    binary = server_version >= versions.BINARY_IDS
    head = LENGTH.pack(number) if binary else join_fields(number)
    return encode_frame(head + to_text(message, server_version))


# Text bodies. `f` is the list of fields after the id; the first is the message's own version where it has one. Fields
# beyond those known are ignored, as every client does.

_INTEGER = re.compile(rb"-?\d{1,19}")
_NUMBER = re.compile(rb"-?\d{0,30}(\.\d{0,30})?([eE][-+]?\d{1,3})?")


def _integer(field: bytes) -> int:
    if _INTEGER.fullmatch(field) is None:
        raise WireError(f"{field[:24]!r} is no integer")
    return int(field)


def _price(field: bytes) -> float:
    try:
        if _NUMBER.fullmatch(field):
            return _finite(float(field))
    except ValueError:
        pass
    raise WireError(f"{field[:24]!r} is no price")


def _finite(price: float) -> float:
    """A NaN is not even equal to itself, so it must not get into an event."""
    if not isfinite(price):
        raise WireError(f"{price} is no price")
    return price


def _string(field: bytes) -> str:
    return field.decode("utf-8", "replace")


def _optional(fields: list[bytes], index: int) -> bytes:
    return fields[index] if index < len(fields) else b""


def _accounts(joined: str) -> tuple[str, ...]:
    return tuple(account for account in joined.split(",") if account)


def _error_from_text(f: list[bytes], server_version: int) -> ErrorMessage:
    if server_version < versions.ERROR_TIME:
        f = f[1:]
    time = _optional(f, 4) if server_version >= versions.ERROR_TIME else b""
    reject = _optional(f, 3) if server_version >= versions.ADVANCED_ORDER_REJECT else b""
    time_ms = _integer(time) if time else None
    return ErrorMessage(_integer(f[0]), _integer(f[1]), _string(f[2]), _string(reject), time_ms)


def _error_to_text(m: ErrorMessage, server_version: int) -> bytes:
    text = _ascii7(m.text) if server_version >= versions.ASCII7 else m.text
    body = join_fields(m.request_id, m.code, text)
    if server_version < versions.ERROR_TIME:
        body = join_fields(2) + body
    if server_version >= versions.ADVANCED_ORDER_REJECT:
        body += join_fields(m.advanced_reject)
    if server_version >= versions.ERROR_TIME:
        body += join_fields("" if m.time_ms is None else m.time_ms)
    return body


def _ascii7(text: str) -> str:
    return re.sub(r"[^\x00-\x7f]", _escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "replace")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))


def _start_api_to_text(m: StartApi, server_version: int) -> bytes:
    body = join_fields(2, m.client_id)
    return body + join_fields(m.capabilities) if server_version >= versions.OPTIONAL_CAPABILITIES else body


def _market_data_to_text(m: MarketDataRequest, server_version: int) -> bytes:
    """As ibapi 9.81 writes it for a stock (recorded): everything not asked for is empty or 0."""
    contract = join_fields(0, m.symbol, "STK", "", "0.0", "", "", m.exchange, "", m.currency, "", "")
    no_delta_neutral, ticks, snapshot, options = 0, "", 0, ""
    body = join_fields(11, m.request_id) + contract + join_fields(no_delta_neutral, ticks, snapshot)
    if server_version >= versions.REGULATORY_SNAPSHOT:
        body += join_fields(0)
    return body + join_fields(options)


# Protobuf bodies. Everything is optional in proto3: a missing field is 0 or "".


def _last(fields: protobuf.Fields, number: int, default: int | bytes) -> int | bytes:
    return next((value for at, value in reversed(fields) if at == number), default)


def _pb_int(fields: protobuf.Fields, number: int) -> int:
    return protobuf.signed(_last(fields, number, 0))


def _pb_text(fields: protobuf.Fields, number: int) -> str:
    return protobuf.text(_last(fields, number, b""))


def _error_from_protobuf(p: protobuf.Fields) -> ErrorMessage:
    time = _pb_int(p, 2)
    return ErrorMessage(_pb_int(p, 1), _pb_int(p, 3), _pb_text(p, 4), _pb_text(p, 5), time or None)


def _error_to_protobuf(m: ErrorMessage) -> bytes:
    time = protobuf.int_field(2, m.time_ms) if m.time_ms is not None else b""
    reject = protobuf.string_field(5, m.advanced_reject) if m.advanced_reject else b""
    head = protobuf.int_field(1, m.request_id) + time
    return head + protobuf.int_field(3, m.code) + protobuf.string_field(4, m.text) + reject


def _start_api_to_protobuf(m: StartApi) -> bytes:
    capabilities = protobuf.string_field(2, m.capabilities) if m.capabilities else b""
    return protobuf.int_field(1, m.client_id) + capabilities


def _market_data_to_protobuf(m: MarketDataRequest) -> bytes:
    """TickerRequest{1 reqId, 2 Contract{1 conId, 2 symbol, 3 secType, 8 exchange, 10 currency}} (recorded at 207)."""
    s = protobuf.string_field
    contract = protobuf.int_field(1, 0) + s(2, m.symbol) + s(3, "STK") + s(8, m.exchange) + s(10, m.currency)
    return protobuf.int_field(1, m.request_id) + protobuf.message_field(2, contract)


FromText = Callable[[list[bytes], int], Message]
FromProtobuf = Callable[[protobuf.Fields], Message]
ToText = Callable[[Message, int], bytes]
ToProtobuf = Callable[[Message], bytes]

_DECODERS: dict[tuple[Direction, int], tuple[FromText, FromProtobuf]] = {
    (UP, 71): (
        lambda f, _: StartApi(_integer(f[1]), _string(_optional(f, 2))),
        lambda p: StartApi(_pb_int(p, 1), _pb_text(p, 2)),
    ),
    (UP, 49): (lambda f, _: CurrentTimeRequest(), lambda p: CurrentTimeRequest()),
    (DOWN, 1): (
        lambda f, _: TickPrice(_integer(f[1]), _integer(f[2]), _price(f[3])),
        lambda p: TickPrice(_pb_int(p, 1), _pb_int(p, 2), _finite(protobuf.double(_last(p, 3, bytes(8))))),
    ),
    (DOWN, 4): (_error_from_text, _error_from_protobuf),
    (DOWN, 9): (lambda f, _: NextValidId(_integer(f[1])), lambda p: NextValidId(_pb_int(p, 1))),
    (DOWN, 15): (
        lambda f, _: ManagedAccounts(_accounts(_string(f[1]))),
        lambda p: ManagedAccounts(_accounts(_pb_text(p, 1))),
    ),
    (DOWN, 49): (lambda f, _: CurrentTime(_integer(f[1])), lambda p: CurrentTime(_pb_int(p, 1))),
}

_ENCODERS: dict[type, tuple[Direction, int, ToText, ToProtobuf]] = {
    StartApi: (UP, 71, _start_api_to_text, _start_api_to_protobuf),
    CurrentTimeRequest: (UP, 49, lambda m, _: join_fields(1), lambda m: b""),
    MarketDataRequest: (UP, 1, _market_data_to_text, _market_data_to_protobuf),
    TickPrice: (
        DOWN,
        1,
        lambda m, _: join_fields(6, m.request_id, m.tick_type, m.price, 0, 0),
        lambda m: (
            protobuf.int_field(1, m.request_id) + protobuf.int_field(2, m.tick_type) + protobuf.double_field(3, m.price)
        ),
    ),
    ErrorMessage: (DOWN, 4, _error_to_text, _error_to_protobuf),
    NextValidId: (DOWN, 9, lambda m, _: join_fields(1, m.order_id), lambda m: protobuf.int_field(1, m.order_id)),
    ManagedAccounts: (
        DOWN,
        15,
        lambda m, _: join_fields(1, ",".join(m.accounts)),
        lambda m: protobuf.string_field(1, ",".join(m.accounts)),
    ),
    CurrentTime: (DOWN, 49, lambda m, _: join_fields(1, m.seconds), lambda m: protobuf.int_field(1, m.seconds)),
}
