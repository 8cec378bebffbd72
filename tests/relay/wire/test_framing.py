"""Frames and fields."""

import pytest

from relay.wire.framing import MAX_FRAME, FrameReader, WireError, encode_frame, join_fields, split_fields
from tests.relay.wire.vectors import byte_by_byte

STREAMS = [
    ("one frame", b"\0\0\0\x03abc", [b"abc"]),
    ("two frames", b"\0\0\0\x01a\0\0\0\x02bc", [b"a", b"bc"]),
    ("a zero-length frame between others", b"\0\0\0\x01a\0\0\0\0\0\0\0\x01b", [b"a", b"", b"b"]),
    ("a frame longer than a byte can say", b"\0\0\x01\x2c" + b"x" * 300, [b"x" * 300]),
]
TRAILING = [b"\0", b"\0\0\0", b"\0\0\0\x05", b"\0\0\0\x05abcd"]


@pytest.mark.parametrize("name, stream, payloads", STREAMS)
def test_frames_come_out_whatever_the_chunks(name, stream, payloads):
    assert FrameReader().feed(stream) == payloads
    reader = FrameReader()
    assert [payload for chunk in byte_by_byte(stream) for payload in reader.feed(chunk)] == payloads
    assert reader.pending == 0
    assert b"".join(encode_frame(payload) for payload in payloads) == stream


@pytest.mark.parametrize("trailing", TRAILING)
@pytest.mark.parametrize("name, stream, payloads", STREAMS)
def test_an_incomplete_frame_is_kept_for_later(name, stream, payloads, trailing):
    reader = FrameReader()
    assert reader.feed(memoryview(stream + trailing)) == payloads
    assert reader.pending == len(trailing)
    rest = (b"\0\0\0\x05abcde")[len(trailing) :]
    assert reader.feed(rest) == [b"abcde"]


def test_a_length_above_the_limit_is_an_error_that_stays():
    reader = FrameReader(limit=4)
    with pytest.raises(WireError, match="a frame of more than 4 bytes is announced"):
        reader.feed(b"\0\0\0\x05")
    with pytest.raises(WireError):
        reader.feed(b"\0\0\0\x01a")
    assert reader.pending == 0


def test_frames_before_a_length_above_the_limit_still_come_out():
    for chunks in ([b"\0\0\0\x01a\x01\0\0\0"], byte_by_byte(b"\0\0\0\x01a\x01\0\0\0")):
        reader, payloads = FrameReader(), []
        with pytest.raises(WireError):  # noqa: PT012 (what came before the chunk that raises is looked at below)
            for chunk in [*chunks, b""]:
                payloads += reader.feed(chunk)
        assert payloads == [b"a"]


def test_the_longest_frame_is_the_one_that_clients_take():
    assert FrameReader().feed(b"\x00\xff\xff\xff") == []
    assert len(encode_frame(bytes(MAX_FRAME))) == MAX_FRAME + 4
    with pytest.raises(WireError):
        encode_frame(bytes(MAX_FRAME + 1))


@pytest.mark.parametrize(
    "values, fields",
    [
        ((), b""),
        (("",), b"\0"),
        ((71, 2, 7, ""), b"71\x002\x007\x00\x00"),
        ((True, False), b"1\x000\x00"),
        ((100.5, -1), b"100.5\0-1\0"),
        (("Zürich", b"\xff"), "Zürich".encode() + b"\0\xff\0"),
    ],
)
def test_fields_are_joined_and_split_again(values, fields):
    assert join_fields(*values) == fields
    assert join_fields(*split_fields(fields)) == fields


def test_text_with_a_nul_cannot_be_a_field():
    with pytest.raises(WireError):
        join_fields("a\0b")


def test_the_last_field_must_be_terminated():
    with pytest.raises(WireError):
        split_fields(b"71\x002")
