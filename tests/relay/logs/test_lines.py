"""relay/logs/lines.py: golden lines for people and for tools, and the hand-made JSON against the library's."""

import itertools
import json

import pytest

from relay.logs.backlog import Backlog
from relay.logs.ends import Ends, FirstEnd, Later
from relay.logs.lines import json_event, json_record, severity, text_event, text_record, timestamp
from relay.logs.record import Cause, EndPhase, LogEvent, Reason, Record
from relay.wire.heard import Said

AT = 1735741800.9876  # 2025-01-01 14:30:00.987 UTC

LOST = Ends(FirstEnd("upstream", "fin", 1.0, "ready"), (Later("upstream", "rst", 27.5),), (("PLACE_ORDER", 1),), 60)
OPEN = Record(
    "open",
    AT,
    "20250101T143000-000412",
    "paper",
    "172.18.0.5",
    50412,
    4003,
    "127.0.0.1",
    4002,
    ib_stage="nothing",
    messages_up=0,
    messages_down=0,
    requests_peak=0,
    active=3,
)
READY = OPEN._replace(
    event="ready",
    peer_address="127.0.0.1",
    peer_port=4002,
    bytes_up=49,
    bytes_down=1536,
    duration=0.211,
    connect=0.0004,
    first_byte_up=0.0001,
    first_byte_down=0.0125,
    idle=0.0,
    ib_stage="ready",
    client_id=7,
    client_versions=(100, 176),
    server_version=176,
    accounts=("DU***567", "DU***890"),
    account_count=2,
    handshake=0.2104,
    messages_up=2,
    messages_down=3,
    requests_peak=1,
)
PROGRESS = READY._replace(
    event="progress", bytes_up=12347, bytes_down=5 << 20, duration=3725.0, idle=0.25, messages_down=51234
)
CLOSE = PROGRESS._replace(
    event="close",
    cause=Cause("upstream", "rst", Reason.UPSTREAM_RESET, None, "ECONNRESET"),
    phase=EndPhase.DATA,
    last_error_code=1100,
    holding=(Said(1100),),
    active=2,
)
SILENT = Backlog(0, 0, False, 58.5)
BLOCKED = PROGRESS._replace(idle=58.5, backlogs=(SILENT, Backlog(100_000, 1 << 20, True, 58.5)))
RAW_REFUSED = Record(
    "close",
    AT,
    "20250101T143000-000007",
    "vnc",
    "2001:db8::5",
    50412,
    5900,
    "gw",
    5901,
    duration=0.002,
    cause=Cause("upstream", "rst", Reason.CONNECTION_REFUSED, "gw:5901 refuses", "ECONNREFUSED"),
    phase=EndPhase.CONNECT,
    active=0,
)

TEXTS = [
    (OPEN, 0, "2025-01-01T14:30:00.987Z INFO  paper #143000-412 open: 172.18.0.5:50412 on port 4003"),
    (
        READY,
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  paper #143000-412 ready: client id 7, server version 176, DU***567, "
            "DU***890, 0.210 s after accept"
        ),
    ),
    (
        READY._replace(map_name="an adviser", account_count=40),
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  an adviser #143000-412 ready: client id 7, server version 176, DU***567, "
            "DU***890 and 38 more, 0.210 s after accept"
        ),
    ),
    (
        READY._replace(map_name="too long to be read", client_id=None, accounts=(), account_count=None),
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  too long to be read #143000-412 ready: client id unknown, "
            "server version 176, more accounts than the relay reads, 0.210 s after accept"
        ),
    ),
    (
        PROGRESS,
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  paper #143000-412 live: 1 h 2 min, ready, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234, quiet for 0.2 s"
        ),
    ),
    (
        BLOCKED._replace(map_name="client blocked"),
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  client blocked #143000-412 live: 1 h 2 min, ready, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234 (4.0 MiB delivered); "
            "the client does not read: 1.0 MiB not taken, 97.7 KiB more from the gateway not passed on, "
            "nothing taken since 2025-01-01T14:29:02.487Z"
        ),
    ),
    (
        PROGRESS._replace(map_name="gateway blocked", backlogs=(Backlog(0, 11 * 1024, True, 0.9876 + 60), SILENT)),
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  gateway blocked #143000-412 live: 1 h 2 min, ready, "
            "up 12.1 KiB in 2 messages (1.1 KiB delivered), down 5.0 MiB in 51234; "
            "the gateway does not read: 11.0 KiB not taken, nothing taken since 2025-01-01T14:29:00.000Z"
        ),
    ),
    (
        PROGRESS._replace(map_name="on its way", backlogs=(SILENT, Backlog(0, 500, True, 0.2))),
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  on its way #143000-412 live: 1 h 2 min, ready, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234, quiet for 0.2 s"
        ),
    ),
    (
        PROGRESS._replace(map_name="untold", backlogs=(SILENT, Backlog(7000, None, None, None))),
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  untold #143000-412 live: 1 h 2 min, ready, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234; "
            "for the client: unknown whether all was taken, 6.8 KiB more from the gateway not passed on"
        ),
    ),
    (
        PROGRESS._replace(map_name="no answer", backlogs=(SILENT, Backlog(0, 1 << 20, False, 5.0))),
        0,
        (
            "2025-01-01T14:30:00.987Z INFO  no answer #143000-412 live: 1 h 2 min, ready, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234 (4.0 MiB delivered); "
            "for the client: 1.0 MiB not taken"
        ),
    ),
    (
        CLOSE._replace(map_name="dead", last_error_code=None, backlogs=(SILENT, Backlog(0, 1 << 20, False, 58.5))),
        0,
        (
            "2025-01-01T14:30:00.987Z WARN  dead #143000-412 closed after 1 h 2 min: the gateway aborted (reset) "
            "[upstream_reset: by upstream, rst, phase data, stage ready]; "
            "from 172.18.0.5:50412, client id 7, versions 100..176, server version 176, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234 (4.0 MiB delivered); "
            "for the client: 1.0 MiB not taken"
        ),
    ),
    (
        CLOSE._replace(map_name="left behind", last_error_code=None, backlogs=BLOCKED.backlogs),
        0,
        (
            "2025-01-01T14:30:00.987Z WARN  left behind #143000-412 closed after 1 h 2 min: the gateway aborted "
            "(reset) [upstream_reset: by upstream, rst, phase data, stage ready]; "
            "from 172.18.0.5:50412, client id 7, versions 100..176, server version 176, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234 (4.0 MiB delivered); "
            "for the client: 1.0 MiB not taken, 97.7 KiB more from the gateway not passed on"
        ),
    ),
    (
        CLOSE,
        17,
        (
            "2025-01-01T14:30:00.987Z WARN  paper #143000-412 closed after 1 h 2 min: the gateway aborted (reset) "
            "[upstream_reset: by upstream, rst, phase data, stage ready]; "
            "from 172.18.0.5:50412, client id 7, versions 100..176, server version 176, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234, "
            "last code 1100 (gateway lost its connection to IB) (17 log lines dropped)"
        ),
    ),
    (
        CLOSE._replace(not_understood="1 message: gateway: ERR_MSG: too few fields", event="close", map_name="doubt"),
        0,
        (
            "2025-01-01T14:30:00.987Z WARN  doubt #143000-412 closed after 1 h 2 min: the gateway aborted (reset) "
            "[upstream_reset: by upstream, rst, phase data, stage ready]; "
            "from 172.18.0.5:50412, client id 7, versions 100..176, server version 176, "
            "up 12.1 KiB in 2 messages, down 5.0 MiB in 51234, last code 1100 (gateway lost its connection to IB); "
            "not understood: 1 message: gateway: ERR_MSG: too few fields"
        ),
    ),
    (
        RAW_REFUSED,
        0,
        (
            "2025-01-01T14:30:00.987Z WARN  vnc #143000-7 closed after 0.002 s: nothing listens at the gateway's "
            "address: not started, not logged in, or another port (gw:5901 refuses) "
            "[connection_refused: by upstream, rst, phase connect]; from [2001:db8::5]:50412, up 0 B, down 0 B"
        ),
    ),
]


@pytest.mark.parametrize("record, dropped, line", TEXTS, ids=[f"{one[0].map_name} {one[0].event}" for one in TEXTS])
def test_a_line_for_people(record, dropped, line):
    assert text_record(record, dropped) == line


HEAD = {
    "timestamp": "2025-01-01T14:30:00.987Z",
    "severity_text": "INFO",
    "event.name": "ib_relay.connection.open",
    "connection.id": "20250101T143000-000412",
    "ib_relay.map": "paper",
    "client.address": "172.18.0.5",
    "client.port": 50412,
    "server.address": "127.0.0.1",
    "server.port": 4002,
    "network.peer.address": None,
    "network.peer.port": None,
    "network.local.port": 4003,
    "network.transport": "tcp",
    "network.type": "ipv4",
}
LIVE = HEAD | {
    "event.name": "ib_relay.connection.progress",
    "network.peer.address": "127.0.0.1",
    "network.peer.port": 4002,
    "ib_relay.bytes.up": 12347,
    "ib_relay.bytes.down": 5 << 20,
    "duration_s": 3725.0,
    "connect_s": 0.0004,
    "first_byte_up_s": 0.0001,
    "first_byte_down_s": 0.0125,
    "idle_s": 0.25,
    "ib.stage": "ready",
    "ib.opaque": None,
    "ib.client_id": 7,
    "ib.client_versions": [100, 176],
    "ib.server_version": 176,
    "ib.accounts": ["DU***567", "DU***890"],
    "ib.account_count": 2,
    "ib.handshake_s": 0.2104,
    "ib.messages.up": 2,
    "ib.messages.down": 51234,
    "ib.requests_peak": 1,
    "ib.last_error_code": None,
}
JSONS = [
    (OPEN, 0, HEAD | {"connections.active": 3, "log.dropped": 0}),
    (PROGRESS, 5, LIVE | {"connections.active": 3, "log.dropped": 5}),
    (
        PROGRESS._replace(map_name="an adviser", accounts=(), account_count=None),
        5,
        LIVE
        | {
            "ib_relay.map": "an adviser",
            "ib.accounts": [],
            "ib.account_count": None,
            "connections.active": 3,
            "log.dropped": 5,
        },
    ),
    (
        BLOCKED._replace(ib_stage=None, map_name="blocked"),
        5,
        {name: value for name, value in LIVE.items() if not name.startswith("ib.")}
        | {
            "ib_relay.map": "blocked",
            "idle_s": 58.5,
            "ib_relay.delivered.up": 12347,
            "ib_relay.waiting.up": 0,
            "ib_relay.queued.up": 0,
            "ib_relay.delivered.down": 4 << 20,
            "ib_relay.waiting.down": 1 << 20,
            "ib_relay.queued.down": 100_000,
            "ib_relay.blocked.down_s": 58.5,
            "connections.active": 3,
            "log.dropped": 5,
        },
    ),
    (
        PROGRESS._replace(ib_stage=None, map_name="untold", backlogs=(Backlog(7, None, None, None), SILENT)),
        5,
        {name: value for name, value in LIVE.items() if not name.startswith("ib.")}
        | {
            "ib_relay.map": "untold",
            "ib_relay.delivered.down": 5 << 20,
            "ib_relay.waiting.down": 0,
            "ib_relay.queued.down": 0,
            "connections.active": 3,
            "log.dropped": 5,
        },
    ),
    (
        CLOSE,
        0,
        LIVE
        | {
            "severity_text": "WARN",
            "event.name": "ib_relay.connection.close",
            "ib.last_error_code": 1100,
            "ib.holding": [{"code": 1100, "farms": []}],
            "end.by": "upstream",
            "end.how": "rst",
            "end.phase": "data",
            "end.reason": "upstream_reset",
            "end.code": "SD",
            "message": "the gateway aborted (reset)",
            "error.type": "ECONNRESET",
            "connections.active": 2,
            "log.dropped": 0,
        },
    ),
    (
        RAW_REFUSED,
        0,
        {
            "timestamp": "2025-01-01T14:30:00.987Z",
            "severity_text": "WARN",
            "event.name": "ib_relay.connection.close",
            "connection.id": "20250101T143000-000007",
            "ib_relay.map": "vnc",
            "client.address": "2001:db8::5",
            "client.port": 50412,
            "server.address": "gw",
            "server.port": 5901,
            "network.peer.address": None,
            "network.peer.port": None,
            "network.local.port": 5900,
            "network.transport": "tcp",
            "network.type": "ipv6",
            "ib_relay.bytes.up": 0,
            "ib_relay.bytes.down": 0,
            "duration_s": 0.002,
            "connect_s": None,
            "first_byte_up_s": None,
            "first_byte_down_s": None,
            "idle_s": None,
            "end.by": "upstream",
            "end.how": "rst",
            "end.phase": "connect",
            "end.reason": "connection_refused",
            "end.code": "SC",
            "message": "nothing listens at the gateway's address: not started, not logged in, or another port",
            "end.detail": "gw:5901 refuses",
            "error.type": "ECONNREFUSED",
            "connections.active": 0,
            "log.dropped": 0,
        },
    ),
]


@pytest.mark.parametrize("record, dropped, fields", JSONS, ids=[f"{one[0].map_name} {one[0].event}" for one in JSONS])
def test_a_line_for_tools(record, dropped, fields):
    line = json_record(record, dropped)
    assert json.loads(line) == fields
    assert list(json.loads(line)) == list(fields)
    assert "\n" not in line


FARMS = (Said(2110), Said(2103, "usfarm"), Said(2103, "cashfarm"), Said(2105))
CUT_OFF = "2110 (gateway is cut off from IB and will reconnect by itself)"
FARMS_SAID = "2103 (market data farm disconnected: usfarm, cashfarm), 2105 (historical data farm disconnected)"
REPORTED = f"{CUT_OFF}, {FARMS_SAID}"


def test_a_line_of_a_session_that_lives_says_what_holds():
    for record in (READY, PROGRESS):
        plain = text_record(record._replace(last_error_code=162, error_codes=(162,)), 0)
        assert plain == text_record(record, 0)
        assert text_record(record._replace(holding=FARMS), 0) == f"{plain}, the gateway reports {REPORTED}"


HEARD = [
    # last code, holding, other codes, what the close line says of them
    (None, (), (), ""),
    (
        162,
        (),
        (10089, 162),
        "162 (historical data: no data, no permission, or pacing; the text says which) after 10089",
    ),
    (
        201,
        (Said(2110),),
        (201,),
        f"201 (order rejected; the text says why); still reported: {CUT_OFF}",
    ),
    (12345, (), (12345,), "12345"),
    (2103, FARMS[1:3], (200, 162), "2103 (market data farm disconnected: usfarm, cashfarm) after 200, 162"),
]


@pytest.mark.parametrize("last, holding, others, said", HEARD, ids=[str(one[0]) for one in HEARD])
def test_a_close_says_the_last_code_what_came_before_it_and_what_holds(last, holding, others, said):
    record = CLOSE._replace(last_error_code=last, holding=holding, error_codes=others)
    line = text_record(record, 0)
    assert line.partition("down 5.0 MiB in 51234")[2] == (f", last code {said}" if said else "")


def test_codes_for_tools():
    record = CLOSE._replace(last_error_code=162, holding=FARMS, error_codes=(10089, 162), announced=100)
    fields = json.loads(json_record(record, 0))
    assert {name: fields[name] for name in ("ib.holding", "ib.error_codes", "ib.last_error_code", "end.ib_code")} == {
        "ib.holding": [
            {"code": 2110, "farms": []},
            {"code": 2103, "farms": ["usfarm", "cashfarm"]},
            {"code": 2105, "farms": []},
        ],
        "ib.error_codes": [10089, 162],
        "ib.last_error_code": 162,
        "end.ib_code": 100,
    }
    live = json.loads(json_record(record._replace(event="progress"), 0))
    assert "end.ib_code" not in live and live["ib.error_codes"] == [10089, 162]


NASTY = 'quote " backslash \\ newline \n NUL \0 DEL \x7f umlaut ä emoji \U0001f4c8 lone \ud800 </script>'


@pytest.mark.parametrize(
    "record",
    [
        OPEN,
        READY,
        PROGRESS,
        CLOSE,
        RAW_REFUSED,
        CLOSE._replace(opaque=NASTY, ib_stage="opaque", accounts=(NASTY,), client_address=NASTY, server_address=NASTY),
        CLOSE._replace(cause=Cause("relay", "error", Reason.INTERNAL_ERROR, NASTY, NASTY)),
        CLOSE._replace(duration=1e-7, connect=1e12, idle=123456.123456789, handshake=0.0),
        CLOSE._replace(accounts=(), client_versions=None, handshake=None, peer_address=None, peer_port=None),
        CLOSE._replace(ends=Ends(FirstEnd("client", "fin", None))),
        PROGRESS._replace(ends=LOST),
        BLOCKED,
        CLOSE._replace(ends=LOST),
        CLOSE._replace(holding=FARMS, error_codes=(10089, 162), announced=100),
    ],
)
def test_the_hand_made_json_is_what_the_library_would_write(record):
    """But for the spelling of floats: json.dumps would write 1e-07, which some readers of logs do not take."""
    line = json_record(record, 0)
    seen_as_text = json.loads(line, parse_float=lambda text: f"float:{text}:")
    again = json.dumps(seen_as_text).replace('"float:', "").replace(':"', "")
    assert line == again
    fields = json.loads(line)
    assert fields["client.address"] == record.client_address
    assert fields.get("ib.opaque") == record.opaque
    assert fields["duration_s"] == pytest.approx(record.duration, abs=1e-6) if record.event != "open" else True
    if record.event == "close":
        assert (fields.get("end.detail"), fields.get("error.type")) == record.cause[3:]


@pytest.mark.parametrize("event", ["progress", "ready"])
def test_a_connection_that_is_flushing_has_a_cause_but_no_end_yet(event):
    flushing = CLOSE._replace(event=event, phase=None)
    assert not [key for key in json.loads(json_record(flushing, 0)) if key.startswith("end.")]
    assert severity(flushing) == "INFO"
    assert text_record(flushing, 0)


STAGES = ("nothing", "client_hello", "server_hello", "start_api", "ready", "opaque", "legacy", None)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_every_end_makes_a_line_of_each_kind(reason):
    for phase, stage in itertools.product(EndPhase, STAGES):
        record = RAW_REFUSED._replace(cause=Cause("relay", "error", reason), phase=phase, ib_stage=stage)
        assert json.loads(json_record(record, 0))["end.reason"] == reason.value
        assert reason.value in text_record(record, 0)


def test_an_end_that_lost_something_is_not_clean():
    closed = CLOSE._replace(cause=Cause("upstream", "fin", Reason.UPSTREAM_CLOSED), phase=EndPhase.DATA)
    assert [severity(closed), json.loads(json_record(closed, 0))["end.code"]] == ["INFO", "--"]
    lost = closed._replace(ends=LOST)
    assert [severity(lost), json.loads(json_record(lost, 0))["end.code"]] == ["WARN", "SD"]
    fields = json.loads(json_record(lost, 0))
    assert {
        name: value for name, value in fields.items() if name.startswith(("end.first", "end.then", "end.late"))
    } == {
        "end.first_by": "upstream",
        "end.first_how": "fin",
        "end.first_s": 1.0,
        "end.then": [{"by": "upstream", "what": "rst", "after_s": 27.5}],
        "end.late_messages": {"PLACE_ORDER": 1},
        "end.late_bytes": 60,
    }


def test_a_close_long_after_the_first_end_tells_when_that_was():
    closed = CLOSE._replace(cause=Cause("upstream", "fin", Reason.UPSTREAM_CLOSED), duration=28.5, ends=LOST)
    said = "the gateway closed the session, 1.0 s after accept; 1 message (PLACE_ORDER) from the client after that was"
    assert f"{said} lost [upstream_closed" in text_record(closed, 0)


def test_a_connection_that_one_side_has_left_says_so_while_it_lives():
    left = PROGRESS._replace(duration=20.0, ends=Ends(FirstEnd("upstream", "fin", 1.0, "ready")))
    assert "live: 20.0 s, ready, the gateway closed 19.0 s ago, the client has not reacted, up" in text_record(left, 0)


# Severity


ORDINARY = {
    Reason.CLIENT_CLOSED,
    Reason.UPSTREAM_CLOSED,
    Reason.CLIENT_RESET,
    Reason.HANDSHAKE_TIMEOUT,
    Reason.NOT_IB,
    Reason.IDLE_TIMEOUT,
    Reason.SHUTDOWN,
}


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_a_reason_is_as_grave_as_its_table_says(reason):
    expected = "ERROR" if reason is Reason.INTERNAL_ERROR else "INFO" if reason in ORDINARY else "WARN"
    assert severity(CLOSE._replace(cause=Cause("relay", "error", reason), ib_stage="start_api")) == expected


@pytest.mark.parametrize(
    "by, reason, announced, expected",
    [
        ("upstream", Reason.UPSTREAM_CLOSED, None, "INFO"),
        *(("upstream", Reason.UPSTREAM_CLOSED, code, "WARN") for code in (100, 326, 357, 1300)),
        ("client", Reason.CLIENT_CLOSED, 100, "WARN"),
        ("client", Reason.CLIENT_RESET, 1300, "WARN"),
        ("relay", Reason.SHUTDOWN, 100, "INFO"),
    ],
)
def test_an_end_that_a_code_announced_is_not_ordinary(by, reason, announced, expected):
    assert severity(CLOSE._replace(cause=Cause(by, "fin", reason), announced=announced)) == expected


@pytest.mark.parametrize(
    "stage, expected",
    [("nothing", "INFO"), ("client_hello", "WARN"), ("server_hello", "INFO"), ("start_api", "WARN")],
)
def test_a_port_check_is_ordinary_and_a_client_that_gave_up_is_not(stage, expected):
    left = Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE)
    assert severity(CLOSE._replace(cause=left, ib_stage=stage)) == expected


def test_a_client_that_left_in_the_middle_of_its_hello_is_no_port_check():
    left = Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE, "4 bytes of a hello")
    record = CLOSE._replace(cause=left, ib_stage="nothing")
    assert severity(record) == "WARN"
    assert (
        "the client left in the middle of its hello; the gateway was not dialled (4 bytes of a hello)"
        in text_record(record, 0)
    )


def test_what_is_not_an_end_is_ordinary():
    assert [severity(one) for one in (OPEN, READY, PROGRESS)] == ["INFO"] * 3


# Events


EVENT = LogEvent("listening", "INFO", "paper: 127.0.0.1:4003 -> 127.0.0.1:4002, ib", AT, {"server.port": 4003})


def test_an_event_for_people():
    line = "2025-01-01T14:30:00.987Z INFO  listening: paper: 127.0.0.1:4003 -> 127.0.0.1:4002, ib"
    assert text_event(EVENT) == line
    assert text_event(EVENT._replace(severity="ERROR")).split()[1] == "ERROR"


def test_an_event_for_tools():
    assert json.loads(json_event(EVENT)) == {
        "timestamp": "2025-01-01T14:30:00.987Z",
        "severity_text": "INFO",
        "event.name": "ib_relay.listening",
        "message": "paper: 127.0.0.1:4003 -> 127.0.0.1:4002, ib",
        "server.port": 4003,
    }


# Numbers for people


@pytest.mark.parametrize(
    "at, text",
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (0.9999, "1970-01-01T00:00:00.999Z"),
        (AT, "2025-01-01T14:30:00.987Z"),
        (1735741801.0, "2025-01-01T14:30:01.000Z"),
        (1709164800.5, "2024-02-29T00:00:00.500Z"),
    ],
)
def test_a_time_is_written_in_utc_to_the_millisecond(at, text):
    assert timestamp(at) == text


def test_a_connection_is_named_by_the_time_of_the_first_start_and_its_number():
    assert " #143000-412 " in text_record(OPEN, 0)
    assert " #143000-1234567 " in text_record(OPEN._replace(connection_id="20250101T143000-1234567"), 0)
