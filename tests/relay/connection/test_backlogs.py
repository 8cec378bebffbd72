"""relay/connection/backlogs.py: what waits for a side that does not read, on real sockets and both data paths."""

import socket
from time import monotonic

import pytest

from relay.config.keys import Protocol
from relay.connection import backlogs
from relay.connection.backlogs import delivered, look, look_at_both
from relay.connection.ending import Stalled
from relay.connection.flow import Flow
from relay.connection.peek_flow import PeekFlow
from relay.logs.record import Reason
from relay.logs.units import size
from relay.net import offsets, tcp
from tests.relay.connection.test_connection import CLIENT_HELLO, clog, narrow, narrow_gateway
from tests.relay.kit.loopback import SMALL, Rig, until

linux = pytest.mark.skipif(not offsets.SUPPORTED, reason="only Linux has what it needs")
PATHS = [pytest.param((Flow, False), id="copying"), pytest.param((PeekFlow, True), id="peeking", marks=linux)]
PAUSE = 0.05  # seconds between two bites of a slow reader

pytestmark = pytest.mark.slow


@pytest.fixture(params=PATHS)
def rig(request, monkeypatch):
    flow, keeps = request.param
    monkeypatch.setattr(Rig, "flow", flow)
    monkeypatch.setattr(Rig, "keeps", keeps)
    return Rig


async def pause():
    over = monotonic() + PAUSE
    await until(lambda: monotonic() > over, "a pause far below every bound")


@linux
@pytest.mark.parametrize("side", ["client", "gateway"])
async def test_every_byte_is_delivered_or_waits_or_has_not_come_yet(rig, side):
    async with rig() as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        sender, reader, way = (gateway, client, "down") if side == "client" else (client, gateway, "up")
        sent = len(await clog(rig, sender, connection, way))
        flow, index = getattr(connection, way), ("up", "down").index(way)

        def adds_up():
            backlog = look(flow, monotonic())
            taken = delivered(flow, backlog)
            assert taken + backlog.waiting == flow.bytes
            here = taken + backlog.waiting + backlog.queued
            return taken == offsets.unread(reader.sock) and here + tcp.unsent(sender.sock) == sent

        await until(adds_up, "nothing is counted twice or left out")
        await until(lambda: connection.record("progress").backlogs[index].blocked, "it is told from a moment's delay")
        record = connection.record("progress")
        assert 0 < record.idle <= record.backlogs[index].still
        assert not record.backlogs[1 - index].left and not record.backlogs[1 - index].blocked


@linux
@pytest.mark.parametrize("where", ["our kernel alone", "the other side, too"])
async def test_a_session_in_which_bytes_wait_is_not_idle_until_they_are_taken(rig, where):
    async with rig(idle_timeout=0.3) as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        if where == "our kernel alone":
            sent = bytes(100_000)
            await gateway.send(sent)
            await until(lambda: connection.down.bytes == len(sent), "our kernel took all of it")
        else:
            narrow(connection, connection.client, gateway.sock)
            sent = await clog(rig, gateway, connection, "down")
        assert (connection.down.waits is None) == (where == "our kernel alone")
        await until(lambda: connection.record("progress").backlogs[1].still > 1.0, "it lasts longer than the bound")
        assert await client.read(len(sent)) == sent
        record = await rig.end_of(connection)
        assert record.cause.reason is Reason.IDLE_TIMEOUT and record.idle >= 0.29
        assert [backlog[:2] for backlog in record.backlogs] == [(0, 0), (0, 0)]


@linux
async def test_a_byte_that_is_acknowledged_moves_though_we_neither_read_nor_write(rig):
    async with rig() as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        await gateway.send(bytes(100_000))
        await until(lambda: connection.down.bytes == 100_000, "our kernel took all of it")
        await until(lambda: connection.record("progress").idle > 0.5, "nothing moves")
        last = connection.last_activity()
        await client.read(50_000)
        await until(lambda: connection.record("progress").idle < 0.5, "it has moved")
        assert connection.last_activity() == last


@linux
async def test_after_a_fin_the_last_bytes_of_which_wait_it_is_the_reader_that_is_named(rig):
    """They and the FIN behind them are in our kernel: the client cannot know of it, and is not silent of its own."""
    async with rig(half_close_timeout=0.3) as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        await gateway.send(bytes(100_000))
        gateway.finish()
        record = await rig.end_of(connection)
        assert (connection.first_fin, record.bytes_down) == ("upstream", 100_000)
        assert record.cause[:3] == ("client", "timeout", Reason.WRITE_STALLED)
        left = record.backlogs[1].waiting
        assert record.cause.detail == f"in 0.3 s: {size(left)} not taken"
        assert 100_000 - left == offsets.unread(client.sock)


@linux
async def test_a_slow_reader_keeps_a_half_closed_connection(rig):
    async with rig(half_close_timeout=1.0) as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        data = bytes(80_000)
        await gateway.send(data)
        gateway.finish()
        await until(lambda: connection.first_fin, "all of it is in our kernel")
        begin, got = monotonic(), 0
        while got < len(data):
            got += len(await client.read(min(2_000, len(data) - got)))
            await pause()
        assert monotonic() - begin > 1.0, "longer than the bound in all"
        assert await client.read_to_end() == (b"", "fin")
        client.finish()
        assert (await rig.end_of(connection)).cause.reason is Reason.UPSTREAM_CLOSED


@linux
async def test_a_slow_reader_of_the_last_bytes_is_waited_for_though_our_kernel_takes_no_more_of_them(rig):
    async with rig(flush_timeout=1.0) as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
        sent = await clog(rig, gateway, connection, "down")
        gateway.reset()
        await until(lambda: isinstance(connection.phase, Stalled), "the reset was seen")
        handed, begin, got = connection.down.bytes, monotonic(), b""
        while monotonic() - begin < 1.5:
            got += await client.read(1_000)
            await pause()
        assert connection.down.bytes == handed, "this is no test of it"
        assert isinstance(connection.phase, Stalled)
        rest, end = await client.read_to_end()
        assert end == "rst" and got + rest == sent[: len(got + rest)] and len(got + rest) > handed
        assert (await rig.end_of(connection)).cause.reason is Reason.UPSTREAM_RESET


@linux
async def test_a_close_tells_what_a_reset_has_left_behind(rig):
    async with rig() as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        await gateway.send(bytes(100_000))
        await until(lambda: connection.down.bytes == 100_000, "our kernel took all of it")
        await until(lambda: tcp.is_not_reading(connection.client), "the client's window is shut")
        had = offsets.unread(client.sock)
        client.reset()
        record = await rig.end_of(connection)
        assert record.cause.reason is Reason.CLIENT_RESET
        assert record.bytes_down - record.backlogs[1].unacknowledged == had


@linux
async def test_live_and_close_tell_the_same_of_a_client_that_never_read_and_is_gone(rig):
    async with rig() as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        sent = len(await clog(rig, gateway, connection, "down"))
        await until(lambda: connection.record("progress").backlogs[1].blocked, "it is told from a moment's delay")
        live, later = connection.record("progress"), tcp.unsent(gateway.sock)
        had = offsets.unread(client.sock)
        client.reset()
        close = await rig.end_of(connection)
        told = [(one.bytes_down, one.backlogs[1].waiting, one.backlogs[1].queued) for one in (live, close)]
        assert told[0] == told[1]
        assert live.bytes_down - live.backlogs[1].waiting == had and live.backlogs[1].queued > 0
        assert sum((live.bytes_down, live.backlogs[1].queued, later)) == sent


async def test_without_a_gateway_there_is_nothing_to_look_at(rig):
    async with rig(protocol=Protocol.IB) as rig:
        client, connection = rig.client()
        assert look_at_both(connection, monotonic()) == connection.record("progress").backlogs == ()
        await client.send(CLIENT_HELLO)
        await rig.gateway()
        await until(lambda: connection.up is not None, "the connection is open")
        assert [backlog.left for backlog in connection.record("progress").backlogs] == [False, False]
        assert connection.record("ready").backlogs == ()


@linux
async def test_where_the_kernel_does_not_tell_the_time_a_look_that_finds_more_delivered_does(rig, monkeypatch):
    """The kernel of macOS counts, and no more."""
    monkeypatch.setattr(
        backlogs.tcp, "send_queue", lambda sock, finished, ask=tcp.send_queue: tcp.SendQueue(ask(sock, finished)[0])
    )
    async with rig() as rig:
        client, gateway, connection = await rig.session(far_receive=SMALL)
        assert look(connection.down, monotonic()).still is None
        sent = await clog(rig, gateway, connection, "down")
        flow, now = connection.down, monotonic() + 1000
        await until(lambda: look(flow, now) == look(flow, now), "it stands still")
        assert look(flow, now + 60).still >= 60
        before = delivered(flow, look(flow, now))
        await client.read(len(sent) // 2)
        await until(lambda: delivered(flow, look(flow, now + 100)) > before, "the client reads")
