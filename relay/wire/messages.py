"""A payload as a message and a message as a frame, in the three eras of the protocol.

    server version     message id                     body
    up to 200          text field                     text fields
    201 and up         u32 big-endian, 200 or less    text fields
                       u32 big-endian, above 200      protobuf of message id - 200

For writing, versions.py says which form a message has on a session. For reading, the id itself says it. All ids given
out here are normalised: 200 is already subtracted from a protobuf id.
"""

from __future__ import annotations

import re

from relay.wire import protobuf, protobuf_form, text_form, versions
from relay.wire.direction import Direction
from relay.wire.framing import LENGTH, Bytes, WireError, encode_frame, join_fields, split_fields
from relay.wire.message_values import (
    DOWN,
    NAMES,
    NO_REQUEST,
    UP,
    CurrentTime,
    CurrentTimeRequest,
    ErrorMessage,
    ManagedAccounts,
    MarketDataRequest,
    Message,
    NextValidId,
    StartApi,
    TickPrice,
)

__all__ = [
    "DOWN",
    "MAX_ID",
    "NO_REQUEST",
    "UP",
    "BodyError",
    "CurrentTime",
    "CurrentTimeRequest",
    "ErrorMessage",
    "ManagedAccounts",
    "MarketDataRequest",
    "Message",
    "NextValidId",
    "StartApi",
    "TickPrice",
    "decode",
    "encode",
    "message_id",
    "read_id",
]

# Ids in use end at 111 (311 as protobuf) after 20 years. Three digits is far above that: beyond, a stream is out of
# step. It also means that the first four bytes of a payload always tell its id, in either form.
MAX_ID = 1000

_TEXT_ID = re.compile(rb"(-1|\d{1,3})\0")  # -1: "connection ends", known to the Java client


class BodyError(WireError):
    """The id of a frame is known, and its body does not fit it. The stream is in step: the next frame can be read."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.id = number


def read_id(payload: Bytes, server_version: int | None = None) -> tuple[int, bool, int]:
    """Normalised id, is it protobuf, and where the body starts. WireError if there is no id a peer could mean.

    Without a server version the shape decides: a text id never starts with a zero byte, a binary id always does.
    """
    if not payload:
        raise WireError("empty frame: no message id")
    binary = payload[0] == 0
    if server_version is not None and binary != (server_version >= versions.BINARY_IDS):
        form = "binary" if binary else "text"
        raise WireError(f"{form} message id at server version {server_version}")
    return _binary_id(payload) if binary else _text_id(payload)


def _binary_id(payload: Bytes) -> tuple[int, bool, int]:
    if len(payload) < LENGTH.size:
        raise WireError(f"frame of {len(payload)} bytes is too short for a binary message id")
    (wire_id,) = LENGTH.unpack_from(payload)
    is_protobuf = wire_id > versions.PROTOBUF_OFFSET
    number = wire_id - versions.PROTOBUF_OFFSET if is_protobuf else wire_id
    if number >= MAX_ID:
        raise WireError(f"a binary message id is out of range, {MAX_ID - 1} is the highest")
    return number, is_protobuf, LENGTH.size


def _text_id(payload: Bytes) -> tuple[int, bool, int]:
    match = _TEXT_ID.match(payload)
    if match is None:
        raise WireError("a frame does not begin with a message id")
    return int(match[1]), False, match.end()


def message_id(payload: Bytes, server_version: int | None = None) -> int:
    """The normalised message id of a payload; WireError if it has none."""
    return read_id(payload, server_version)[0]


def decode(direction: Direction, payload: Bytes, server_version: int) -> Message | None:
    """The message, or None if it is not among those we read. WireError for a bad id, BodyError for a bad body."""
    number, is_protobuf, start = read_id(payload, server_version)
    name = NAMES.get((direction, number))
    if name is None:
        return None
    try:
        if is_protobuf:
            return protobuf_form.READERS[direction, number](protobuf.read_fields(payload[start:]))
        return text_form.READERS[direction, number](split_fields(payload[start:]), server_version)
    except IndexError:
        raise BodyError(number, f"{name}: too few fields") from None
    except WireError as doubt:
        raise BodyError(number, f"{name}: {doubt}") from None


def encode(message: Message, server_version: int) -> bytes:
    """The message as a whole frame, in the form it has at that server version."""
    if versions.is_protobuf(message.direction, message.id, server_version):
        head = LENGTH.pack(message.id + versions.PROTOBUF_OFFSET)
        return encode_frame(head + protobuf_form.write(message))
    binary = server_version >= versions.BINARY_IDS
    head = LENGTH.pack(message.id) if binary else join_fields(message.id)
    return encode_frame(head + text_form.write(message, server_version))
