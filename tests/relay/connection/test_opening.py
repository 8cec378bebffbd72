"""relay/connection/opening.py: from accept to the dialled gateway; nothing a client says in that time is lost."""

import asyncio
import errno
import random
import socket
from time import monotonic

import pytest

from relay.config.addresses import Upstream
from relay.config.load import Protocol
from relay.connection import opening
from relay.connection.opening import EARLY_LIMIT, Opening
from relay.logs.record import Cause, EndPhase, Reason
from relay.net.dial import Reached
from relay.wire.hello import ClientHello, ServerHello
from tests.relay.kit.loopback import HOST, SMALL, Far, Rig, fill, hanging_port, tcp_pair, until, unused_port

HELLO = ClientHello(100, 176).encode()
SERVER_HELLO = ServerHello(176, "20250101 09:30:00 EST").encode()
WITH_OPTIONS = ClientHello(100, 176, "+PACEAPI").encode()


def ib(**bounds):
    return Rig(Protocol.IB, **bounds)


def nothing_is_dialled(rig):
    try:
        rig.server.accept()
    except BlockingIOError:
        return True
    return False


# ib: the first bytes


@pytest.mark.parametrize("hello", [HELLO, WITH_OPTIONS, b"63\0"], ids=["hello", "hello with options", "legacy hello"])
async def test_the_gateway_is_dialled_when_the_hello_is_whole_and_gets_it_untouched(hello):
    async with ib() as rig:
        client, connection = rig.client()
        for end in range(1, len(hello)):
            await client.send(hello[end - 1 : end])
            await until(lambda end=end: connection.phase.early == hello[:end], f"{end} bytes were read")
            assert nothing_is_dialled(rig)
        await client.send(hello[-1:])
        gateway = await rig.gateway()
        assert await gateway.read(len(hello)) == hello
        assert not isinstance(connection.phase, Opening) and connection.up.bytes == len(hello)


WRONG = "a wrong hello: "
BAD_LENGTH = f"{WRONG}the length cannot be one of a hello"
NOT_IB = [
    # first bytes, their name when they come at once, and by the first byte that decides, if that is another
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http", "text"),
    (bytes.fromhex("16030100f8010000f403"), "tls", "tls"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "ssh", "text"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy", "text"),
    (b"hello?\r\n", "text", "text"),
    (b"\xff\xfe\0\1", "garbage", "garbage"),
    (b"API\0\0\0\0\4hiho", f"{WRONG}what follows the length is no range of versions", None),
    (b"API\0\xff\xff\xff\xff", f"{WRONG}the length cannot be one of a hello", None),
    (b"API\0\x09\0\0\0v100..157", f"{WRONG}the length is little-endian, big-endian is right", BAD_LENGTH),
    (b"API ", f"{WRONG}there is no NUL after API", None),
]


@pytest.mark.parametrize("first, whole, dripping", NOT_IB, ids=[f"{one[1]} {one[0][:12]!r}" for one in NOT_IB])
@pytest.mark.parametrize("how", ["at once", "byte by byte"])
async def test_what_is_not_an_ib_hello_ends_with_its_name_and_without_a_dial(first, whole, dripping, how):
    async with ib() as rig:
        client, connection = rig.client(first if how == "at once" else b"")
        if how == "byte by byte":
            for position in range(len(first)):
                if connection.closed:
                    break
                before = rig.calls.total()
                await client.send(first[position : position + 1])
                await until(lambda before=before: rig.calls.total() > before or connection.closed, "the byte was read")
        record = await rig.end_of(connection)
        assert record.cause == Cause(
            "relay", "policy", Reason.NOT_IB, dripping or whole if how == "byte by byte" else whole
        )
        assert (record.phase, record.ib_stage, record.bytes_up) == (EndPhase.HANDSHAKE, "nothing", 0)
        assert nothing_is_dialled(rig)


@pytest.mark.parametrize("first", [b"", HELLO[:3], HELLO[:-1]], ids=["nothing", "three bytes", "all but one"])
@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_client_that_leaves_before_its_hello_is_whole_costs_the_gateway_nothing(first, end):
    async with ib() as rig:
        client, connection = rig.client(first)
        client.finish() if end == "fin" else client.reset()
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("client", end, Reason.CLIENT_LEFT_IN_HANDSHAKE)
        assert record.cause.error_type == ("ECONNRESET" if end == "rst" else None)
        assert (record.phase, record.connect, record.peer_address) == (EndPhase.HANDSHAKE, None, None)
        assert nothing_is_dialled(rig)


@pytest.mark.parametrize(
    "first, seen",
    [
        (b"", "nothing in 0.1 s"),
        (HELLO[:5], "5 bytes of a hello in 0.1 s"),
        (b"API\0\0\0\0\x0dv100..157", "17 bytes of a hello in 0.1 s: the length counts its own four bytes, too"),
    ],
    ids=["silent", "stuck", "a wrong length"],
)
async def test_a_client_that_does_not_say_its_hello_is_ended_by_the_bound(first, seen):
    async with ib(first_bytes_timeout=0.1) as rig:
        _, connection = rig.client(first)
        record = await rig.end_of(connection)
        assert record.cause == Cause("relay", "timeout", Reason.HANDSHAKE_TIMEOUT, seen)
        assert 0.1 <= record.duration < 1
        assert nothing_is_dialled(rig)


async def test_the_bound_of_the_first_bytes_is_for_all_of_them():
    async with ib(first_bytes_timeout=0.15) as rig:
        client, connection = rig.client()
        sent = 0
        while not connection.closed and sent < len(HELLO) - 1:
            await client.send(HELLO[sent : sent + 1])
            sent += 1
            deadline = monotonic() + 0.03
            await until(lambda deadline=deadline: monotonic() > deadline or connection.closed, "a dribble's pause")
        record = await rig.end_of(connection)
        assert record.cause.reason is Reason.HANDSHAKE_TIMEOUT
        assert record.duration < 0.6


async def test_a_hello_with_a_fin_behind_it_is_a_half_close_and_not_an_exit():
    async with ib() as rig:
        leg, far = tcp_pair()
        client = Far(far)
        rig.fars.append(client)
        await client.send(HELLO)
        client.finish()
        connection = rig.accept(leg)
        gateway = await rig.gateway()
        assert await gateway.read_to_end() == (HELLO, "fin")
        await gateway.send(SERVER_HELLO)
        assert await client.read(len(SERVER_HELLO)) == SERVER_HELLO
        assert not connection.closed


# raw: dialled on accept


async def test_a_raw_client_is_dialled_for_before_it_says_anything():
    async with Rig() as rig:
        client, gateway, connection = await rig.session()
        await gateway.send(b"RFB 003.008\n")
        assert await client.read(12) == b"RFB 003.008\n"
        record = connection.record("progress")
        assert (record.ib_stage, record.messages_up, record.peer_address) == (None, None, HOST)


async def test_a_raw_client_that_was_reset_before_it_was_accepted_costs_no_dial():
    async with Rig() as rig:
        leg, far = tcp_pair()
        Far(far).reset()
        connection = rig.accept(leg)
        record = await rig.end_of(connection)
        assert record.cause == Cause("client", "rst", Reason.CLIENT_LEFT_WHILE_CONNECTING, None, "ECONNRESET")
        assert nothing_is_dialled(rig)


# While dialling


async def open_after_all(rig, connection, **sizes):
    """Let the dial that hangs succeed: a gateway that wakes up, without the kernel's one second of SYN retry."""
    upstream, far = tcp_pair(**sizes)
    succeed(connection, upstream)
    rig.fars.append(Far(far))
    return rig.fars[-1]


def succeed(connection, upstream, reset=False):
    """Have the dial that hangs end with this socket; `reset` is whether it heard that the gateway has reset it."""
    dial = connection.phase.dial
    done = dial.done
    dial.cancel()
    done(Reached(upstream, (HOST, 1), reset))


@pytest.mark.parametrize("protocol", Protocol)
async def test_what_a_client_sends_while_the_dial_hangs_is_kept_in_order(protocol):
    with hanging_port() as port:
        async with Rig(protocol, Upstream(HOST, port)) as rig:
            client, connection = rig.client(HELLO)
            sent = bytearray(HELLO)
            for number in range(5):
                part = random.Random(number).randbytes(700)
                await client.send(part)
                sent += part
                await until(lambda sent=sent: connection.phase.early == sent, "it was read")
            gateway = await open_after_all(rig, connection)
            assert await gateway.read(len(sent)) == bytes(sent)
            assert rig.live == [connection]


@pytest.mark.parametrize("dial_has_heard", [False, True], ids=["found by the first send", "found by the dial"])
async def test_a_hello_that_came_too_late_for_a_gateway_that_resets_was_said_all_the_same(dial_has_heard):
    with hanging_port() as port:
        async with Rig(Protocol.IB, Upstream(HOST, port)) as rig:
            client, connection = rig.client(HELLO)
            await until(lambda: connection.phase.early == HELLO, "the hello was read")
            upstream, far = tcp_pair()
            Far(far).reset()
            if dial_has_heard:
                assert upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET  # told only once
            succeed(connection, upstream, reset=dial_has_heard)
            record = await rig.end_of(connection)
            assert record.cause[:3] == ("upstream", "rst", Reason.UPSTREAM_RESET)
            assert (record.phase, record.ib_stage) == (EndPhase.HANDSHAKE, "client_hello")
            assert (record.bytes_up, record.client_versions) == (0, (100, 176))
            assert await client.read_to_end() == (b"", "rst")


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("when", ["before the accept", "after the accept"])
async def test_a_client_that_floods_the_dial_must_wait_and_nothing_spins(protocol, when):
    with hanging_port() as port:
        async with Rig(protocol, Upstream(HOST, port)) as rig:
            leg, far = tcp_pair()
            client = Far(far)
            rig.fars.append(client)
            flood = HELLO + random.Random(1).randbytes(3 * EARLY_LIMIT)
            far.setblocking(False)
            if when == "before the accept":
                sent = far.send(flood)
                connection = rig.accept(leg)
            else:
                connection = rig.accept(leg)
                sent = far.send(flood)
            await until(lambda: len(connection.phase.early) == EARLY_LIMIT, "the buffer is full")
            await rig.rests(2)
            assert await rig.rests() == 0
            gateway = await open_after_all(rig, connection)
            assert await gateway.read(sent) == flood[:sent]


@pytest.mark.parametrize("protocol", Protocol)
async def test_early_bytes_the_gateways_kernel_does_not_take_at_once_arrive_all_the_same(protocol):
    with hanging_port() as port:
        async with Rig(protocol, Upstream(HOST, port)) as rig:
            flood = HELLO + random.Random(2).randbytes(EARLY_LIMIT - len(HELLO))
            client, connection = rig.client()
            await client.send(flood)
            await until(lambda: connection.phase.early == flood, "all of it was read")
            gateway = await open_after_all(rig, connection, leg_send=SMALL, far_receive=SMALL)
            assert connection.up.waits is not None
            assert await gateway.read(len(flood)) == flood
            await gateway.send(b"an answer")
            assert await client.read(9) == b"an answer"


@pytest.mark.parametrize("protocol", Protocol)
async def test_early_bytes_and_a_fin_arrive_with_the_fin_last(protocol):
    with hanging_port() as port:
        async with Rig(protocol, Upstream(HOST, port)) as rig:
            client, connection = rig.client(HELLO)
            client.finish()
            await until(lambda: connection.phase.finished, "the FIN was seen")
            assert await rig.rests() == 0
            gateway = await open_after_all(rig, connection)
            assert await gateway.read_to_end() == (HELLO, "fin")
            assert not connection.closed


@pytest.mark.parametrize("protocol", Protocol)
async def test_a_client_that_resets_while_the_gateway_is_dialled_ends_the_dial_at_once(protocol):
    with hanging_port() as port:
        async with Rig(protocol, Upstream(HOST, port)) as rig:
            client, connection = rig.client(HELLO)
            await until(lambda: connection.phase.early, "the hello was read")
            client.reset()
            record = await rig.end_of(connection)
            assert record.cause == Cause("client", "rst", Reason.CLIENT_LEFT_WHILE_CONNECTING, None, "ECONNRESET")
            assert (record.phase, record.connect) == (EndPhase.CONNECT, None)
            assert record.duration < 0.5


@pytest.mark.parametrize("before", ["fin", "flood"])
async def test_a_reset_is_noticed_even_when_the_client_is_not_read_any_more(before):
    with hanging_port() as port:
        async with Rig(Protocol.RAW, Upstream(HOST, port)) as rig:
            client, connection = rig.client()
            if before == "fin":
                client.finish()
                await until(lambda: connection.phase.finished, "the FIN was seen")
            else:
                fill(client.sock)
                await until(lambda: len(connection.phase.early) == EARLY_LIMIT, "the buffer is full")
                await rig.rests(2)
            client.reset()
            record = await rig.end_of(connection)
            assert record.cause[:3] == ("client", "rst", Reason.CLIENT_LEFT_WHILE_CONNECTING)
            assert record.duration < 1


@pytest.mark.parametrize("protocol", Protocol)
async def test_a_fin_during_the_dial_shortens_it_to_the_grace(protocol, monkeypatch):
    monkeypatch.setattr(opening, "LEFT_GRACE", 0.1)
    with hanging_port() as port:
        async with Rig(protocol, Upstream(HOST, port)) as rig:
            client, connection = rig.client(HELLO)
            client.finish()
            record = await rig.end_of(connection)
            assert record.cause[:3] == ("client", "fin", Reason.CLIENT_LEFT_WHILE_CONNECTING)
            assert 0.09 <= record.duration < 1


async def test_a_fin_late_in_the_dial_does_not_lengthen_it():
    with hanging_port() as port:
        async with Rig(Protocol.RAW, Upstream(HOST, port), connect_timeout=0.2) as rig:
            client, connection = rig.client()
            client.finish()
            record = await rig.end_of(connection)
            assert record.duration < 1


@pytest.mark.parametrize("protocol", Protocol)
async def test_a_dial_without_an_answer_ends_at_the_bound_with_a_reset_to_the_client(protocol):
    with hanging_port() as port:
        async with Rig(protocol, Upstream(HOST, port), connect_timeout=0.15) as rig:
            client, connection = rig.client(HELLO)
            record = await rig.end_of(connection)
            detail = f"no answer in 0.15 s ({HOST}:{port})"
            assert record.cause == Cause("upstream", "timeout", Reason.CONNECT_TIMEOUT, detail, "ETIMEDOUT")
            assert (record.phase, record.peer_address) == (EndPhase.CONNECT, None)
            assert 0.15 <= record.duration < 1
            assert (await client.read_to_end())[1] == "rst"


@pytest.mark.parametrize("protocol", Protocol)
async def test_a_refused_dial_ends_the_client_with_a_reset(protocol):
    port = unused_port()
    async with Rig(protocol, Upstream(HOST, port)) as rig:
        client, connection = rig.client(HELLO)
        record = await rig.end_of(connection)
        detail = f"{HOST}:{port} refuses"
        assert record.cause == Cause("upstream", "rst", Reason.CONNECTION_REFUSED, detail, "ECONNREFUSED")
        assert (record.phase, record.server_address, record.server_port) == (EndPhase.CONNECT, HOST, port)
        assert await client.read_to_end() == (b"", "rst")


async def test_a_name_that_cannot_be_looked_up_is_said_so():
    async with Rig(Protocol.RAW, Upstream("no-such-host.invalid", 4002)) as rig:
        client, connection = rig.client()
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("relay", "error", Reason.DNS_ERROR)
        assert record.cause.detail.startswith("no-such-host.invalid: ")
        assert record.cause.error_type.startswith("EAI_")
        assert (await client.read_to_end())[1] == "rst"


async def test_a_connection_that_ends_while_its_upstreams_name_is_looked_up_leaves_nothing_behind():
    async with Rig(Protocol.RAW, Upstream("localhost", 1)) as rig:
        client, connection = rig.client()
        client.reset()
        record = await rig.end_of(connection)
        assert record.cause.reason in (Reason.CLIENT_LEFT_WHILE_CONNECTING, Reason.CONNECTION_REFUSED)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(rig.ended) == 1


async def test_localhost_is_dialled_by_all_its_addresses():
    async with Rig() as rig:
        rig.map = type(rig.map)(name="test", upstream=Upstream("localhost", rig.upstream.port), protocol=Protocol.RAW)
        _, gateway, connection = await rig.session(b"over IPv4 in the end")
        assert await gateway.read(20) == b"over IPv4 in the end"
        assert connection.record("progress").peer_address == HOST


async def test_an_upstream_that_resets_right_after_the_accept_is_a_reset_and_not_a_refusal():
    async with Rig() as rig:
        client, connection = rig.client(b"x")
        gateway = await rig.gateway()
        gateway.reset()
        record = await rig.end_of(connection)
        assert record.cause[:3] == ("upstream", "rst", Reason.UPSTREAM_RESET)
        assert (await client.read_to_end())[1] == "rst"


@pytest.mark.slow
async def test_first_bytes_are_not_lost_at_any_moment_of_the_dial():
    """The client writes 0 to 3 ms after it connects, while the gateway accepts when it likes."""
    async with Rig() as rig:
        chance = random.Random(4)
        wanted, got = set(), set()

        async def client(number):
            far, _ = rig.client()
            await asyncio.sleep(chance.uniform(0, 0.003))
            word = f"client {number:04}".encode()
            wanted.add(word)
            await far.send(word)

        async def gateway():
            got.add(await (await rig.gateway()).read(11))

        for start in range(0, 120, 20):
            async with asyncio.TaskGroup() as group:
                for number in range(start, start + 20):
                    group.create_task(client(number))
                    group.create_task(gateway())
        assert got == wanted
