"""The release before this one becomes today's with live sessions, in place, after a kill and after a restart; and back.

What one version leaves behind (the handover document, the manager's store, checkpoints, messages in flight) the other
takes up: all of it is an interface between two programs that never run at the same time.
"""

import pytest

from relay.net import offsets
from tests import releases
from tests.relay.kit.scripted import wait_until
from tests.relay.kit.streams import CLIENT_HELLO, SERVER_HELLO
from tests.relay.survival.test_survival import ROADS, House, streams_through

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not offsets.SUPPORTED, reason="elsewhere no manager keeps descriptors"),
]
ROUNDS = 4  # from the previous release to today's, and as many back (under systemd: tests/systemd/test_previous.py)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    previous = releases.build(releases.PREVIOUS, folder / "previous.pyz")
    return previous, releases.build(None, folder / "today.pyz")


@pytest.mark.parametrize("keeps, tells, act", [road[1:] for road in ROADS], ids=[road[0] for road in ROADS])
def test_sessions_and_every_byte_outlive_the_change_of_a_release_that_is(tmp_path, programs, keeps, tells, act):
    installed = tmp_path / "ib-relay.pyz"
    previous, today = programs
    releases.put(previous, installed)
    house = House(tmp_path, keeps, tells)
    house.service.command[1:3] = [str(installed)]
    house.service.cwd = tmp_path
    del house.service.environ["PYTHONPATH"]
    rounds = iter(range(2 * ROUNDS))

    def change():
        releases.put(previous if next(rounds) % 2 else today, installed)
        getattr(house.service, act)()

    with house:
        hammer, _ = streams_through(house, change, 2 * ROUNDS, hammering=0.005)
        assert hammer.served > 0
        if act != "kill":
            assert hammer.failed == 0, hammer.faults
        wants = {"upgrade": 1, "kill": house.service.starts, "restart": house.service.starts}
        assert house.service.starts == wants[act]
        lost = sum(line.get("lost", 0) for line in house.records("resumed"))
        assert (lost, house.records("resume.failed")) == (0, [])


@pytest.mark.parametrize("act", ["kill", "upgrade"])
def test_a_session_in_its_first_moments_outlives_it_as_well(tmp_path, programs, act):
    """Accepted and silent; in the middle of its hello; before the gateway's hello is whole."""
    installed = tmp_path / "ib-relay.pyz"
    previous, today = programs
    releases.put(previous, installed)
    house = House(tmp_path)
    house.service.command[1:3] = [str(installed)]
    house.service.cwd = tmp_path
    del house.service.environ["PYTHONPATH"]
    with house:
        silent, begun = house.dial(), house.dial()
        begun.sendall(CLIENT_HELLO[:6])
        greeted = house.dial()
        greeted.sendall(CLIENT_HELLO)
        gateway = house.ib.accept()
        assert gateway.read_exactly(len(CLIENT_HELLO)) == CLIENT_HELLO
        gateway.sendall(SERVER_HELLO[:9])
        wait_until(lambda: len(house.records("connection.open")) == 3, "all three are accepted")
        releases.put(today, installed)
        getattr(house.service, act)()
        gateway.sendall(SERVER_HELLO[9:])
        assert greeted.read_exactly(len(SERVER_HELLO)) == SERVER_HELLO
        for client, rest in ((silent, CLIENT_HELLO), (begun, CLIENT_HELLO[6:])):
            client.sendall(rest)
            other = house.ib.accept()
            assert other.read_exactly(len(CLIENT_HELLO)) == CLIENT_HELLO
            other.sendall(SERVER_HELLO)
            assert client.read_exactly(len(SERVER_HELLO)) == SERVER_HELLO
            other.close()
        gateway.close()
