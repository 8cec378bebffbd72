"""The protobuf reader, against the examples of the format's documentation and recorded bytes."""

import contextlib

import pytest

from relay.wire import protobuf
from relay.wire.framing import WireError

MESSAGES = [
    ("empty", b"", []),
    ("150, the documentation's example", bytes.fromhex("089601"), [(1, 150)]),
    ('"testing", the documentation\'s example', bytes.fromhex("120774657374696e67"), [(2, b"testing")]),
    ("-1 in ten bytes", bytes.fromhex("08ffffffffffffffffff01"), [(1, (1 << 64) - 1)]),
    ("a double", bytes.fromhex("190000000000005940"), [(3, bytes.fromhex("0000000000005940"))]),
    ("fixed32", bytes.fromhex("0d01020304"), [(1, b"\1\2\3\4")]),
    ("a field number of two bytes", bytes.fromhex("800101"), [(16, 1)]),
    ("the same field twice", bytes.fromhex("08010802"), [(1, 1), (1, 2)]),
]

MALFORMED = [
    ("field number 0", "00 01"),
    ("ends inside a key", "80"),
    ("ends inside a varint", "08 80"),
    ("a varint of eleven bytes", "08 ffffffffffffffffffff01"),
    ("a string longer than the message", "0a 05 61"),
    ("a string longer than any message", "0a ffffffffffffffffff01"),
    ("a double cut short", "19 00000000"),
    ("a group", "0b 0c"),
    ("wire type 7", "0f"),
]


@pytest.mark.parametrize("name, data, fields", MESSAGES)
def test_fields_are_read_in_order(name, data, fields):
    assert protobuf.read_fields(data) == fields
    assert protobuf.read_fields(data + bytes.fromhex("7801")) == [*fields, (15, 1)]


@pytest.mark.parametrize("name, data, fields", MESSAGES)
def test_a_message_cut_anywhere_is_read_or_refused(name, data, fields):
    for end in range(len(data)):
        with contextlib.suppress(WireError):
            assert protobuf.read_fields(data[:end]) == fields[: len(protobuf.read_fields(data[:end]))]


@pytest.mark.parametrize("name, data", MALFORMED)
def test_what_is_no_protobuf_is_refused(name, data):
    with pytest.raises(WireError):
        protobuf.read_fields(bytes.fromhex(data))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), -1])
def test_integers_survive(value):
    ((number, read),) = protobuf.read_fields(protobuf.int_field(5, value))
    assert (number, protobuf.signed(read)) == (5, value)


def test_strings_doubles_and_messages_survive():
    inner = protobuf.string_field(2, "Zürich") + protobuf.double_field(3, -0.5)
    ((number, nested),) = protobuf.read_fields(protobuf.message_field(1, inner))
    (_, text), (_, double) = protobuf.read_fields(nested)
    assert (number, protobuf.text(text), protobuf.double(double)) == (1, "Zürich", -0.5)


def test_text_that_is_no_utf8_is_replaced():
    assert protobuf.text(b"a\xffb") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(
    "convert, value", [(protobuf.signed, b"1"), (protobuf.text, 1), (protobuf.double, 1), (protobuf.double, b"1234")]
)
def test_a_field_of_another_type_is_refused(convert, value):
    with pytest.raises(WireError):
        convert(value)
