"""The messages the relay reads, in all three eras."""

import pytest

from relay.wire.framing import FrameReader, WireError, encode_frame, join_fields
from relay.wire.messages import (
    DOWN,
    MAX_ID,
    UP,
    CurrentTime,
    CurrentTimeRequest,
    ErrorMessage,
    ManagedAccounts,
    MarketDataRequest,
    NextValidId,
    StartApi,
    TickPrice,
    decode,
    encode,
    message_id,
    read_id,
)
from relay.wire.names import message_name
from tests.relay.wire.vectors import byte_by_byte, message_frames

FARM_OK = "Market data farm connection is OK:usfarm"

# (server version, direction, message, whole frame as hex); the bytes are recorded unless the comment says otherwise.
CASES = [
    (157, UP, StartApi(7), "00000008 3731003200370000"),
    (71, UP, StartApi(7), "00000007 37310032003700"),  # below 72 there are no capabilities; by ibapi's client.py
    (201, UP, StartApi(7), "00000009 00000047 32003700 00"),
    (213, UP, StartApi(7), "00000006 0000010f 0807"),
    (226, UP, StartApi(1234567, "x"), "0000000b 0000010f 0887ad4b 120178"),
    (176, DOWN, ManagedAccounts(("DU1234567",)), "0000000f 313500310044553132333435363700"),
    (201, DOWN, ManagedAccounts(("DU1234567",)), "00000010 0000000f 310044553132333435363700"),
    (207, DOWN, ManagedAccounts(("DU1234567",)), "0000000f 000000d7 0a09445531323334353637"),
    (178, DOWN, ManagedAccounts(("DU1", "DU2", "DU3")), "00000011 31350031004455312c4455322c44553300"),
    (176, DOWN, ManagedAccounts(()), "00000006 313500310000"),  # an empty list, which ib_insync never accepts
    (176, DOWN, NextValidId(1), "00000006 390031003100"),
    (176, DOWN, NextValidId(117), "00000008 3900310031313700"),  # a real gateway
    (207, DOWN, NextValidId(1), "00000008 00000009 31003100"),
    (213, DOWN, NextValidId(1), "00000006 000000d1 0801"),
    (
        157,
        DOWN,
        ErrorMessage(-1, 2104, FARM_OK),
        "00000035 340032002d31003231303400" + FARM_OK.encode().hex() + "00",
    ),
    (
        176,
        DOWN,
        ErrorMessage(-1, 2104, FARM_OK),
        "00000036 340032002d31003231303400" + FARM_OK.encode().hex() + "0000",
    ),
    (
        200,
        DOWN,
        ErrorMessage(-1, 2104, FARM_OK, "", 1795254620387),
        "00000042 34002d31003231303400" + FARM_OK.encode().hex() + "0000 3137393532353436323033383700",
    ),
    (
        201,
        DOWN,
        ErrorMessage(-1, 2104, FARM_OK, "", 1795254620985),
        "00000044 00000004 2d31003231303400" + FARM_OK.encode().hex() + "0000 3137393532353436323039383500",
    ),
    (
        207,
        DOWN,
        ErrorMessage(-1, 2104, FARM_OK, "", 1795254622101),
        "00000043 000000cc 08ffffffffffffffffff01 1095af8eec9f34 18b810 2228" + FARM_OK.encode().hex(),
    ),
    (200, UP, CurrentTimeRequest(), "00000005 3439003100"),
    (201, UP, CurrentTimeRequest(), "00000006 00000031 3100"),
    (213, UP, CurrentTimeRequest(), "00000004 000000f9"),
    (157, DOWN, CurrentTime(1795254615), "00000010 34390031003137393532353436313500"),
    (207, DOWN, CurrentTime(1795254622), "00000011 00000031 31003137393532353436323200"),
    (213, DOWN, CurrentTime(1795254623), "0000000a 000000f9 08dfd285d806"),
]

# Messages only written, respectively only read, by us.
WRITTEN = [
    (
        157,
        MarketDataRequest(4002, "SPY"),
        "00000030 3100313100343030320030005350590053544b0000302e30000000534d41525400005553440000003000003000300000",
    ),
    (
        207,
        MarketDataRequest(4002, "SPY"),
        "00000021 000000c9 08a21f 1218 0800 1203535059 1a0353544b 4205534d415254 5203555344",
    ),
]
READ = [
    (157, DOWN, TickPrice(4002, 1, 100.0), "00000017 31003600343030320031003130302e3000313030003100"),
    (201, DOWN, TickPrice(4002, 2, 100.01), "0000001a 00000001 3600343030320032003130302e303100313031003100"),
    (207, DOWN, TickPrice(4002, 2, 100.01), "00000019 000000c9 08a21f 1002 19713d0ad7a3005940 2203313031 2801"),
]


def payload_of(frame):
    (payload,) = FrameReader().feed(frame)
    return payload


@pytest.mark.parametrize("version, direction, message, frame", CASES + READ)
def test_a_message_is_read_whole_byte_by_byte_and_with_more_behind_it(version, direction, message, frame):
    frame = bytes.fromhex(frame)
    for chunks in ([frame], byte_by_byte(frame), [frame + b"\0\0\0\x05"], [frame[:7], frame[7:] + b"\0"]):
        reader = FrameReader()
        (payload,) = [payload for chunk in chunks for payload in reader.feed(chunk)]
        assert decode(direction, payload, version) == message


@pytest.mark.parametrize("version, direction, message, frame", [*CASES, *((v, UP, m, f) for v, m, f in WRITTEN)])
def test_a_message_is_written_as_it_was_recorded(version, direction, message, frame):
    assert encode(message, version).hex() == bytes.fromhex(frame).hex()


@pytest.mark.parametrize("version", [100, 152, 153, 165, 166, 193, 194, 200, 201, 203, 206, 207, 212, 213, 226])
@pytest.mark.parametrize(
    "direction, message",
    [
        (UP, StartApi(0, "+PACEAPI")),
        (DOWN, NextValidId(2**31 - 1)),
        (DOWN, ManagedAccounts(("DU1234567", "U7654321"))),
        (DOWN, ErrorMessage(-1, 326, "client id in use")),
        (DOWN, ErrorMessage(9001, 162, "")),
        (UP, CurrentTimeRequest()),
        (DOWN, CurrentTime(1795254623)),
        (DOWN, TickPrice(1, 4, -1.0)),
    ],
)
def test_a_message_survives_in_every_era(version, direction, message):
    assert decode(direction, payload_of(encode(message, version)), version) == message


@pytest.mark.parametrize(
    "version, sent, read",
    [
        (165, ErrorMessage(1, 201, "x", "{}", 5), ErrorMessage(1, 201, "x")),
        (166, ErrorMessage(1, 201, "x", "{}", 5), ErrorMessage(1, 201, "x", "{}")),
        (194, ErrorMessage(1, 201, "x", "{}", 5), ErrorMessage(1, 201, "x", "{}", 5)),
        (203, ErrorMessage(1, 201, "x", "{}", 5), ErrorMessage(1, 201, "x", "{}", 5)),
        (152, ErrorMessage(1, 200, "Zürich"), ErrorMessage(1, 200, "Zürich")),
        (153, ErrorMessage(1, 200, "Zürich \U0001f600"), ErrorMessage(1, 200, "Z\\u00fcrich \\ud83d\\ude00")),
        (203, ErrorMessage(1, 200, "Zürich"), ErrorMessage(1, 200, "Zürich")),
    ],
)
def test_an_error_carries_what_its_version_has_room_for(version, sent, read):
    assert decode(DOWN, payload_of(encode(sent, version)), version) == read


def test_every_recorded_frame_gets_its_name_with_and_without_the_version():
    for run, frame in message_frames():
        payload = payload_of(frame.data)
        number = message_id(payload, run.server_version)
        assert message_name(frame.direction, number) == frame.name, (str(run), frame)
        assert message_id(payload) == number


def test_every_recorded_message_we_write_comes_out_the_same():
    compared = 0
    for run, frame in message_frames():
        message = decode(frame.direction, payload_of(frame.data), run.server_version)
        if message is not None and not isinstance(message, TickPrice):  # of a tick only the price is kept
            assert encode(message, run.server_version) == frame.data, (str(run), frame)
            compared += 1
    assert compared >= 140


@pytest.mark.parametrize(
    "version, payload, found",
    [
        (176, b"71\0", (71, False, 3)),
        (176, b"204\0", (204, False, 4)),
        (176, b"-1\0", (-1, False, 3)),
        (201, b"\0\0\0\xc8", (200, False, 4)),
        (201, b"\0\0\0\xc9", (1, True, 4)),
        (None, b"71\0", (71, False, 3)),
        (None, b"\0\0\x01\x0f", (71, True, 4)),
        (226, b"\0\0\x04\xaf", (MAX_ID - 1, True, 4)),
    ],
)
def test_an_id_is_normalised(version, payload, found):
    assert read_id(payload, version) == found


@pytest.mark.parametrize(
    "version, payload",
    [
        (176, b""),
        (176, b"71"),
        (176, b"1000\0"),
        (176, b"7 1\0"),
        (176, b"+71\0"),
        (176, b"-2\0"),
        (176, b"\0"),
        (176, b"\0\0\0\x47"),
        (201, b"71\0"),
        (201, b"\0\0\x47"),
        (201, b"\0\0\x04\xb0"),
        (201, b"\0\xff\xff\xff"),
        (None, b"HTTP"),
        (None, b"\0\0\0"),
    ],
)
def test_what_is_no_id_is_refused(version, payload):
    with pytest.raises(WireError):
        message_id(payload, version)


@pytest.mark.parametrize(
    "version, direction, payload",
    [
        (176, UP, join_fields(71, 2)),
        (176, UP, join_fields(71, 2, "")),
        (176, UP, join_fields(71, 2, "7x")),
        (176, UP, b"71\x002\x007"),
        (176, DOWN, join_fields(9, 1)),
        (176, DOWN, join_fields(9, 1, "9" * 5000)),
        (176, DOWN, join_fields(15)),
        (176, DOWN, join_fields(4, 2, -1, 2104)),
        (176, DOWN, join_fields(4, 2, "x", 2104, "")),
        (194, DOWN, join_fields(4, -1, 2104, "text", "", "soon")),
        (176, DOWN, join_fields(1, 6, 4002, 1, "")),
        (176, DOWN, join_fields(1, 6, 4002, 1, "nan")),
        (176, DOWN, join_fields(1, 6, 4002, 1, "1_0")),
        (176, DOWN, join_fields(1, 6, 4002, 1, "1e999")),
        (206, DOWN, bytes.fromhex("000000c9 0801 1004 19 000000000000f8ff")),
        (213, DOWN, b"\0\0\0\xd1\x0a\x011"),
        (213, DOWN, b"\0\0\0\xd1\x08"),
        (207, DOWN, b"\0\0\0\xd7\x08\x01"),
        (206, DOWN, b"\0\0\0\xc9\x08\x01\x18\x01"),
    ],
)
def test_a_body_that_does_not_fit_its_id_is_refused(version, direction, payload):
    with pytest.raises(WireError):
        decode(direction, payload, version)


def test_a_message_we_do_not_read_is_none():
    assert decode(UP, join_fields(61, 1), 176) is None
    assert decode(DOWN, b"\0\0\0\xfe\xff\xff", 226) is None


def test_a_message_too_long_for_a_frame_is_refused():
    with pytest.raises(WireError):
        encode(ErrorMessage(-1, 0, "x" * 0xFFFFFF), 226)
    assert encode_frame(b"") == bytes(4)
