"""relay/connection/handshake.py: the gateway's hello goes out whole and alone, whatever way it comes in."""

import asyncio
import socket
from time import monotonic

import pytest

from relay.config.load import Protocol
from relay.connection import open_phase
from relay.connection.handshake import GLUE_WAIT, Handshake, PeekHandshake
from relay.connection.open_phase import Open
from relay.logs.record import EndPhase, Reason
from relay.wire.framing import encode_frame, join_fields
from relay.wire.hello import ClientHello, Redirect, ServerHello
from relay.wire.messages import StartApi, encode
from relay.wire.stage import Stage
from tests.relay.kit.loopback import PATIENCE, SMALL, Rig, fill, until, waiting

CLIENT_HELLO = ClientHello(100, 176).encode()
SERVER_HELLO = ServerHello(176, "20250101 09:30:00 EST").encode()
START_API = encode(StartApi(7), 176)
READY = encode_frame(join_fields(15, 1, "DU1234567")) + encode_frame(join_fields(9, 1, 1))
NOT_A_HELLO = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def ib(**bounds):
    return Rig(Protocol.IB, **bounds)


def held(connection):
    """The incomplete hello, in our hands or in the kernel's (tests/relay/connection/test_peek_flow.py)."""
    handshake = connection.phase
    if isinstance(handshake, PeekHandshake):
        return connection.upstream.recv(handshake.seen, socket.MSG_PEEK) if handshake.seen else b""
    return handshake.held


async def test_a_hello_that_comes_byte_by_byte_goes_out_in_one_piece():
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        assert await gateway.read(len(CLIENT_HELLO)) == CLIENT_HELLO
        for end in range(1, len(SERVER_HELLO)):
            await gateway.send(SERVER_HELLO[end - 1 : end])
            await until(lambda end=end: held(connection) == SERVER_HELLO[:end], f"{end} bytes are held")
            assert waiting(client.sock) == "nothing"
        await gateway.send(SERVER_HELLO[-1:])
        assert await client.read_once() == SERVER_HELLO
        assert (type(connection.phase), connection.down.bytes) == (Open, len(SERVER_HELLO))
        assert connection.observer.stage is Stage.SERVER_HELLO


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(Redirect("gw2.example", 4001).encode(), id="redirect"),
        pytest.param(NOT_A_HELLO, id="another protocol"),
        pytest.param(b"\xff\xff\xff\xff and more", id="a length no hello has"),
        pytest.param(b"\0\0\0\1", id="a frame too short for a hello"),
        pytest.param(b"\0\0\0\5zebra", id="a frame that does not start with a version"),
    ],
)
async def test_whatever_cannot_become_a_hello_passes_at_once(first):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(first)
        assert await client.read_once() == first
        await gateway.send(b"more")
        assert await client.read(4) == b"more"
        assert type(connection.phase) is Open


@pytest.mark.parametrize(
    "after", [b"x", READY, bytes(5000)], ids=["one byte", "two messages", "more than a hello may have"]
)
async def test_what_is_glued_to_the_hello_waits_for_the_clients_next_bytes(after, endless):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO + after)
        assert await client.read_once() == SERVER_HELLO
        await client.send(START_API)
        assert await client.read(len(after)) == after
        await gateway.send(b"and on")
        assert await client.read(6) == b"and on"
        assert type(connection.phase) is Open


async def test_what_is_glued_to_the_hello_does_not_wait_for_ever():
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        begin = monotonic()
        await gateway.send(SERVER_HELLO + READY)
        assert await client.read_once() == SERVER_HELLO
        assert await client.read_once() == READY
        assert GLUE_WAIT * 0.9 <= monotonic() - begin < GLUE_WAIT + 2
        assert type(connection.phase) is Open


async def test_more_from_the_gateway_stays_behind_what_is_held(endless):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO + b"first")
        await until(lambda: connection.phase.waiting, "the rest is held")
        await gateway.send(b"second")
        assert await rig.rests() == 0 and waiting(client.sock) == SERVER_HELLO
        connection.expired(monotonic())
        assert await client.read(len(SERVER_HELLO) + 11) == SERVER_HELLO + b"firstsecond"


async def test_while_the_rest_is_held_nothing_spins(endless):
    async with ib() as rig:
        _, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO + b"rest")
        await until(lambda: connection.phase.waiting, "the rest is held")
        await gateway.send(b"unread")
        assert await rig.rests() == 0


async def test_a_client_that_spoke_early_gets_the_rest_without_a_wait(endless):
    """@stoqey/ib sends START_API with its hello: it does not read its hello with one recv."""
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO + START_API)
        await gateway.send(SERVER_HELLO + READY)
        assert await client.read(len(SERVER_HELLO + READY)) == SERVER_HELLO + READY
        assert (type(connection.phase), connection.observer.stage) == (Open, Stage.READY)


async def test_a_legacy_client_is_never_held():
    async with ib() as rig:
        client, gateway, connection = await rig.session(b"63\0")
        assert type(connection.phase) is Open
        await gateway.send(b"7")
        assert await client.read_once() == b"7"
        assert connection.observer.legacy


@pytest.mark.parametrize(
    "sent", [b"", SERVER_HELLO[:1], SERVER_HELLO[:-1]], ids=["nothing", "one byte", "all but one byte"]
)
async def test_a_fin_inside_the_hello_passes_behind_what_had_come(sent):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(sent)
        gateway.finish()
        assert await client.read_to_end() == (sent, "fin")
        assert not isinstance(connection.phase, Handshake) and not connection.closed
        client.finish()
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("upstream", "fin", Reason.UPSTREAM_CLOSED)
        assert (record.phase, record.bytes_down, record.ib_stage) == (EndPhase.HANDSHAKE, len(sent), "client_hello")


@pytest.mark.parametrize(
    "sent", [b"", SERVER_HELLO[:1], SERVER_HELLO[:-1]], ids=["nothing", "one byte", "all but one byte"]
)
async def test_a_reset_inside_the_hello_passes_as_a_reset_behind_what_had_come(sent):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        assert await gateway.read(len(CLIENT_HELLO)) == CLIENT_HELLO
        if sent:
            await gateway.send(sent)
            await until(lambda: held(connection) == sent, "it is held")
        gateway.reset()
        assert await client.read_to_end() == (sent, "rst")
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("upstream", "rst", Reason.UPSTREAM_RESET)
        assert (record.phase, record.bytes_down) == (EndPhase.HANDSHAKE, len(sent))


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_an_end_behind_a_glued_rest_comes_after_it(end, endless):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        assert await gateway.read(len(CLIENT_HELLO)) == CLIENT_HELLO
        await gateway.send(SERVER_HELLO + READY)
        await until(lambda: connection.phase.waiting, "the rest is held")
        gateway.finish() if end == "fin" else gateway.reset()
        assert await rig.rests() <= 1 and waiting(client.sock) == SERVER_HELLO
        connection.expired(monotonic())
        assert await client.read_to_end() == (SERVER_HELLO + READY, end)


async def test_a_reset_behind_a_glued_rest_does_not_spin(endless):
    async with ib() as rig:
        _, gateway, connection = await rig.session(CLIENT_HELLO)
        assert await gateway.read(len(CLIENT_HELLO)) == CLIENT_HELLO
        await gateway.send(SERVER_HELLO + READY)
        await until(lambda: connection.phase.waiting, "the rest is held")
        gateway.reset()
        assert await rig.rests() <= 1


async def test_a_client_that_resets_while_the_rest_is_held_ends_it(endless):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO + READY)
        await until(lambda: connection.phase.waiting, "the rest is held")
        client.reset()
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("client", "rst", Reason.CLIENT_LEFT_IN_HANDSHAKE)
        assert (await gateway.read_to_end())[1] == "rst"


async def test_a_client_that_says_fin_gets_the_rest_at_once(endless, monkeypatch):
    monkeypatch.setattr(open_phase, "LEFT_GRACE", 10 * PATIENCE)
    async with ib(half_close_timeout=10 * PATIENCE) as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO + READY)
        await until(lambda: connection.phase.waiting, "the rest is held")
        client.finish()
        assert await client.read(len(SERVER_HELLO + READY)) == SERVER_HELLO + READY


@pytest.mark.parametrize("early", [CLIENT_HELLO, CLIENT_HELLO + START_API], ids=["hello", "hello and START_API"])
async def test_a_glued_hello_to_a_half_closed_client_leaves_the_half_close_bound_in_force(early):
    async with ib(half_close_timeout=0.2) as rig:
        client, connection = rig.client()
        await client.send(early)
        client.finish()
        gateway = await rig.gateway()
        assert await gateway.read(len(early)) == early
        await until(lambda: connection.first_fin, "the FIN has been passed on")
        await gateway.send(SERVER_HELLO + encode_frame(join_fields(9, 1, 1)))
        record = await rig.end_of(connection, within=2)
        assert record.cause.reason is Reason.CLIENT_LEFT_IN_HANDSHAKE


async def test_bytes_before_a_reset_reach_the_client_when_the_way_up_is_full(monkeypatch):
    """The write that fails releases the hold in the middle of its own handler."""
    async with ib() as rig:
        rig.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        connection.upstream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        await until(lambda: fill(client.sock) == 0 and connection.up.waits is not None, "the gateway's side is full")
        part = SERVER_HELLO[:9]
        await gateway.send(part)
        gateway.reset()  # the same batch of events: readable, writable and broken
        assert await client.read_to_end() == (part, "rst")
        assert (await rig.end_of(connection)).bytes_down == len(part)


async def test_a_gateway_that_never_answers_ends_with_the_idle_bound_if_there_is_one():
    async with ib(idle_timeout=0.15) as rig:
        _, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO[:3])
        record = await rig.end_of(connection, within=2)
        assert record.cause.reason is Reason.IDLE_TIMEOUT


async def test_the_hello_is_counted_and_timed_like_any_other_bytes():
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO)
        await client.read(len(SERVER_HELLO))
        await client.send(START_API)
        await gateway.read(len(CLIENT_HELLO + START_API))
        await gateway.send(READY)
        await client.read(len(READY))
        await until(lambda: connection.ready_at, "the session is ready")
        record = connection.record("ready")
        assert (record.bytes_up, record.bytes_down) == (len(CLIENT_HELLO + START_API), len(SERVER_HELLO + READY))
        assert (record.messages_up, record.messages_down) == (2, 3)
        assert (record.ib_stage, record.client_id, record.server_version) == ("ready", 7, 176)
        assert 0 <= record.first_byte_up <= record.first_byte_down <= record.handshake
        assert [one.event for one in rig.records] == ["open", "ready"]
        await asyncio.sleep(0)
