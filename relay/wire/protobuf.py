"""Just enough protobuf to read and write the flat messages IB sends from server version 201 on.

Reading needs no schema: a message is a list of (field number, value), a varint as int, everything else as bytes. The
caller knows the meaning of each field and converts with `signed`, `text` or `double`. The format is public:
https://protobuf.dev/programming-guides/encoding/ . Groups (wire types 3 and 4) are not in any IB message.
"""

from __future__ import annotations

from struct import Struct

from relay.wire import peer_text
from relay.wire.framing import Bytes, WireError

_DOUBLE = Struct("<d")
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZE = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT = 10  # bytes of a 64-bit varint; -1 takes all ten (recorded: request id -1 in every connection notice)
_UINT64 = (1 << 64) - 1

Fields = list[tuple[int, int | bytes]]


def read_fields(data: Bytes) -> Fields:
    """Every field of a message in the order it was sent; WireError for anything that is not protobuf."""
    fields: Fields = []
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise WireError("protobuf: field number 0")
        if wire_type == _VARINT:
            value, at = _read_varint(data, at)
            fields.append((number, value))
            continue
        if wire_type == _LENGTH:
            size, at = _read_varint(data, at)
        elif wire_type in _FIXED_SIZE:
            size = _FIXED_SIZE[wire_type]
        else:
            raise WireError(f"protobuf: wire type {wire_type} is not in use")
        if size > len(data) - at:
            raise WireError(f"protobuf: a field is longer than the {len(data) - at} bytes that are left")
        fields.append((number, bytes(data[at : at + size])))
        at += size
    return fields


def _read_varint(data: Bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT):
        if at + index >= len(data):
            raise WireError("protobuf: message ends inside a varint")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & _UINT64, at + index + 1
    raise WireError(f"protobuf: varint longer than {_MAX_VARINT} bytes")


def signed(value: int | bytes) -> int:
    """A varint as the int32 or int64 it stands for (two's complement over 64 bits, never zig-zag at IB)."""
    if not isinstance(value, int):
        raise WireError("protobuf: an integer was expected, bytes were found")
    return value - (1 << 64) if value >> 63 else value


def text(value: int | bytes) -> str:
    """A string field, printable (peer_text.py)."""
    return peer_text.text(raw(value))


def raw(value: int | bytes) -> bytes:
    """The bytes of a string field."""
    if isinstance(value, int):
        raise WireError("protobuf: a string was expected, an integer was found")
    return value


def double(value: int | bytes) -> float:
    """A double field."""
    if isinstance(value, int) or len(value) != _DOUBLE.size:
        raise WireError("protobuf: a double was expected, something else was found")
    number: float = _DOUBLE.unpack(value)[0]
    return number


def varint(value: int) -> bytes:
    """An integer as protobuf writes it; a negative one takes ten bytes."""
    value &= _UINT64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def int_field(number: int, value: int) -> bytes:
    """An int32, int64, enum or bool field."""
    return varint(number << 3 | _VARINT) + varint(value)


def string_field(number: int, value: str) -> bytes:
    """A string field."""
    return message_field(number, value.encode("utf-8", "replace"))


def double_field(number: int, value: float) -> bytes:
    """A double field."""
    return varint(number << 3 | _FIXED64) + _DOUBLE.pack(value)


def message_field(number: int, encoded: bytes) -> bytes:
    """A nested message, or any other bytes, that is already encoded."""
    return varint(number << 3 | _LENGTH) + varint(len(encoded)) + encoded
