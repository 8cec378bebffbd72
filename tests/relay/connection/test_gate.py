"""relay/connection/gate.py: between a client's hello and the dial somebody may say: go, wait, no."""

import socket
from itertools import pairwise

import pytest

from relay.config.keys import Protocol
from relay.connection.flow import Flow
from relay.connection.gate import Applicant, Ticket
from relay.connection.handshake import Handshake
from relay.connection.open_phase import Open
from relay.connection.opening import Opening
from relay.connection.peek_flow import PeekFlow
from relay.connection.verdict import PASS, EndWith, WaitUntil
from relay.logs.record import Cause, EndPhase, Reason
from relay.net import offsets
from relay.wire.hello import ClientHello, ServerHello
from relay.wire.messages import StartApi, encode
from tests.relay.kit.loopback import HOST, Rig, until

HELLO = ClientHello(100, 176).encode()
START_API = encode(StartApi(7), 176)
SERVER_HELLO = ServerHello(176, "20250101 09:30:00 EST").encode()

linux = pytest.mark.skipif(not offsets.SUPPORTED, reason="only Linux has what it needs")
PATHS = [pytest.param((Flow, False), id="copying"), pytest.param((PeekFlow, True), id="peeking", marks=linux)]


@pytest.fixture(params=PATHS)
def rig(request, monkeypatch):
    flow, keeps = request.param
    monkeypatch.setattr(Rig, "flow", flow)
    monkeypatch.setattr(Rig, "keeps", keeps)
    return lambda **bounds: Rig(Protocol.IB, **bounds)


class OneAtATime:
    """Lets one applicant in, and the next one when that one has left: the shape of an admission queue."""

    def __init__(self, wait=3600.0):
        self.wait = wait
        self.inside, self.queue, self.log = None, {}, []

    def ask(self, applicant, now, again):
        self.log.append(("asked", applicant.connection_id))
        if self.inside in (None, applicant.connection_id):
            self.queue.pop(applicant.connection_id, None)
            self.inside = applicant.connection_id
            return PASS
        self.queue[applicant.connection_id] = again
        return WaitUntil(now + self.wait)

    def left(self, applicant, now):
        self.log.append(("left", applicant.connection_id))
        self.queue.pop(applicant.connection_id, None)
        if self.inside == applicant.connection_id:
            self.inside = None
            if self.queue:
                next(iter(self.queue.values()))()


class Says:
    """Answers one thing."""

    def __init__(self, verdict):
        self.verdict, self.asked, self.gone = verdict, [], []

    def ask(self, applicant, now, again):
        self.asked.append(applicant)
        return self.verdict(now) if callable(self.verdict) else self.verdict

    def left(self, applicant, now):
        self.gone.append(applicant)


def nobody_dials(rig):
    try:
        rig.server.accept()
    except BlockingIOError:
        return True
    return False


async def test_who_may_go_is_dialled_for_and_leaves_when_the_gateway_has_greeted_it(rig):
    async with rig() as rig:
        gate = Says(PASS)
        rig.services.gates = {"test": gate}
        client, gateway, connection = await rig.session(HELLO)
        assert gate.asked == [Applicant(connection.connection_id, "test", HOST, HELLO, connection.opened_at)]
        assert isinstance(connection.phase, Handshake) and gate.gone == []
        await gateway.send(SERVER_HELLO)
        assert await client.read(len(SERVER_HELLO)) == SERVER_HELLO
        assert type(connection.phase) is Open and gate.gone == gate.asked


async def test_a_gate_is_asked_about_a_whole_hello_only_and_in_ib_maps_only(rig):
    async with rig() as rig, Rig() as raw:
        gate = rig.services.gates = raw.services.gates = {"test": Says(PASS)}
        client, _ = rig.client(HELLO[:5])
        await raw.session(b"anything")
        assert gate["test"].asked == []
        await client.send(HELLO[5:])
        await rig.gateway()
        assert len(gate["test"].asked) == 1


async def test_a_gate_of_another_map_is_not_asked(rig):
    async with rig() as rig:
        rig.services.gates = {"other": Says(EndWith(Reason.CONNECTION_LIMIT))}
        await rig.session(HELLO)


async def test_who_may_not_is_reset_with_the_reason_and_the_gateway_never_hears_of_it(rig):
    async with rig() as rig:
        gate = Says(EndWith(Reason.CONNECTION_LIMIT, "the queue is full"))
        rig.services.gates = {"test": gate}
        client, connection = rig.client(HELLO)
        record = await rig.end_of(connection)
        assert record.cause == Cause("relay", "policy", Reason.CONNECTION_LIMIT, "the queue is full")
        assert (record.phase, record.ib_stage, record.client_versions) == (
            EndPhase.HANDSHAKE,
            "client_hello",
            (100, 176),
        )
        assert (await client.read_to_end())[1] == "rst"
        assert nobody_dials(rig) and gate.gone == gate.asked


async def test_who_waits_is_asked_about_again_when_its_time_has_come(rig):
    async with rig() as rig:
        moments = []
        gate = Says(lambda now: moments.append(now) or (PASS if len(moments) == 3 else WaitUntil(now + 0.03)))
        rig.services.gates = {"test": gate}
        _, connection = rig.client(HELLO)
        assert nobody_dials(rig) and isinstance(connection.phase, Opening)
        gateway = await rig.gateway()
        assert await gateway.read(len(HELLO)) == HELLO
        assert [later - earlier >= 0.03 for earlier, later in pairwise(moments)] == [True, True]
        assert len(gate.asked) == 3 and len(set(gate.asked)) == 1


async def test_the_next_one_goes_as_soon_as_the_one_before_it_has_been_greeted(rig):
    async with rig() as rig:
        gate = OneAtATime()
        rig.services.gates = {"test": gate}
        first, one = rig.client(HELLO)
        second, other = rig.client(HELLO)
        gateway = await rig.gateway()
        assert nobody_dials(rig) and isinstance(other.phase, Opening)
        await gateway.send(SERVER_HELLO)
        assert await first.read(len(SERVER_HELLO)) == SERVER_HELLO
        gateway = await rig.gateway()
        await gateway.send(SERVER_HELLO)
        assert await second.read(len(SERVER_HELLO)) == SERVER_HELLO
        names = one.connection_id, other.connection_id
        assert [name for what, name in gate.log if what == "left"] == list(names)
        assert gate.inside is None and gate.queue == {}


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("more", [b"", START_API], ids=["silent", "still speaking"])
async def test_a_client_that_leaves_while_it_waits_is_forgotten_at_once(rig, how, more):
    async with rig() as rig:
        gate = OneAtATime()
        rig.services.gates = {"test": gate}
        await rig.session(HELLO)
        client, connection = rig.client(HELLO)
        await until(lambda: gate.queue, "it waits")
        if more:
            await client.send(more)
            await until(lambda: len(connection.phase.early) > len(HELLO), "it was read")
        client.finish() if how == "fin" else client.reset()
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("client", how, Reason.CLIENT_LEFT_WHILE_QUEUED)
        assert (record.phase, record.ib_stage, record.bytes_up) == (EndPhase.HANDSHAKE, "client_hello", 0)
        assert gate.queue == {} and nobody_dials(rig)


async def test_whatever_ends_it_a_gate_hears_that_everybody_has_left_once(rig):
    async with rig() as rig:
        gate = Says(PASS)
        rig.services.gates = {"test": gate}
        client, _, connection = await rig.session(HELLO)
        client.reset()
        await rig.end_of(connection)
        assert len(gate.gone) == 1
        rig.server.close()  # and a dial that is refused
        _, refused = rig.client(HELLO)
        assert (await rig.end_of(refused)).cause.reason is Reason.CONNECTION_REFUSED
        rig.server = socket.create_server((HOST, 0))
        assert [applicant.connection_id for applicant in gate.gone] == [connection.connection_id, refused.connection_id]


async def test_while_somebody_waits_nothing_spins(rig):
    async with rig() as rig:
        gate = OneAtATime()
        rig.services.gates = {"test": gate}
        await rig.session(HELLO)
        client, connection = rig.client(HELLO)
        await until(lambda: gate.queue, "it waits")
        await client.send(b"x" * 100)
        await until(lambda: len(connection.phase.early) == len(HELLO) + 100, "it was read")
        assert await rig.rests() <= 1


def test_a_ticket_is_given_back_once():
    gate = Says(PASS)
    ticket = Ticket(gate, "an applicant")
    assert ticket.ask(1.0, print) is PASS
    ticket.give_back(2.0)
    ticket.give_back(3.0)
    assert gate.gone == ["an applicant"]
