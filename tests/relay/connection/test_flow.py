"""relay/connection/flow.py and relay/connection/peek_flow.py: bytes one way, on both pollers.

The owner here only records what it is told and stops reading at FIN.
"""

import contextlib
import hashlib
import inspect
import random
import select
import socket

import pytest

from relay.connection.connection import Connection
from relay.connection.flow import SCRATCH_SIZE, Flow
from relay.connection.peek_flow import PeekFlow
from relay.net import offsets, tcp
from relay.net.poller import READ, WRITE, EpollPoller, PortablePoller
from tests.relay.kit.loopback import SMALL, fill, reset, tcp_pair, waiting
from tests.relay.kit.scripted import wait_until

epoll = pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll here")
linux = pytest.mark.skipif(not offsets.SUPPORTED, reason="only Linux has what it needs")


class CountedFlow(Flow):
    """A flow that notes with which events it was called."""

    __slots__ = ("calls", "side")

    def ready(self, events):
        self.calls.append(events)
        return super().ready(events)


class CountedPeekFlow(PeekFlow):
    __slots__ = ("calls", "side")

    def ready(self, events):
        self.calls.append(events)
        return super().ready(events)


KINDS = [
    pytest.param((EpollPoller, CountedFlow), id="epoll", marks=epoll),
    pytest.param((EpollPoller, CountedPeekFlow), id="peek", marks=[epoll, linux]),
    pytest.param((PortablePoller, CountedFlow), id="portable"),
]
# What only a poller that reports hang-ups can show.
epoll_only = pytest.mark.parametrize("pair", KINDS[:2], indirect=True)


class Owner:
    """Keeps what it is told as (what, side, more), and does what every owner must: no READ after FIN.

    What a flow may say to its owner, and nothing else: these are methods of a Connection, each with its arguments.
    """

    def __init__(self):
        self.told = []
        self.ended = []
        self.may_read_on = True

    def side_ended(self, flow, how, error=None):
        self.ended.append((how, flow.side))

    def source_ended(self, flow):
        flow.watch(flow.watched & ~READ)
        self.told.append(("ended", flow.side))

    def source_broke(self, flow):
        self.told.append(("source broke", flow.side))

    def source_failed(self, flow, error):
        flow.unwatch()
        self.told.append(("source failed", flow.side, type(error)))

    def sink_failed(self, flow, error):
        flow.stop()
        self.told.append(("sink failed", flow.side, type(error)))

    def learned(self, events):
        self.told.append(("learned", *events))

    def delivered(self, flow):
        return not self.may_read_on

    def held_back(self, flow, until):
        self.told.append(("held back", flow.side))

    def condemned(self, flow, sentence):
        self.told.append(("condemned", flow.side, sentence))


SAYINGS = [name for name in vars(Owner) if not name.startswith("_")]


@pytest.mark.parametrize("name", SAYINGS)
def test_what_a_flow_says_here_a_connection_hears(name):
    assert inspect.signature(getattr(Owner, name)) == without_types(inspect.signature(getattr(Connection, name)))


def without_types(signature):
    bare = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=signature.empty)


class Pair:
    """Client and gateway, with the two flows between them. `turn` lets the poller work for one round."""

    def __init__(self, poller, kind, leg_send=0, far_receive=0):
        self.poller, self.owner = poller, Owner()
        self.client_leg, self.client = tcp_pair(leg_send, far_receive)
        self.gateway_leg, self.gateway = tcp_pair(leg_send, far_receive)
        scratch = memoryview(bytearray(SCRATCH_SIZE))
        self.up = kind(self.owner, poller, scratch, self.client_leg, self.gateway_leg)
        self.down = kind(self.owner, poller, scratch, self.gateway_leg, self.client_leg)
        for flow, reverse, side in ((self.up, self.down, "client"), (self.down, self.up, "gateway")):
            flow.reverse, flow.side, flow.calls = reverse, side, []
            poller.watch(flow.source.fileno(), READ, flow.ready)

    def turn(self, rounds=1):
        for _ in range(rounds):
            self.poller.select(0)

    def until(self, condition, rounds=2_000):
        for _ in range(rounds):
            if answer := condition():
                return answer
            self.poller.select(0.001)
        raise AssertionError(f"never came true; told {self.owner.told}")

    def calls_while_nothing_happens(self, rounds=50):
        """Handler calls in that many rounds: a level-triggered event nobody takes care of shows as one call a round."""
        before = len(self.up.calls) + len(self.down.calls)
        self.turn(rounds)
        return len(self.up.calls) + len(self.down.calls) - before

    def received(self, far, size):
        got = bytearray()

        def more():
            with contextlib.suppress(BlockingIOError):
                got.extend(far.recv(1 << 20))
            return len(got) >= size

        self.until(more)
        return bytes(got)

    def close(self):
        for sock in (self.client, self.gateway, self.client_leg, self.gateway_leg):
            sock.close()


@pytest.fixture(params=KINDS)
def pair(request):
    poller, kind = request.param[0](), request.param[1]
    pair = Pair(poller, kind)
    yield pair
    pair.close()
    poller.close()


@pytest.fixture(params=KINDS)
def narrow(request):
    """A pair with the smallest buffers the kernel allows."""
    poller, kind = request.param[0](), request.param[1]
    pair = Pair(poller, kind, SMALL, SMALL)
    yield pair
    pair.close()
    poller.close()


def stalled(pair):
    """The client does not read: the gateway has sent until its flow keeps something.

    What went in, and what is unsent.
    """
    source, taken = random.Random(5), bytearray()
    while pair.down.waits is None:
        block = source.randbytes(SCRATCH_SIZE)
        with contextlib.suppress(BlockingIOError):
            taken += block[: pair.gateway.send(block)]
        pair.poller.select(0.001)
    return taken


def until_acknowledged(sock):
    """Until the other end's kernel has everything: a reset must not overtake it."""
    wait_until(lambda: not tcp.unsent(sock), "everything is acknowledged")


# Bytes and numbers


def test_bytes_pass_both_ways_and_are_counted_as_they_pass(pair):
    pair.client.send(b"request")
    pair.gateway.send(b"a longer answer")
    assert pair.received(pair.gateway, 7) == b"request"
    assert pair.received(pair.client, 15) == b"a longer answer"
    assert (pair.up.bytes, pair.down.bytes, pair.owner.told) == (7, 15, [])
    assert pair.up.first == pair.up.last is not None


def test_first_stays_and_last_moves(pair):
    for _ in range(2):
        pair.client.send(b"x")
        pair.received(pair.gateway, 1)
    assert pair.up.first < pair.up.last
    assert (pair.down.first, pair.down.last) == (None, None)


def test_the_observer_sees_every_chunk_once_and_after_it_was_sent(pair):
    seen = []

    def observe(data, now):
        seen.append((bytes(data), waiting(pair.gateway), now == pair.up.last))
        return ("event",) if len(seen) == 2 else ()

    pair.up.observe = observe
    for word in (b"one", b"two", b"three"):
        pair.client.send(word)
        pair.received(pair.gateway, len(word))
    assert seen == [(b"one", b"one", True), (b"two", b"two", True), (b"three", b"three", True)]
    assert pair.owner.told == [("learned", "event")]


def test_the_observer_sees_what_the_sink_did_not_take_at_once(narrow):
    seen = hashlib.sha256()
    narrow.down.observe = lambda data, now: seen.update(data) or ()
    taken = stalled(narrow)
    narrow.received(narrow.client, len(taken))
    assert seen.digest() == hashlib.sha256(taken).digest()


# Back-pressure


def test_a_reader_that_stalls_stops_the_sender_and_the_memory_is_bounded(narrow):
    stalled(narrow)
    sent_on = 0
    for _ in range(50):
        sent_on += fill(narrow.gateway)
        narrow.turn()
    assert len(narrow.down.pending or b"") <= SCRATCH_SIZE  # for a PeekFlow it is all in the kernel
    assert narrow.down.watched & READ == 0
    assert narrow.up.watched & WRITE
    assert fill(narrow.gateway) == 0


def test_a_stalled_direction_costs_no_handler_calls(narrow):
    stalled(narrow)
    fill(narrow.gateway)
    assert narrow.calls_while_nothing_happens() == 0


def test_while_one_direction_is_stalled_the_other_flows(narrow):
    stalled(narrow)
    narrow.client.send(b"still here")
    assert narrow.received(narrow.gateway, 10) == b"still here"


def test_everything_arrives_once_the_reader_reads_again(narrow):
    taken = stalled(narrow)
    assert narrow.received(narrow.client, len(taken)) == bytes(taken)
    narrow.until(lambda: narrow.down.waits is None)
    narrow.turn(3)
    assert (narrow.down.bytes, narrow.down.watched, narrow.up.watched) == (len(taken), READ, READ)


@pytest.mark.slow
def test_a_stream_past_a_slow_reader_keeps_its_hash(narrow):
    """The buffer is shared and reused: a reference kept by mistake shows as another hash.

    From Python 3.12 on transport.write of asyncio keeps such a reference.
    """
    sent, got, source = hashlib.sha256(), hashlib.sha256(), random.Random(6)
    size, out, came, left = 3 << 20, 0, 0, b""
    while came < size:
        if out < size and not left:
            left = source.randbytes(min(size - out, 40_000))
        if left:
            try:
                count = narrow.gateway.send(left)
            except BlockingIOError:
                count = 0
            sent.update(left[:count])
            left, out = left[count:], out + count
        narrow.client.send(b"noise for the same scratch buffer")
        narrow.turn()
        for far in (narrow.gateway, narrow.client):
            try:
                data = far.recv(1000 if source.random() < 0.2 else 65536)
            except BlockingIOError:
                continue
            if far is narrow.client:
                got.update(data)
                came += len(data)
    assert (came, got.hexdigest()) == (size, sent.hexdigest())


def test_push_goes_behind_what_is_kept_and_before_what_is_read_later(narrow):
    data = random.Random(7).randbytes(SCRATCH_SIZE)
    narrow.down.push(data)
    narrow.down.push(b" pushed")
    narrow.down.push(memoryview(b" twice"))
    narrow.gateway.send(b", then read")
    assert narrow.received(narrow.client, len(data) + 24) == data + b" pushed twice, then read"


def test_push_keeps_what_the_sink_does_not_take(narrow):
    data = random.Random(7).randbytes(3 * SCRATCH_SIZE)
    narrow.down.push(data)
    assert narrow.down.bytes < len(data)
    assert narrow.received(narrow.client, len(data)) == data
    assert narrow.down.bytes == len(data)


def test_after_a_flush_the_owner_may_say_not_to_read_on(narrow):
    narrow.down.push(bytes(SCRATCH_SIZE))
    narrow.owner.may_read_on = False
    narrow.gateway.send(b"not to be read")
    narrow.received(narrow.client, SCRATCH_SIZE)
    narrow.until(lambda: narrow.down.waits is None)
    assert narrow.calls_while_nothing_happens() == 0
    assert (narrow.down.watched & READ, waiting(narrow.client)) == (0, "nothing")


# Ends


def test_a_fin_is_told_once_and_after_the_bytes_before_it(pair):
    pair.client.send(b"last words")
    pair.client.shutdown(socket.SHUT_WR)
    assert pair.received(pair.gateway, 10) == b"last words"
    pair.until(lambda: pair.owner.told)
    assert pair.calls_while_nothing_happens() == 0
    assert (pair.owner.told, pair.up.eof, pair.down.eof) == ([("ended", "client")], True, False)


def test_a_fin_behind_kept_bytes_is_told_when_they_are_delivered(narrow):
    taken = stalled(narrow)
    narrow.gateway.shutdown(socket.SHUT_WR)
    narrow.turn(20)
    assert narrow.owner.told == []
    assert narrow.received(narrow.client, len(taken)) == bytes(taken)
    narrow.until(lambda: narrow.owner.told)
    assert narrow.owner.told == [("ended", "gateway")]


def test_after_both_fins_at_once_nothing_spins(pair):
    def pass_it_on(flow):
        Owner.source_ended(pair.owner, flow)
        flow.sink.shutdown(socket.SHUT_WR)

    pair.owner.source_ended = pass_it_on
    pair.client.shutdown(socket.SHUT_WR)
    pair.gateway.shutdown(socket.SHUT_WR)
    pair.until(lambda: len(pair.owner.told) == 2)
    pair.turn(5)
    assert sorted(pair.owner.told) == [("ended", "client"), ("ended", "gateway")]
    assert pair.calls_while_nothing_happens() == 0


def test_a_reset_is_told_after_everything_before_it_was_read(pair):
    data = random.Random(8).randbytes(50_000)
    pair.client.send(data)
    until_acknowledged(pair.client)
    reset(pair.client)
    assert pair.received(pair.gateway, len(data)) == data
    pair.until(lambda: pair.owner.told)
    assert pair.owner.told == [("source failed", "client", ConnectionResetError)]
    assert pair.calls_while_nothing_happens() == 0


@epoll_only  # elsewhere a descriptor that is not read reports no reset
def test_a_reset_after_the_fin_is_told_too(pair):
    pair.client.shutdown(socket.SHUT_WR)
    pair.until(lambda: pair.owner.told)
    reset(pair.client)
    pair.until(lambda: len(pair.owner.told) == 2)
    # the kernel says EPIPE where a reset meets a socket that has seen FIN (net/ipv4/tcp_input.c, tcp_reset)
    assert pair.owner.told == [("ended", "client"), ("source failed", "client", BrokenPipeError)]
    assert pair.calls_while_nothing_happens() == 0


def test_a_source_that_breaks_while_its_bytes_are_kept_is_read_out_first_and_does_not_spin(narrow):
    stalled(narrow)
    reset(narrow.gateway)
    narrow.turn(5)
    assert narrow.calls_while_nothing_happens() == 0
    got = 0

    def read_to_the_failure():
        nonlocal got
        with contextlib.suppress(BlockingIOError):
            got += len(narrow.client.recv(1 << 20))
        return ("source failed", "gateway", ConnectionResetError) in narrow.owner.told

    narrow.until(read_to_the_failure)
    left = waiting(narrow.client)
    assert narrow.down.bytes == got + (0 if left == "nothing" else len(left))
    assert narrow.calls_while_nothing_happens() == 0


def test_a_sink_that_was_reset_is_told_by_the_next_write(pair):
    reset(pair.gateway)
    pair.down.watch(0)  # as if the reset had not been seen by the reading side yet
    pair.client.send(b"too late")
    pair.until(lambda: pair.owner.told)
    kind, side, error = pair.owner.told[0]
    assert (kind, side) in (("sink failed", "client"), ("source failed", "gateway"))
    assert issubclass(error, ConnectionError)


def test_a_sink_that_breaks_drops_what_was_kept_for_it(narrow):
    stalled(narrow)
    reset(narrow.client)
    narrow.until(lambda: narrow.owner.told)
    assert narrow.owner.told[0][:2] in (("sink failed", "gateway"), ("source failed", "client"))
    narrow.until(lambda: narrow.down.waits is None or narrow.owner.told[0][0] == "source failed")


# Watching


def test_watching_the_same_again_asks_the_kernel_nothing(pair):
    asked = []
    change, pair.poller.change = pair.poller.change, lambda fd, events: (asked.append(events), change(fd, events))
    pair.up.watch(READ)
    pair.up.watch(READ | WRITE)
    pair.up.watch(READ | WRITE)
    pair.up.watch(READ)
    assert asked == [READ | WRITE, READ]


def test_an_unwatched_flow_is_silent_until_it_resumes(pair):
    pair.up.unwatch()
    pair.up.unwatch()
    pair.client.send(b"later")
    pair.turn(20)
    assert pair.up.calls == []
    pair.up.watch(pair.up.watched & ~READ)
    assert pair.up.watched < 0
    pair.up.resume()
    assert pair.received(pair.gateway, 5) == b"later"


def test_a_flow_that_has_seen_fin_does_not_resume(pair):
    pair.client.shutdown(socket.SHUT_WR)
    pair.until(lambda: pair.owner.told)
    pair.up.resume()
    assert pair.up.watched & READ == 0


def test_a_stale_call_without_bytes_does_nothing(pair):
    assert pair.up.ready(READ) is None
    assert pair.up.ready(READ | WRITE) is None
    assert pair.up.ready(READ | 0x18) is None
    assert pair.owner.told == []


def test_what_is_learnt_while_the_sink_is_full_does_not_stop_the_flow(narrow):
    narrow.down.observe = lambda data, now: ["something"]
    taken = stalled(narrow)
    narrow.owner.told.clear()
    assert narrow.received(narrow.client, len(taken)) == taken
    narrow.gateway.send(b"and on")
    assert narrow.received(narrow.client, 6) == b"and on"
    assert {saying[0] for saying in narrow.owner.told} == {"learned"}
