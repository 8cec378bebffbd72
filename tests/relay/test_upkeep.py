"""relay/upkeep.py: reports of live sessions, bridges that come and go, and a fault that does not end it."""

import asyncio
import re
import socket
import struct

import pytest

from relay import upkeep
from relay.config.limits import SESSION_MEMORY
from relay.config.load import load
from relay.entry import listeners
from relay.entry.bridges import Survey
from relay.net import tcp
from relay.upkeep import Stalls
from tests.relay.kit.loopback import until
from tests.relay.test_server import NEAR, House, works


async def test_housekeeping_goes_on_after_a_fault_in_it(monkeypatch):
    monkeypatch.setattr(upkeep, "HOUSEKEEPING", 0.02)
    faults, rounds = [], []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context["exception"]))

    def trouble():
        rounds.append(1)
        raise ZeroDivisionError("a fault of ours")

    async with House() as house:
        monkeypatch.setattr(upkeep, "find_bridges", trouble)
        await until(lambda: len(rounds) >= 3, "it is tried again")
        await works(*await house.session())
    assert {type(fault) for fault in faults} <= {ZeroDivisionError}


@pytest.mark.slow
async def test_progress_is_reported_at_the_interval_while_a_connection_is_open():
    async with House("log_interval = 0.1") as house:
        client, gateway = await house.session()
        await works(client, gateway)
        house.log.records.clear()  # a report may have come while they were on their way
        await until(lambda: sum(one.event == "progress" for one in house.log.records) >= 2, "two reports")
        reports = [one for one in house.log.records if one.event == "progress"]
        assert [(one.bytes_up, one.bytes_down) for one in reports[:2]] == [(8, 6)] * 2
        assert reports[1].at - reports[0].at >= 0.09


async def test_with_the_interval_off_there_is_no_progress(monkeypatch):
    monkeypatch.setattr(upkeep, "HOUSEKEEPING", 0.01)
    async with House("log_interval = 0") as house:
        await house.session()
        rounds, report = [], house.relay.upkeep.report_progress
        house.relay.upkeep.report_progress = lambda: rounds.append(report())
        await until(lambda: len(rounds) >= 3, "it is time again and again")
        assert [one.event for one in house.log.records] == ["open"]


async def test_a_bridge_that_appears_is_listened_on_and_let_in_and_one_that_goes_is_not(monkeypatch):
    found = [Survey()]
    monkeypatch.setattr(upkeep, "find_bridges", lambda: found[0])
    house = House()
    house.listen = f'"auto:{house.port}"'
    async with house:
        with pytest.raises(ConnectionRefusedError):
            await house.client(host="127.0.0.9")
        found[0] = Survey((NEAR,))
        house.relay.upkeep.housekeeping()
        client, gateway = await house.session(host="127.0.0.9")
        await works(client, gateway)
        found[0] = Survey((), ("/sys/class/net: permission denied",))
        house.relay.upkeep.housekeeping()
        assert ("127.0.0.9", house.port) in house.relay.bound()  # a look that failed is no news
        house.relay.upkeep.housekeeping()
        assert sum("can be seen: /sys/class/net" in words for words in house.log.named("bridge")) == 1  # told once
        found[0] = Survey()
        house.relay.upkeep.housekeeping()
        assert ("127.0.0.9", house.port) not in house.relay.bound()
        await works(client, gateway)


async def test_a_bridge_is_found_also_when_a_part_of_the_look_always_fails(monkeypatch):
    found = [Survey((), ("IPv6 addresses: permission denied",))]
    monkeypatch.setattr(upkeep, "find_bridges", lambda: found[0])
    house = House()
    house.listen = f'"auto:{house.port}"'
    async with house:
        found[0] = Survey((NEAR,), found[0].why)
        house.relay.upkeep.housekeeping()
        await works(*await house.session(host="127.0.0.9"))


async def test_a_bridge_that_cannot_be_listened_on_yet_is_tried_again(monkeypatch):
    """An IPv6 address is being checked for a second before it can be bound: the bridge is there, its address is not."""
    monkeypatch.setattr(upkeep, "find_bridges", lambda: Survey((NEAR,)))
    real, refusing = listeners.bind, [True]

    def tentative(place, keep_alive):
        if refusing[0] and place.host == "127.0.0.9":
            raise OSError(99, "Cannot assign requested address")
        return real(place, keep_alive)

    monkeypatch.setattr(listeners, "bind", tentative)
    house = House()
    house.listen = f'"auto:{house.port}"'
    async with house:
        house.relay.upkeep.housekeeping()
        assert ("127.0.0.9", house.port) not in house.relay.bound()
        refusing[0] = False
        house.relay.upkeep.housekeeping()
        assert ("127.0.0.9", house.port) in house.relay.bound()


async def test_a_bridge_whose_port_is_taken_is_said_once_and_had_when_it_is_free(monkeypatch):
    found = [Survey()]
    monkeypatch.setattr(upkeep, "find_bridges", lambda: found[0])
    house = House()
    house.listen = f'"auto:{house.port}"'
    async with house:
        with socket.create_server(("127.0.0.9", house.port)):
            found[0] = Survey((NEAR,))
            for _ in range(3):
                house.relay.upkeep.housekeeping()
            (message,) = house.log.named("bridge")
            assert "127.0.0.9" in message and message.endswith("trying again")
            await works(*await house.session())
        house.relay.upkeep.housekeeping()
        await works(*await house.session(host="127.0.0.9"))


def test_housekeeping_looks_three_times_within_the_shortest_user_timeout():
    def interval(text):
        return upkeep.housekeeping_interval(load(text.encode(), "relay.toml", {}, {}))

    assert interval("") == upkeep.HOUSEKEEPING
    assert interval("[[map]]\nuser_timeout = 3\n") == 1
    assert interval("[[map]]\nuser_timeout = 0\n") == upkeep.HOUSEKEEPING


SO_MEMINFO = 55  # asm-generic/socket.h; the fields in linux/sock_diag.h
_TAKEN, _QUEUED, _AHEAD = 0, 5, 4  # of the receive queue, of the send queue, set aside


def held(sock):
    """Bytes a socket holds in the kernel, as a cgroup's memory limit counts them."""
    fields = struct.unpack("=9I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return sum(fields[index] for index in (_TAKEN, _QUEUED, _AHEAD))


async def flood(end):
    """Until nothing is taken any more on the whole way; how much was."""
    sent, full = 0, 0
    while full < 20:
        try:
            sent, full = sent + end.sock.send(bytes(65536)), 0
        except BlockingIOError:
            full += 1
            await asyncio.sleep(0.005)
    return sent


@pytest.mark.skipif(not tcp.LINUX, reason="asks the kernel what only Linux tells")
async def test_a_session_that_reads_on_neither_side_holds_no_more_than_the_memory_limit_has_for_it(monkeypatch):
    monkeypatch.setattr(upkeep, "HOUSEKEEPING", 0.02)
    async with House() as house:
        client, gateway = await house.session()
        await works(client, gateway)
        streaming = asyncio.create_task(client.read(8_000_000))  # the kernel's buffers grow while it reads
        await gateway.send(bytes(8_000_000))
        assert len(await streaming) == 8_000_000
        down = await flood(gateway)
        up = await flood(client)
        connection = house.relay._acceptor.live()[0]
        assert held(connection.client) + held(connection.upstream) <= SESSION_MEMORY * 1024
        await until(lambda: len(house.log.named("not.reading")) == 1, "it is said")
        said = house.log.named("not.reading")[0]
        assert "the client does not read: " in said or "the gateway does not read: " in said
        assert (len(await client.read(down)), len(await gateway.read(up))) == (down, up)


async def test_a_side_that_does_not_read_is_named_once_and_again_after_a_while(monkeypatch):
    monkeypatch.setattr(upkeep, "HOUSEKEEPING", 0.02)
    now = 0.0
    monkeypatch.setattr(upkeep, "monotonic", lambda: now)
    async with House() as house:
        client, gateway = await house.session()
        await works(client, gateway)
        await works(*await house.session())
        sent = await flood(gateway)
        await until(lambda: house.log.named("not.reading"), "it is said")
        stalls, looks = house.relay.upkeep._stalls, []
        monkeypatch.setattr(stalls, "look", lambda *given: (looks.append(given), Stalls.look(stalls, *given)))
        await until(lambda: len(looks) > 8, "it is looked at again")
        said = house.log.named("not.reading")
        assert len(said) == 1 and "-000001: the client does not read: " in said[0]
        assert re.search(
            r": [0-9.]+ [KM]iB not taken(, [0-9.]+ [KM]?i?B more from the gateway not passed on)?$", said[0]
        )
        now += upkeep.SAY_AGAIN
        await until(lambda: len(house.log.named("not.reading")) == 2, "it is said again")
        assert len(await client.read(sent)) == sent
        now += upkeep.SAY_AGAIN
        await until(lambda: not stalls._delivered, "it reads again")
        client.sock.close()
        gateway.sock.close()
        await until(lambda: not stalls._said, "it is gone")
        assert len(house.log.named("not.reading")) == 2
