"""The observer: what it learns from real sessions, and what it does when it cannot."""

import random
import sys

import pytest

from relay.wire import events, messages
from relay.wire.codes import Kind
from relay.wire.direction_table import DOWN, UP
from relay.wire.framing import MAX_FRAME, encode_frame, join_fields
from relay.wire.heard import Heard, Said
from relay.wire.hello import ClientHello, Redirect, ServerHello
from relay.wire.knowledge import Knowledge
from relay.wire.messages import ErrorMessage, ManagedAccounts, NextValidId, StartApi, encode
from relay.wire.observer import Observer
from relay.wire.stage import Stage
from tests.relay.wire.vectors import RUNS, Direction, byte_by_byte

CLIENT, GATEWAY = Direction.CLIENT_TO_GATEWAY, Direction.GATEWAY_TO_CLIENT
NOW = 50.0
HELLO = (CLIENT, ClientHello(100, 226).encode())
ANSWER = (GATEWAY, ServerHello(176, "20230228 17:24:14 EST").encode())
ANSWER_226 = (GATEWAY, ServerHello(226, "20230228 17:24:14 EST").encode())


def up(message, version=176):
    return CLIENT, encode(message, version)


def down(message, version=176):
    return GATEWAY, encode(message, version)


READY = [HELLO, ANSWER, up(StartApi(7)), down(ManagedAccounts(("DU1234567",))), down(NextValidId(1))]


def whole(data):
    return [data]


def at_random(seed):
    rng = random.Random(seed)

    def cut(data):
        chunks = []
        while data:
            size = rng.choice((1, 2, 3, 5, 8, 13, 40, 200, 5000))
            chunks.append(data[:size])
            data = data[size:]
        return chunks

    return cut


CUTS = [whole, byte_by_byte, at_random(1), at_random(2)]


def watch(steps, cut=whole, observer=None):
    """Every step through an observer, in chunks in a buffer that is overwritten after each call, as the relay does."""
    observer = observer or Observer()
    found = []
    for direction, data in steps:
        take = observer.client_to_gateway if direction is CLIENT else observer.gateway_to_client
        for chunk in cut(data):
            buffer = bytearray(chunk)
            found += take(memoryview(buffer), NOW)
            buffer[:] = b"\xaa" * len(buffer)
            assert observer.held <= 64 * 1024
    return observer, found


def knowledge(observer):
    """All that can be read from an observer."""
    names = [name for name in dir(observer) if not name.startswith("_") and name != "held"]
    return {name: value for name in names if not callable(value := getattr(observer, name))}


def watch_all_ways(steps):
    """The observer and events of the whole stream, after making sure that other chunks give the same."""
    observer, found = watch(steps)
    for cut in CUTS[1:]:
        other, other_found = watch(steps, cut)
        assert (other_found, knowledge(other)) == (found, knowledge(observer))
    return observer, found


CLIENT_IDS = [("1234567", 1234567), ("clientId=0", 0), ("three accounts", 3)]  # by a word in the name of the run


@pytest.mark.parametrize("run", [run for run in RUNS if run.whole], ids=str)
def test_a_recorded_session_is_followed_whatever_the_chunks(run):
    observer, found = watch_all_ways([(frame.direction, frame.data) for frame in run.frames])
    assert observer.opaque is None
    if run.legacy:
        assert (found, observer.legacy) == ([events.LegacyHelloSeen(NOW)], True)
        return
    assert observer.stage is Stage.READY
    assert observer.server_version == run.server_version
    assert observer.client_id == next((number for mark, number in CLIENT_IDS if mark in run.peer), 7)
    assert observer.messages_up == sum(frame.direction is CLIENT for frame in run.frames)
    assert observer.messages_down == sum(frame.direction is GATEWAY for frame in run.frames)
    assert [type(event).__name__ for event in found if not isinstance(event, events.Notice)][:6] == [
        "ClientHelloSeen",
        "ServerHelloSeen",
        "StartApiSeen",
        "Accounts",
        "NextValidIdSeen",
        "Ready",
    ]


@pytest.mark.parametrize("run", [run for run in RUNS if not run.whole], ids=str)
def test_notices_of_a_real_gateway_are_classified(run):
    steps = [HELLO] + ([] if run.frames[0].name == "server hello" else [ANSWER])
    observer, found = watch_all_ways(steps + [(frame.direction, frame.data) for frame in run.frames])
    assert observer.opaque is None
    kinds = {event.kind for event in found if isinstance(event, events.Notice)}
    assert kinds == ({Kind.DEGRADED} if "offline" in run.peer else {Kind.OK})
    assert observer.heard.last == (2157 if "offline" in run.peer else None)


@pytest.mark.parametrize("version", [100, 176, 200, 201, 203, 207, 213, 226])
def test_a_session_is_told_in_events(version):
    observer, found = watch_all_ways(
        [
            (CLIENT, ClientHello(100, 226, "+PACEAPI").encode()),
            (GATEWAY, ServerHello(version, "20260105 14:30:00 US/Eastern").encode()),
            up(StartApi(7, "x"), version),
            down(NextValidId(117), version),
            down(ErrorMessage(-1, 2104, "Market data farm connection is OK:usfarm"), version),
            down(ManagedAccounts(()), version),
            down(ManagedAccounts(("DU1234567", "DU7654321")), version),
            up(messages.CurrentTimeRequest(), version),
            down(messages.CurrentTime(1795254615), version),
            down(ErrorMessage(9001, 162, "no data"), version),
        ]
    )
    assert found == [
        events.ClientHelloSeen(NOW, 100, 226, "+PACEAPI"),
        events.ServerHelloSeen(NOW, version, "20260105 14:30:00 US/Eastern"),
        events.StartApiSeen(NOW, 7, "x"),
        events.NextValidIdSeen(NOW, 117),
        events.Notice(NOW, 2104, Kind.OK, -1, ("usfarm",)),
        events.Accounts(NOW, (), 0),
        events.Accounts(NOW, ("DU***567", "DU***321"), 2),
        events.Ready(NOW),
        events.Notice(NOW, 162, Kind.REQUEST, 9001),
    ]
    assert knowledge(observer) == {
        "stage": Stage.READY,
        "opaque": None,
        "legacy": False,
        "server_version": version,
        "client_range": (100, 226),
        "client_id": 7,
        "accounts": ("DU***567", "DU***321"),
        "account_count": 2,
        "heard": Heard((Said(162),)),
        "fatal": None,
        "redirect": None,
        "has_order_id": True,
        "not_understood": None,
        "client_hello_at": NOW,
        "server_hello_at": NOW,
        "start_api_at": NOW,
        "ready_at": NOW,
        "messages_up": 3,
        "messages_down": 7,
        "counts_up": {71: 1, 49: 1},
        "counts_down": {9: 1, 4: 2, 15: 2, 49: 1},
        "requests_peak": 2,
    }


@pytest.mark.parametrize(
    "steps, stage",
    [
        ([], Stage.NOTHING),
        ([(CLIENT, b"API\0\0\0")], Stage.NOTHING),
        ([HELLO], Stage.CLIENT_HELLO),
        ([HELLO, (GATEWAY, b"\0\0\0\x1a176\x002023")], Stage.CLIENT_HELLO),
        ([HELLO, ANSWER], Stage.SERVER_HELLO),
        (READY[:3], Stage.START_API),
        (READY[:4], Stage.START_API),
        ([*READY[:3], down(ManagedAccounts(())), down(NextValidId(1))], Stage.START_API),
        (READY, Stage.READY),
        ([*READY, up(StartApi(8))], Stage.READY),
    ],
)
def test_the_stage_is_the_last_step_taken(steps, stage):
    assert watch_all_ways(steps)[0].stage is stage


def test_each_stage_has_its_time():
    observer = Observer()
    for at, (direction, data) in enumerate(READY):
        (observer.client_to_gateway if direction is CLIENT else observer.gateway_to_client)(data, float(at))
    times = (observer.client_hello_at, observer.server_hello_at, observer.start_api_at, observer.ready_at)
    assert times == (0.0, 1.0, 2.0, 4.0)


@pytest.mark.parametrize("version, answer", [(176, ANSWER), (226, ANSWER_226)])
def test_a_start_api_before_the_server_hello_is_read_by_its_shape(version, answer):
    observer, found = watch_all_ways([HELLO, up(StartApi(7), version), up(messages.CurrentTimeRequest(), version)])
    assert found[1:] == [events.StartApiSeen(NOW, 7)]
    assert (observer.stage, observer.counts_up) == (Stage.CLIENT_HELLO, {71: 1, 49: 1})
    watch([answer], observer=observer)
    assert observer.stage is Stage.START_API


def test_a_redirect_ends_what_the_gateway_has_to_say():
    observer, found = watch_all_ways(
        [HELLO, (GATEWAY, Redirect("gate", 4001).encode()), (GATEWAY, b"\xff" * 50), up(StartApi(7))]
    )
    assert found[1:] == [events.Redirected(NOW, "gate", 4001), events.StartApiSeen(NOW, 7)]
    assert (observer.opaque, observer.stage, observer.redirect) == (None, Stage.CLIENT_HELLO, "gate:4001")


def test_of_a_legacy_session_nothing_more_is_read():
    observer, found = watch_all_ways([(CLIENT, b"63\x007\0"), (GATEWAY, b"76\x00time\0"), (CLIENT, b"49\x001\0")])
    assert found == [events.LegacyHelloSeen(NOW)]
    assert (observer.legacy, observer.stage, observer.opaque) == (True, Stage.CLIENT_HELLO, None)
    assert (observer.counts_up, observer.counts_down) == ({}, {})


ACCOUNT = "U1234567"  # where a number should be
START_WITHOUT_ID = encode_frame(join_fields(71, 2))
FORGED = b"-1\0evil\n2026-11-28T00:00:00.000Z INFO  default #1 ready\x1b]0;title\0"

DOUBTS = [
    ("a client that is no IB client", [(CLIENT, b"GET / HTTP/1.1\r\n\r\n")], "client: first bytes are not"),
    ("a broken range", [(CLIENT, b"API\0\0\0\0\x09v100.x157")], "client: first bytes are not"),
    ("a gateway that speaks first", [(GATEWAY, b"\0\0\0\x05176\0\0")], "gateway: spoke before the client"),
    ("... in the middle of a hello", [(CLIENT, b"API\0"), (GATEWAY, b"R")], "gateway: spoke before the client"),
    ("an HTTP answer", [HELLO, (GATEWAY, b"HTTP/1.1 400 Bad Request\r\n")], "gateway: first bytes are HTTP, not"),
    ("a TLS alert", [HELLO, (GATEWAY, b"\x15\x03\x01\0\x02\x02\x46")], "gateway: first bytes are TLS, not"),
    ("an SSH greeting", [HELLO, (GATEWAY, b"SSH-2.0-OpenSSH_9.2\r\n")], "gateway: first bytes are SSH, not"),
    ("a text", [HELLO, (GATEWAY, b"Sorry, not today")], "gateway: first bytes are text, not"),
    ("an empty first frame", [HELLO, (GATEWAY, bytes(4))], "gateway: first bytes are not"),
    ("a hello of three fields", [HELLO, (GATEWAY, encode_frame(b"176\0a\0b\0"))], "gateway: server hello: 3 fields"),
    (
        "a hello without a number",
        [HELLO, (GATEWAY, encode_frame(b"1x\0a\0"))],
        "gateway: server hello: the server version is no number (2 bytes, letters and digits)",
    ),
    (
        "an oversize frame up",
        [*READY, (CLIENT, b"\x01\0\0\0")],
        "client: a frame of more than 16777215 bytes is announced",
    ),
    (
        "an oversize frame down",
        [*READY, (GATEWAY, b"\x7f\xff\xff\xff")],
        "gateway: a frame of more than 16777215 bytes",
    ),
    ("an oversize early frame", [HELLO, (CLIENT, b"\xff" * 9)], "client: a frame of more than 16777215 bytes"),
    (
        "text where an id should be",
        [*READY, (CLIENT, encode_frame(b"hello\0"))],
        "client: a frame does not begin with a message id",
    ),
    ("an id of one byte", [*READY, (CLIENT, encode_frame(b"1"))], "client: a frame does not begin with a message id"),
    ("half a binary id", [*READY, (GATEWAY, encode_frame(b"\0\0"))], "gateway: frame of 2 bytes is too short"),
    (
        "an id out of range",
        [*READY, (GATEWAY, encode_frame(b"\0\0\x10\0"))],
        "gateway: a binary message id is out of range, 999",
    ),
    ("a START_API without id", [*READY[:2], (CLIENT, START_WITHOUT_ID)], "client: START_API: too few fields"),
    ("a START_API that is all id", [*READY[:2], (CLIENT, encode_frame(b"71\0"))], "client: START_API: too few"),
    (
        "a client id that is no number",
        [*READY[:2], (CLIENT, encode_frame(join_fields(71, 2, ACCOUNT)))],
        "client: START_API: the client id is no integer (8 bytes, letters and digits)",
    ),
    (
        "an order id that is no number",
        [*READY[:4], (GATEWAY, encode_frame(join_fields(9, 1, ACCOUNT)))],
        "gateway: NEXT_VALID_ID: the order id is no integer (8 bytes, letters and digits)",
    ),
    ("accounts that are cut off", [*READY[:3], (GATEWAY, encode_frame(b"15\x001"))], "gateway: MANAGED_ACCTS: last"),
    ("an error in another era", [*READY, down(ErrorMessage(-1, 2104, ""), 201)], "gateway: binary message id at"),
    (
        "broken protobuf",
        [HELLO, ANSWER_226, (GATEWAY, encode_frame(b"\0\0\0\xd1\x08"))],
        "gateway: NEXT_VALID_ID: prot",
    ),
    (
        "a redirect that forges lines",
        [HELLO, (GATEWAY, encode_frame(FORGED))],
        "gateway: server hello: redirect to what",
    ),
]


@pytest.mark.parametrize("name, steps, reason", DOUBTS)
def test_doubt_makes_it_opaque_with_a_reason(name, steps, reason):
    before, _ = watch(steps[:-1])
    observer, found = watch_all_ways([*steps, *READY, (GATEWAY, b"\xff" * 100), (CLIENT, b"\xff" * 100)])
    assert found[-1] == events.Opaque(NOW, observer.opaque)
    assert observer.opaque.startswith(reason)
    assert (observer.stage, observer.held) == (before.stage, 0)
    assert observer.messages_up + observer.messages_down - before.messages_up - before.messages_down in (0, 1)


UNREADABLE = [
    (
        "an account as the id of an error",
        (GATEWAY, encode_frame(join_fields(4, 2, ACCOUNT, 2104, "OK"))),
        "gateway: ERR_MSG: the request id is no integer (8 bytes, letters and digits)",
    ),
    ("an error that is cut off", (GATEWAY, encode_frame(join_fields(4, 2, -1))), "gateway: ERR_MSG: too few fields"),
    ("no NUL at the end", (GATEWAY, encode_frame(b"4\x002\x00-1")), "gateway: ERR_MSG: last field is not terminated"),
    ("a START_API without id", (CLIENT, START_WITHOUT_ID), "client: START_API: too few fields"),
    (
        "a next order id that is no number",
        (GATEWAY, encode_frame(join_fields(9, 1, "\x1b[2J\n"))),
        "gateway: NEXT_VALID_ID: the order id is no integer (5 bytes, ASCII with control characters)",
    ),
]


@pytest.mark.parametrize("name, step, reason", UNREADABLE, ids=[row[0] for row in UNREADABLE])
def test_a_message_that_cannot_be_read_in_a_stream_in_step_is_counted_and_the_session_goes_on(name, step, reason):
    observer, found = watch_all_ways([*READY, step, step, down(ErrorMessage(-1, 1100, "lost"))])
    first, second = (event for event in found if isinstance(event, events.NotUnderstood))
    assert first == second == events.NotUnderstood(NOW, observer.not_understood.first)
    assert observer.not_understood.first.startswith(reason)
    assert (observer.not_understood.number, observer.opaque, observer.stage) == (2, None, Stage.READY)
    assert (observer.heard.last, found[-1]) == (1100, events.Notice(NOW, 1100, Kind.DEGRADED, -1))
    assert observer.messages_up + observer.messages_down == 5 + 2 + 1


def test_an_error_that_cannot_be_read_before_the_session_is_ready_does_not_hide_that_it_becomes_so():
    step = (GATEWAY, encode_frame(join_fields(4, 2, ACCOUNT, 2104, "OK")))
    observer, _ = watch_all_ways([*READY[:3], step, *READY[3:]])
    assert (observer.opaque, observer.stage, observer.not_understood.number) == (None, Stage.READY, 1)


def test_a_reason_never_holds_what_the_peer_has_sent():
    """Any eight bytes may be an account number: wherever they stand, in any message, nothing of them is told."""
    secret = b"U7418529"
    bodies = [join_fields(4, 2, -1, 2104, "x"), join_fields(9, 1, 5), join_fields(15, 1, "DU1"), join_fields(71, 2, 7)]
    bodies += [encode(message, 226)[4:] for message in (StartApi(7), NextValidId(5), ErrorMessage(-1, 2104, "x"))]
    told = 0
    for version, prologue in ((176, [HELLO, ANSWER]), (226, [HELLO, ANSWER_226])):
        for body in bodies:
            for at in range(len(body) + 1):
                for bad in (body[:at] + secret + body[at:], body[:at] + secret, secret + body[at:]):
                    for direction in (CLIENT, GATEWAY):
                        for frame in (encode_frame(bad), secret + bad):
                            observer, found = watch([*prologue, (direction, frame)])
                            doubt = observer.not_understood
                            reasons = [observer.opaque or "", doubt.first if doubt else ""]
                            reasons += [event.reason for event in found if hasattr(event, "reason")]
                            told += any(reasons)
                            for reason in reasons:
                                assert "7418529" not in reason and "U74" not in reason, (version, frame)
                                assert str(int.from_bytes(secret[:4], "big")) not in reason, (version, frame)
    assert told > 100


def test_what_came_before_the_doubt_in_the_same_chunk_is_kept():
    direction, bad = GATEWAY, b"\xff" * 10
    stream = b"".join(data for _, data in READY[3:]) + encode_frame(join_fields(54, 1)) * 3 + bad
    observer, found = watch_all_ways([*READY[:3], (direction, stream)])
    assert found[-2:] == [events.Ready(NOW), events.Opaque(NOW, observer.opaque)]
    assert observer.counts_down == {15: 1, 9: 1, 54: 3}


def test_unknown_ids_are_counted():
    steps = [*READY, (CLIENT, encode_frame(join_fields(999, "x"))), (GATEWAY, encode_frame(b"60\0"))]
    observer, _ = watch_all_ways(steps)
    assert (observer.counts_up, observer.counts_down) == ({71: 1, 999: 1}, {15: 1, 9: 1, 60: 1})


def test_zero_length_frames_are_counted_and_no_reason_for_doubt():
    steps = [*READY, (CLIENT, bytes(8)), (GATEWAY, bytes(4) + encode_frame(join_fields(54, 1)) + bytes(4))]
    observer, _ = watch_all_ways(steps)
    assert observer.opaque is None
    assert (observer.counts_up, observer.counts_down) == ({71: 1, -2: 2}, {15: 1, 9: 1, -2: 2, 54: 1})
    assert (observer.messages_up, observer.messages_down) == (4, 6)


TOO_LONG = [
    # id and first fields, of which side, what is learnt although it is not read
    ((71, 2, 7), UP, events.StartApiSeen(NOW, None)),
    ((15, 1), DOWN, events.Accounts(NOW, (), None)),
    ((4, 2, -1, 2104), DOWN, events.NotUnderstood(NOW, "gateway: ERR_MSG: longer than is read here")),
]


@pytest.mark.parametrize("message, table, learnt", TOO_LONG, ids=["start-api", "accounts", "error"])
def test_of_a_frame_to_be_read_that_is_too_long_it_is_known_that_it_came(message, table, learnt):
    direction = CLIENT if table is UP else GATEWAY
    head = join_fields(*message)
    for size, whole_events in ((table.limit - 4, None), (table.limit - 3, [learnt])):
        frame = encode_frame(head + b"x" * (size - len(head) - 1) + b"\0")
        after = encode_frame(join_fields(60, 1))
        observer, found = watch_all_ways([HELLO, ANSWER, (direction, frame + after)])
        assert observer.opaque is None and len(found) == 3
        assert whole_events is None or found[2:] == whole_events
        assert (observer.counts_up or observer.counts_down) == {message[0]: 1, 60: 1}


MANY = ManagedAccounts(tuple(f"U{number}" for number in range(1_000_000, 1_010_000)))  # 90 kB


@pytest.mark.parametrize("version", [176, 201, 207, 226])  # text, binary id, protobuf
def test_a_list_of_more_accounts_than_are_read_makes_a_session_ready_once_it_is_whole(version):
    hello = (GATEWAY, ServerHello(version, "").encode())
    direction, accounts = down(MANY, version)
    before = [HELLO, hello, up(StartApi(7), version), down(NextValidId(1), version)]
    observer, found = watch([*before, (direction, accounts[:-1])], at_random(4))
    assert (observer.stage, observer.account_count, observer.held) == (Stage.START_API, 0, 8)
    observer, found = watch_all_ways([*before, (direction, accounts), down(ErrorMessage(-1, 2104, "OK"), version)])
    assert found[-3:-1] == [events.Accounts(NOW, (), None), events.Ready(NOW)]
    assert (observer.stage, observer.account_count, observer.accounts) == (Stage.READY, None, ())
    observer, found = watch([*before, down(ManagedAccounts(("DU1234567",)), version), (direction, accounts)])
    assert (observer.account_count, observer.accounts) == (None, ()), "the last list counts"


@pytest.mark.parametrize("version", [176, 201])
def test_an_over_long_start_api_is_the_step_it_is(version):
    observer, _ = watch_all_ways(
        [HELLO, (GATEWAY, ServerHello(version, "").encode()), up(StartApi(7, "x" * 5000), version)]
    )
    assert (observer.stage, observer.start_api_at, observer.client_id) == (Stage.START_API, NOW, None)


def test_an_order_id_that_cannot_be_read_for_its_length_leaves_the_stage_unknown():
    observer, found = watch_all_ways([HELLO, ANSWER, (GATEWAY, encode_frame(join_fields(9, 1, "1" * 70_000)))])
    assert found[2:] == [events.Opaque(NOW, "gateway: NEXT_VALID_ID: longer than is read here")]
    observer, found = watch([*READY, (GATEWAY, encode_frame(join_fields(9, 1, "1" * 70_000)))])
    assert (observer.opaque, observer.stage) == (None, Stage.READY)


def test_a_frame_that_is_not_read_is_never_buffered():
    observer, _ = watch(READY)
    observer.gateway_to_client(b"\x00\xff\xff\xff" + join_fields(17, 1) + bytes(1000), NOW)
    assert observer.held == 0
    left = MAX_FRAME - 1005
    while left:
        size = min(left, 60000)
        assert observer.gateway_to_client(bytes(size), NOW) == ()
        left -= size
    assert observer.gateway_to_client(encode_frame(join_fields(9, 1, 5)), NOW) == [events.NextValidIdSeen(NOW, 5)]
    assert observer.counts_down == {15: 1, 9: 2, 17: 1}


def test_a_chunk_longer_than_any_frame_is_no_way_around_the_limit():
    observer, _ = watch(READY)
    plain = encode_frame(join_fields(17, 1) + bytes(MAX_FRAME - 5))
    assert observer.gateway_to_client(plain, NOW) == ()
    over = b"\x01\0\0\0" + join_fields(17, 1) + bytes(MAX_FRAME - 4)
    assert observer.gateway_to_client(over, NOW) == [
        events.Opaque(NOW, "gateway: a frame of more than 16777215 bytes is announced")
    ]


def test_an_empty_chunk_says_nothing():
    observer = Observer()
    for direction, data in [(GATEWAY, b""), *READY]:
        watch([(direction, data)], observer=observer)
        assert observer.gateway_to_client(b"", NOW) == observer.client_to_gateway(b"", NOW) == ()
    assert (observer.stage, observer.opaque) == (Stage.READY, None)


def test_nothing_is_allocated_for_a_chunk_that_says_nothing():
    observer, _ = watch(READY)
    frame = encode_frame(join_fields(54, 1, "DU1234567"))
    nothing = ()
    assert observer.gateway_to_client(frame, NOW) is observer.client_to_gateway(frame * 2, NOW) is nothing


def test_the_busiest_second_of_requests_is_known():
    observer, _ = watch([HELLO, ANSWER])
    assert observer.requests_peak == 0
    request = encode_frame(join_fields(49, 1))
    for at, frames, peak in ((1.0, 1, 1), (5.0, 1, 1), (5.5, 40, 41), (5.9, 9, 50), (9.0, 30, 50)):
        observer.client_to_gateway(request * frames, at)
        assert observer.requests_peak == peak


def test_what_counts_of_the_codes_is_known_and_when_the_end_was_announced():
    """tests/relay/wire/test_heard.py has the sequences."""
    said = [(2103, "broken:usfarm"), (2103, "broken:eufarm"), (2104, "OK:usfarm"), (10089, "x"), (100, "y"), (162, "z")]
    observer, _ = watch_all_ways([*READY, *(down(ErrorMessage(-1, code, text)) for code, text in said)])
    assert observer.heard == Heard((Said(2103, "eufarm"), Said(10089), Said(100), Said(162)))
    assert observer.fatal == (100, NOW)


def test_an_idle_ready_session_costs_about_800_bytes():
    greeting = [down(ErrorMessage(-1, code, "OK")) for code in (2104, 2106, 2158)]
    observer = Observer()
    for at, (direction, data) in enumerate([*READY, *greeting]):
        (observer.client_to_gateway if direction is CLIENT else observer.gateway_to_client)(data, 1000.5 + at)
    parts = {id(observer): observer, id(observer.accounts[0]): observer.accounts[0]}
    for name in (*Knowledge.__slots__, *Observer.__slots__):
        value = getattr(observer, name)
        if value is not None and value is not True and value is not False and not isinstance(value, Stage):
            parts[id(value)] = value
    assert observer.heard is Observer().heard  # nothing of note was heard, which all such sessions share
    del parts[id(observer.heard)]
    assert sum(sys.getsizeof(part) for part in parts.values()) <= 820
