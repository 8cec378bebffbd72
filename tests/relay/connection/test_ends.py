"""relay/connection/first_end.py with real sockets: whoever ended a connection first is named, whatever came after.

All orders of FIN, reset, silence and last bytes from both sides, at every stage. test_peek_flow.py runs all of it again
where bytes stay in the kernel.
"""

import asyncio

import pytest

from relay.config.load import Protocol
from relay.logs.explain import explain
from relay.logs.lines import severity, text_record
from relay.logs.record import EndPhase, Reason
from relay.net import offsets
from relay.wire.framing import encode_frame, join_fields
from tests.relay.connection.test_connection import READY, SERVER_HELLO, ib_session, narrow, narrow_gateway
from tests.relay.kit.loopback import PATIENCE, SMALL, Rig, until

ORDER = encode_frame(join_fields(3, 17, 0, "AAPL"))
TICK = encode_frame(join_fields(1, 6, 1, 1, "1.0", 100, 0))
OTHER = {"client": "upstream", "upstream": "client"}
STAGES = ("raw", "client_hello", "server_hello", "start_api", "ready")

# What the side that was not first does, or the first one after its FIN; what of that is seen.
SECONDS = {
    "fin": [("other", "fin")],
    "rst": [("other", "rst")],
    "last bytes, fin": [("other", "fin")],
    "last bytes, rst": [("other", "rst")],
    "its own reset": [("first", "rst")],
    "silence": [],
}
REASONS = {
    ("client", "fin"): Reason.CLIENT_CLOSED,
    ("client", "rst"): Reason.CLIENT_RESET,
    ("upstream", "fin"): Reason.UPSTREAM_CLOSED,
    ("upstream", "rst"): Reason.UPSTREAM_RESET,
}


async def session_at(rig, stage):
    return await (rig.session() if stage == "raw" else ib_session(rig, stage))


def rig_at(stage, half_close_timeout=10 * PATIENCE, **bounds):
    protocol = Protocol.RAW if stage == "raw" else Protocol.IB
    return Rig(protocol, half_close_timeout=half_close_timeout, **bounds)


def ends(connection):
    """What the relay has seen of both sides' ends: [(by, how), ...]."""
    seen = connection.ends
    return [] if seen is None else [(seen.first.by, seen.first.how), *(later[:2] for later in seen.later)]


async def ended(connection, side, how):
    """The relay has seen it, or needed not."""
    await until(lambda: connection.closed or (side, how) in ends(connection), f"{how} of the {side} is seen")


async def act(connection, far, side, how):
    """One side ends: fin or rst, with or without last bytes before it."""
    if how.startswith("last bytes, "):
        await far.send(ORDER if side == "client" else TICK)
        how = how.removeprefix("last bytes, ")
        flow = connection.up if side == "client" else connection.down
        before = flow.bytes
        await until(lambda: connection.closed or flow.bytes > before or flow.bytes, "the last bytes have passed")
    (far.finish if how == "fin" else far.reset)()
    await ended(connection, side, how)


def expected(stage, first, how):
    in_handshake = stage not in ("raw", "ready")
    if first == "client" and in_handshake:
        return Reason.CLIENT_LEFT_IN_HANDSHAKE
    return REASONS[first, how]


@pytest.mark.parametrize("first", OTHER)
@pytest.mark.parametrize("stage", STAGES)
async def test_a_reset_is_the_first_end(stage, first):
    async with rig_at(stage) as rig:
        client, gateway, connection = await session_at(rig, stage)
        (client if first == "client" else gateway).reset()
        record = await rig.end_of(connection)
        assert record.cause[:3] == (first, "rst", expected(stage, first, "rst"))
        assert record.ib_stage == (None if stage == "raw" else stage)
        assert (record.ends.first.by, record.ends.first.how, record.ends.later) == (first, "rst", ())


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("first", OTHER)
@pytest.mark.parametrize("stage", STAGES)
async def test_what_follows_a_fin_does_not_change_who_ended_it(stage, first, second):
    async with rig_at(stage, 0.2 if second == "silence" else 10 * PATIENCE) as rig:
        client, gateway, connection = await session_at(rig, stage)
        sides = {"client": client, "upstream": gateway}
        sides[first].finish()
        await ended(connection, first, "fin")
        if second == "its own reset":
            await act(connection, sides[first], first, "rst")
        elif second != "silence":
            await act(connection, sides[OTHER[first]], OTHER[first], second)
        record = await rig.end_of(connection)
        in_handshake = stage not in ("raw", "ready")
        reason = expected(stage, first, "fin")
        if second == "silence" and not (first == "client" and in_handshake):
            assert record.cause[:3] == ("relay", "timeout", Reason.HALF_CLOSE_TIMEOUT)
            assert f"the {'client' if first == 'client' else 'gateway'} had closed after" in explain(record)
        else:
            assert record.cause[:3] == (first, "fin", reason)
        seen = record.ends
        assert (seen.first.by, seen.first.how, seen.first.stage) == (first, "fin", record.ib_stage)
        sides_of = {"first": first, "other": OTHER[first]}
        steps = [(later.by, later.what) for later in seen.later if later.what != "answer"]
        assert steps == [(sides_of[side], how) for side, how in SECONDS[second]]
        assert all(later.after >= 0 for later in seen.later)


# The reports, one by one


async def test_a_gateway_that_ends_in_the_middle_of_its_hello_says_how_much_of_it_came():
    async with rig_at("client_hello") as rig:
        client, gateway, connection = await session_at(rig, "client_hello")
        await gateway.send(SERVER_HELLO[:10])
        gateway.finish()
        await ended(connection, "upstream", "fin")
        client.finish()
        record = await rig.end_of(connection)
        assert record.ends.first.cut_off == f"only 10 of {len(SERVER_HELLO)} bytes of its hello came"
        assert "; only 10 of " in explain(record)


async def test_a_client_that_gave_up_before_the_answer_came_has_no_session():
    async with rig_at("start_api") as rig:
        client, gateway, connection = await session_at(rig, "start_api")
        client.finish()
        await ended(connection, "client", "fin")
        await gateway.send(READY)
        await until(lambda: ("upstream", "answer") in ends(connection), "the answer is seen")
        gateway.finish()
        record = await rig.end_of(connection)
        assert [one.event for one in rig.records] == ["open", "close"]
        assert record.cause[:3] == ("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE)
        assert (record.ib_stage, record.phase, record.handshake) == ("start_api", EndPhase.HANDSHAKE, None)
        assert severity(record) == "WARN"
        text = explain(record)
        assert text.startswith("the client gave up after 0.")
        assert "without an answer to START_API, which came 0." in text


async def test_a_hello_that_came_too_late_is_told():
    async with rig_at("client_hello") as rig:
        client, gateway, connection = await session_at(rig, "client_hello")
        client.finish()
        await ended(connection, "client", "fin")
        await gateway.send(SERVER_HELLO)
        await until(lambda: ("upstream", "answer") in ends(connection), "the answer is seen")
        gateway.finish()
        record = await rig.end_of(connection)
        assert (record.ib_stage, record.server_version) == ("client_hello", 176)
        assert "the client gave up after 0." in explain(record)
        assert "without an answer to its hello, which came 0." in explain(record)


async def test_half_an_answer_is_told():
    async with rig_at("start_api") as rig:
        client, gateway, connection = await session_at(rig, "start_api")
        accounts = encode_frame(join_fields(15, 1, "DU1234567"))
        await gateway.send(accounts)
        assert await client.read(len(accounts)) == accounts
        client.close()
        record = await rig.end_of(connection)
        assert record.cause.reason is Reason.CLIENT_LEFT_IN_HANDSHAKE
        assert "accounts came, the next order id did not" in explain(record)


async def test_a_client_that_closes_with_something_unread_after_the_gateway_did_not_end_it():
    async with rig_at("ready") as rig:
        client, gateway, connection = await session_at(rig, "ready")
        await gateway.send(TICK)
        gateway.finish()
        await ended(connection, "upstream", "fin")
        client.close()  # the tick is unread: its kernel resets
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("upstream", "fin", Reason.UPSTREAM_CLOSED)
        assert record.ends.find("client", "rst")
        assert "the client then reset it" in explain(record)


async def test_an_order_for_a_gateway_that_had_closed_is_named_as_lost():
    async with rig_at("ready") as rig:
        client, gateway, connection = await session_at(rig, "ready")
        gateway.close()
        await ended(connection, "upstream", "fin")
        assert "the gateway closed" in text_record(connection.record("progress"), 0)
        assert "the client has not reacted" in text_record(connection.record("progress"), 0)
        await client.send(ORDER)  # answered by a reset
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("upstream", "fin", Reason.UPSTREAM_CLOSED)
        assert record.ends.late_messages == (("PLACE_ORDER", 1),)
        assert not record.ends.clean
        assert severity(record) == "WARN"
        assert "1 message (PLACE_ORDER) from the client after that was lost" in explain(record)
        assert "SD" not in explain(record)


@pytest.mark.parametrize("first", OTHER)
async def test_a_side_that_finishes_inside_a_message_did_not_close_cleanly(first):
    async with rig_at("ready") as rig:
        client, gateway, connection = await session_at(rig, "ready")
        one, other = (client, gateway) if first == "client" else (gateway, client)
        data = ORDER if first == "client" else TICK
        await one.send(data[:-5])
        assert await other.read(len(data) - 5) == data[:-5]
        one.finish()
        await other.read_to_end()
        other.finish()
        record = await rig.end_of(connection)
        assert (record.cause.by, record.ends.clean, severity(record)) == (first, False, "WARN")
        assert "5 bytes of its last message never came" in explain(record)


async def test_a_peer_that_is_no_gateway_is_not_called_a_session():
    async with rig_at("client_hello") as rig:
        client, gateway, connection = await session_at(rig, "client_hello")
        await gateway.send(b"SSH-2.0-OpenSSH_9.2\r\n")
        await until(lambda: connection.observer.opaque, "it is not understood")
        client.close()
        gateway.close()
        record = await rig.end_of(connection)
        assert (record.cause.by, severity(record)) == ("client", "WARN")
        assert explain(record).startswith("what answered is no IB gateway (gateway: ")


@pytest.mark.slow
@pytest.mark.skipif(not offsets.SUPPORTED, reason="asks the kernel what only Linux tells")
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_that_ended_behind_bytes_the_gateway_does_not_read_was_first(how):
    async with Rig(flush_timeout=5) as rig:
        narrow_gateway(rig)
        client, gateway, connection = await rig.session(far_receive=SMALL)
        narrow(connection)
        while connection.up.waits is None:
            await client.send(bytes(16384))
            await asyncio.sleep(0)
        (client.finish if how == "fin" else client.reset)()
        await until(lambda: offsets.end_of(connection.client) == how, "the kernel has it")
        gateway.finish()
        await ended(connection, "upstream", "fin")
        assert ends(connection)[0] == ("client", how)


async def test_nothing_is_remembered_of_a_connection_that_lives():
    async with rig_at("ready") as rig:
        _, gateway, connection = await session_at(rig, "ready")
        await gateway.send(TICK)
        await asyncio.sleep(0)
        assert (connection.ends, connection.record("progress").ends) == (None, None)
