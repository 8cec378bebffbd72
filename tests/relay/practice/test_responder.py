"""Which request gets which answer, in every form of the protocol; the responder needs no socket for that."""

import contextlib
import random

import pytest

from relay.practice import Practice
from relay.practice.requests import Request
from relay.practice.responder import SYNC_REQUESTS, Responder
from relay.practice.settings import MAX_STREAMS
from relay.wire import messages
from relay.wire.direction import Direction
from relay.wire.framing import LENGTH, FrameReader, WireError, join_fields
from relay.wire.messages import CurrentTime, ErrorMessage, ManagedAccounts, NextValidId
from tests.relay.practice.peer import SPY_PROTOBUF, SPY_TEXT, proto

NOW = 1_748_692_807.25  # Saturday 2025-05-31 12:00:07.25 UTC
TEXT_ERAS, PROTOBUF = (157, 176, 200, 201), 226


def responder(version=176, farms_ok=True, **settings):
    return Responder(Practice(**settings), version, farms_ok=farms_ok, clock=lambda: NOW)


def ask(at, version, number, *text, protobuf=None, now=0.0):
    """What the responder answers: ids of messages, or messages where relay.wire knows them."""
    if protobuf is not None:
        payload = LENGTH.pack(number + 200) + proto(*protobuf)
    else:
        payload = (LENGTH.pack(number) if version >= 201 else join_fields(number)) + join_fields(*text)
    return said(at.answer(Request(payload, version), now), version)


def said(data, version):
    seen = []
    for payload in FrameReader().feed(data):
        message = messages.decode(Direction.GATEWAY_TO_CLIENT, payload, version)
        simple = message is None or isinstance(message, messages.TickPrice)
        seen.append(messages.message_id(payload, version) if simple else message)
    return seen


def error(request_id, code, at_version=176):
    """An ErrorMessage equal in id and code; its text and time are not compared."""

    class Like(ErrorMessage):
        def __eq__(self, other):
            return isinstance(other, ErrorMessage) and (other.request_id, other.code) == (request_id, code)

        __hash__ = None

    return Like(request_id, code, "")


def history(end="", bar="1 day", duration="5 D"):
    """The text fields of a request for historical data, behind its id."""
    return (*SPY_TEXT, 0, end, bar, duration, 1, "TRADES", 1, 0, "")


HISTORY = history()
OPENING_TICKS = [81, 58, 1, 1, 1, 2, 2, 1, 46]

ANSWERS = [
    # name, id, text fields, protobuf fields, answer
    ("positions", 61, (1,), (), [62]),
    ("open orders", 5, (1,), (), [53]),
    ("all open orders", 16, (1,), (), [53]),
    ("completed orders", 99, (0,), ((1, 0),), [102]),
    ("executions", 7, (3, 2, 0, "", "", "", "", "", ""), ((1, 2),), [55]),
    ("account data", 6, (2, 1, "DU1234567"), ((1, 1), (2, "DU1234567")), [6, 6, 6, 8, 54]),
    ("account data, unsubscribed", 6, (2, 0, ""), ((1, 0),), []),
    ("account updates multi", 76, (1, 1, "DU1234567", "", 0), ((1, 1), (2, "DU1234567")), [73, 73, 73, 74]),
    ("positions multi", 74, (1, 1, "DU1234567", ""), ((1, 1), (2, "DU1234567")), [72]),
    ("account summary", 62, (1, 1, "All", "NetLiquidation"), ((1, 1), (2, "All")), [63, 63, 63, 64]),
    ("managed accounts", 17, (1,), (), [ManagedAccounts(("DU1234567",))]),
    ("ids", 8, (1, 1), ((1, 1),), [NextValidId(1)]),
    ("current time", 49, (1,), (), [CurrentTime(int(NOW))]),
    ("current time in ms", 105, (), (), [109]),
    ("historical data", 20, (3, *HISTORY), ((1, 3), (2, SPY_PROTOBUF), (4, "1 day"), (5, "5 D")), None),
    ("bad bar size", 20, (3, *history(bar="1 aeon")), ((1, 3), (4, "1 aeon")), [error(3, 321)]),
    ("bad duration", 20, (3, *history(duration="long")), ((1, 3), (4, "1 day")), [error(3, 321)]),
    (
        "bad end",
        20,
        (3, *history(end="00010101", duration="9 Y")),
        ((1, 3), (3, "00010101"), (4, "1 day"), (5, "9 Y")),
        [error(3, 321)],
    ),
    ("market data", 1, (11, 3, *SPY_TEXT, 0, "", 0, 0, ""), ((1, 3), (2, SPY_PROTOBUF)), OPENING_TICKS),
    ("snapshot", 1, (11, 3, *SPY_TEXT, 0, "", 1, 0, ""), ((1, 3), (2, SPY_PROTOBUF), (4, 1)), [*OPENING_TICKS, 57]),
    ("cancel of nothing", 2, (2, 3), ((1, 3),), []),
    ("market data type", 59, (1, 3), ((1, 3),), []),
    ("real time bars", 50, (3, 3, *SPY_TEXT, 5, "TRADES", 1, ""), ((1, 3), (2, SPY_PROTOBUF)), [50]),
    ("contract details", 9, (8, 3, *SPY_TEXT, 0, "", ""), ((1, 3), (2, SPY_PROTOBUF)), [10, 52]),
    (
        "no stock",
        9,
        (8, 3, 0, "ES", "FUT", *SPY_TEXT[3:], 0, "", ""),
        ((1, 3), (2, proto((3, "FUT")))),
        [error(3, 200)],
    ),
    ("matching symbols", 81, (3, "spy"), ((1, 3), (2, "spy")), [79]),
    ("head timestamp", 87, (3, *SPY_TEXT, 0, 1, "TRADES", 1), ((1, 3), (2, SPY_PROTOBUF)), [88]),
    ("an order", 3, (3, *SPY_TEXT), ((1, 3),), None),
    ("a cancel of an order", 4, (1, 3, ""), ((1, 3),), None),
    ("global cancel", 58, (1,), (), []),
    ("server log level", 14, (1, 5), ((1, 5),), []),
    ("a request we do not know", 92, (3, "DU1234567", ""), ((1, 3),), [error(3, 321)]),
    ("one without a request id", 80, (), (), []),
    ("one nobody knows", 300, (3,), ((1, 3),), []),
]


@pytest.mark.parametrize("version", TEXT_ERAS)
@pytest.mark.parametrize(
    ("number", "text", "answer"),
    [(n, t, a) for _, n, t, _, a in ANSWERS if a is not None],
    ids=[row[0] for row in ANSWERS if row[4] is not None],
)
def test_a_text_request_gets_its_answer(version, number, text, answer):
    assert ask(responder(version), version, number, *text) == answer


@pytest.mark.parametrize(
    ("number", "pairs", "answer"),
    [(n, p, a) for _, n, _, p, a in ANSWERS if a is not None],
    ids=[row[0] for row in ANSWERS if row[4] is not None],
)
def test_a_protobuf_request_gets_the_same_answer(number, pairs, answer):
    assert ask(responder(PROTOBUF), PROTOBUF, number, protobuf=pairs) == answer


@pytest.mark.parametrize(
    ("version", "answer"), [(157, [17]), (176, [17]), (195, [17]), (196, [17, 108]), (208, [17, 108])]
)
def test_history_ends_with_a_message_of_its_own_from_196_on(version, answer):
    assert ask(responder(version), version, 20, 3, *HISTORY) == answer


@pytest.mark.parametrize(
    ("version", "number", "fields", "answer"),
    [
        (144, 3, (45, 99), [error(99, 201)]),
        (176, 3, (99,), [error(99, 201)]),
        (176, 4, (1, 99, ""), [error(99, 10147)]),
        (200, 4, (99, "", "", ""), [error(99, 10147)]),
        (176, 21, (2, 99), [error(99, 201)]),
    ],
)
def test_orders_are_refused_by_their_own_id(version, number, fields, answer):
    assert ask(responder(version), version, number, *fields) == answer


def test_the_refusal_says_that_this_gateway_does_not_trade():
    (refusal,) = ask(responder(), 176, 3, 99)
    assert refusal.text == "Order rejected - reason:practice gateway does not trade"


def test_everything_synchronisation_waits_for_has_an_answer():
    answered = {number for _, number, text, _, answer in ANSWERS if answer}
    assert answered >= SYNC_REQUESTS


def test_broken_farms_give_no_prices_no_history_and_no_contracts():
    broken = responder(farms_ok=False)
    assert ask(broken, 176, 1, 11, 3, *SPY_TEXT, 0, "", 0, 0, "") == []
    assert ask(broken, 176, 50, 3, 4, *SPY_TEXT, 5, "TRADES", 1, "") == []
    assert ask(broken, 176, 20, 5, *HISTORY) == [error(5, 162)]
    assert ask(broken, 176, 9, 8, 6, *SPY_TEXT, 0, "", "") == [error(6, 200)]
    assert ask(broken, 176, 61, 1) == [62]
    assert broken.next_due is None


def subscribe(at, request_id, now=0.0, version=176):
    return ask(at, version, 1, 11, request_id, *SPY_TEXT, 0, "", 0, 0, "", now=now)


def test_a_subscription_ticks_until_it_is_cancelled():
    live = responder(ticks_per_second=4.0)
    subscribe(live, 3, now=100.0)
    assert live.next_due == pytest.approx(100.25)
    assert said(live.due(100.0), 176) == []
    assert said(live.due(100.25), 176) == [1]
    assert said(live.due(101.0), 176) == [1, 1, 1]
    ask(live, 176, 2, 2, 3)
    assert live.next_due is None and live.due(102.0) == b""


def test_other_subscriptions_follow_their_own_clocks():
    live = responder()
    ask(live, 176, 20, 3, *SPY_TEXT, 0, "", "1 min", "60 S", 1, "TRADES", 1, 1, "", now=100.0)
    ask(live, 176, 50, 3, 4, *SPY_TEXT, 5, "TRADES", 1, "", now=100.0)
    assert said(live.due(101.0), 176) == [90]
    assert said(live.due(105.0), 176) == [90, 50]
    ask(live, 176, 25, 1, 3), ask(live, 176, 51, 1, 4)
    assert live.next_due is None


@pytest.mark.slow
def test_a_subscription_id_in_use_and_one_too_many_are_refused():
    live = responder()
    for request_id in range(MAX_STREAMS):
        assert subscribe(live, request_id) == OPENING_TICKS
    assert subscribe(live, 5) == [error(5, 322)]
    assert subscribe(live, MAX_STREAMS) == [error(MAX_STREAMS, 101)]


def test_no_ticks_per_second_means_the_opening_ticks_alone():
    still = responder(ticks_per_second=0.0)
    assert subscribe(still, 3) == OPENING_TICKS
    assert still.next_due is None


@pytest.mark.slow
def test_what_is_due_at_once_is_bounded():
    flood = responder(ticks_per_second=200_000.0)
    for request_id in range(MAX_STREAMS):
        subscribe(flood, request_id)
    assert 256 << 10 < len(flood.due(0.5)) < 512 << 10


def test_the_market_data_type_asked_for_is_the_one_announced():
    delayed = responder()
    ask(delayed, 176, 59, 1, 3)
    answer = delayed.answer(Request(join_fields(1, 11, 3, *SPY_TEXT, 0, "", 0, 0, ""), 176), 0.0)
    assert FrameReader().feed(answer)[1] == join_fields(58, 1, 3, 3)


@pytest.mark.parametrize(
    ("bar_size", "date_format", "first"),
    [
        ("1 day", 1, b"20250526"),
        ("1 day", 2, b"20250526"),
        ("1 hour", 1, b"20250526 12:00:00 UTC"),
        ("1 hour", 2, b"1748260800"),
    ],
)
def test_dates_of_bars_have_the_form_that_was_asked_for(bar_size, date_format, first):
    payload = join_fields(20, 3, *SPY_TEXT, 0, "", bar_size, "5 D", 1, "TRADES", date_format, 0, "")
    fields = FrameReader().feed(responder().answer(Request(payload, 176), 0.0))[0].split(b"\0")
    assert fields[5] == first


def test_accounts_nobody_has_become_the_first_one():
    two = responder(accounts=("DU1", "DU2"))
    assert b"\0DU2\0" in two.answer(Request(join_fields(6, 2, 1, "DU2"), 176), 0.0)
    assert b"\0DU1\0" in two.answer(Request(join_fields(6, 2, 1, "F999"), 176), 0.0)
    assert ask(two, 176, 62, 1, 1, "All", "") == [63] * 6 + [64]


def test_a_request_in_the_wrong_form_is_a_wire_error():
    with pytest.raises(WireError):
        responder().answer(Request(join_fields(20, 3, "SPY"), 176), 0.0)


def test_text_that_cannot_be_said_in_text_is_said_without_what_cannot():
    """A protobuf request of a client that is ahead of its own version, with a NUL in the symbol."""
    odd = LENGTH.pack(209) + proto((1, 3), (2, proto((2, "S\0Y"), (3, "STK"))))
    assert b"\0S?Y\0" in responder(201).answer(Request(odd, 201), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("version", [176, 201, 226])
def test_damaged_requests_raise_nothing_but_wire_errors(version):
    dice, answered = random.Random(version), 0
    pieces = (b"\0", b"999999999999999999999", b"-1\0", b"\xff\xfe")
    for _ in range(1500):
        _, number, text, pairs, _ = dice.choice(ANSWERS)
        if version == PROTOBUF:
            payload = bytearray(LENGTH.pack(number + 200) + proto(*pairs))
        else:
            payload = bytearray((LENGTH.pack(number) if version >= 201 else join_fields(number)) + join_fields(*text))
        for _ in range(dice.randrange(4)):
            at = dice.randrange(len(payload) + 1)
            payload[at : at + dice.randrange(5)] = dice.choice((*pieces, dice.randbytes(3), b""))
        with contextlib.suppress(WireError):
            responder(version, ticks_per_second=0).answer(Request(bytes(payload), version), 0.0)
            answered += 1
    assert 300 < answered < 1400
