"""relay/client.py: our own session over real sockets, against the practice gateway."""

from time import monotonic

import pytest

from relay.client import Client
from relay.practice import Practice, PracticeGateway
from relay.wire.observer import Stage
from relay.wire.session import Outcome, Session

OUTCOMES = [
    ("normal", Outcome.USABLE, Stage.READY),
    ("close-on-start-api", Outcome.CLOSED, Stage.START_API),
    ("client-id-in-use", Outcome.REFUSED_ID, Stage.START_API),
    ("start-api-ignored", Outcome.TIMED_OUT, Stage.START_API),
    ("silent", Outcome.TIMED_OUT, Stage.CLIENT_HELLO),
    ("http", Outcome.BAD_PEER, Stage.CLIENT_HELLO),
]


@pytest.mark.slow
@pytest.mark.parametrize(("behaviour", "outcome", "stage"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
async def test_a_session_ends_with_its_outcome_and_stage(behaviour, outcome, stage):
    async with PracticeGateway(Practice(behaviour=behaviour)) as gateway:
        session = Session(41, hello_timeout=0.3, start_timeout=0.3)
        async with Client("127.0.0.1", gateway.port, session) as client:
            while session.outcome is Outcome.PENDING:
                await client.next_events(monotonic() + 2)
        assert (session.outcome, session.stage) == (outcome, stage)


async def test_a_refused_connect_is_an_os_error_and_leaves_nothing_open():
    gateway = PracticeGateway()
    await gateway.start()
    port = gateway.port
    await gateway.close()
    client = Client("127.0.0.1", port, Session(41))
    with pytest.raises(ConnectionRefusedError):
        await client.connect()
    await client.close()
