"""relay/connection/peek_flow.py under whole connections: all that they, their opening and held hellos promise.

Here bytes stay in the kernel, and copies of the sockets are in flight (relay/survival/inflight.py).
What a PeekFlow alone promises is in test_flow.py, beside the Flow it must not be told from.
"""

import os
import socket

import pytest

from relay.connection.flow import SCRATCH_SIZE
from relay.connection.open_phase import Open
from relay.connection.peek_flow import LEAST_LOOK, PeekFlow
from relay.net import offsets
from tests.relay.connection import test_connection, test_ends, test_handshake, test_opening
from tests.relay.connection.test_handshake import CLIENT_HELLO, READY, SERVER_HELLO, START_API, ib
from tests.relay.kit.loopback import SMALL, Rig, until, waiting

pytestmark = [
    pytest.mark.long,  # all that is promised of the other way to move bytes, once more
    pytest.mark.skipif(not offsets.SUPPORTED, reason="only Linux has what it needs"),
]


@pytest.fixture(autouse=True)
def peeking(monkeypatch):
    monkeypatch.setattr(Rig, "flow", PeekFlow)
    monkeypatch.setattr(Rig, "keeps", True)


for _module in (test_connection, test_ends, test_handshake, test_opening):
    globals().update({name: test for name, test in vars(_module).items() if name.startswith("test_")})


async def test_an_incomplete_hello_stays_in_the_kernel_and_goes_out_in_one_piece():
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        for end in range(1, len(SERVER_HELLO)):
            await gateway.send(SERVER_HELLO[end - 1 : end])
            await until(lambda end=end: connection.phase.seen == end, f"{end} bytes are seen")
            assert (offsets.unread(connection.upstream), waiting(client.sock)) == (end, "nothing")
        assert await rig.rests() == 0
        await gateway.send(SERVER_HELLO[-1:])
        assert await client.read_once() == SERVER_HELLO
        assert (type(connection.phase), connection.down.bytes, offsets.unread(connection.upstream)) == (
            Open,
            len(SERVER_HELLO),
            0,
        )
        await gateway.send(READY)
        assert await client.read(len(READY)) == READY


async def test_what_is_glued_to_the_hello_waits_in_the_kernel(endless):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO + READY)
        assert await client.read_once() == SERVER_HELLO
        assert offsets.unread(connection.upstream) == len(READY)
        await client.send(START_API)
        assert await client.read(len(READY)) == READY


async def test_nothing_is_dropped_before_it_was_sent_and_noted():
    async with Rig() as rig:
        client, gateway, connection = await rig.session()
        seen = []
        connection.up.observe = lambda data, now: ()
        connection.up.note = lambda flow, events: seen.append(
            (flow.bytes, offsets.unread(flow.source), waiting(gateway.sock))
        )
        await client.send(b"one")
        assert await gateway.read(3) == b"one"
        await until(lambda: seen, "it is noted")
        assert seen == [(3, 3, b"one")]
        assert offsets.unread(connection.client) == 0


async def test_a_slow_sink_is_offered_little_at_a_time():
    async with Rig() as rig:
        client, gateway, connection = await rig.session(leg_send=SMALL, far_receive=SMALL)
        data = os.urandom(1_000_000)
        sending = rig.loop.create_task(gateway.send(data))
        await until(lambda: connection.down.waits is not None, "the sink is full")
        assert LEAST_LOOK <= connection.down.most <= SCRATCH_SIZE
        assert connection.down.left == offsets.unread(connection.upstream) > 0
        assert await client.read(len(data)) == data
        await sending
        await until(lambda: connection.down.waits is None, "everything is delivered")


async def test_the_kernels_agree_on_how_far_they_are():
    async with Rig() as rig:
        client, gateway, connection = await rig.session(b"early", leg_send=SMALL, far_receive=SMALL)
        taken, written = offsets.taken(connection.client), offsets.written(connection.upstream)
        data = os.urandom(300_000)
        sending = rig.loop.create_task(client.send(data))
        assert await gateway.read(len(data) + 5) == b"early" + data
        await sending
        await until(lambda: offsets.taken(connection.client) - taken == len(data), "all is taken")
        assert offsets.written(connection.upstream) - written == len(data) == connection.up.bytes - 5
        client.sock.shutdown(socket.SHUT_WR)
        await until(lambda: connection.up.finished, "the end is passed on")
        assert offsets.taken(connection.client) - taken == len(data)
        assert offsets.written(connection.upstream) - written == len(data)
