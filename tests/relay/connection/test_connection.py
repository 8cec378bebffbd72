"""relay/connection/connection.py: every way it can end, what each side sees of it, and what the record says."""

import asyncio
import hashlib
import random
import re
import socket
from time import monotonic

import pytest

from relay.config.load import Protocol
from relay.connection import flow, open_phase, peek_flow
from relay.connection.ending import Flushing
from relay.connection.flow import SCRATCH_SIZE
from relay.logs.backlog import Backlog
from relay.logs.explain import explain
from relay.logs.record import Cause, EndPhase, Reason
from relay.net import tcp
from relay.wire import events
from relay.wire.framing import encode_frame, join_fields
from relay.wire.hello import ClientHello, ServerHello
from relay.wire.messages import StartApi, encode
from tests.relay.kit.loopback import HOST, PATIENCE, SMALL, Rig, until, waiting

CLIENT_HELLO = ClientHello(100, 176).encode()
SERVER_HELLO = ServerHello(176, "20250101 09:30:00 EST").encode()
START_API = encode(StartApi(7), 176)
READY = encode_frame(join_fields(15, 1, "DU1234567")) + encode_frame(join_fields(9, 1, 1))

GONE = Backlog(0, 0, False, None)  # nothing waits

linux_only = pytest.mark.skipif(not tcp.LINUX, reason="asks the kernel what only Linux tells")


async def ib_session(rig, stage):
    """An IB session that has come as far as `stage`."""
    client, gateway, connection = await rig.session(CLIENT_HELLO)
    assert await gateway.read(len(CLIENT_HELLO)) == CLIENT_HELLO
    for word, sender, receiver, data in (
        ("server_hello", gateway, client, SERVER_HELLO),
        ("start_api", client, gateway, START_API),
        ("ready", gateway, client, READY),
    ):
        if stage == "client_hello":
            break
        await sender.send(data)
        assert await receiver.read(len(data)) == data
        if stage == word:
            break
    await until(lambda: connection.record("progress").ib_stage == stage, f"stage {stage}")
    return client, gateway, connection


async def clog(rig, sender, connection, side):
    """Send from `sender` until the relay keeps some of it: `side` ("up" or "down") is stalled. What was sent."""
    source, sent = random.Random(9), bytearray()

    def more():
        block = source.randbytes(65536)
        try:
            sent.extend(block[: sender.sock.send(block)])
        except BlockingIOError:
            return getattr(connection, side).waits is not None
        return False

    await until(more, f"the way {side} is stalled")
    return bytes(sent)


def narrow(connection, *sides):
    """Small send buffers on the relay's legs, so that little is needed to fill them."""
    for sock in sides or (connection.client, connection.upstream):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)


def narrow_gateway(rig):
    """Gateways accepted from now on have a small receive buffer."""
    rig.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)


# Clean ends


@pytest.mark.parametrize("first", ["client", "upstream"])
@pytest.mark.parametrize("protocol", Protocol)
async def test_who_said_fin_first_closed_the_session(first, protocol):
    async with Rig(protocol) as rig:
        if protocol is Protocol.IB:
            client, gateway, connection = await ib_session(rig, "ready")
        else:
            client, gateway, connection = await rig.session()
        one, other = (client, gateway) if first == "client" else (gateway, client)
        one.finish()
        assert await other.read_to_end() == (b"", "fin")
        other.finish()
        assert await one.read_to_end() == (b"", "fin")
        record = await rig.end_of(connection)
        assert record.cause == Cause(first, "fin", Reason(f"{first}_closed"))
        assert record.phase is EndPhase.DATA


async def test_both_fins_at_once_are_a_clean_end():
    async with Rig() as rig:
        client, gateway, connection = await rig.session()
        client.finish()
        gateway.finish()
        record = await rig.end_of(connection)
        assert record.cause.how == "fin"
        assert record.cause.reason in (Reason.CLIENT_CLOSED, Reason.UPSTREAM_CLOSED)


@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_after_a_half_close_the_other_direction_lives_on(first):
    async with Rig() as rig:
        client, gateway, connection = await rig.session()
        one, other = (client, gateway) if first == "client" else (gateway, client)
        data = random.Random(1).randbytes(1 << 20)
        await one.send(b"question")
        one.finish()
        assert await other.read_to_end() == (b"question", "fin")
        sending = asyncio.ensure_future(other.send(data))
        assert await one.read(len(data)) == data
        await sending
        other.finish()
        assert await one.read_to_end() == (b"", "fin")
        record = await rig.end_of(connection)
        assert sorted((record.bytes_up, record.bytes_down)) == [8, len(data)]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_a_fin_behind_bytes_that_are_kept_arrives_behind_them(first):
    async with Rig() as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        sender, reader, side = (client, gateway, "up") if first == "client" else (gateway, client, "down")
        sent = await clog(rig, sender, connection, side)
        sender.finish()
        assert await reader.read_to_end() == (sent, "fin")
        assert not connection.closed


async def test_a_half_closed_connection_without_a_byte_is_ended_by_its_bound():
    async with Rig(half_close_timeout=0.15) as rig:
        client, _, connection = await rig.session()
        client.finish()
        begin = monotonic()
        record = await rig.end_of(connection)
        detail = "upstream silent for 0.15 s after the other side had finished"
        assert record.cause == Cause("relay", "timeout", Reason.HALF_CLOSE_TIMEOUT, detail)
        assert (record.phase, 0.1 < monotonic() - begin < 5) == (EndPhase.HALF_CLOSED, True)


async def test_the_half_close_bound_is_one_of_silence(monkeypatch):
    async with Rig(half_close_timeout=60) as rig:
        client, gateway, connection = await rig.session()
        client.finish()
        await until(lambda: connection.first_fin, "the FIN has been passed on")
        await is_kept_for_a_minute_by_each_byte(rig, connection, gateway, client, monkeypatch)
        assert (await rig.end_of(connection)).cause.reason is Reason.HALF_CLOSE_TIMEOUT


async def is_kept_for_a_minute_by_each_byte(rig, connection, sender, reader, monkeypatch):
    """Bytes come 50 s after each other, as the flows see it, and the last one is not followed by another."""
    monkeypatch.setattr(open_phase, "look_at_both", lambda *_: (GONE, GONE))  # the kernel's clock goes on as ever
    came = monotonic()
    for _ in range(3):
        came += 50
        monkeypatch.setattr(flow, "monotonic", lambda came=came: came)
        await sender.send(b"still here")
        assert await reader.read(10) == b"still here"
        connection.expired(came + 59)
        assert not connection.closed and rig.services.deadlines._due[connection] == came + 60
    connection.expired(came + 60)


@pytest.mark.slow
async def test_a_half_closed_client_that_does_not_read_its_answer_is_ended_with_what_was_left():
    async with Rig(half_close_timeout=0.15) as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        await clog(rig, gateway, connection, "down")
        client.finish()
        record = await rig.end_of(connection, within=3)
        assert record.cause[:3] == ("client", "timeout", Reason.WRITE_STALLED)
        assert re.fullmatch(r"in 0.15 s: .* not taken, .* more from the gateway not passed on", record.cause.detail)
        assert (await client.read_to_end())[1] == "rst"


@pytest.mark.parametrize("stage", ["client_hello", "server_hello", "start_api"])
async def test_a_client_that_finishes_in_the_handshake_does_not_keep_the_gateway_for_long(stage, monkeypatch):
    monkeypatch.setattr(open_phase, "LEFT_GRACE", 0.1)
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, stage)
        client.finish()
        record = await rig.end_of(connection, within=3)
        assert record.cause == Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE)
        assert (record.phase, record.ib_stage) == (EndPhase.HANDSHAKE, stage)
        assert await gateway.read_to_end() == (b"", "fin")  # the half-close came first ...
        with pytest.raises(ConnectionError):  # ... and the reset behind it, so that nothing stays in CLOSE_WAIT
            await until(lambda: gateway.sock.send(b"x") and False, "the reset")


@pytest.mark.parametrize("stage", ["client_hello", "server_hello", "start_api"])
async def test_a_gateway_that_closes_in_the_handshake_is_said_to_have_closed(stage):
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, stage)
        gateway.finish()
        assert await client.read_to_end() == (b"", "fin")
        client.finish()
        record = await rig.end_of(connection)
        assert record.cause == Cause("upstream", "fin", Reason.UPSTREAM_CLOSED)
        assert (record.phase, record.ib_stage) == (EndPhase.HANDSHAKE, stage)


# Resets


@pytest.mark.parametrize("who", ["client", "upstream"])
@pytest.mark.parametrize("protocol", Protocol)
async def test_a_reset_is_passed_on_as_a_reset(who, protocol):
    async with Rig(protocol) as rig:
        if protocol is Protocol.IB:
            client, gateway, connection = await ib_session(rig, "ready")
        else:
            client, gateway, connection = await rig.session()
        one, other = (client, gateway) if who == "client" else (gateway, client)
        one.reset()
        assert await other.read_to_end() == (b"", "rst")
        record = await rig.end_of(connection)
        assert record.cause == Cause(who, "rst", Reason(f"{who}_reset"), None, "ECONNRESET")
        assert record.phase is EndPhase.DATA


@pytest.mark.parametrize("stage", ["client_hello", "server_hello", "start_api"])
async def test_a_client_that_resets_in_the_handshake_left_in_the_handshake(stage):
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, stage)
        client.reset()
        assert (await gateway.read_to_end())[1] == "rst"
        record = await rig.end_of(connection)
        assert record.cause == Cause("client", "rst", Reason.CLIENT_LEFT_IN_HANDSHAKE, None, "ECONNRESET")
        assert (record.phase, record.ib_stage) == (EndPhase.HANDSHAKE, stage)


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_what_was_sent_before_a_reset_reaches_a_reader_that_reads_late(who):
    async with Rig() as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        sender, reader = (client, gateway) if who == "client" else (gateway, client)
        data = random.Random(3).randbytes(60_000)
        await sender.send(data)
        await until(lambda: not tcp.unsent(sender.sock), "the relay's kernel has all of it")
        sender.reset()
        assert await reader.read_to_end() == (data, "rst")
        record = await rig.end_of(connection)
        assert record.cause.reason is Reason(f"{who}_reset")
        assert max(record.bytes_up, record.bytes_down) == len(data)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_a_reset_while_the_other_side_does_not_read_is_bounded_by_the_flush_timeout(who):
    async with Rig(flush_timeout=0.15) as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        sender, reader, side = (client, gateway, "up") if who == "client" else (gateway, client, "down")
        await clog(rig, sender, connection, side)
        await rig.rests(5)
        sender.reset()
        record = await rig.end_of(connection, within=3)
        other = "upstream" if who == "client" else "client"
        assert record.cause[:3] == (other, "timeout", Reason.WRITE_STALLED)
        assert (await reader.read_to_end())[1] == "rst"


@pytest.mark.slow
async def test_a_reset_behind_what_fits_into_the_kernel_waits_for_the_readers_kernel_only():
    """A reset makes the receiver's kernel forget what has not arrived, so ours must be empty first."""
    async with Rig(flush_timeout=0.15) as rig:
        _, gateway, connection = await rig.session(far_receive=SMALL)
        data = random.Random(4).randbytes(100_000)
        await gateway.send(data)
        await until(lambda: connection.down.bytes == len(data), "our kernel took all of it")
        assert tcp.unsent(connection.client) > 0
        gateway.reset()
        await until(lambda: isinstance(connection.phase, Flushing), "the reset was seen")
        record = await rig.end_of(connection, within=3)
        assert record.cause[:3] == ("client", "timeout", Reason.WRITE_STALLED)
        assert "after upstream_reset, " in record.cause.detail


@pytest.mark.slow
async def test_a_reader_that_takes_a_little_at_a_time_keeps_the_flush_alive():
    async with Rig(flush_timeout=0.5) as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        data = random.Random(5).randbytes(40_000)
        await gateway.send(data)
        await until(lambda: not tcp.unsent(gateway.sock), "the relay's kernel has all of it")
        gateway.reset()
        got, begin = bytearray(), monotonic()
        while len(got) < len(data):
            got += await client.read(min(2_000, len(data) - len(got)))
            pause = monotonic() + 0.04
            await until(lambda pause=pause: monotonic() > pause, "a pause far below the bound")
        assert monotonic() - begin > 0.5, "longer than the bound in all"
        assert (bytes(got), await client.read_to_end()) == (data, (b"", "rst"))
        assert (await rig.end_of(connection)).cause.reason is Reason.UPSTREAM_RESET


async def test_both_sides_reset_while_both_ways_are_full():
    async with Rig() as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        await clog(rig, gateway, connection, "down")
        await clog(rig, client, connection, "up")
        gateway.reset()
        client.reset()
        record = await rig.end_of(connection, within=2)
        assert record.cause.how == "rst"


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_a_side_that_vanishes_while_stalled_frees_the_connection(who):
    """The one that does not read is reset: nothing can be delivered to it any more."""
    async with Rig() as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        sender, reader, side = (gateway, client, "down") if who == "client" else (client, gateway, "up")
        await clog(rig, sender, connection, side)
        reader.reset()
        record = await rig.end_of(connection, within=2)
        assert record.cause[:3] == (who, "rst", Reason(f"{who}_reset"))
        assert (await sender.read_to_end())[1] == "rst"


async def test_a_client_that_closes_with_unread_ticks_is_a_client_that_closed():
    """close() with unread bytes is a reset on the wire; after its FIN it is one because ticks go on."""
    async with Rig() as rig:
        client, gateway, connection = await rig.session()

        async def tick():
            while True:
                await gateway.send(b"tick")
                await asyncio.sleep(0.001)

        client.finish()
        await gateway.read_to_end()
        client.close()
        ticking = asyncio.create_task(tick())
        record = await rig.end_of(connection)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ticking, PATIENCE)
        assert record.cause == Cause("client", "fin", Reason.CLIENT_CLOSED)


async def test_an_upstream_that_dies_with_unread_input_is_a_reset():
    async with Rig() as rig:
        client, gateway, connection = await rig.session()
        await client.send(b"never read")
        await until(lambda: waiting(gateway.sock) == b"never read", "it is there")
        gateway.close()
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("upstream", "rst", Reason.UPSTREAM_RESET)
        assert (await client.read_to_end())[1] == "rst"


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_a_write_that_fails_first_does_not_swallow_what_the_dead_side_had_sent(who):
    async with Rig() as rig:
        client, gateway, connection = await rig.session()
        dying, living = (client, gateway) if who == "client" else (gateway, client)
        reader = connection.up if who == "client" else connection.down  # reads from the dying side
        last = random.Random(6).randbytes(20_000)
        reader.watch(0)  # as if the living side's turn came first in this batch
        await dying.send(last)
        await until(lambda: not tcp.unsent(dying.sock), "it is in our kernel")
        dying.reset()
        reader.sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await living.send(b"to the dead")
        assert await living.read_to_end() == (last, "rst")
        assert (await rig.end_of(connection)).cause.reason is Reason(f"{who}_reset")


# Quiet ends, and faults


async def test_an_idle_bound_ends_a_silent_connection():
    async with Rig(idle_timeout=0.15) as rig:
        _, connection = rig.client()
        await rig.gateway()
        record = await rig.end_of(connection)
        assert record.cause == Cause("relay", "timeout", Reason.IDLE_TIMEOUT, "0.15 s without a byte")
        assert 0.15 <= record.idle < 2


@pytest.mark.parametrize("who", ["client", "gateway"])
async def test_an_idle_bound_counts_from_the_last_byte_of_either_side(who, monkeypatch):
    async with Rig(idle_timeout=60) as rig:
        client, gateway, connection = await rig.session()
        sender, reader = (client, gateway) if who == "client" else (gateway, client)
        await is_kept_for_a_minute_by_each_byte(rig, connection, sender, reader, monkeypatch)
        assert (await rig.end_of(connection)).cause.reason is Reason.IDLE_TIMEOUT


async def test_without_an_idle_bound_there_is_no_timer_at_all():
    async with Rig() as rig:
        await rig.session()
        assert rig.services.deadlines._due == {}


@pytest.mark.parametrize("phase", ["first bytes", "open", "half-closed", "flushing"])
async def test_a_shutdown_ends_a_connection_in_any_phase_with_one_record(phase):
    async with Rig(Protocol.IB if phase == "first bytes" else Protocol.RAW) as rig:
        rig.services.draining = True
        if phase == "first bytes":
            client, connection = rig.client()
        else:
            client, gateway, connection = await rig.session(far_receive=SMALL)
        if phase == "half-closed":
            client.finish()
            await until(lambda: connection.first_fin, "it is half-closed")
        if phase == "flushing":
            narrow(connection)
            await clog(rig, gateway, connection, "down")
            gateway.reset()
            await rig.rests(5)
        shutdown = Cause("relay", "policy", Reason.SHUTDOWN)
        connection.end(shutdown)
        connection.end(Cause("relay", "policy", Reason.INTERNAL_ERROR))
        record = await rig.end_of(connection)
        assert (record.cause, record.phase) == (shutdown, EndPhase.DRAIN)
        assert (await client.read_to_end())[1] == ("rst" if phase == "flushing" else "fin")
        assert rig.services.deadlines._due == {}


async def test_an_unfinished_handshake_is_ended_toward_the_gateway_with_a_reset():
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, "start_api")
        connection.end(Cause("relay", "policy", Reason.SHUTDOWN))
        assert await gateway.read_to_end() == (b"", "rst")
        assert await client.read_to_end() == (b"", "fin")


async def test_a_ready_session_is_ended_toward_the_gateway_with_a_fin():
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, "ready")
        connection.end(Cause("relay", "policy", Reason.SHUTDOWN))
        assert await gateway.read_to_end() == (b"", "fin")
        assert await client.read_to_end() == (b"", "fin")


async def test_an_ended_connection_leaves_nothing_behind():
    async with Rig() as rig:
        client, _, connection = await rig.session()
        sockets = connection.client, connection.upstream
        client.reset()
        await rig.end_of(connection)
        assert [sock.fileno() for sock in sockets] == [-1, -1]
        assert (rig.live, rig.services.deadlines._due) == ([], {})
        assert len(rig.poller._watched) == 1, "asyncio's own"


# Records


async def test_the_records_of_a_session_tell_its_story():
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, "ready")
        gateway.finish()
        await client.read_to_end()
        client.finish()
        close = await rig.end_of(connection)
        open_, ready, _ = rig.records
        assert [one.event for one in rig.records] == ["open", "ready", "close"]
        assert (open_.bytes_up, open_.idle, open_.cause, open_.ib_stage) == (0, None, None, "nothing")
        assert (ready.client_id, ready.server_version, ready.client_versions) == (7, 176, (100, 176))
        assert (ready.accounts, ready.messages_up, ready.messages_down) == (("DU***567",), 2, 3)
        assert (close.ends.first.by, close.ends.first.how, close.ends.first.stage) == ("upstream", "fin", "ready")
        assert [later[:2] for later in close.ends.later] == [("client", "fin")]
        assert [backlog[:3] for backlog in close.backlogs] == [(0, 0, False)] * 2
        assert close._replace(
            ends=None,
            backlogs=(),
            at=0.0,
            duration=0.0,
            connect=0.0,
            first_byte_up=0.0,
            first_byte_down=0.0,
            idle=0.0,
            handshake=0.0,
        ) == type(close)(
            event="close",
            at=0.0,
            connection_id=connection.connection_id,
            map_name="test",
            client_address=HOST,
            client_port=client.sock.getsockname()[1],
            local_port=4003,
            server_address=HOST,
            server_port=rig.upstream.port,
            peer_address=HOST,
            peer_port=rig.upstream.port,
            bytes_up=len(CLIENT_HELLO + START_API),
            bytes_down=len(SERVER_HELLO + READY),
            duration=0.0,
            connect=0.0,
            first_byte_up=0.0,
            first_byte_down=0.0,
            idle=0.0,
            cause=Cause("upstream", "fin", Reason.UPSTREAM_CLOSED),
            phase=EndPhase.DATA,
            ib_stage="ready",
            opaque=None,
            client_id=7,
            client_versions=(100, 176),
            server_version=176,
            accounts=("DU***567",),
            account_count=1,
            handshake=0.0,
            messages_up=2,
            messages_down=3,
            requests_peak=1,
            last_error_code=None,
            redirect=None,
            not_understood=None,
            active=0,
        )
        assert 0 <= close.connect <= close.first_byte_up <= close.first_byte_down <= close.handshake <= close.duration
        assert 0 <= close.idle <= close.duration


async def test_bytes_are_counted_while_they_pass():
    async with Rig() as rig:
        client, gateway, connection = await rig.session()
        await client.send(b"12345")
        await gateway.read(5)
        assert connection.record("progress").bytes_up == 5
        await client.send(b"678")
        await gateway.read(3)
        assert connection.record("progress").bytes_up == 8


async def test_a_session_the_observer_does_not_understand_is_relayed_all_the_same():
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, "server_hello")
        oversize = b"\xff\xff\xff\xff and on"
        await gateway.send(oversize)
        assert await client.read(len(oversize)) == oversize
        await client.send(b"anything")
        assert await gateway.read(8) == b"anything"
        record = connection.record("progress")
        assert (record.ib_stage, connection.up.observe, connection.down.observe) == ("opaque", None, None)
        assert record.opaque
        client.reset()
        ended = await rig.end_of(connection)
        assert ended.cause.reason is Reason.CLIENT_RESET  # no handshake that it could have left


# Many bytes


@pytest.mark.slow
async def test_both_ways_at_once_past_slow_readers_keep_their_hashes():
    size = 2 << 20
    async with Rig() as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)

        async def pour(far, seed):
            source = random.Random(seed)
            for _ in range(size // 65536):
                await far.send(source.randbytes(65536))
            far.finish()

        async def drain(far, seed):
            got, pace = hashlib.sha256(), random.Random(seed)
            count = 0
            while part := await far.loop.sock_recv(far.sock, pace.choice((100, 5_000, 200_000))):
                got.update(part)
                count += len(part)
            return count, got.hexdigest()

        async with asyncio.TaskGroup() as group:
            group.create_task(pour(client, 1))
            group.create_task(pour(gateway, 2))
            down = group.create_task(drain(client, 3))
            up = group.create_task(drain(gateway, 4))
        for task, seed in ((up, 1), (down, 2)):
            source = random.Random(seed)
            wanted = hashlib.sha256(b"".join(source.randbytes(65536) for _ in range(size // 65536)))
            assert task.result() == (size, wanted.hexdigest())
        record = await rig.end_of(connection)
        assert (record.bytes_up, record.bytes_down) == (size, size)


@pytest.mark.slow
async def test_a_stalled_connection_keeps_no_more_than_one_scratch_buffer_each_way():
    async with Rig() as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        await clog(rig, gateway, connection, "down")
        await clog(rig, client, connection, "up")
        await rig.rests(5)
        assert len(connection.up.pending or b"") <= SCRATCH_SIZE
        assert len(connection.down.pending or b"") <= SCRATCH_SIZE
        assert await rig.rests() == 0


# Housekeeping: readers that do not read


def user_timeout(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.mark.slow
@linux_only
@pytest.mark.parametrize("how", ["more than the relay's kernel takes", "all of it in the relay's kernel"])
async def test_a_reader_that_lives_but_does_not_read_is_not_taken_for_dead(how):
    async with Rig() as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        tcp.set_options(connection.client, rig.keep_alive)
        if how == "more than the relay's kernel takes":
            narrow(connection)
            sent = await clog(rig, gateway, connection, "down")
        else:
            sent = bytes(100_000)
            await gateway.send(sent)
            await until(lambda: connection.down.bytes == len(sent), "our kernel took all of it")
            assert connection.down.waits is None
        await until(lambda: tcp.is_not_reading(connection.client), "the client's window is shut")
        assert user_timeout(connection.client) == 30_000
        connection.housekeeping(monotonic())
        assert (user_timeout(connection.client), user_timeout(connection.upstream)) == (0, 30_000)
        connection.housekeeping(monotonic())
        assert user_timeout(connection.client) == 0
        assert await client.read(len(sent)) == sent
        await until(lambda: not tcp.unsent(connection.client), "everything is acknowledged")
        connection.housekeeping(monotonic())
        assert (user_timeout(connection.client), connection.patient) == (30_000, ())


@linux_only
async def test_a_reader_that_has_stopped_answering_probes_is_dead(monkeypatch):
    async with Rig() as rig:
        _, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        await clog(rig, gateway, connection, "down")
        await until(lambda: tcp.is_not_reading(connection.client), "the client's window is shut")
        connection.housekeeping(monotonic())
        # Else it takes 30 s.
        monkeypatch.setattr(tcp, "has_left_probes_unanswered", lambda sock: sock is connection.client)
        connection.housekeeping(monotonic())
        record = await rig.end_of(connection)
        assert record.cause == Cause("client", "timeout", Reason.CLIENT_DEAD, None, "ETIMEDOUT")
        assert (await gateway.read_to_end())[1] == "rst"


@pytest.mark.slow
@linux_only
async def test_housekeeping_survives_an_end_in_its_middle(monkeypatch):
    """The upstream is found dead, which ends the connection; the client, patiently waited for, is closed by then."""
    async with Rig() as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        await clog(rig, client, connection, "up")
        down = await clog(rig, gateway, connection, "down")
        await until(
            lambda: tcp.is_not_reading(connection.client) and tcp.is_not_reading(connection.upstream), "both shut"
        )
        connection.housekeeping(monotonic())
        assert set(connection.patient) == {connection.client, connection.upstream}
        monkeypatch.setattr(tcp, "has_left_probes_unanswered", lambda sock: sock is connection.upstream)
        await client.read(len(down))
        await until(lambda: connection.down.waits is None and not tcp.unsent(connection.client), "the client has all")
        connection.housekeeping(monotonic())
        record = await rig.end_of(connection)
        assert record.cause.reason is Reason.UPSTREAM_DEAD


async def test_housekeeping_of_a_connection_that_is_not_open_or_ended_does_nothing():
    async with Rig(Protocol.IB) as rig:
        client, connection = rig.client()
        connection.housekeeping(monotonic())
        client.reset()
        await rig.end_of(connection)
        connection.housekeeping(monotonic())


async def test_whoever_is_interested_hears_what_is_learnt_of_every_session():
    heard = []
    async with Rig(Protocol.IB) as rig:
        rig.services.learned = lambda connection, events: heard.extend((connection, type(event)) for event in events)
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        assert await gateway.read(len(CLIENT_HELLO)) == CLIENT_HELLO
        await gateway.send(SERVER_HELLO)
        assert await client.read(len(SERVER_HELLO)) == SERVER_HELLO
        await client.send(encode(StartApi(7), 176))
        await until(lambda: len(heard) == 3, "all of it is heard")
    assert heard == [
        (connection, events.ClientHelloSeen),
        (connection, events.ServerHelloSeen),
        (connection, events.StartApiSeen),
    ]


LONG_LIST = encode_frame(join_fields(15, 1, ",".join(f"U{number}" for number in range(1_000_000, 1_010_000))))


@pytest.mark.parametrize("way", [flow.Flow, peek_flow.PeekFlow])
async def test_a_session_with_more_accounts_than_the_relay_reads_is_ready(way, monkeypatch):
    monkeypatch.setattr(Rig, "flow", way)
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, "start_api")
        order_id, whole = encode_frame(join_fields(9, 1, 1)), len(LONG_LIST)
        await gateway.send(order_id + LONG_LIST[:-1])
        assert await client.read(len(order_id) + whole - 1) == order_id + LONG_LIST[:-1]
        assert connection.record("progress").ib_stage == "start_api"
        await gateway.send(LONG_LIST[-1:])
        assert await client.read(1) == LONG_LIST[-1:]
        await until(lambda: connection.record("progress").ib_stage == "ready", "it is ready")
        client.close()
        gateway.close()
        record = await rig.end_of(connection)
    assert (record.cause.reason, record.accounts, record.account_count) == (Reason.CLIENT_CLOSED, (), None)


async def test_of_a_long_list_that_was_cut_off_the_record_says_so():
    async with Rig(Protocol.IB) as rig:
        client, gateway, connection = await ib_session(rig, "start_api")
        await gateway.send(LONG_LIST[:-5])
        assert await client.read(len(LONG_LIST) - 5) == LONG_LIST[:-5]
        gateway.finish()
        await until(lambda: connection.ends is not None, "the relay knows")
        client.close()
        record = await rig.end_of(connection)
    assert (record.ib_stage, record.cause.reason) == ("start_api", Reason.UPSTREAM_CLOSED)
    assert "5 bytes of its last message never came" in explain(record)
