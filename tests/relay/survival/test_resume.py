"""relay/survival/resume.py: after a kill at any instant of a hop, no byte is lost or doubled.

The observer goes on, or says that it cannot. The instants are made, not waited for: a PeekFlow is stopped between
looking, sending, observing, noting and dropping.
"""

import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest

from relay.connection.ending import Flushing
from relay.connection.peek_flow import PeekFlow
from relay.connection.verdict import PASS, EndWith
from relay.logs.record import Reason
from relay.net import offsets
from relay.survival.checkpoint import Checkpoint
from relay.survival.fdstore import KeptSession
from relay.survival.resume import LOST_SIGHT, go_on, restore
from relay.survival.state import InvalidState, from_json, state_of
from relay.wire.direction import Direction
from relay.wire.framing import encode_frame, join_fields
from relay.wire.stage import Stage
from tests.relay.connection.test_handshake import CLIENT_HELLO, SERVER_HELLO, START_API, ib
from tests.relay.kit.loopback import SMALL, Rig, until
from tests.relay.kit.streams import GREETING

pytestmark = pytest.mark.skipif(not offsets.SUPPORTED, reason="only Linux counts like this")
ORDER = encode_frame(join_fields(3, 45, 1, "SPY"))  # PLACE_ORDER
TICK = b"\0\0\0\x071\x006\x001\x000"
PART = TICK[:6]


@pytest.fixture(autouse=True)
def peeking(monkeypatch):
    monkeypatch.setattr(Rig, "flow", PeekFlow)


class Killed(BaseException):
    """What SIGKILL does to the code that runs: nothing after it."""


async def ready(rig, **sizes):
    client, gateway, connection = await rig.session(CLIENT_HELLO, **sizes)
    await gateway.send(SERVER_HELLO)
    assert await client.read(len(SERVER_HELLO)) == SERVER_HELLO
    await client.send(START_API)
    assert await gateway.read(len(CLIENT_HELLO + START_API)) == CLIENT_HELLO + START_API
    await gateway.send(GREETING)
    assert await client.read(len(GREETING)) == GREETING
    await until(lambda: connection.ready_at, "it is ready")
    connection.kept = KeptSession(connection)
    return client, gateway, connection


def killed(rig, connection):
    """The process is gone: what is left are copies of its descriptors."""
    left = [
        os.dup(connection.client.fileno()),
        os.dup(connection.upstream.fileno()),
        os.dup(connection.kept.checkpoint.fd),
    ]
    connection.leave()
    rig.live.remove(connection)
    return left


def resumed(rig, left):
    """What the next process does with them."""
    client, upstream = (socket.socket(fileno=fd) for fd in left[:2])
    checkpoint = Checkpoint(left[2])
    text, row = checkpoint.read()
    state = from_json(text)
    connection = restore(rig.services, rig.map, state, row, client, upstream)
    rig.live.append(connection)
    connection.kept = KeptSession(connection, checkpoint)
    go_on(connection, state)
    return connection


def at(moment, flow, monkeypatch):
    """Stop this flow dead at that moment of its next hop."""

    def die(*_):
        raise Killed

    if moment == "before the send":
        flow.sink = SimpleNamespace(send=die)
    elif moment == "after the send":
        flow.observe = die
    elif moment == "after the observer":
        flow.note = die
    elif moment == "after the note":
        monkeypatch.setattr("relay.connection.peek_flow.drop", die)


MOMENTS = ["between two hops", "before the send", "after the send", "after the observer", "after the note"]
DATA = [
    ("a whole message", TICK, b""),
    ("several", TICK * 5, b""),
    ("one and a half", TICK + PART, TICK[6:]),
    ("a part", PART, TICK[6:]),
]


@pytest.mark.parametrize("data, rest", [one[1:] for one in DATA], ids=[one[0] for one in DATA])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_at_any_moment_every_byte_arrives_once_and_is_observed_once(moment, data, rest, monkeypatch):
    async with ib() as rig:
        client, gateway, connection = await ready(rig)
        before = connection.observer.messages_down
        with monkeypatch.context() as patch:
            at(moment, connection.down, patch)
            gateway.sock.send(data)
            await until(lambda: offsets.unread(connection.upstream) == len(data), "it has come")
            if moment != "between two hops":
                with pytest.raises(Killed):
                    connection.down.pull()
            else:
                connection.down.pull()
            left = killed(rig, connection)
        again = resumed(rig, left)
        await gateway.send(rest + b"\0\0\0\x04end\0")
        expected = data + rest + b"\0\0\0\x04end\0"
        assert await client.read(len(expected)) == expected
        await until(lambda: again.down.bytes == len(SERVER_HELLO + GREETING + expected), "it is counted")
        # "end" is no message id: up to there everything was understood, and that message is where it is not
        assert again.observer.opaque is not None and LOST_SIGHT not in again.observer.opaque
        assert again.observer.messages_down == before + len(data + rest) // len(TICK)


ACCOUNTS = encode_frame(join_fields(15, 1, ",".join(f"U{number}" for number in range(1_000_000, 1_010_000))))


@pytest.mark.parametrize("moment", MOMENTS[1:])
async def test_killed_in_a_list_that_is_too_long_to_be_read_it_is_known_to_have_come(moment, monkeypatch):
    async with ib() as rig:
        client, gateway, connection = await ready(rig)
        await gateway.send(ACCOUNTS[:50_000])
        assert await client.read(50_000) == ACCOUNTS[:50_000]
        with monkeypatch.context() as patch:
            await until(lambda: connection.down.bytes == len(SERVER_HELLO + GREETING) + 50_000, "it is counted")
            at(moment, connection.down, patch)
            gateway.sock.send(ACCOUNTS[50_000:-1])
            await until(lambda: offsets.unread(connection.upstream) == len(ACCOUNTS) - 50_001, "it has come")
            with pytest.raises(Killed):
                connection.down.pull()
            left = killed(rig, connection)
        again = resumed(rig, left)
        assert again.observer.account_count == 1
        await gateway.send(ACCOUNTS[-1:] + TICK)
        assert await client.read(len(ACCOUNTS) - 50_000 + len(TICK)) == ACCOUNTS[50_000:] + TICK
        await until(lambda: again.observer.account_count is None, "it is known to have come")
        assert again.observer.opaque is None


@pytest.mark.parametrize("sent", [0, 1, 3, 4, 10, len(ORDER)])
async def test_a_judge_goes_on_at_the_very_byte_and_rules_on_what_was_not_begun(sent, monkeypatch):
    """The sink of the process before took `sent` bytes of an order that had been let pass; no other order is."""
    async with ib() as rig:
        asked, allowed = [], [1]

        def policy(frame, now):
            asked.append(frame.message_id)
            if frame.message_id != 3 or (allowed and allowed.pop()):
                return PASS
            return EndWith(Reason.CONNECTION_LIMIT)

        rig.services.policy = lambda connection, direction: policy if direction is Direction.CLIENT_TO_GATEWAY else None
        client, gateway, connection = await ready(rig)
        await client.send(ORDER)
        await until(lambda: offsets.unread(connection.client) == len(ORDER), "it has come")
        if sent:
            assert connection.up.peek() == len(ORDER)
            assert connection.up.judge.look(connection.up.scratch[: len(ORDER)], 0.0).passing == len(ORDER)
            connection.up.take(sent)
        again = resumed(rig, killed(rig, connection))
        assert await gateway.read(len(ORDER)) == ORDER
        await client.send(TICK + ORDER)
        assert await gateway.read_to_end() == (TICK, "rst")
        assert (await rig.end_of(again)).cause.reason is Reason.CONNECTION_LIMIT
        assert asked[:3] == [71, 3, 1] and set(asked[3:]) == {3}


async def test_a_kill_while_the_client_does_not_read_loses_nothing(monkeypatch):
    async with ib() as rig:
        client, gateway, connection = await ready(rig)
        connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        data = TICK * 300_000
        sending = rig.loop.create_task(gateway.send(data))
        await until(lambda: connection.down.waits is not None, "the client is slow")
        got = b""
        for _ in range(5):
            left = killed(rig, connection)
            connection = resumed(rig, left)
            got += await client.read(len(data) // 7)
        got += await client.read(len(data) - len(got))
        await sending
        assert got == data
        await until(lambda: connection.observer.messages_down == 3 + 300_000, "all are counted")
        assert (connection.observer.opaque, connection.observer.stage) == (None, Stage.READY)


async def test_what_waits_for_a_client_that_does_not_read_is_known_to_the_next_process_too():
    async with ib(idle_timeout=1.0) as rig:
        client, gateway, connection = await ready(rig)
        connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        data = TICK * 300_000
        sending = rig.loop.create_task(gateway.send(data))
        await until(lambda: connection.down.waits is not None, "the client is slow")
        again = resumed(rig, killed(rig, connection))
        await until(lambda: again.record("progress").backlogs[1].still > 2.2, "longer than two idle bounds")
        record = again.record("progress")
        assert record.backlogs[1].blocked and record.backlogs[1].queued == offsets.unread(again.upstream)
        delivered = record.bytes_down - record.backlogs[1].unacknowledged
        assert delivered == len(SERVER_HELLO + GREETING) + offsets.unread(client.sock)
        assert await client.read(len(data)) == data
        await sending
        assert (await rig.end_of(again)).cause.reason is Reason.IDLE_TIMEOUT


async def test_bytes_that_went_by_unseen_make_the_session_opaque_and_nothing_else():
    async with ib() as rig:
        client, gateway, connection = await ready(rig)
        seen = connection.observer.messages_down
        connection.down.note = None  # as if a note were lost
        await gateway.send(TICK)
        assert await client.read(len(TICK)) == TICK
        await until(lambda: offsets.unread(connection.upstream) == 0, "it is dropped")
        again = resumed(rig, killed(rig, connection))
        await gateway.send(TICK)
        assert await client.read(len(TICK)) == TICK
        assert again.observer.opaque == LOST_SIGHT
        assert (again.observer.messages_down, again.observer.client_id) == (seen, 7)
        assert again.record("progress").bytes_down == len(SERVER_HELLO + GREETING + TICK * 2)


async def test_an_end_that_was_known_already_is_the_end_it_gets():
    """The error of a reset can be asked for once; who asked was killed while it delivered the last bytes."""
    async with ib() as rig:
        client, gateway, connection = await ready(rig, far_receive=SMALL)  # most of it waits until it is read
        await gateway.send(TICK * 2_000)
        await until(lambda: offsets.unread(connection.upstream) == 0, "all is on its way")
        gateway.reset()
        await until(lambda: isinstance(connection.phase, Flushing), "the reset is known")
        again = resumed(rig, killed(rig, connection))
        data, end = await client.read_to_end()
        assert (data, end) == (TICK * 2_000, "rst")
        record = await rig.end_of(again)
        assert record.cause.reason is Reason.UPSTREAM_RESET


async def test_what_does_not_go_together_is_refused():
    async with ib() as rig:
        _, _, connection = await ready(rig)
        state = state_of(connection)
        with pytest.raises(InvalidState, match="observer"):
            restore(rig.services, rig.map, replace(state, observer=None), None, connection.client, connection.upstream)
