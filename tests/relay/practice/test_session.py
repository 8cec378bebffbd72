"""One client's connection: versions, chunks, bounds, and what the log says about it."""

import asyncio
import socket
from itertools import pairwise

import pytest

from relay.practice.settings import MAX_OUTPUT, MAX_REQUEST
from relay.wire import messages
from relay.wire.framing import LENGTH, encode_frame, join_fields
from relay.wire.hello import ClientHello
from relay.wire.messages import NextValidId
from tests.relay.kit.loopback import until
from tests.relay.practice.peer import ACCOUNTS, FIN, SPY_TEXT, client, codes, gateway

VERSIONS = (124, 157, 176, 193, 200, 201, 203, 204, 206, 207, 208, 212, 213, 226)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_handshake_works_at_every_version(version):
    async with gateway(server_version=version) as practice, client(practice) as peer:
        assert (await peer.hello(maximum=226)).server_version == version
        await peer.start()
        assert (await peer.greeting())[:2] == [ACCOUNTS, NextValidId(1)]
        assert await peer.answers()


@pytest.mark.parametrize(
    ("ours", "minimum", "maximum", "announced"),
    [
        (226, 100, 157, 157),
        (226, 100, 226, 226),
        (226, 157, 999, 226),
        (176, 100, 226, 176),
        (176, 176, 176, 176),
        (176, 177, 226, None),
        (226, 100, 123, None),
        (226, 300, 400, None),
    ],
)
async def test_the_lower_maximum_is_announced_or_the_door_is_closed(ours, minimum, maximum, announced):
    async with gateway(server_version=ours) as practice, client(practice) as peer:
        if announced is not None:
            assert (await peer.hello(minimum, maximum)).server_version == announced
        else:
            peer.send(ClientHello(minimum, maximum).encode())
            assert await peer.end() == (FIN, b"")


async def test_a_session_dripping_in_byte_by_byte_is_the_same_session():
    whole = ClientHello(100, 176, "+PACEAPI").encode()
    start = messages.encode(messages.StartApi(7), 176)
    async with gateway() as practice, client(practice) as peer:
        for byte in whole:
            peer.send(bytes((byte,)))
            await asyncio.sleep(0)
        await peer.payload()
        peer.version = 176
        for byte in start + encode_frame(join_fields(61, 1)):
            peer.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert 62 in await peer.until(62)


async def test_hello_and_requests_in_one_segment_are_all_read():
    everything = (
        ClientHello(100, 176).encode() + messages.encode(messages.StartApi(7), 176) + encode_frame(join_fields(61, 1))
    )
    async with gateway() as practice, client(practice) as peer:
        peer.send(everything)
        await peer.payload()
        peer.version = 176
        assert (await peer.until(62))[:2] == [ACCOUNTS, NextValidId(1)]


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\xff\x01",
        b"SSH-2.0-probe\r\n",
        b"63\0",
        b"\0" * 8,
        b"API\0\0\0\0\x05hello",
    ],
)
async def test_first_bytes_that_are_no_hello_are_turned_away(opening):
    async with gateway() as practice, client(practice) as peer:
        peer.send(opening)
        assert await peer.end() == (FIN, b"")


async def test_the_hello_tells_time_and_zone():
    async with gateway(time_zone="China Standard Time") as practice:
        practice.clock = lambda: 1_748_692_807.25
        async with client(practice) as peer:
            assert (await peer.hello()).connection_time == "20250531 12:00:07 China Standard Time"


async def test_requests_before_start_api_are_ignored():
    async with gateway() as practice, client(practice) as peer:
        await peer.hello()
        peer.ask(61, 1)
        await peer.start()
        assert 62 not in await peer.greeting()


async def test_nonsense_in_a_session_is_reported_and_the_session_goes_on():
    async with gateway() as practice, client(practice, ready=True) as peer:
        await peer.rest()
        for payload in (b"", b"x\0", b"20\x00x\0", b"1\x0011\0", b"\xff" * 40):
            peer.send(encode_frame(payload))
        assert codes(await peer.rest()) == [320] * 5


async def test_a_frame_beyond_the_limit_ends_the_session():
    async with gateway() as practice, client(practice, ready=True) as peer:
        await peer.rest()
        peer.send(encode_frame(join_fields(300, "x" * (MAX_REQUEST - 10))))
        assert await peer.answers()
        peer.send(LENGTH.pack(MAX_REQUEST + 1))
        assert await peer.end() == (FIN, b"")


# A small send buffer in the kernel makes "does not read" show after KiB instead of MiB.
BARS = join_fields(20, 3, *SPY_TEXT, 0, "20250531 12:00:00", "1 min", "18000 S", 1, "TRADES", 1, 0, "")
TICKS = join_fields(1, 11, 3, *SPY_TEXT, 0, "", 0, 0, "")


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "times"), [(BARS, 200), (TICKS, 1)], ids=["answers", "ticks"])
async def test_a_client_that_does_not_read_costs_bounded_memory(asked, times):
    async with gateway("ticks=200000") as practice, client(practice, ready=True) as peer:
        (session,) = practice._sessions
        session._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        peer.writer.transport.pause_reading()
        peer.send(encode_frame(asked) * times)
        await until(lambda: session._output_stuck, "nobody takes the answers")
        held = session._transport.get_write_buffer_size()
        assert held < 3 * MAX_OUTPUT
        await asyncio.sleep(0.1)
        assert session._transport.get_write_buffer_size() <= held  # nothing is added to it
        assert not session._transport.is_reading()
        assert times == 1 or session._inbox


@pytest.mark.slow
async def test_a_slow_reader_gets_every_answer_in_order():
    async with gateway() as practice, client(practice, ready=True) as peer:
        (session,) = practice._sessions
        session._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        await peer.rest()
        peer.send(encode_frame(BARS) * 40)
        await until(lambda: session._output_stuck, "nobody takes the answers")
        answers = [await peer.payload() for _ in range(40)]
        assert len(answers[0]) > 10_000 and all(one == other for one, other in pairwise(answers))


async def test_slow_sync_holds_a_bounded_number_of_answers():
    async with gateway("slow-sync=3600") as practice, client(practice, ready=True) as peer:
        await peer.rest()
        for _ in range(300):
            peer.ask(61, 1)
        assert await peer.rest() == [62] * (300 - 256)


async def test_the_log_has_one_line_per_event():
    lines = []
    async with gateway(log=lines.append) as practice:
        async with client(practice) as peer:
            await peer.hello()
            await peer.start(41)
            await peer.until(NextValidId)
            peer.ask(61, 1), peer.ask(61, 1)
            await peer.until(62)
            peer.writer.write_eof()
            await peer.end()
        await until(lambda: not practice.sessions, "the session is over")
    assert lines[0] == f"practice gateway listens on 127.0.0.1 port {practice.port}, behaviour normal"
    assert lines[1].startswith("client 1: connected from 127.0.0.1 port ")
    assert lines[2:5] == [
        "client 1: hello v100..176",
        "client 1: START_API with client id 41",
        "client 1: REQ_POSITIONS",
    ]
    assert lines[5].startswith("client 1: ended after 0.")
    assert lines[5].endswith(" s: client closed (FIN); requests: START_API 1, REQ_POSITIONS 2")
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("behaviour", "leave", "said"),
    [
        ("normal", "fin", "client closed (FIN)"),
        ("normal", "rst", "client reset (ConnectionResetError)"),
        ("session-close=0", "wait", "closed in mid-session"),
        ("session-reset=0", "wait", "reset in mid-session"),
        ("truncated-frame=0", "wait", "closed in the middle of a frame"),
        ("pacing=1", "ask", "more than 1 messages within 1 s"),
    ],
)
async def test_the_log_says_how_a_session_ended(behaviour, leave, said):
    lines = []
    async with gateway(behaviour, lines.append) as practice:
        async with client(practice, ready=True) as peer:
            if leave == "fin":
                peer.writer.write_eof()
            elif leave == "rst":
                await peer.rest()
                peer.reset()
            elif leave == "ask":
                peer.ask(61, 1)
            if leave != "rst":
                await peer.end()
        await until(lambda: not practice.sessions, "the session is over")
    assert f"s: {said}" in lines[-1]
