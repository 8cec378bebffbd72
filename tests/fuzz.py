"""A seeded mutation fuzzer for the IB codec: `python -m tests.fuzz [STREAMS [SEED]]`, 100,000 streams by default.

It starts from recorded and made-up sessions, damages them, and checks what the codec promises for any bytes at all:

- the observer raises nothing, holds at most 64 KiB, and learns the same however the stream is cut into chunks;
- our own session raises nothing and ends the same however the stream is cut;
- every decoder raises WireError or nothing.

A find is printed with its seed, number and bytes; put it into tests/relay/wire/test_fuzz.py as a named case.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from relay.wire import events, hello, messages, protobuf
from relay.wire.framing import FrameReader, WireError, encode_frame, join_fields, split_fields
from relay.wire.observer import Observer
from relay.wire.session import ClientSession
from tests.relay.wire.vectors import RUNS, Direction

UP, DOWN = Direction.CLIENT_TO_GATEWAY, Direction.GATEWAY_TO_CLIENT
STREAMS = 100_000
HELD_LIMIT = 64 * 1024
NOW = 50.0

Segment = tuple[Direction, bytes]
Stream = list[Segment]

# Numbers at which something changes: lengths, ids, the protobuf offset, limits of the codec.
EDGES = (0, 1, 3, 4, 5, 8, 9, 15, 49, 71, 199, 200, 201, 204, 209, 215, 271, 999, 1000, 1199, 1200, 4092, 4096, 4097)
EDGES += (61436, 61437, 65535, 65536, 0xFFFFFF, 0x1000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
FIELDS = (b"", b"-1", b"0", b"x", b"9" * 25, b"-", b"1e999", b"\xff\xfe", b"2147483648", b"7", b",,DU1,", b"\xc3")


def made_up(version: int) -> Stream:
    """A short session that has every message we read, and frames at the edge of what is held."""
    say = messages.encode
    long_list = tuple(f"DU{n:07}" for n in range(6200))
    return [
        (UP, hello.ClientHello(100, 226, "+PACEAPI").encode()),
        (UP, say(messages.StartApi(7, "x"), version)),
        (DOWN, hello.ServerHello(version, "20260105 14:30:00 China Standard Time").encode()),
        (UP, say(messages.CurrentTimeRequest(), version)),
        (DOWN, bytes(4) + say(messages.ManagedAccounts(()), version)),
        (DOWN, say(messages.ErrorMessage(-1, 2104, "Farm OK", "{}", 1), version)),
        (DOWN, say(messages.NextValidId(1), version) + say(messages.ManagedAccounts(("DU1", "DU2")), version)),
        (DOWN, say(messages.TickPrice(1, 4, 1.5), version) + say(messages.CurrentTime(1), version)),
        (UP, encode_frame(bytes(2)) if version > 220 else bytes(4)),
        *([(DOWN, say(messages.ManagedAccounts(long_list), version))] if version in (176, 226) else ()),
    ]


def seeds() -> list[Stream]:
    """What the mutations start from."""
    recorded = [[(frame.direction, frame.data) for frame in run.frames] for run in RUNS]
    redirect = [(UP, hello.ClientHello(100, 226).encode()), (DOWN, hello.Redirect("gate", 4001).encode())]
    foreign = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\xf8", b"62\x007\0", b"SSH-2.0-x\r\n")
    others = [[(UP, data)] for data in foreign]
    return recorded + [made_up(v) for v in (100, 165, 176, 194, 201, 203, 207, 213, 226)] + [redirect] + others


# Mutations: each takes a stream it may change in place.


def _pick(stream: Stream, rng: random.Random) -> int:
    return rng.randrange(len(stream))


def _put(stream: Stream, at: int, data: bytes) -> None:
    stream[at] = (stream[at][0], data)


def flip_bits(stream: Stream, rng: random.Random) -> None:
    at = _pick(stream, rng)
    data = bytearray(stream[at][1])
    for _ in range(rng.choice((1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    _put(stream, at, bytes(data))


def edge_number(stream: Stream, rng: random.Random) -> None:
    """A length, an id, or four bytes anywhere become a number at an edge."""
    at = _pick(stream, rng)
    data = stream[at][1]
    place = rng.choice((0, 0, 4, 4, rng.randrange(len(data) + 1)))
    _put(stream, at, data[:place] + rng.choice(EDGES).to_bytes(4, "big") + data[place + 4 :])


def odd_field(stream: Stream, rng: random.Random) -> None:
    """One text field becomes something else, its frame's length still right."""
    at = _pick(stream, rng)
    fields = stream[at][1][4:].split(b"\0")
    fields[rng.randrange(len(fields))] = rng.choice(FIELDS)
    _put(stream, at, encode_frame(b"\0".join(fields)))


def odd_body(stream: Stream, rng: random.Random) -> None:
    """A frame of an interesting id with random bytes, short or at the edge of what is held."""
    number = rng.choice((4, 9, 15, 49, 71, 1))
    size = rng.choice((1, 2, 7, 200, 4085, 4092, 61400, 61437, 70000) if not rng.randrange(9) else (0, 5, 30))
    ids = (join_fields(number), number.to_bytes(4, "big"), (number + 200).to_bytes(4, "big"))
    body = rng.randbytes(size) if rng.randrange(2) else b"1\0" * (size // 2)
    stream.insert(_pick(stream, rng), (rng.choice((UP, DOWN)), encode_frame(rng.choice(ids) + body)))


def cut_out(stream: Stream, rng: random.Random) -> None:
    at = _pick(stream, rng)
    data = stream[at][1]
    start = rng.randrange(len(data) + 1)
    _put(stream, at, data[:start] + data[start + rng.randrange(1, 9) :])


def put_in(stream: Stream, rng: random.Random) -> None:
    at = _pick(stream, rng)
    data = stream[at][1]
    start = rng.randrange(len(data) + 1)
    _put(stream, at, data[:start] + rng.randbytes(rng.randrange(1, 9)) + data[start:])


def repeat(stream: Stream, rng: random.Random) -> None:
    stream.insert(_pick(stream, rng), stream[_pick(stream, rng)])


def leave_out(stream: Stream, rng: random.Random) -> None:
    if len(stream) > 1:
        del stream[_pick(stream, rng)]


def turn_round(stream: Stream, rng: random.Random) -> None:
    at = _pick(stream, rng)
    direction, data = stream[at]
    stream[at] = (DOWN if direction is UP else UP, data)


def change_places(stream: Stream, rng: random.Random) -> None:
    one, other = _pick(stream, rng), _pick(stream, rng)
    stream[one], stream[other] = stream[other], stream[one]


def stop_early(stream: Stream, rng: random.Random) -> None:
    at = _pick(stream, rng)
    del stream[at + 1 :]
    _put(stream, at, stream[at][1][: rng.randrange(len(stream[at][1]) + 1)])


def graft(stream: Stream, rng: random.Random) -> None:
    """The rest of another session."""
    other = rng.choice(SEEDS)
    stream[rng.randrange(1, len(stream) + 1) :] = other[rng.randrange(len(other)) :]


MUTATIONS = (flip_bits, flip_bits, edge_number, edge_number, odd_field, odd_field, odd_body, cut_out, put_in, repeat)
MUTATIONS += (leave_out, turn_round, change_places, stop_early, graft)
SEEDS = seeds()


def mutated(rng: random.Random) -> Stream:
    """One damaged session."""
    stream = list(rng.choice(SEEDS))
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        rng.choice(MUTATIONS)(stream, rng)
    return stream


# Checks.


def chunks(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """The data in pieces, sometimes single bytes, never so many that one long frame takes a second."""
    most = rng.choice((1, 3, 9, 50, 700))
    if len(data) > 5000:
        most *= 100
    at = 0
    while at < len(data):
        size = rng.randrange(1, most + 1)
        yield data[at : at + size]
        at += size


def observe(make: Callable[[], Observer], pieces: Iterator[Segment]) -> tuple:
    """Everything an observer says and knows after these pieces, given in a buffer that is overwritten each time."""
    observer, found = make(), []
    for direction, data in pieces:
        buffer = bytearray(data)
        take = observer.client_to_gateway if direction is UP else observer.gateway_to_client
        found += take(memoryview(buffer), NOW)
        buffer[:] = b"\x55" * len(buffer)
        assert observer.held <= HELD_LIMIT, f"{observer.held} bytes are held"
    known = (observer.stage, observer.opaque, observer.legacy, observer.client_range, observer.client_id)
    counts = (observer.counts_up, observer.counts_down, observer.messages_up, observer.messages_down)
    told = (observer.accounts, observer.not_understood, observer.redirect)
    return found, known, counts, observer.server_version, told, observer.requests_peak


def check_observer(stream: Stream, rng: random.Random, make: Callable[[], Observer]) -> None:
    whole = observe(make, iter(stream))
    cut = observe(make, ((direction, piece) for direction, data in stream for piece in chunks(data, rng)))
    assert whole == cut, f"chunks change what is seen:\n  {whole}\n  {cut}"


def run_session(pieces: Iterator[bytes]) -> tuple:
    """How a session of ours ends on these answers; words for foreign bytes may depend on how many were seen."""
    session, found = ClientSession(7, max_version=226), []
    session.start(NOW)
    for data in pieces:
        found += session.receive(data, NOW)
    found = [events.Opaque(NOW, "") if isinstance(event, events.Opaque) else event for event in found]
    return found, session.stage, session.outcome, session.fatal_code, session.to_send()


def check_session(stream: Stream, rng: random.Random) -> None:
    answers = b"".join(data for direction, data in stream if direction is DOWN)
    whole, cut = run_session(iter([answers])), run_session(chunks(answers, rng))
    assert whole == cut, f"chunks change the session:\n  {whole}\n  {cut}"


def _attempt(decoder: Callable, *arguments) -> object:
    try:
        return decoder(*arguments)
    except WireError:
        return None


def check_decoders(stream: Stream, rng: random.Random) -> None:
    _, data = rng.choice(stream)
    for decoder in (hello.ClientHello.decode, hello.decode_server_hello, hello.ServerHello.decode):
        _attempt(decoder, data)
    for looker in (hello.classify_first_bytes, hello.client_hello_end, hello.server_hello_end, hello.recognise):
        looker(data)
        looker(memoryview(data)[: rng.randrange(len(data) + 1)])
    for payload in (*(_attempt(FrameReader().feed, data) or [])[:3], data[4:]):
        version = rng.choice((None, 100, 166, 176, 194, 200, 201, 226))
        _attempt(messages.message_id, payload, version)
        if version is not None:
            for way in (UP, DOWN):
                _attempt(messages.decode, way, payload, version)
        _attempt(split_fields, payload)
        for _, value in (_attempt(protobuf.read_fields, payload[4:]) or [])[:5]:
            for convert in (protobuf.signed, protobuf.text, protobuf.double):
                _attempt(convert, value)


def check(stream: Stream, rng: random.Random, make: Callable[[], Observer] = Observer) -> None:
    """Raises whatever is wrong with the codec on this stream."""
    check_observer(stream, rng, make)
    check_session(stream, rng)
    check_decoders(stream, rng)


def fuzz(count: int, seed: int, make: Callable[[], Observer] = Observer) -> tuple[int, Stream, Exception] | None:
    """The first find among `count` streams: its number, its stream and what was raised."""
    for number in range(count):
        rng = random.Random(seed << 32 | number)
        stream = mutated(rng)
        try:
            check(stream, rng, make)
        except Exception as error:  # noqa: BLE001 (anything at all is a find)
            return number, stream, error
    return None


def number(text: str) -> int:
    """Reads an argument: a whole number that is not negative."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise argparse.ArgumentTypeError(f"{text!r:.40}: a whole number was expected")
    return int(text)


def main(arguments: list[str]) -> int:
    """Prints seed, count, rate and result; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feeds damaged IB sessions to the codec.")
    parser.add_argument(
        "streams", metavar="STREAMS", nargs="?", type=number, default=STREAMS, help=f"how many [{STREAMS}]"
    )
    parser.add_argument(
        "seed", metavar="SEED", nargs="?", type=number, help="of an earlier run, to have the same again"
    )
    given = parser.parse_args(arguments)
    count, seed = given.streams, given.seed
    if seed is None:
        seed = random.SystemRandom().randrange(1 << 31)
    print(f"fuzz: {count} streams, seed {seed}", flush=True)
    started = time.perf_counter()
    find = fuzz(count, seed)
    took = time.perf_counter() - started
    if find is None:
        print(f"fuzz: nothing found in {count} streams, {took:.1f} s, {count / took:.0f} streams/s")
        return 0
    at, stream, error = find
    print(f"fuzz: stream {at} of seed {seed} is a find after {took:.1f} s")
    traceback.print_exception(error)
    for direction, data in stream:
        print(f"    ({direction.name}, bytes.fromhex({data.hex()!r})),")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
