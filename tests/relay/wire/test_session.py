"""Our own session: every way it can go, and how it is told."""

import pytest

from relay.wire import events, messages
from relay.wire.codes import Kind
from relay.wire.framing import encode_frame, join_fields
from relay.wire.hello import Redirect, ServerHello
from relay.wire.messages import ErrorMessage, ManagedAccounts, NextValidId, StartApi, TickPrice, encode
from relay.wire.session import LARGEST_FRAME, ClientSession, SessionOutcome
from relay.wire.stage import Stage
from tests.relay.wire.vectors import FRAMED, Direction, byte_by_byte

BAD_PEER, REDIRECTED = SessionOutcome.BAD_PEER, SessionOutcome.REDIRECTED
NOW = 50.0
HELLO = ServerHello(176, "20230228 17:24:14 EST").encode()
ACCOUNTS = encode(ManagedAccounts(("DU1234567",)), 176)
NO_ACCOUNTS = encode(ManagedAccounts(()), 176)
ORDER_ID = encode(NextValidId(117), 176)


def play(*answers, session=None, cut=lambda data: [data]):
    """A session and what it made of the gateway's answers."""
    session = session or ClientSession(7)
    session.start(NOW)
    found = []
    for answer in answers:
        for chunk in cut(answer):
            found += session.receive(memoryview(bytearray(chunk)), NOW)
    return session, found


def state(session):
    return session.stage, session.outcome


@pytest.mark.parametrize("cut", [lambda data: [data], byte_by_byte])
def test_a_session_comes_up(cut):
    session = ClientSession(7)
    assert session.start(NOW) == b"API\0\0\0\0\x09v100..176"
    assert session.to_send() == b""
    found = []
    for chunk in cut(HELLO[:-1]):
        found += session.receive(chunk, NOW)
    assert (found, session.to_send()) == ([], b""), "START_API must wait for the whole server hello"
    found += session.receive(HELLO[-1:], NOW)
    assert session.to_send() == encode(StartApi(7), 176)
    assert session.to_send() == b""
    for chunk in cut(ORDER_ID + encode(ErrorMessage(-1, 2104, "OK"), 176) + encode_frame(b"") + ACCOUNTS):
        found += session.receive(chunk, NOW)
    assert found == [
        events.ServerHelloSeen(NOW, 176, "20230228 17:24:14 EST"),
        events.NextValidIdSeen(NOW, 117),
        events.Notice(NOW, 2104, Kind.OK, -1),
        events.Accounts(NOW, ("DU***567",), 1),
        events.Ready(NOW),
    ]
    assert state(session) == (Stage.READY, SessionOutcome.USABLE)
    assert (session.order_id, session.accounts, session.server_version) == (117, ("DU***567",), 176)
    assert (session.account_count, session.version_said) == (1, "server version at least 176 (we ask for no more)")
    assert session.next_deadline() is None


def test_an_answer_in_one_piece_is_enough():
    session, found = play(HELLO + ACCOUNTS + ORDER_ID)
    assert state(session) == (Stage.READY, SessionOutcome.USABLE)
    assert found[-1] == events.Ready(NOW)


@pytest.mark.parametrize("run", [run for run in FRAMED if run.whole], ids=str)
def test_it_understands_every_recorded_gateway_side(run):
    answers = [frame.data for frame in run.frames if frame.direction is Direction.GATEWAY_TO_CLIENT]
    session, found = play(*answers, session=ClientSession(7, max_version=226))
    assert state(session) == (Stage.READY, SessionOutcome.USABLE)
    again = play(*answers, session=ClientSession(7, max_version=226), cut=byte_by_byte)
    assert again[1] == found


ENDS = [
    # name, answers, stage, outcome, words of the detail
    ("mute", [], Stage.CLIENT_HELLO, SessionOutcome.PENDING, ""),
    ("half a hello", [HELLO[:9]], Stage.CLIENT_HELLO, SessionOutcome.PENDING, ""),
    ("mute after its hello", [HELLO], Stage.START_API, SessionOutcome.PENDING, ""),
    ("no order id", [HELLO, ACCOUNTS], Stage.START_API, SessionOutcome.PENDING, ""),
    ("no accounts", [HELLO, ORDER_ID], Stage.START_API, SessionOutcome.PENDING, ""),
    ("no account in the list", [HELLO, ORDER_ID, NO_ACCOUNTS], Stage.START_API, SessionOutcome.PENDING, ""),
    (
        "client id in use",
        [HELLO, encode(ErrorMessage(-1, 326, "in use"), 176)],
        Stage.START_API,
        SessionOutcome.REFUSED_ID,
        "client id 7",
    ),
    (
        "redirect",
        [Redirect("gate", 4001).encode()],
        Stage.CLIENT_HELLO,
        REDIRECTED,
        "redirected to gate:4001",
    ),
    (
        "redirect, no port",
        [Redirect("gate").encode()],
        Stage.CLIENT_HELLO,
        REDIRECTED,
        "redirected to gate",
    ),
    ("http", [b"HTTP/1.1 400 Bad Request\r\n"], Stage.CLIENT_HELLO, BAD_PEER, "first bytes are HTTP"),
    ("ssh", [b"SSH-2.0-OpenSSH_9.6\r\n"], Stage.CLIENT_HELLO, BAD_PEER, "first bytes are SSH"),
    (
        "a TLS alert",
        [bytes.fromhex("15030300020246")],
        Stage.CLIENT_HELLO,
        BAD_PEER,
        "first bytes are TLS",
    ),
    ("garbage", [b"\xff\xfe\xfd\xfc"], Stage.CLIENT_HELLO, BAD_PEER, "first bytes are not an IB hello"),
    ("a hello of one field", [encode_frame(b"176\0")], Stage.CLIENT_HELLO, BAD_PEER, "1 fields"),
    (
        "a version above ours",
        [ServerHello(177, "").encode()],
        Stage.CLIENT_HELLO,
        SessionOutcome.OTHER_VERSION,
        "100..176 was",
    ),
    (
        "a version below ours",
        [ServerHello(76, "").encode()],
        Stage.CLIENT_HELLO,
        SessionOutcome.OTHER_VERSION,
        "server version 76",
    ),
    (
        "an oversize frame",
        [HELLO, b"\x7f\xff\xff\xff"],
        Stage.START_API,
        BAD_PEER,
        "a frame of more than 1048576 bytes is announced",
    ),
    (
        "an oversize frame behind one",
        [HELLO + ORDER_ID + b"\xff" * 4],
        Stage.START_API,
        BAD_PEER,
        "frame",
    ),
    (
        "a frame without id",
        [HELLO, encode_frame(b"?")],
        Stage.START_API,
        BAD_PEER,
        "a frame does not begin with a message id",
    ),
    (
        "a broken message",
        [HELLO, encode_frame(join_fields(9, 1))],
        Stage.START_API,
        BAD_PEER,
        "too few fields",
    ),
    (
        "garbage later",
        [HELLO, ACCOUNTS, ORDER_ID, b"\xff" * 8],
        Stage.READY,
        BAD_PEER,
        "a frame of more than 1048576 bytes is announced",
    ),
]


@pytest.mark.parametrize("cut", [lambda data: [data], byte_by_byte])
@pytest.mark.parametrize("name, answers, stage, outcome, detail", ENDS)
def test_every_end_is_an_outcome_with_its_stage(name, answers, stage, outcome, detail, cut):
    session, found = play(*answers, cut=cut)
    assert state(session) == (stage, outcome)
    assert detail in session.detail
    assert isinstance(found[-1] if found else None, events.Opaque) == (outcome is BAD_PEER)


UNREADABLE = encode_frame(join_fields(4, 2, "U1234567", 2104, "OK"))
TOLD = "ERR_MSG: the request id is no integer (8 bytes, letters and digits)"


@pytest.mark.parametrize("cut", [lambda data: [data], byte_by_byte])
def test_an_error_that_cannot_be_read_does_not_end_a_session_of_which_the_rest_can(cut):
    session, found = play(HELLO, UNREADABLE, ACCOUNTS, UNREADABLE, ORDER_ID, UNREADABLE, cut=cut)
    assert state(session) == (Stage.READY, SessionOutcome.USABLE)
    assert [event for event in found if hasattr(event, "reason")] == [events.NotUnderstood(NOW, TOLD)] * 3


@pytest.mark.parametrize("name, answers, stage, outcome, detail", ENDS)
def test_a_finished_session_stays_as_it_ended(name, answers, stage, outcome, detail):
    session, _ = play(*answers)
    if session.alive:
        return
    before = session.detail
    assert session.receive(HELLO + ACCOUNTS + ORDER_ID, NOW) == []
    session.peer_closed(NOW, reset=True)
    assert not session.expire(NOW + 3600)
    assert (*state(session), session.detail) == (stage, outcome, before)
    assert session.next_deadline() is None


@pytest.mark.parametrize(
    "reset, outcome, word", [(False, SessionOutcome.CLOSED, "closed"), (True, SessionOutcome.RESET, "reset")]
)
@pytest.mark.parametrize(
    "answers, stage, where",
    [
        ([], Stage.CLIENT_HELLO, "client_hello, 0 bytes received"),
        ([HELLO[:9]], Stage.CLIENT_HELLO, "client_hello, 9 of 30 bytes of the gateway's hello came"),
        ([HELLO], Stage.START_API, "start_api, 30 bytes received"),
        ([HELLO, ACCOUNTS, ORDER_ID], Stage.READY, "ready, 61 bytes received"),
    ],
)
def test_a_gateway_that_goes_away_is_told_with_the_place(answers, stage, where, reset, outcome, word):
    session, _ = play(*answers)
    session.peer_closed(NOW, reset)
    assert state(session) == (stage, outcome)
    assert session.detail == f"{word} by the gateway after {where}"


@pytest.mark.parametrize(
    "answers, deadline, stage, detail",
    [
        ([], NOW + 3.0, Stage.CLIENT_HELLO, "hello: server hello not received in 3.0 s"),
        (
            [HELLO[:-1]],
            NOW + 3.0,
            Stage.CLIENT_HELLO,
            "hello: server hello not received in 3.0 s, 29 of 30 bytes of the gateway's hello came",
        ),
        (
            [HELLO[:3]],
            NOW + 3.0,
            Stage.CLIENT_HELLO,
            "hello: server hello not received in 3.0 s, 3 bytes of the gateway's hello came",
        ),
        ([HELLO, ORDER_ID], NOW + 5.0, Stage.START_API, "start: order id and accounts not received in 5.0 s"),
    ],
)
def test_each_step_has_its_deadline(answers, deadline, stage, detail):
    session, _ = play(*answers, session=ClientSession(7, hello_timeout=3.0, start_timeout=5.0))
    assert session.next_deadline() == deadline
    assert not session.expire(deadline - 0.001)
    assert session.expire(deadline)
    assert (*state(session), session.detail) == (stage, SessionOutcome.TIMED_OUT, detail)


def test_before_it_starts_nothing_is_waited_for():
    session = ClientSession(7)
    assert (session.next_deadline(), session.expire(NOW), *state(session)) == (
        None,
        False,
        Stage.NOTHING,
        SessionOutcome.PENDING,
    )


def test_without_a_session_wanted_the_server_hello_is_all():
    session, found = play(HELLO + ACCOUNTS, session=ClientSession(7, want_session=False))
    assert (state(session), session.to_send()) == ((Stage.SERVER_HELLO, SessionOutcome.ANSWERED), b"")
    assert found == [events.ServerHelloSeen(NOW, 176, "20230228 17:24:14 EST")]


def test_a_code_that_announces_the_end_is_kept():
    session, _ = play(HELLO, ACCOUNTS, ORDER_ID, encode(ErrorMessage(-1, 1300, "port changed"), 176))
    session.peer_closed(NOW)
    assert (*state(session), session.fatal_code) == (Stage.READY, SessionOutcome.CLOSED, 1300)


@pytest.mark.parametrize("version", [100, 176, 201, 206, 226])
def test_prices_stream_once_asked_for(version):
    session = ClientSession(7, max_version=226)
    ready = encode(ManagedAccounts(("DU1234567",)), version) + encode(NextValidId(1), version)
    play(ServerHello(version, "").encode(), ready, session=session)
    session.to_send()
    session.request_current_time()
    session.request_market_data(4002, "SPY")
    assert session.to_send() == b"".join(
        encode(message, version)
        for message in (
            messages.CurrentTimeRequest(),
            messages.MarketDataRequest(4002, "SPY"),
        )
    )
    answers = (messages.CurrentTime(1795254615), TickPrice(4002, 1, 100.25))
    assert session.receive(b"".join(encode(answer, version) for answer in answers), NOW + 1) == [
        events.CurrentTimeSeen(NOW + 1, 1795254615),
        events.Tick(NOW + 1, 4002, 1, 100.25),
    ]


def test_requests_need_a_session_that_is_ready():
    session, _ = play(HELLO)
    with pytest.raises(RuntimeError, match="START_API"):
        session.request_current_time()


def test_a_large_answer_is_passed_by_and_a_very_large_one_is_not():
    session, _ = play(HELLO, ACCOUNTS + ORDER_ID)
    assert session.receive(encode_frame(join_fields(19, 1) + bytes(LARGEST_FRAME - 5)), NOW) == []
    assert session.outcome is SessionOutcome.USABLE
    session.receive(encode_frame(join_fields(19, 1) + bytes(LARGEST_FRAME - 4)), NOW)
    assert session.outcome is BAD_PEER
