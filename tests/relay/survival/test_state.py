"""relay/survival/state.py: a connection as values, there and back, and nothing else taken for one."""

import json
from dataclasses import replace

import pytest

from relay.config.load import Protocol
from relay.logs.record import Cause, Reason
from relay.survival.state import (
    FORMAT,
    ConnectionState,
    FlowState,
    InvalidState,
    cause_of,
    ends_of,
    from_json,
    state_of,
    to_json,
)
from tests.relay.connection.test_handshake import CLIENT_HELLO, READY, SERVER_HELLO, START_API, ib
from tests.relay.kit.loopback import SMALL, Rig, until

PLAIN = ConnectionState("20260101T000000-000001", "paper", "ib", ("127.0.0.1", 4002), ("172.17.0.2", 50000), 4003, 12.5)
STATES = [
    ("just accepted", PLAIN),
    (
        "during the dial, with every byte there is",
        replace(PLAIN, early=bytes(range(256)).decode("latin-1"), client_finished=True),
    ),
    (
        "open",
        replace(
            PLAIN,
            peer=("127.0.0.1", 4002),
            connect_seconds=0.001,
            ready_at=13.0,
            first_fin="client",
            up=FlowState(10, 12.6, 13.0, "rest", 0, 1),
            down=FlowState(20, None, None, "", None, None),
        ),
    ),
    ("flushing", replace(PLAIN, cause=("client", "rst", "client_reset", None, "ECONNRESET"), broken="client")),
    ("a hello is held", replace(PLAIN, held="\0\0", glued="more")),
]


@pytest.mark.parametrize("state", [one[1] for one in STATES], ids=[one[0] for one in STATES])
def test_what_is_written_comes_back(state):
    assert from_json(to_json(state)) == from_json(to_json(state).encode()) == state


STRANGE = [
    ("nothing", ""),
    ("no JSON", "{"),
    ("no object", "[]"),
    ("another format", to_json(PLAIN).replace(f'"format":{FORMAT}', f'"format":{FORMAT + 1}')),
    ("a field too many", to_json(PLAIN)[:-1] + ',"more":1}'),
    ("a field missing", to_json(PLAIN).replace('"local_port":4003,', "")),
    ("a reason nobody knows", to_json(replace(PLAIN, cause=("client", "rst", "boredom", None, None)))),
]


@pytest.mark.parametrize("text", [one[1] for one in STRANGE], ids=[one[0] for one in STRANGE])
def test_what_is_no_state_is_refused(text):
    with pytest.raises(InvalidState):
        from_json(text)


def test_a_cause_is_the_same_cause_afterwards():
    cause = Cause("upstream", "timeout", Reason.UPSTREAM_DEAD, "words", "ETIMEDOUT")
    assert cause_of(from_json(to_json(replace(PLAIN, cause=tuple(cause))))) == cause
    assert cause_of(PLAIN) is None


async def test_an_open_session_is_written_down_whole():
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO)
        await gateway.send(SERVER_HELLO)
        assert await client.read(len(SERVER_HELLO)) == SERVER_HELLO
        await client.send(START_API)
        await gateway.send(READY)
        assert await client.read(len(READY)) == READY
        await until(lambda: connection.ready_at, "it is ready")
        state = state_of(connection)
        assert (state.map_name, state.protocol, state.ready_at) == ("test", "ib", connection.ready_at)
        assert (state.up.bytes, state.up.pending) == (len(CLIENT_HELLO + START_API), "")
        assert state.down.bytes == len(SERVER_HELLO + READY)
        assert (state.observer["stage"], state.observer["client_id"]) == ("ready", 7)
        assert from_json(to_json(state)).observer == json.loads(json.dumps(state.observer))


@pytest.mark.parametrize("protocol", Protocol)
async def test_who_ended_first_is_known_to_the_next_program(protocol):
    async with Rig(protocol) as rig:
        client, _, connection = await rig.session(CLIENT_HELLO)
        client.finish()
        await until(lambda: connection.first_fin, "the FIN has been passed on")
        state = from_json(to_json(state_of(connection)))
        known = ends_of(state)
        assert (known.first, known.at, known.later) == (connection.ends.first, connection.ends.at, ())
        assert known.value(None, known.bytes_up) == connection.ends.value(None, known.bytes_up)
        before = replace(state, observer={name: value for name, value in state.observer.items() if name != "ends"})
        assert ends_of(before).first[:3] == ("client", "fin", None)  # a release that keeps only who said FIN


@pytest.mark.parametrize("values", [7, {}, {"first": [1], "at": 0.0, "counts": [], "bytes_up": 0, "later": []}])
def test_what_are_no_ends_is_refused(values):
    with pytest.raises(InvalidState):
        ends_of(replace(PLAIN, observer={"ends": values}))


async def test_bytes_in_our_hands_are_part_of_it(endless):
    async with ib() as rig:
        client, gateway, connection = await rig.session(CLIENT_HELLO, leg_send=SMALL, far_receive=SMALL)
        await gateway.send(SERVER_HELLO[:5])
        await until(lambda: connection.phase.held, "it is held")
        assert state_of(connection).held == SERVER_HELLO[:5].decode("latin-1")
        await gateway.send(SERVER_HELLO[5:] + b"glued")
        await until(lambda: connection.phase.waiting, "the rest waits")
        assert (state_of(connection).held, state_of(connection).glued) == ("", "glued")
    async with Rig(Protocol.RAW) as rig:
        client, gateway, connection = await rig.session(leg_send=SMALL, far_receive=SMALL)
        sending = rig.loop.create_task(gateway.send(bytes(400_000)))
        await until(lambda: connection.down.waits is not None, "the client is slow")
        state = state_of(connection)
        assert len(state.down.pending) == connection.down.left > 0
        assert await client.read(400_000) == bytes(400_000)
        await sending
