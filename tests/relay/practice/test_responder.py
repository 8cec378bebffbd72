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


def history(end="", bar="1 day", duration="5 D", regular=1, what="TRADES", form=1, keep=0, options="", of=SPY_TEXT):
    """The text fields of a request for historical data, behind its id."""
    return (*of, 0, end, bar, duration, regular, what, form, keep, options)


def history_message(end="", bar="1 day", duration="5 D", regular=1, what="TRADES", form=1):
    """The same as protobuf."""
    return ((1, 3), (2, SPY_PROTOBUF), (3, end), (4, bar), (5, duration), (6, regular), (7, what), (8, form))


HISTORY = history()
HEAD_MESSAGE = ((1, 3), (2, SPY_PROTOBUF), (3, 1), (4, "TRADES"), (5, 1))
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
    ("account summary", 62, (1, 1, "All", "NetLiquidation"), ((1, 1), (2, "All"), (3, "NetLiquidation")), [63, 64]),
    ("managed accounts", 17, (1,), (), [ManagedAccounts(("DU1234567",))]),
    ("ids", 8, (1, 1), ((1, 1),), [NextValidId(1)]),
    ("current time", 49, (1,), (), [CurrentTime(int(NOW))]),
    ("current time in ms", 105, (), (), [109]),
    ("historical data", 20, (3, *HISTORY), history_message(), None),
    ("bad bar size", 20, (3, *history(bar="1 aeon")), history_message(bar="1 aeon"), [error(3, 321)]),
    ("bad duration", 20, (3, *history(duration="long")), history_message(duration="long"), [error(3, 321)]),
    (
        "an end long before the first trade",
        20,
        (3, *history(end="00010101", duration="9 Y")),
        history_message(end="00010101", duration="9 Y"),
        [error(3, 162)],
    ),
    ("market data", 1, (11, 3, *SPY_TEXT, 0, "", 0, 0, ""), ((1, 3), (2, SPY_PROTOBUF)), OPENING_TICKS),
    ("snapshot", 1, (11, 3, *SPY_TEXT, 0, "", 1, 0, ""), ((1, 3), (2, SPY_PROTOBUF), (4, 1)), [*OPENING_TICKS, 57]),
    ("cancel of nothing", 2, (2, 3), ((1, 3),), []),
    ("market data type", 59, (1, 3), ((1, 3),), []),
    ("no market data type", 59, (1, 5), ((1, 5),), [error(-1, 321)]),
    (
        "a schedule",
        20,
        (3, *history(what="SCHEDULE")),
        history_message(what="SCHEDULE"),
        None,
    ),
    ("a kind of price nobody has", 20, (3, *history(what="X")), history_message(what="X"), [error(3, 321)]),
    ("no form of dates", 20, (3, *history(form=3)), history_message(form=3), [error(3, 321)]),
    ("a cancel of no query", 25, (1, 3), ((1, 3),), [error(3, 366)]),
    (
        "history of nothing known",
        20,
        (3, *history(of=(0, "ZZZZNOPE", *SPY_TEXT[2:]))),
        ((1, 3), (2, proto((2, "ZZZZNOPE"))), *history_message()[2:]),
        [error(3, 200)],
    ),
    (
        "market data of nothing known",
        1,
        (11, 3, 0, "ZZZZNOPE", *SPY_TEXT[2:], 0, "", 0, 0, ""),
        ((1, 3), (2, proto((2, "ZZZZNOPE")))),
        [error(3, 200)],
    ),
    (
        "generic ticks",
        1,
        (11, 3, *SPY_TEXT, 0, "233", 0, 0, ""),
        ((1, 3), (2, SPY_PROTOBUF), (3, "233")),
        [error(3, 321)],
    ),
    (
        "a regulatory snapshot",
        1,
        (11, 3, *SPY_TEXT, 0, "", 0, 1, ""),
        ((1, 3), (2, SPY_PROTOBUF), (5, 1)),
        [error(3, 321)],
    ),
    (
        "real time bars of ten seconds",
        50,
        (3, 3, *SPY_TEXT, 10, "TRADES", 0, ""),
        ((1, 3), (2, SPY_PROTOBUF), (3, 10), (4, "TRADES")),
        [error(3, 321)],
    ),
    (
        "head timestamp of a schedule",
        87,
        (3, *SPY_TEXT, 0, 1, "SCHEDULE", 1),
        ((1, 3), (2, SPY_PROTOBUF), (4, "SCHEDULE"), (5, 1)),
        [error(3, 321)],
    ),
    ("a group nobody has", 62, (1, 1, "Mine", "NetLiquidation"), ((1, 1), (2, "Mine")), [error(1, 321)]),
    ("a model", 76, (1, 1, "DU1234567", "M", 0), ((1, 1), (3, "M")), [error(1, 321)]),
    ("the ledger alone", 76, (1, 1, "", "", 1), ((1, 1), (4, 1)), [73, 73, 74]),
    ("positions of nobody", 74, (1, 1, "DU999", ""), ((1, 1), (2, "DU999")), [error(1, 321)]),
    (
        "real time bars",
        50,
        (3, 3, *SPY_TEXT, 5, "TRADES", 0, ""),
        ((1, 3), (2, SPY_PROTOBUF), (3, 5), (4, "TRADES")),
        [50],
    ),
    ("contract details", 9, (8, 3, *SPY_TEXT, 0, "", ""), ((1, 3), (2, SPY_PROTOBUF)), [10, 52]),
    (
        "no stock",
        9,
        (8, 3, 0, "ES", "FUT", *SPY_TEXT[3:], 0, "", ""),
        ((1, 3), (2, proto((3, "FUT")))),
        [error(3, 200)],
    ),
    ("matching symbols", 81, (3, "spy"), ((1, 3), (2, "spy")), [79]),
    ("head timestamp", 87, (3, *SPY_TEXT, 0, 1, "TRADES", 1), HEAD_MESSAGE, [88]),
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
    ask(live, 176, 20, 3, *SPY_TEXT, 0, "", "1 min", "60 S", 0, "TRADES", 1, 1, "", now=100.0)
    ask(live, 176, 50, 3, 4, *SPY_TEXT, 5, "TRADES", 0, "", now=100.0)
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
        ("1 hour", 1, b"20250526 13:30:00 UTC"),
        ("1 hour", 2, b"1748266200"),
    ],
)
def test_dates_of_bars_have_the_form_that_was_asked_for(bar_size, date_format, first):
    payload = join_fields(20, 3, *SPY_TEXT, 0, "", bar_size, "5 D", 1, "TRADES", date_format, 0, "")
    fields = FrameReader().feed(responder().answer(Request(payload, 176), 0.0))[0].split(b"\0")
    assert fields[5] == first


def test_an_account_nobody_has_is_refused_and_none_is_the_first_one():
    two = responder(accounts=("DU1", "DU2"))
    assert b"\0DU2\0" in two.answer(Request(join_fields(6, 2, 1, "DU2"), 176), 0.0)
    assert b"\0DU1\0" in two.answer(Request(join_fields(6, 2, 1, ""), 176), 0.0)
    assert ask(two, 176, 6, 2, 1, "F999") == [error(-1, 321)]
    assert ask(two, 176, 62, 1, 1, "All", "NetLiquidation, BuyingPower") == [63] * 4 + [64]


def test_a_request_in_the_wrong_form_is_a_wire_error():
    with pytest.raises(WireError):
        responder().answer(Request(join_fields(20, 3, "SPY"), 176), 0.0)


def test_outside_regular_hours_nothing_comes_to_who_wants_regular_hours():
    live = responder()  # it is Saturday
    assert ask(live, 176, 20, 3, *history(bar="1 min", duration="60 S", keep=1)) == [17]
    assert ask(live, 176, 50, 3, 4, *SPY_TEXT, 5, "TRADES", 1, "") == []
    assert live.streams == 2 and live.due(10.0) == b""
    assert ask(live, 176, 25, 1, 3) == [error(3, 162)]


@pytest.mark.parametrize(("version", "answer"), [(164, [error(3, 321)]), (176, [106]), (211, [106]), (226, [106])])
def test_a_schedule_is_a_message_of_its_own(version, answer):
    form = {"protobuf": history_message(what="SCHEDULE")} if version == PROTOBUF else {}
    assert ask(responder(version), version, 20, 3, *history(what="SCHEDULE"), **form) == answer


def test_small_bars_are_paced_and_long_ones_are_not():
    paced = responder()
    small = history(bar="5 secs", duration="60 S")
    assert [ask(paced, 176, 20, n, *small, now=at) for n, at in ((1, 0.0), (2, 14.9), (3, 15.0))] == [
        [17],
        [error(2, 162)],
        [17],
    ]
    assert [ask(paced, 176, 20, n, *HISTORY) for n in range(9)] == [[17]] * 9
    both = [history(end=f"20250530-15:0{n}:00", bar="5 secs", duration="60 S", what="BID_ASK") for n in range(3)]
    assert [ask(paced, 176, 20, 9, *one, now=100.0) for one in both] == [[17], [17], [error(9, 162)]]


def test_the_head_timestamp_has_the_form_asked_for():
    heads = [
        responder().answer(Request(join_fields(87, 3, *SPY_TEXT, 0, 1, "TRADES", form), 176), 0.0) for form in (1, 2)
    ]
    assert [FrameReader().feed(head)[0].split(b"\0")[2] for head in heads] == [b"19930129-14:30:00", b"728317800"]


def test_an_id_from_contract_details_is_enough_to_ask_with():
    details = responder().answer(Request(join_fields(9, 8, 3, 0, "TSLA", *SPY_TEXT[2:], 0, "", "", ""), 176), 0.0)
    con_id = FrameReader().feed(details)[0].split(b"\0")[12]
    by_id, by_symbol = (
        responder().answer(Request(join_fields(20, 3, *history(of=(*who, *SPY_TEXT[2:]))), 176), 0.0)
        for who in ((con_id, ""), (0, "TSLA"))
    )
    assert by_id == by_symbol and FrameReader().feed(by_id)[0].startswith(b"17\0")


def test_an_isin_is_refused_by_name():
    (refusal,) = ask(responder(), 176, 9, 8, 3, *SPY_TEXT, 0, "ISIN", "US78462F1030", "")
    assert refusal.code == 321 and "secId" in refusal.text


def test_text_that_cannot_be_said_in_text_is_said_without_what_cannot():
    """A protobuf request of a client that is ahead of its own version, with a NUL in the bar size."""
    odd = LENGTH.pack(220) + proto((1, 3), (2, SPY_PROTOBUF), (4, "S\0Y"))
    assert b"'S?Y'" in responder(201).answer(Request(odd, 201), 0.0)


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
