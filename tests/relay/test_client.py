"""relay/client.py: our own session over real sockets, against the practice gateway."""

import asyncio
import socket
import struct
from time import monotonic

import pytest

from relay.client import Client
from relay.practice import Practice, PracticeGateway
from relay.wire.session import ClientSession, SessionOutcome
from relay.wire.stage import Stage
from tests.relay.kit.loopback import unused_port

OUTCOMES = [
    ("normal", SessionOutcome.USABLE, Stage.READY),
    ("close-on-start-api", SessionOutcome.CLOSED, Stage.START_API),
    ("client-id-in-use", SessionOutcome.REFUSED_ID, Stage.START_API),
    ("start-api-ignored", SessionOutcome.TIMED_OUT, Stage.START_API),
    ("silent", SessionOutcome.TIMED_OUT, Stage.CLIENT_HELLO),
    ("http", SessionOutcome.BAD_PEER, Stage.CLIENT_HELLO),
]


@pytest.mark.slow
@pytest.mark.parametrize(("behaviour", "outcome", "stage"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
async def test_a_session_ends_with_its_outcome_and_stage(behaviour, outcome, stage):
    async with PracticeGateway(Practice(behaviour=behaviour)) as gateway:
        session = ClientSession(41, hello_timeout=0.3, start_timeout=0.3)
        async with Client("127.0.0.1", gateway.port, session) as client:
            while session.outcome is SessionOutcome.PENDING:
                await client.next_events(monotonic() + 2)
        assert (session.outcome, session.stage) == (outcome, stage)


async def test_a_reset_that_is_found_by_the_dial_is_the_end_of_a_connection(monkeypatch):
    """It was made: who is refused gets ECONNREFUSED."""
    loop, reset_at_once = asyncio.get_running_loop(), struct.pack("ii", 1, 0)

    async def look_late(sock, address):
        sock.connect_ex(address)
        accepted = server.accept()[0]
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_once)
        accepted.close()
        raise OSError(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "found late")

    monkeypatch.setattr(loop, "sock_connect", look_late)
    session = ClientSession(41, hello_timeout=5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with Client("127.0.0.1", server.getsockname()[1], session) as client:
            assert await client.next_events(monotonic() + 5) == []
    assert (session.outcome, session.detail) == (
        SessionOutcome.RESET,
        "reset by the gateway after client_hello, 0 bytes received",
    )


async def test_a_refused_connect_is_an_os_error_and_leaves_nothing_open():
    gateway = PracticeGateway()
    await gateway.start(port=unused_port())
    port = gateway.port
    await gateway.close()
    client = Client("127.0.0.1", port, ClientSession(41))
    with pytest.raises(ConnectionRefusedError):
        await client.connect()
    await client.close()
