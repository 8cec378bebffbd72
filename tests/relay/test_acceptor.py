"""relay/acceptor.py: who is let in, who is turned away, and who waits for a look at the bridges first."""

import asyncio
import ipaddress
import socket
from time import monotonic

import pytest

from relay import acceptor, upkeep
from relay.acceptor import MOST_UNDECIDED
from relay.entry import admission
from relay.entry.bridges import Bridge, Survey
from relay.logs.brake import IN_FULL
from relay.logs.record import Cause, EndPhase, Reason
from tests.relay.kit.loopback import HOST, PATIENCE, Far, until, unused_port
from tests.relay.test_server import House, works

# Who is let in


async def test_a_client_that_is_not_on_the_access_list_is_reset_and_never_dialled_for():
    async with House(settings='allow = "10.0.0.0/8"') as house:
        client = await house.client()
        assert (await client.read_to_end())[1] == "rst"
        record = await house.close_of()
        assert record.cause == Cause("relay", "policy", Reason.ACL_DENIED, record.cause.detail)
        assert HOST in record.cause.detail and "10.0.0.0/8" in record.cause.detail
        assert (record.phase, record.client_address, record.active) == (EndPhase.HANDSHAKE, HOST, 0)
        assert [one.event for one in house.log.records] == ["close"]
        with pytest.raises(BlockingIOError):
            house.gateways.accept()


async def test_more_clients_than_the_limit_are_refused_until_one_leaves():
    async with House("max_connections = 2") as house:
        sessions = [await house.session() for _ in range(2)]
        refused = await house.client()
        assert (await refused.read_to_end())[1] == "rst"
        record = await house.close_of()
        assert record.cause[:3] == ("relay", "policy", Reason.CONNECTION_LIMIT)
        assert (record.cause.detail, record.active) == ("2 connections are open, max_connections = 2", 2)
        await works(*sessions[0])
        sessions[0][0].reset()
        await house.close_of(2)
        await works(*await house.session())


async def test_more_clients_of_one_source_than_its_limit_are_refused():
    async with House(settings='max_per_source = 1\nallow = "127.0.0.0/8"') as house:
        await house.session()
        refused = await house.client()
        assert (await refused.read_to_end())[1] == "rst"
        record = await house.close_of()
        assert record.cause.detail == "127.0.0.1 has 1 connections open, max_per_source = 1"


async def test_clients_that_were_reset_before_they_were_accepted_hurt_nobody():
    async with House() as house:
        for _ in range(20):
            sock = socket.create_connection((HOST, house.port))
            Far(sock).reset()
        await works(*await house.session())
        await until(lambda: house.live() == 1, "the others are gone")


async def test_a_hundred_clients_at_once_are_all_let_in():
    async with House() as house:
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(house.client())
        await until(lambda: house.live() == 100, "all of them are in")


async def test_a_crowd_is_let_in_a_few_at_a_time_and_others_have_their_turns(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(acceptor, "monotonic", lambda: clock[0])
    async with House() as house:
        accept, begin, batches = house.relay._acceptor.accept, house.relay._acceptor._begin, []

        def slow(*client):
            clock[0] += acceptor.ACCEPT_SLICE / 2
            batches[-1] += 1
            begin(*client)

        def counted(listener):
            batches.append(0)
            return accept(listener)

        monkeypatch.setattr(house.relay._acceptor, "_begin", slow)
        monkeypatch.setattr(house.relay._listeners, "_accept", counted)
        for _ in range(20):
            await house.client()
        await until(lambda: house.live() == 20, "all of them are in")
        assert max(batches) <= 4


# Who is this relay itself

# Names of 127.0.0.1 and 127.0.1.1 that need no name server, as a hostname in /etc/hosts is one.
NEAR, HOSTNAME = "0x7f000001", "0x7f000101"


class Mirror(House):
    """Its upstreams lead back to its listeners: `maps` are (listens on, dials), hosts with the number of a port."""

    def __init__(self, protocol, *maps):
        super().__init__(protocol=protocol)
        self.maps, self.ports = maps, (self.port, unused_port())

    def text(self):
        host, number = self.maps[0][1]
        self.dialled = f"{host}:{self.ports[number]}"
        return "".join(
            f'[[map]]\nname = "map{index}"\nlisten = "{here}:{self.ports[at]}"\n'
            f'upstream = "{there}:{self.ports[to]}"\nprotocol = "{self.protocol}"\n'
            for index, ((here, at), (there, to)) in enumerate(self.maps)
        )


LOOPS = [
    ("a name of the address", [((HOST, 0), (NEAR, 0))]),
    ("a hostname, listening everywhere", [(("0.0.0.0", 0), (HOSTNAME, 0))]),
    ("two maps, each the other's upstream", [((HOST, 0), (NEAR, 1)), ((HOST, 1), (NEAR, 0))]),
]


@pytest.mark.parametrize("protocol", ["ib", "raw"])
@pytest.mark.parametrize("maps", [loop[1] for loop in LOOPS], ids=[loop[0] for loop in LOOPS])
async def test_an_upstream_that_is_this_relay_ends_one_connection_and_makes_no_other(maps, protocol):
    async with Mirror(protocol, *maps) as house:
        client = await house.client()
        await client.send(b"API\0\0\0\0\x09v100..187")
        assert (await client.read_to_end())[1] == "rst"
        record = await house.close_of()
        assert record.cause[:3] == ("relay", "error", Reason.LOOP_DETECTED)
        assert house.dialled in record.cause.detail and "listens itself" in record.cause.detail
        assert record.phase is EndPhase.CONNECT
        await until(lambda: not house.live(), "nothing is left")
        assert [one.event for one in house.log.records] == ["open", "close"]


# Who is known only after another look at the bridges

CONTAINER, STRANGER = "127.0.7.2", "127.0.8.2"  # sources of clients; the network of the one comes while the relay runs
NETWORK = Bridge("br-0123456789ab", ipaddress.ip_interface("127.0.7.1/24"))


class Machine:
    def __init__(self):
        self.bridges, self.looks = (), []

    def look(self):
        self.looks.append(monotonic())
        return Survey(tuple(self.bridges))


@pytest.fixture
def machine(monkeypatch):
    """A machine without bridges yet, of which only 127.0.0.1 counts as itself; `looks` has the time of every look."""
    monkeypatch.setattr(admission, "LOOPBACK", (ipaddress.ip_network("127.0.0.1/32"),))

    machine = Machine()
    monkeypatch.setattr(upkeep, "find_bridges", machine.look)
    monkeypatch.setattr(upkeep, "LinkEvents", no_events)
    return machine


def no_events(poller, heard):
    raise OSError("nobody tells: as in a unit without netlink")


async def from_there(house, source):
    """A client of this source, connected by the kernel before the relay has had its turn."""
    sock = socket.create_connection((HOST, house.port), PATIENCE, source_address=(source, 0))
    sock.setblocking(False)
    house.fars.append(Far(sock))
    return house.fars[-1]


async def test_the_first_client_of_a_network_that_has_just_come_is_let_in(machine):
    async with House() as house:
        machine.bridges = [NETWORK]
        client = await from_there(house, CONTAINER)
        await works(client, await house.gateway())
        assert house.log.closes() == []


async def test_a_network_that_comes_right_after_a_look_is_waited_for(machine):
    async with House() as house:
        stranger = await from_there(house, STRANGER)
        assert (await stranger.read_to_end())[1] == "rst"
        looked = len(machine.looks)
        machine.bridges = [NETWORK]
        client = await from_there(house, CONTAINER)
        await works(client, await house.gateway())
        assert len(machine.looks) == looked + 1 and machine.looks[-1] - machine.looks[-2] >= upkeep.LEAST_BETWEEN * 0.99


async def test_a_stranger_is_turned_away_after_the_look_and_in_the_log(machine):
    async with House() as house:
        machine.bridges = [NETWORK]
        stranger = await from_there(house, STRANGER)
        assert (await stranger.read_to_end())[1] == "rst"
        record = await house.close_of()
        assert record.cause[:3] == ("relay", "policy", Reason.ACL_DENIED)
        assert record.cause.detail == f"{STRANGER} is in none of the allowed networks (127.0.0.1/32, 127.0.7.0/24)"
        assert house.live() == 0


async def test_a_crowd_of_strangers_costs_ten_looks_a_second_and_not_one_each(machine):
    async with House() as house:
        count = MOST_UNDECIDED + 36  # fits into the kernel's queue
        strangers = [await from_there(house, STRANGER) for _ in range(count)]
        began, looked = monotonic(), len(machine.looks)
        for stranger in strangers:
            assert (await stranger.read_to_end())[1] == "rst"
        allowed = 2 + (monotonic() - began) / upkeep.LEAST_BETWEEN
        assert 0 < len(machine.looks) - looked <= allowed
        await house.close_of(IN_FULL)
        assert {record.cause.reason for record in house.log.closes()} == {Reason.ACL_DENIED}
        house.relay._brake.settle(at_once=True)
        (message,) = house.log.named("connection.repeated")
        assert f"{count - IN_FULL} more connections of {STRANGER}" in message


async def test_where_the_networks_are_given_nobody_looks_at_bridges(machine):
    async with House(settings='allow = "127.0.0.1"') as house:
        looked = len(machine.looks)
        stranger = await from_there(house, STRANGER)
        assert (await stranger.read_to_end())[1] == "rst"
        assert len(machine.looks) == looked


async def test_who_waits_when_the_relay_stops_is_told_before_it_ends(machine, monkeypatch):
    async with House() as house:
        first = await from_there(house, STRANGER)
        assert (await first.read_to_end())[1] == "rst"
        monkeypatch.setattr(upkeep, "LEAST_BETWEEN", 10 * PATIENCE)  # the next look is far away
        waiting = await from_there(house, STRANGER)
        await until(lambda: house.relay._acceptor._undecided, "it waits")
        house.relay.stop("the test")
        assert (await waiting.read_to_end())[1] == "rst"
        assert (await house.close_of(2)).cause.reason is Reason.ACL_DENIED


@pytest.mark.parametrize(("allow", "served"), [("auto", True), ("10.0.0.0/8", False)])
async def test_auto_lets_in_a_program_of_this_machine_by_whatever_address_it_comes(machine, monkeypatch, allow, served):
    """127.0.0.1 is an address of the machine and of nothing else here."""
    monkeypatch.setattr(admission, "LOOPBACK", ())
    async with House(settings=f'allow = "{allow}"') as house:
        client = await from_there(house, HOST)
        if served:
            await works(client, await house.gateway())
        else:
            assert (await client.read_to_end())[1] == "rst"
        assert (await (await from_there(house, STRANGER)).read_to_end())[1] == "rst"


async def test_a_map_that_goes_while_its_client_waits_leaves_nothing_behind(machine, monkeypatch):
    async with House() as house:
        assert (await (await from_there(house, STRANGER)).read_to_end())[1] == "rst"
        monkeypatch.setattr(upkeep, "LEAST_BETWEEN", 10 * PATIENCE)  # the next look is far away
        waiting = await from_there(house, CONTAINER)
        await until(lambda: house.relay._acceptor._undecided, "it waits")
        house.relay._acceptor.admit_as([], [NETWORK], 0)
        house.relay._acceptor.decide_again()
        assert (await waiting.read_to_end())[1] == "rst"


async def test_a_network_is_let_in_although_its_own_address_cannot_be_listened_on(machine):
    """Another program has the port there; containers come in through docker0's address all the same."""
    house = House()
    house.listen = f'"auto:{house.port}"'
    async with house:
        with socket.create_server((str(NETWORK.interface.ip), house.port)):
            machine.bridges = [NETWORK]
            await works(await from_there(house, CONTAINER), await house.gateway())
            assert "trying again" in house.log.named("bridge")[0]


# Faults of ours


async def test_a_fault_in_accepting_does_not_make_the_relay_deaf(monkeypatch):
    async with House() as house:
        with monkeypatch.context() as patch:
            patch.setattr(acceptor, "decide", lambda *args: 1 // 0)
            await house.client()
            await until(lambda: house.log.named("fault"), "the fault is in the log")
        await works(*await house.session())


async def test_a_fault_in_a_second_look_does_not_make_the_relay_deaf(machine, monkeypatch):
    async with House() as house:
        with monkeypatch.context() as patch:
            patch.setattr(house.relay._acceptor, "_refuse", lambda *args: 1 // 0)
            client = await from_there(house, STRANGER)
            assert (await client.read_to_end())[1] in ("fin", "rst")
        assert house.log.named("fault")
        machine.bridges = [NETWORK]
        await works(await from_there(house, CONTAINER), await house.gateway())
