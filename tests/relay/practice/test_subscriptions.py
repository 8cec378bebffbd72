"""When a subscription is due, how much, and what of the tape."""

import pytest

from relay.practice.answers import Answers
from relay.practice.market import Contract, Market
from relay.practice.subscriptions import MAX_BATCH, TAPE_QUOTES, Stream, TickTape
from relay.wire.framing import FrameReader


@pytest.mark.parametrize(
    ("period", "due_at", "now", "count", "due_next"),
    [
        (0.25, 10.0, 9.99, 0, 10.0),
        (0.25, 10.0, 10.0, 1, 10.25),
        (0.25, 10.0, 9.9999999, 1, 10.25),  # a timer may be a hair early
        (0.25, 10.0, 10.3, 2, 10.5),
        (0.001, 10.0, 10.02, 21, 10.021),
        (0.25, 10.0, 10.9, 4, 11.0),
        (0.25, 10.0, 11.1, 1, 11.35),  # away for more than a second: what was missed is gone
        (5.0, 10.0, 99.0, 1, 104.0),
        (1e-4, 10.0, 10.9, MAX_BATCH, 10.9001),  # more than fits into one batch
    ],
)
def test_a_stream_gives_what_is_due(period, due_at, now, count, due_next):
    asked = []
    stream = Stream(period, due_at, lambda count: asked.append(count) or b"x")
    assert stream.take(now) == (b"x" if count else b"")
    assert asked == ([count] if count else [])
    assert stream.due_at == pytest.approx(due_next)


def tape(version=176):
    return TickTape(Answers(version), 3, Market(1), Contract(symbol="SPY"), 1_700_000_000)


@pytest.mark.parametrize("version", [176, 226])
def test_a_tape_is_whole_frames_whatever_the_batches_are(version):
    whole, pieces = tape(version).play(1000), tape(version)
    assert b"".join(pieces.play(count) for count in (1, 0, 2, 117, 3, 500, 377)) == whole
    assert len(FrameReader().feed(whole)) == 1000


def test_a_tape_begins_again_when_it_is_through():
    played = tape()
    assert played.play(3 * TAPE_QUOTES) == played.play(3 * TAPE_QUOTES)


def test_bid_and_ask_never_cross_on_the_tape():
    bid, ask = 0.0, 1e9
    for payload in FrameReader().feed(tape().play(6 * TAPE_QUOTES)):
        _, _, _, kind, price, *_ = payload.split(b"\0")
        bid, ask = (float(price) if kind == b"1" else bid), (float(price) if kind == b"2" else ask)
        assert bid < ask
