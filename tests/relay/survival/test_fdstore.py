"""relay/survival/fdstore.py: who is given to the manager, when, under which names, and when it is asked back."""

import asyncio
import os
import socket

import pytest

from relay.connection.peek_flow import PeekFlow
from relay.manager import systemd
from relay.net import offsets
from relay.survival import fdstore
from relay.survival.checkpoint import Checkpoint
from relay.survival.fdstore import AGE, StoreKeeper, manager_keeps, sort
from relay.survival.inflight import InFlight
from relay.survival.numbers import Numbers
from relay.survival.state import from_json
from tests.relay.connection.test_handshake import CLIENT_HELLO, SERVER_HELLO, START_API, ib
from tests.relay.kit.loopback import PATIENCE, SMALL, Rig, until
from tests.relay.kit.managers import fill
from tests.relay.kit.pid1 import Pid1
from tests.relay.kit.scripted import wait_until
from tests.relay.kit.streams import GREETING

pytestmark = pytest.mark.skipif(not offsets.SUPPORTED, reason="elsewhere no manager keeps descriptors")


@pytest.fixture
def manager(tmp_path):
    """A manager without a service, and a inflight: this process talks to them."""
    manager = Pid1(tmp_path, [])
    manager.inflight = InFlight()
    yield manager
    manager.inflight.close()
    manager.__exit__()


@pytest.fixture(autouse=True)
def peeking(monkeypatch):
    monkeypatch.setattr(Rig, "flow", PeekFlow)


async def keeping(rig, manager, room=100):
    rig.outside = []
    keeper = rig.services.keeper = StoreKeeper(
        asyncio.get_running_loop(), room, lambda *seen: rig.outside.append(seen), manager.environ, manager.inflight
    )
    return keeper


async def ready(rig):
    client, gateway, connection = await rig.session(CLIENT_HELLO)
    await gateway.send(SERVER_HELLO)
    assert await client.read(len(SERVER_HELLO)) == SERVER_HELLO
    await client.send(START_API)
    await gateway.send(GREETING)
    assert await client.read(len(GREETING)) == GREETING
    return client, gateway, connection


def names(connection):
    return {f"{connection.connection_id}.{part}" for part in fdstore.PARTS}


async def test_a_session_that_is_ready_is_given_away_at_once(manager, monkeypatch):
    async with ib() as rig:
        await keeping(rig, manager)
        monkeypatch.setattr(fdstore, "AGE", 10 * PATIENCE)
        _, _, connection = await ready(rig)
        await until(lambda: manager.names() == names(connection), "all three parts are kept")
        copy = Checkpoint(os.dup(manager.stored[f"{connection.connection_id}.slate"][0]))
        text, row = copy.read()
        state = from_json(text)
        assert (state.connection_id, state.ready_at, row.down_seen) == (
            connection.connection_id,
            connection.ready_at,
            len(SERVER_HELLO + GREETING),
        )
        copy.close()


async def test_any_other_is_given_away_when_it_is_no_short_one_any_more(manager, monkeypatch):
    now, looks = 1000.0, []  # the keeper's clock; its looks at the young ones go by the real one
    monkeypatch.setattr(fdstore, "monotonic", lambda: now)
    monkeypatch.setattr(fdstore, "TICK", 0.01)
    async with Rig() as rig:
        keeper = await keeping(rig, manager)
        tick, keeper._tick = keeper._tick, lambda: (looks.append(now), tick())
        _, _, connection = await rig.session()
        now += AGE - 0.1
        await until(lambda: now in looks, "it was looked at")
        assert not connection.kept.stored and manager.names() == set()
        now += 0.1
        await until(lambda: manager.names() == names(connection), "it is kept")


async def test_many_that_are_ready_at_once_are_given_away_a_few_at_a_time(manager, monkeypatch):
    clock, turns = [1000.0], []
    monkeypatch.setattr(fdstore, "monotonic", lambda: clock[0])
    async with Rig() as rig:
        keeper = await keeping(rig, manager)
        for _ in range(8):
            await rig.session()
        tick = keeper._tick

        def takes_a_while(connection):
            clock[0] += fdstore.SLICE / 2
            turns[-1] += 1
            return keeper._young.pop(connection)

        monkeypatch.setattr(keeper, "keep", takes_a_while)
        monkeypatch.setattr(keeper, "_tick", lambda: (turns.append(0), tick()))
        clock[0] += AGE
        await until(lambda: not keeper._young, "all are given away")
        assert sum(turns) == 8 and max(turns) <= 4


async def test_a_manager_that_takes_nothing_is_not_asked_again_at_every_end(manager, monkeypatch):
    async with ib() as rig:
        keeper = await keeping(rig, manager)
        monkeypatch.setattr(fdstore, "TICK", 10 * PATIENCE)
        sessions = [await ready(rig) for _ in range(3)]
        await until(lambda: len(manager.names()) == 9, "they are kept")
        manager.deaf.set()
        fill(lambda: systemd.watchdog(environ=manager.environ))
        asked, unstore = [], systemd.unstore
        monkeypatch.setattr(systemd, "unstore", lambda *some, **more: asked.append(1) or unstore(*some, **more))
        for client, gateway, connection in sessions:
            client.close()
            gateway.close()
            await rig.end_of(connection)
        assert (len(asked), len(keeper._unwanted)) == (1, 9)
        manager.deaf.clear()
        keeper.settle(PATIENCE)
        await until(lambda: manager.names() == set(), "nothing is kept")


async def test_its_end_is_said_before_the_copies_are_asked_back_and_leaves_nothing(manager):
    async with ib() as rig:
        await keeping(rig, manager)
        client, gateway, connection = await ready(rig)
        await until(lambda: manager.names() == names(connection), "it is kept")
        manager.deaf.set()  # it has its copies for as long as it likes
        client.close()
        assert await gateway.read_to_end() == (CLIENT_HELLO + START_API, "fin")
        gateway.close()
        await rig.end_of(connection)
        assert await rig.rests() == 0, "no dead descriptor is reported"
        manager.deaf.clear()
        await until(lambda: manager.names() == set(), "nothing is kept")


async def test_what_cannot_be_told_now_is_told_later(manager):
    async with ib() as rig:
        keeper = await keeping(rig, manager)
        client, gateway, connection = await ready(rig)
        await until(lambda: manager.names() == names(connection), "it is kept")
        manager.deaf.set()
        fill(lambda: systemd.watchdog(environ=manager.environ))
        client.close()
        gateway.close()
        await rig.end_of(connection)
        assert keeper._unwanted
        manager.deaf.clear()
        await until(lambda: manager.names() == set(), "nothing is kept")
        assert not keeper._unwanted


async def test_bytes_in_our_own_hands_keep_a_connection_here(manager, monkeypatch):
    async with Rig() as rig:
        keeper = await keeping(rig, manager)
        client, _, connection = await rig.session(leg_send=SMALL, far_receive=SMALL)
        connection.down.push(bytes(400_000))
        assert connection.down.pending
        assert keeper.keep(connection) is False
        assert await client.read(400_000) == bytes(400_000)
        await until(lambda: connection.down.waits is None, "they are gone")
        assert keeper.keep(connection) is True


async def test_no_more_than_fit_are_given_away_and_whoever_does_not_is_told_of(manager):
    async with Rig() as rig:
        keeper = await keeping(rig, manager, room=2)
        connections = [(await rig.session())[2] for _ in range(3)]
        assert [keeper.keep(one) for one in connections] == [True, True, False]
        await until(lambda: len(manager.names()) == 6, "two are kept")
        assert not connections[2].kept.stored and connections[2].connection_id in keeper.inflight
        assert keeper.keep(connections[2]) is False
        assert rig.outside == [(1, 0, 2)], "once; it is in flight, where a kill does not reach it"
        keeper.inflight.remove(connections[2].connection_id)
        keeper.ended(connections[0])
        assert keeper.keep(connections[2]) is True
        assert rig.outside == [(1, 0, 2), (0, 0, 2)]


async def test_what_is_neither_kept_nor_in_flight_would_end_in_a_kill(manager):
    async with Rig() as rig:
        keeper = await keeping(rig, manager, room=0)
        connection = (await rig.session())[2]
        keeper.inflight.remove(connection.connection_id)
        assert keeper.keep(connection) is False
        keeper.ended(connection)
        assert rig.outside == [(1, 1, 0), (0, 0, 0)]


def test_a_manager_keeps_if_it_says_so_or_shows_it(tmp_path):
    for name, tells, keeps, answer in (("a", True, True, True), ("b", False, True, True), ("c", False, False, False)):
        (tmp_path / name).mkdir()
        manager = Pid1(tmp_path / name, [], tells=tells)
        manager.keeps = keeps
        try:
            assert manager_keeps(manager.environ) is answer
            wait_until(lambda manager=manager: not manager.names(), "nothing is left there")
        finally:
            manager.__exit__()
    assert manager_keeps({}) is False
    assert manager_keeps({"NOTIFY_SOCKET": str(tmp_path / "a" / "notify"), "FDSTORE": "0"}) is False


def test_a_manager_that_does_not_answer_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fdstore, "PROBE_WAIT", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as silent:
        silent.bind(str(tmp_path / "notify"))
        assert manager_keeps({"NOTIFY_SOCKET": str(tmp_path / "notify")}) is False


def test_what_came_back_is_sorted_by_session():
    stored = {
        "20260101T000000-000001.slate": 5,
        "20260101T000000-000001.client": 6,
        "numbers": 7,
        "a.b.upstream": 8,
        "x.y": 9,
    }
    sessions = {"20260101T000000-000001": {"slate": 5, "client": 6}, "a.b": {"upstream": 8}}
    assert sort(stored) == (sessions, {"numbers": 7, "x.y": 9})


def test_numbers_go_on_in_the_next_process_with_the_boot_they_began_with():
    numbers = Numbers("20260101T000000", shared=True)
    assert [next(numbers), next(numbers)] == ["20260101T000000-000001", "20260101T000000-000002"]
    later = Numbers("20270101T000000", fd=os.dup(numbers.fd))
    assert (next(later), later.following) == ("20260101T000000-000003", 4)
    for one in (numbers, later):
        one.close()
    alone = Numbers("20260101T000000", 9)
    assert (next(alone), alone.fd) == ("20260101T000000-000009", None)


def test_the_next_process_learns_how_many_sessions_ended_with_this_one_and_an_older_release_asks_for_less():
    numbers = Numbers("20260101T000000", shared=True)
    numbers.note_not_kept(7)
    later = Numbers("", fd=os.dup(numbers.fd))
    assert later.ended_unkept == 7
    assert Numbers("", fd=os.dup(numbers.fd)).ended_unkept == 0, "it is told once"
    os.ftruncate(later.fd, 40)  # what the release before keeps
    newest = Numbers("", fd=os.dup(later.fd))
    assert (newest.ended_unkept, newest.boot) == (0, "20260101T000000")
    for one in (numbers, later, newest):
        one.close()
