"""The first bytes of each side, and what else they can be."""

import pytest

from relay.wire.framing import WireError, encode_frame
from relay.wire.hello import (
    MAX_HELLO,
    ClientHello,
    FirstBytes,
    Redirect,
    ServerHello,
    classify_first_bytes,
    client_hello_end,
    decode_server_hello,
    name_is_final,
    no_hello,
    recognise,
    server_hello_end,
)
from tests.relay.wire.vectors import FRAMED

API = b"API\0"

CLIENT_HELLOS = [
    ("ibapi 9.81.1", b"API\0\0\0\0\x09v100..157", ClientHello(100, 157)),
    ("ib_async 2.1.0", b"API\0\0\0\0\x09v157..178", ClientHello(157, 178)),
    ("ibapi 10.51.1 with connect options", b"API\0\0\0\0\x12v100..226 +PACEAPI", ClientHello(100, 226, "+PACEAPI")),
    ("a single version, as Java writes it", b"API\0\0\0\0\x04v176", ClientHello(176, 176)),
    ("options that are many words", b"API\0\0\0\0\x0cv100..226 a ", ClientHello(100, 226, "a ")),
]

SERVER_HELLOS = [
    ("a real gateway", b"\0\0\0\x1a176\x0020230228 17:24:14 EST\0", ServerHello(176, "20230228 17:24:14 EST")),
    ("three words", encode_frame(b"187\0at Greenwich Mean Time\0"), ServerHello(187, "at Greenwich Mean Time")),
    ("a zone that is no UTF-8", encode_frame(b"187\0\xd6\xd0\xb9\xfa\0"), ServerHello(187, "\ufffd\u0439\ufffd")),
    ("no time at all", b"\0\0\0\x05201\0\0", ServerHello(201, "")),
    ("redirect", encode_frame(b"-1\0gate.example:4001\0"), Redirect("gate.example", 4001)),
    ("redirect without a port", encode_frame(b"-1\0gate.example\0"), Redirect("gate.example")),
    ("redirect to IPv6", encode_frame(b"-1\0[::1]:4001\0"), Redirect("[::1]", 4001)),
    ("redirect to bare IPv6", encode_frame(b"-1\0fe80::1\0"), Redirect("fe80::1")),
    ("redirect to an odd port", encode_frame(b"-1\0gate:99999\0"), Redirect("gate:99999")),
]


@pytest.mark.parametrize("name, data, hello", CLIENT_HELLOS)
def test_a_client_hello_is_read_whole_cut_up_and_with_what_follows(name, data, hello):
    assert ClientHello.decode(data) == hello
    assert hello.encode() == data
    assert [client_hello_end(data[:n]) for n in range(len(data))] == [0] * len(data)
    assert [classify_first_bytes(data[:n]) for n in range(len(data))] == [FirstBytes.MORE] * len(data)
    for trailing in (b"", b"\0\0\0\x0871", b"x"):
        assert client_hello_end(data + trailing) == len(data)
        assert classify_first_bytes(memoryview(data + trailing)) is FirstBytes.IB


@pytest.mark.parametrize("name, data, hello", SERVER_HELLOS)
def test_a_server_hello_is_read_whole_cut_up_and_with_what_follows(name, data, hello):
    assert decode_server_hello(data) == hello
    assert [server_hello_end(data[:n]) for n in range(len(data))] == [0] * len(data)
    for trailing in (b"", b"\0\0\0\x0f15", b"x"):
        assert server_hello_end(memoryview(data + trailing)) == len(data)
    if "UTF-8" not in name:
        assert hello.encode() == data
    if isinstance(hello, ServerHello):
        assert ServerHello.decode(data) == hello
    else:
        with pytest.raises(WireError, match="redirect"):
            ServerHello.decode(data)


def test_every_recorded_hello_is_read_and_written_back():
    for run in FRAMED:
        for frame in run.frames:
            if frame.name == "client hello":
                assert ClientHello.decode(frame.data).encode() == frame.data, str(run)
            if frame.name == "server hello":
                hello = ServerHello.decode(frame.data)
                assert (hello.server_version, hello.encode()) == (run.server_version, frame.data), str(run)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"API\0",
        b"API\0\0\0\0\x09v100..15",
        b"API\0\0\0\0\x09v100..157x",
        b"API\0\0\0\0\x09v100..15x",
        b"API\0\0\0\0\x09v200..100",
        b"API\0\0\0\0\x05v1..2x",
        b"API\0\0\0\0\x05hello",
        b"API\0\0\0\x10\x01",
        b"API\0\xff\xff\xff\xff",
    ],
)
def test_what_is_no_client_hello_is_refused(data):
    with pytest.raises(WireError):
        ClientHello.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\x05",
        b"\0\0\0\x05176\0",
        b"\0\0\0\x05176\0\0x",
        b"\0\0\0\x04176\0",
        b"\0\0\0\x06176\0\0\0",
        b"\0\0\0\x05176\0x",
        b"\0\0\0\x051x6\0\0",
        b"\0\0\0\x04-1\0\0",
        b"\0\0\0\x05-2x\0\0",
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
def test_what_is_no_server_hello_is_refused(data):
    with pytest.raises(WireError):
        decode_server_hello(data)


@pytest.mark.parametrize(
    "data, end",
    [
        (b"\0", 0),
        (b"\0\0\x10", 0),
        (b"\0\0\x10\x01", -1),
        (b"\0\0\x11", -1),
        (b"\0\0\0\0", -1),
        (b"\0\0\0\x02", -1),
        (b"\0\0\0\x05", 0),
        (b"\0\0\0\x05x", -1),
        (b"H", -1),
        (b"\x15\x03", -1),
        (b"SSH-2.0-OpenSSH", -1),
        (b"RFB 003.008\n", -1),
        (b"76\x0020230228 17:24:14 EST\0", -1),
        (b"\x7f\xff\xff\xff", -1),
    ],
)
def test_a_server_hello_is_ruled_out_at_the_first_byte_that_shows_it(data, end):
    assert server_hello_end(data) == end
    first = next(n for n in range(1, len(data) + 1) if server_hello_end(data[:n]) == end)
    assert all(server_hello_end(data[:n]) == end for n in range(first, len(data) + 1))


@pytest.mark.parametrize(
    "name, data, opening",
    [
        ("nothing yet", b"", FirstBytes.MORE),
        ("node ib 0.2.9 and IbPy", b"62\0", FirstBytes.LEGACY),
        ("both legacy messages in one segment", b"63\x007\0", FirstBytes.LEGACY),
        ("the start of a legacy hello", b"6", FirstBytes.MORE),
        ("a number", b"123456\0", FirstBytes.GARBAGE),
        ("a number as text", b"123456\n", FirstBytes.TEXT),
        ("TLS", bytes.fromhex("16030100f8010000f40303"), FirstBytes.TLS),
        ("HTTP GET", b"GET / HTTP/1.1\r\n", FirstBytes.HTTP),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n", FirstBytes.HTTP),
        ("HTTP cut after three bytes", b"GET", FirstBytes.HTTP),
        ("one letter", b"G", FirstBytes.TEXT),
        ("somebody who presses return", b"\r\n\r\n", FirstBytes.TEXT),
        ("PROXY protocol 2, cut", b"\r\n\r\n\0", FirstBytes.PROXY),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", FirstBytes.SSH),
        ("VNC", b"RFB 003.008\n", FirstBytes.VNC),
        ("PROXY protocol 1", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", FirstBytes.PROXY),
        ("PROXY protocol 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11", FirstBytes.PROXY),
        ("a person", b"hello?\r\n", FirstBytes.TEXT),
        ("API without its NUL", b"API\n", FirstBytes.TEXT),
        ("zero bytes", bytes(16), FirstBytes.GARBAGE),
        ("stoqey's legacy switch", b"\0007\0", FirstBytes.GARBAGE),
        ("high bytes", b"\xff\xfe\xfd\xfc", FirstBytes.GARBAGE),
        ("API and a huge length", b"API\0\x7f\xff\xff\xff", FirstBytes.GARBAGE),
        ("API and a length that is no hello's yet", b"API\0\0\0\x11", FirstBytes.GARBAGE),
        ("API and an empty hello", b"API\0\0\0\0\0", FirstBytes.GARBAGE),
        ("API and no range", b"API\0\0\0\0\x09x", FirstBytes.GARBAGE),
        ("API and a broken range", b"API\0\0\0\0\x09v100.x", FirstBytes.GARBAGE),
        ("API and an empty range", b"API\0\0\0\0\x08v200..99", FirstBytes.GARBAGE),
    ],
)
def test_an_opening_gets_its_name(name, data, opening):
    assert classify_first_bytes(data) is opening
    assert classify_first_bytes(memoryview(data)) is opening


def test_an_opening_that_is_not_ib_is_never_taken_back():
    for data in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01", b"API?", b"62\x007\0", API + b"\0\0\0\x09v100.157"):
        verdicts = [classify_first_bytes(data[:n]) for n in range(len(data) + 1)]
        decided = next(n for n, verdict in enumerate(verdicts) if verdict is not FirstBytes.MORE)
        assert FirstBytes.MORE not in verdicts[decided:] and FirstBytes.IB not in verdicts


def test_a_hello_may_be_as_long_as_the_limit_and_no_longer():
    for length, opening in ((MAX_HELLO, FirstBytes.IB), (MAX_HELLO + 1, FirstBytes.GARBAGE)):
        payload = b"v100..226 ".ljust(length, b"x")
        assert classify_first_bytes(API + encode_frame(payload)) is opening


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400", b"HTTPS", b"SSH-2.0-x", b"SSX-2.0-x", b"RFB 003.008", b"\x15\x03\x03\0\x02", b"hello\xff"]
)
def test_a_stranger_keeps_the_name_that_was_called_final(data):
    final = [no_hello(data[:size]) for size in range(1, len(data) + 1) if name_is_final(data[:size])]
    assert set(final) <= {no_hello(data)}


def test_nothing_has_no_name():
    assert recognise(b"") is FirstBytes.GARBAGE
