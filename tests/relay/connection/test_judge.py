"""relay/connection/judge.py: what may not pass is not taken; as a table, and in connections on both data paths."""

import random
from time import monotonic

import pytest

from relay.config.keys import Protocol
from relay.connection.flow import Flow, Waits
from relay.connection.judge import ENOUGH, Frame, Judge, Ruling
from relay.connection.open_phase import Open
from relay.connection.peek_flow import PeekFlow
from relay.connection.verdict import PASS, EndWith, WaitUntil
from relay.logs.record import Cause, Reason
from relay.net import offsets
from relay.wire.direction import Direction
from relay.wire.framing import encode_frame, join_fields
from relay.wire.hello import ClientHello, ServerHello, client_hello_end
from relay.wire.messages import CurrentTimeRequest, StartApi, encode
from tests.relay.kit.loopback import Rig, until, waiting

UP, DOWN = Direction.CLIENT_TO_GATEWAY, Direction.GATEWAY_TO_CLIENT
HELLO = ClientHello(100, 176).encode()
SERVER_HELLO = ServerHello(176, "20250101 09:30:00 EST").encode()
START_API = encode(StartApi(7), 176)
TIME = encode(CurrentTimeRequest(), 176)
ORDER = encode_frame(join_fields(3, 45, 1, "SPY"))  # PLACE_ORDER
BINARY = encode(CurrentTimeRequest(), 226)  # the id as protobuf clients send it
LONG = encode_frame(join_fields(3, 45) + bytes(5 * ENOUGH))
EMPTY = encode_frame(b"")

NO = EndWith(Reason.INTERNAL_ERROR, "a test says no")


def frames(*messages):
    return memoryview(b"".join(messages))


class Policy:
    """Lets pass what is not named in `verdicts` (message id -> verdict), and keeps what it was asked."""

    def __init__(self, **verdicts):
        self.asked = []
        self.verdicts = {
            int(name.lstrip("id")) if name != "no_frame" else None: said for name, said in verdicts.items()
        }

    def __call__(self, frame, now):
        self.asked.append(frame.message_id)
        verdict = self.verdicts.get(frame.message_id, PASS)
        return verdict(now) if callable(verdict) else verdict


# Rulings

LATER = WaitUntil(5.0)
TABLE = [
    # what is there, the policy, the ruling, what the policy was asked
    ("nothing but frames that may pass", (START_API, TIME), {}, Ruling(len(START_API + TIME)), [71, 49]),
    ("an id as protobuf clients send it", (BINARY,), {}, Ruling(len(BINARY)), [49]),
    ("an empty frame", (EMPTY, TIME), {}, Ruling(len(EMPTY + TIME)), [0, 49]),
    ("the first may not", (ORDER, TIME), {"id3": LATER}, Ruling(0, LATER), [3]),
    ("the second may not", (TIME, ORDER, TIME), {"id3": LATER}, Ruling(len(TIME)), [49, 3]),
    ("the first ends it", (ORDER,), {"id3": NO}, Ruling(0, NO), [3]),
    ("the second ends it", (TIME, ORDER), {"id3": NO}, Ruling(len(TIME)), [49, 3]),
    ("part of a length", (TIME[:3],), {}, Ruling(0, None, 4), []),
    ("part of a frame", (ORDER[:6],), {}, Ruling(0, None, len(ORDER)), []),
    ("a frame and part of one", (TIME, ORDER[:6]), {}, Ruling(len(TIME)), [49]),
    ("the beginning of a long one", (LONG[: 4 + ENOUGH],), {}, Ruling(4 + ENOUGH), [3]),
    ("less than the beginning of a long one", (LONG[:100],), {}, Ruling(0, None, 4 + ENOUGH), []),
    ("no frame, which may pass", (b"\xff" * 9,), {}, Ruling(9), [None]),
    ("no frame, which may not", (b"\xff" * 9,), {"no_frame": NO}, Ruling(0, NO), [None]),
    ("no message id", (encode_frame(b"x1\0"), TIME), {"no_frame": NO}, Ruling(0, NO), [None]),
    ("no frame behind one", (TIME, b"\xff" * 9), {"no_frame": LATER}, Ruling(len(TIME)), [49, None]),
]


@pytest.mark.parametrize("there, verdicts, ruling, asked", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_rulings(there, verdicts, ruling, asked):
    policy = Policy(**verdicts)
    assert Judge(policy).look(frames(*there), 1.0) == ruling
    assert policy.asked == asked


def test_a_policy_sees_the_beginning_of_a_frame_its_length_and_the_moment():
    seen = []
    judge = Judge(lambda frame, now: seen.append((frame, now)) or PASS)
    judge.look(frames(TIME, LONG), 3.5)
    assert seen == [(Frame(49, TIME[4:], 5), 3.5), (Frame(3, LONG[4 : 4 + ENOUGH], len(LONG) - 4), 3.5)]


def test_a_hello_passes_unasked_and_what_is_none_is_asked_about():
    policy = Policy()
    judge = Judge(policy, client_hello_end)
    assert judge.look(frames(HELLO[:5]), 1.0) == Ruling(0, None, 6)
    assert judge.look(frames(HELLO, START_API), 1.0) == Ruling(len(HELLO + START_API))
    assert policy.asked == [71]
    assert Judge(Policy(no_frame=NO), client_hello_end).look(frames(b"63\0"), 1.0) == Ruling(0, NO)


def test_what_may_pass_is_ruled_on_once_however_often_it_is_shown():
    policy = Policy(id3=lambda now: PASS if now >= 2.0 else WaitUntil(2.0))
    judge = Judge(policy)
    assert judge.look(frames(TIME, ORDER), 1.0) == Ruling(len(TIME))
    judge.taken(2)  # the sink took so much
    assert judge.look(frames(TIME[2:], ORDER), 1.5) == Ruling(len(TIME) - 2)
    judge.taken(len(TIME) - 2)
    assert judge.look(frames(ORDER), 1.6) == Ruling(0, WaitUntil(2.0))
    assert judge.look(frames(ORDER, TIME), 2.0) == Ruling(len(ORDER + TIME))
    assert policy.asked == [49, 3, 3, 3, 3, 49]


def test_the_rest_of_a_long_frame_passes_without_a_question():
    policy = Policy()
    judge = Judge(policy)
    assert judge.look(frames(LONG[: 4 + ENOUGH]), 1.0) == Ruling(4 + ENOUGH)
    judge.taken(4 + ENOUGH)
    rest = LONG[4 + ENOUGH :]
    assert judge.look(frames(rest[:1000]), 1.0) == Ruling(1000)
    judge.taken(1000)
    assert judge.look(frames(rest[1000:], TIME), 1.0) == Ruling(len(rest) - 1000 + len(TIME))
    assert policy.asked == [3, 49]


def test_an_end_in_the_middle_of_a_frame_passes():
    policy = Policy(id3=NO)
    judge = Judge(policy)
    assert judge.look(frames(ORDER[:6]), 1.0) == Ruling(0, None, len(ORDER))
    judge.let_pass(6)
    assert judge.look(frames(ORDER[:6]), 1.0) == Ruling(6)


@pytest.mark.parametrize("sent", range(len(ORDER) + 1))
def test_another_process_goes_on_at_any_byte(sent):
    """Up to `sent` bytes of a frame it has ruled on, the process before has passed on."""
    policy = Policy(id3=NO)
    judge = Judge(policy)
    begun = ORDER[:sent] if sent < 4 else b""
    judge.go_on(begun, len(ORDER) - sent if sent >= 4 else 0)
    rest = ORDER[sent:] if sent else b""  # of nothing nothing was ruled
    for end in range(1, len(rest)):
        ruling = judge.look(frames(rest[:end]), 1.0)
        assert ruling.passing in (0, end) and ruling.verdict is None
    assert judge.look(frames(rest, TIME), 1.0) == Ruling(len(rest + TIME))
    assert policy.asked == [49]


def test_however_a_stream_is_cut_the_same_frames_are_ruled_on_and_nothing_else_passes():
    rng = random.Random(4003)
    for _ in range(200):
        messages = rng.choices([START_API, TIME, EMPTY, BINARY, LONG], k=rng.randint(1, 6))
        stream = HELLO + b"".join(messages) + ORDER + TIME
        policy = Policy(id3=LATER) if LONG not in messages else Policy()
        judge, position, there = Judge(policy, client_hello_end), 0, 0
        while there < len(stream):
            there = min(len(stream), there + rng.choice([1, 2, 3, 7, 50, 5000]))
            while passing := judge.look(frames(stream[position:there]), 1.0).passing:
                taken = rng.randint(1, passing)
                judge.taken(taken)
                position += taken
        held = 0 if LONG in messages else len(ORDER + TIME)
        assert position == len(stream) - held


# In whole connections

linux = pytest.mark.skipif(not offsets.SUPPORTED, reason="only Linux has what it needs")
PATHS = [pytest.param((Flow, False), id="copying"), pytest.param((PeekFlow, True), id="peeking", marks=linux)]


@pytest.fixture(params=PATHS)
def rig(request, monkeypatch):
    flow, keeps = request.param
    monkeypatch.setattr(Rig, "flow", flow)
    monkeypatch.setattr(Rig, "keeps", keeps)
    return lambda **bounds: Rig(Protocol.IB, **bounds)


def judged(rig, up=None, down=None):
    rig.services.policy = lambda connection, direction: up if direction is UP else down


async def greeted(rig, **sizes):
    """A session up to the gateway's hello."""
    client, gateway, connection = await rig.session(HELLO, **sizes)
    assert await gateway.read(len(HELLO)) == HELLO
    await gateway.send(SERVER_HELLO)
    assert await client.read(len(SERVER_HELLO)) == SERVER_HELLO
    return client, gateway, connection


async def test_where_everything_may_pass_everything_does(rig):
    async with rig() as rig:
        up, down = Policy(), Policy()
        judged(rig, up, down)
        client, gateway, connection = await greeted(rig)
        for data in (START_API, TIME * 3, LONG, EMPTY + BINARY):
            await client.send(data)
            assert await gateway.read(len(data)) == data
        await gateway.send(LONG + TIME)
        assert await client.read(len(LONG + TIME)) == LONG + TIME
        assert up.asked == [71, 49, 49, 49, 3, 0, 49] and down.asked == [3, 49]
        client.finish()
        assert await gateway.read_to_end() == (b"", "fin")
        gateway.close()
        record = await rig.end_of(connection)
        assert (record.bytes_up, record.messages_up) == (
            len(HELLO + START_API + TIME * 3 + LONG + EMPTY + BINARY),
            connection.observer.messages_up,
        )


async def test_a_frame_waits_in_the_kernel_until_it_may_pass_and_those_behind_it_do_not_overtake(rig):
    async with rig() as rig:
        open_at = []
        policy = Policy(id3=lambda now: PASS if open_at and now >= open_at[0] else WaitUntil(now + 0.05))
        judged(rig, policy)
        client, gateway, connection = await greeted(rig)
        await client.send(START_API + ORDER + TIME)
        assert await gateway.read(len(START_API)) == START_API
        await until(lambda: policy.asked.count(3) >= 3, "it is asked about again and again")
        assert (waiting(gateway.sock), connection.up.left, connection.up.pending) == ("nothing", 0, None)
        assert offsets.unread(connection.client) == len(ORDER + TIME)
        await gateway.send(TIME)
        assert await client.read(len(TIME)) == TIME  # the other way is free
        open_at.append(monotonic())
        assert await gateway.read(len(ORDER + TIME)) == ORDER + TIME


async def test_while_a_frame_waits_nothing_spins_and_a_client_that_resets_is_noticed_after_it(rig):
    async with rig() as rig:
        open_at = []
        policy = Policy(id3=lambda now: PASS if open_at else WaitUntil(now + 0.05))
        judged(rig, policy)
        client, gateway, connection = await greeted(rig)
        await client.send(ORDER)
        await until(lambda: policy.asked.count(3) >= 1, "it waits")
        assert await rig.rests() <= 1
        client.reset()
        assert await rig.rests() <= 2
        open_at.append(1)
        record = await rig.end_of(connection)
        assert record.cause.by == "client" and record.cause.how == "rst"
        assert (await gateway.read_to_end())[1] == "rst"


async def test_bytes_of_a_frame_that_is_not_whole_stay_where_they_are_and_nothing_spins(rig):
    async with rig() as rig:
        judged(rig, Policy())
        client, gateway, connection = await greeted(rig)
        for end in range(1, len(ORDER)):
            await client.send(ORDER[end - 1 : end])
            await until(lambda end=end: offsets.unread(connection.client) == end, f"{end} bytes are there")
            assert waiting(gateway.sock) == "nothing"
        assert await rig.rests() <= 1
        await client.send(ORDER[-1:] + TIME)
        assert await gateway.read(len(ORDER + TIME)) == ORDER + TIME


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_an_end_in_the_middle_of_a_frame_is_passed_on_behind_it(rig, end):
    async with rig() as rig:
        judged(rig, Policy())
        client, gateway, connection = await greeted(rig)
        await client.send(START_API + ORDER[:6])
        assert await gateway.read(len(START_API)) == START_API
        await until(lambda: connection.up.judge.awaited == len(ORDER), "the rest is waited for")
        client.finish() if end == "fin" else client.reset()
        data, how = await gateway.read_to_end()
        assert (data, how) == (ORDER[:6], end)


async def test_a_judge_can_end_it_and_what_may_not_pass_has_not_passed(rig):
    async with rig() as rig:
        judged(rig, Policy(id3=EndWith(Reason.CONNECTION_LIMIT, "no orders here")))
        client, gateway, connection = await greeted(rig)
        await client.send(START_API + TIME + ORDER + TIME)
        data, how = await gateway.read_to_end()
        assert (data, how) == (START_API + TIME, "rst")
        assert (await client.read_to_end())[1] == "rst"
        record = await rig.end_of(connection)
        assert record.cause == Cause("relay", "policy", Reason.CONNECTION_LIMIT, "no orders here")
        assert record.bytes_up == len(HELLO + START_API + TIME)


async def test_what_comes_before_the_gateway_answers_is_judged_as_well(rig):
    async with rig() as rig:
        judged(rig, Policy(id3=EndWith(Reason.CONNECTION_LIMIT)))
        _, connection = rig.client(HELLO + START_API + ORDER)
        gateway = await rig.gateway()
        data, how = await gateway.read_to_end()
        assert (data, how) == (HELLO + START_API, "rst")
        assert (await rig.end_of(connection)).cause.reason is Reason.CONNECTION_LIMIT


async def test_a_gateway_that_does_not_read_and_a_judge_together_lose_nothing(rig):
    """Some of what may pass waits for the sink, and some of what came may not pass yet."""
    async with rig() as rig:
        policy = Policy(id3=lambda now: WaitUntil(now + 0.001) if policy.asked.count(3) % 2 else PASS)
        judged(rig, policy)
        client, gateway, connection = await greeted(rig)
        stream = b"".join(random.Random(7).choices([START_API, ORDER, TIME, LONG], k=1200))  # more than buffers take

        async def send():
            await client.send(stream)
            client.finish()

        sending = rig.loop.create_task(send())
        await until(lambda: connection.up.waits is Waits.SINK, "the gateway's side is full")
        got = bytearray()
        while len(got) < len(stream):
            got += await gateway.read(min(50_000, len(stream) - len(got)))
        await sending
        assert bytes(got) == stream
        assert await gateway.read_to_end() == (b"", "fin")


async def test_what_cannot_be_read_as_frames_is_asked_about_once(rig):
    async with rig() as rig:
        policy = Policy()
        judged(rig, policy)
        client, gateway, _ = await greeted(rig)
        await client.send(b"\xff" * 20)
        await client.send(ORDER)
        assert await gateway.read(20 + len(ORDER)) == b"\xff" * 20 + ORDER
        assert policy.asked == [None]


async def test_without_a_policy_a_flow_has_no_judge_and_a_raw_map_never_has_one(rig):
    async with rig() as with_none, Rig() as raw:
        raw.services.policy = lambda connection, direction: Policy(no_frame=NO, id3=NO)
        _, _, connection = await greeted(with_none)
        assert (connection.up.judge, connection.down.judge) == (None, None)
        client, gateway, other = await raw.session()
        await client.send(ORDER)
        assert await gateway.read(len(ORDER)) == ORDER and other.up.judge is None


async def test_the_idle_clock_and_the_end_of_a_connection_do_not_wait_for_a_judge(rig):
    async with rig() as rig:
        judged(rig, Policy(id3=WaitUntil(monotonic() + 3600)))
        client, gateway, connection = await greeted(rig)
        await client.send(ORDER)
        await until(lambda: connection.up in rig.services.deadlines._due, "it waits")
        gateway.finish()
        assert await client.read_to_end() == (b"", "fin")
        assert type(connection.phase) is Open
        connection.end(Cause("relay", "policy", Reason.SHUTDOWN))
        assert rig.services.deadlines._due == {}
