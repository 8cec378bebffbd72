"""The IB API through the relay: openings pass unchanged, the gateway hears of nobody but IB clients, hellos stay whole.

Client and gateway are scripts that know what bytes the API exchanges at server version 176 (text fields, each ended by
NUL, in frames with a four-byte length); what real clients and a full gateway make of the relay is in tests/peers.
"""

import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.relay.kit.blackbox import CLOSE, READY, RelayProcess
from tests.relay.kit.scripted import KIB, MIB, Peer, Upstream, free_port, noise, wait_until


def frame(*fields: object) -> bytes:
    payload = b"".join(str(field).encode() + b"\0" for field in fields)
    return struct.pack(">I", len(payload)) + payload


def start_api(client_id: int) -> bytes:
    return frame(71, 2, client_id, "")


CLIENT_HELLO = b"API\0" + struct.pack(">I", 9) + b"v100..187"
SERVER_HELLO = frame(176, "20250102 09:30:00 EST")
START_API = start_api(7)
NEXT_VALID_ID = frame(9, 1, 1)
ACCOUNTS = frame(15, 1, "DU1234567")
FARM_OK = frame(4, 2, -1, 2104, "Market data farm connection is OK:usfarm", "")
OPENING = [  # who speaks, and what
    ("client", CLIENT_HELLO),
    ("gateway", SERVER_HELLO),
    ("client", START_API),
    ("gateway", NEXT_VALID_ID),
    ("gateway", ACCOUNTS),
]


@pytest.fixture(scope="module", params=["raw", "ib"])
def shared_relay(request):
    """Takes the place of blackbox.shared_relay: what must not depend on the protocol is tested with both."""
    with RelayProcess(free_port(), protocol=request.param) as process:
        yield process


@pytest.fixture(scope="module")
def ib_process():
    with RelayProcess(free_port(), protocol="ib", first_bytes_timeout=0.5) as process:
        yield process


@pytest.fixture
def ib_relay(ib_process):
    """A relay in ib mode that waits half a second for first bytes; without any connection left after each test."""
    yield ib_process
    ib_process.close_clients()
    assert ib_process.is_idle()


@pytest.fixture
def gateway(ib_relay):
    """The server behind `ib_relay`, listening."""
    with Upstream(ib_relay.upstream_port) as server:
        yield server


def open_session(
    relay: RelayProcess, server: Upstream, steps: int = len(OPENING), piece: int = MIB
) -> tuple[Peer, Peer]:
    """Play the first `steps` steps of the opening in pieces, and check that each arrives as it was sent."""
    client, gateway = relay.connect(), None
    for speaker, data in OPENING[:steps]:
        sender = client if speaker == "client" else gateway
        for start in range(0, len(data), piece):
            sender.sendall(data[start : start + piece])
        gateway = gateway or server.accept()
        receiver = gateway if speaker == "client" else client
        assert receiver.read_exactly(len(data)) == data
    return client, gateway


# -- the three statements -------------------------------------------------------------------------------------------


def test_the_opening_passes_unchanged(relay, upstream):
    open_session(relay, upstream)


def test_the_opening_sent_one_byte_at_a_time_passes_unchanged(relay, upstream):
    open_session(relay, upstream, piece=1)


@pytest.mark.slow
def test_32_clients_open_their_sessions_at_the_same_time(relay, upstream):
    def serve(gateway: Peer) -> None:
        gateway.read_exactly(len(CLIENT_HELLO))
        gateway.sendall(SERVER_HELLO)
        asked = gateway.read_exactly(len(start_api(10)))
        gateway.sendall(NEXT_VALID_ID + ACCOUNTS + asked)  # the last part shows whose session this is
        gateway.read_to_end()

    def visit(client_id: int) -> bytes:
        client = relay.connect()
        client.sendall(CLIENT_HELLO)
        assert client.read_exactly(len(SERVER_HELLO)) == SERVER_HELLO
        client.sendall(start_api(client_id))
        return client.read_exactly(len(NEXT_VALID_ID + ACCOUNTS + start_api(client_id)))

    upstream.serve(serve)
    with ThreadPoolExecutor(32) as crowd:
        answers = list(crowd.map(visit, range(10, 42)))
    assert answers == [NEXT_VALID_ID + ACCOUNTS + start_api(client_id) for client_id in range(10, 42)]


# -- nobody but IB clients reaches the gateway ----------------------------------------------------------------------

STRANGERS = [  # what a client says first, and what the record calls it
    ("http", b"GET / HTTP/1.1\r\nHost: gateway:4003\r\n\r\n"),
    ("tls", bytes.fromhex("16030100c8010000c40303") + noise(192)),
    ("ssh", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    ("garbage", bytes([255, 254, 253]) + noise(64)),
]


@pytest.mark.parametrize(("kind", "first_bytes"), STRANGERS, ids=[row[0] for row in STRANGERS])
def test_a_client_of_another_protocol_is_closed_named_and_never_reaches_the_gateway(
    ib_relay, gateway, kind, first_bytes
):
    client = ib_relay.connect()
    client.sendall(first_bytes)
    assert client.ending(within=2) != "open"
    record = ib_relay.end_of(client)
    assert (record["end.reason"], record["end.detail"], record["ib.stage"]) == ("not_ib", kind, "nothing")
    assert gateway.hears_nothing(0.05)


@pytest.mark.parametrize("leave", [Peer.close, Peer.reset], ids=["with fin", "with rst"])
def test_a_port_probe_never_reaches_the_gateway_and_is_named(ib_relay, gateway, leave):
    client = ib_relay.connect()
    leave(client)
    record = ib_relay.end_of(client)
    assert (record["end.reason"], record["ib.stage"]) == ("client_left_in_handshake", "nothing")
    assert gateway.hears_nothing(0.05)


@pytest.mark.slow
def test_200_port_probes_leave_nothing_behind_and_none_reaches_the_gateway(ib_relay, gateway):
    client = ib_relay.connect()
    client.close()
    last, descriptors = ib_relay.end_of(client)["connection.id"], ib_relay.descriptors()
    for _ in range(200):
        ib_relay.connect().close()
    client = ib_relay.connect()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")  # ends in another way, and so has a record
    number = ib_relay.end_of(client)["connection.id"].rpartition("-")[2]
    assert int(number) == int(last.rpartition("-")[2]) + 201, "each was accepted"
    records = [one for one in ib_relay.records(CLOSE) if one["connection.id"] > last]
    assert 1 < len(records) < 201, "they end alike: the first have a record"
    assert ib_relay.descriptors() <= descriptors
    assert gateway.hears_nothing(0.05)


INCOMPLETE = [("nothing", b""), ("API", b"API\0"), ("half a hello", CLIENT_HELLO[:-3])]


@pytest.mark.slow
@pytest.mark.parametrize("first_bytes", [row[1] for row in INCOMPLETE], ids=[row[0] for row in INCOMPLETE])
def test_a_client_that_falls_silent_before_its_hello_is_whole_is_closed_and_never_reaches_the_gateway(
    ib_relay, gateway, first_bytes
):
    client = ib_relay.connect()
    client.sendall(first_bytes)
    assert client.ending(within=3) != "open"
    assert ib_relay.end_of(client)["end.reason"] == "handshake_timeout"
    assert gateway.hears_nothing(0.05)


@pytest.mark.slow
def test_dribbling_does_not_stretch_the_bound_of_the_first_bytes(ib_relay, gateway):
    client = ib_relay.connect()
    for byte in CLIENT_HELLO[:12]:  # a byte every 0.1 s would take twice the bound
        client.sendall(bytes([byte]))
        if not client.stays_quiet(0.1):
            break
    assert client.ending(within=1) != "open"
    assert ib_relay.end_of(client)["end.reason"] == "handshake_timeout"
    assert gateway.hears_nothing(0.05)


HELLOS = [
    ("current", CLIENT_HELLO),
    ("with connect options", b"API\0" + struct.pack(">I", 20) + b"v100..187 +PACEAPI\0\0"),
    ("one version", b"API\0" + struct.pack(">I", 4) + b"v176"),
    ("from before version 100", b"63\0"),
]


@pytest.mark.parametrize("hello", [row[1] for row in HELLOS], ids=[row[0] for row in HELLOS])
def test_every_kind_of_ib_hello_reaches_the_gateway_as_it_was_sent(ib_relay, gateway, hello):
    client = ib_relay.connect()
    client.sendall(hello)
    assert gateway.accept().read_exactly(len(hello)) == hello


def test_what_a_client_sends_right_behind_its_hello_is_kept(ib_relay, gateway):
    client = ib_relay.connect()
    sent = CLIENT_HELLO + START_API + noise(100_000)
    client.sendall(sent)
    assert gateway.accept().read_exactly(len(sent)) == sent


# -- the server hello is whole and alone ----------------------------------------------------------------------------


def after_hello(ib_relay: RelayProcess, gateway: Upstream) -> tuple[Peer, Peer]:
    return open_session(ib_relay, gateway, steps=1)


def test_a_dribbled_server_hello_arrives_whole_in_one_read(ib_relay, gateway):
    client, server = after_hello(ib_relay, gateway)
    for byte in SERVER_HELLO[:-1]:
        server.sendall(bytes([byte]))
        wait_until(lambda: server.unsent() == 0, "the relay's kernel has the byte")
    assert client.stays_quiet(0.1), "a part of the hello was passed on"
    server.sendall(SERVER_HELLO[-1:])
    assert client.recv(4096) == SERVER_HELLO


@pytest.mark.parametrize("split", [1, 4, 5, len(SERVER_HELLO) - 1], ids="after {} bytes".format)
def test_a_server_hello_in_two_parts_arrives_whole_in_one_read(ib_relay, gateway, split):
    client, server = after_hello(ib_relay, gateway)
    server.sendall(SERVER_HELLO[:split])
    assert client.stays_quiet(0.05)
    server.sendall(SERVER_HELLO[split:])
    assert client.recv(4096) == SERVER_HELLO


def test_frames_glued_to_the_server_hello_are_not_in_the_same_read(ib_relay, gateway):
    client, server = after_hello(ib_relay, gateway)
    server.sendall(SERVER_HELLO + NEXT_VALID_ID + ACCOUNTS)
    assert client.recv(4096) == SERVER_HELLO
    client.sendall(START_API)
    assert client.read_exactly(len(NEXT_VALID_ID + ACCOUNTS)) == NEXT_VALID_ID + ACCOUNTS
    assert server.read_exactly(len(START_API)) == START_API


def test_frames_glued_to_the_server_hello_arrive_also_when_the_client_stays_silent(ib_relay, gateway):
    client, server = after_hello(ib_relay, gateway)
    server.sendall(SERVER_HELLO + NEXT_VALID_ID)
    assert client.recv(4096) == SERVER_HELLO
    assert client.read_exactly(len(NEXT_VALID_ID)) == NEXT_VALID_ID


@pytest.mark.parametrize("size", [10_000, 3 * MIB], ids="{} bytes".format)
def test_a_flood_behind_the_server_hello_arrives_whole_and_in_order(ib_relay, gateway, size):
    client, server = after_hello(ib_relay, gateway)
    server.pour(SERVER_HELLO + noise(size))
    assert client.recv(4096) == SERVER_HELLO
    client.sendall(START_API)
    assert client.read_to_end() == noise(size)


@pytest.mark.parametrize("leave", [Peer.close, Peer.reset], ids=["closes", "resets"])
def test_a_part_of_a_hello_is_delivered_when_the_gateway_goes_in_the_middle_of_it(ib_relay, gateway, leave):
    client, server = after_hello(ib_relay, gateway)
    server.sendall(SERVER_HELLO[:9])
    wait_until(lambda: server.unsent() == 0, "the relay's kernel has the bytes")
    leave(server)
    assert client.read_exactly(9) == SERVER_HELLO[:9]
    assert client.ending() == ("fin" if leave is Peer.close else "rst")


@pytest.mark.parametrize("leave", [Peer.close, Peer.reset], ids=["closes", "resets"])
def test_frames_glued_to_the_hello_are_delivered_when_the_gateway_goes_right_behind_them(ib_relay, gateway, leave):
    client, server = after_hello(ib_relay, gateway)
    server.sendall(SERVER_HELLO + NEXT_VALID_ID)
    wait_until(lambda: server.unsent() == 0, "the relay's kernel has the bytes")
    leave(server)
    assert client.read_exactly(len(SERVER_HELLO + NEXT_VALID_ID)) == SERVER_HELLO + NEXT_VALID_ID
    assert client.ending() == ("fin" if leave is Peer.close else "rst")


NOT_A_HELLO = [
    ("http", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("a length beyond any hello", struct.pack(">I", 0xFFFFFF) + noise(5000)),
    ("a frame without a version", frame("hello")),
]


@pytest.mark.parametrize("answer", [row[1] for row in NOT_A_HELLO], ids=[row[0] for row in NOT_A_HELLO])
def test_an_answer_that_is_no_hello_passes_untouched_and_at_once(ib_relay, gateway, answer):
    client, server = after_hello(ib_relay, gateway)
    server.sendall(answer)
    assert client.read_exactly(len(answer)) == answer


def test_a_redirect_passes_untouched_and_the_record_says_where_to(ib_relay, gateway):
    client, server = after_hello(ib_relay, gateway)
    redirect = frame(-1, "gw2.example:4002")
    server.sendall(redirect)
    server.close()
    assert client.read_to_end() == redirect
    client.close()
    record = ib_relay.end_of(client)
    assert record["ib.redirect"] == "gw2.example:4002"
    assert "redirected the client to gw2.example:4002" in record["message"]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"\x15\x03\x01\0\x02\x02\x46", "TLS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_service_at_the_upstream_address_is_named(ib_relay, gateway, answer, name):
    client, server = after_hello(ib_relay, gateway)
    server.sendall(answer)
    server.close()
    assert client.read_to_end() == answer
    client.close()
    record = ib_relay.end_of(client)
    assert (record["end.phase"], record["severity_text"], record["ib.stage"]) == ("handshake", "WARN", "opaque")
    assert f"first bytes are {name}, not an IB hello" in record["message"]


def test_a_hello_that_had_nobody_to_go_to_is_in_the_record_all_the_same(ib_relay):
    client = ib_relay.connect()
    client.sendall(CLIENT_HELLO)
    assert client.ending() == "rst"
    record = ib_relay.end_of(client)
    assert (record["end.reason"], record["ib.stage"]) == ("connection_refused", "client_hello")
    assert record["ib.client_versions"] == [100, 187]
    assert (record["ib_relay.bytes.up"], record["ib.messages.up"]) == (0, 0)


# -- the record knows the session -----------------------------------------------------------------------------------


def test_the_ready_record_names_client_id_and_server_version_and_no_account_in_full(ib_relay, gateway):
    client, _ = open_session(ib_relay, gateway)
    record = ib_relay.record(READY, client)
    assert (record["ib.stage"], record["ib.client_id"], record["ib.server_version"]) == ("ready", 7, 176)
    assert record["ib.handshake_s"] > 0
    assert "DU1234567" not in "".join(ib_relay.lines)


STAGES = [(1, "client_hello"), (2, "server_hello"), (3, "start_api"), (4, "start_api")]


@pytest.mark.parametrize(("steps", "stage"), STAGES, ids=[f"{steps} steps" for steps, _ in STAGES])
def test_a_client_that_leaves_early_is_recorded_with_the_stage_it_had_reached(ib_relay, gateway, steps, stage):
    client, _ = open_session(ib_relay, gateway, steps)
    client.reset()
    record = ib_relay.end_of(client)
    assert (record["end.by"], record["end.reason"], record["ib.stage"]) == ("client", "client_left_in_handshake", stage)


@pytest.mark.parametrize("steps", [1, 2, 3], ids="{} steps".format)
@pytest.mark.parametrize("leave", [Peer.close, Peer.reset], ids=["closes", "resets"])
def test_a_gateway_that_goes_early_is_recorded_as_the_one_who_went(ib_relay, gateway, steps, leave):
    client, server = open_session(ib_relay, gateway, steps)
    leave(server)
    client.ending()
    client.close()
    record = ib_relay.end_of(client)
    word = "upstream_closed" if leave is Peer.close else "upstream_reset"
    assert (record["end.by"], record["end.reason"], record["ib.stage"]) == ("upstream", word, STAGES[steps - 1][1])


def test_the_end_record_counts_bytes_and_messages_and_keeps_the_last_error_code(ib_relay, gateway):
    client, server = open_session(ib_relay, gateway)
    in_use = frame(4, 2, -1, 326, "Unable to connect as the client id is already in use.", "")
    server.sendall(FARM_OK + in_use)
    client.read_exactly(len(FARM_OK + in_use))
    server.close()
    assert client.ending() == "fin"
    client.close()
    record = ib_relay.end_of(client)
    assert record["ib_relay.bytes.up"] == len(CLIENT_HELLO + START_API)
    assert record["ib_relay.bytes.down"] == len(SERVER_HELLO + NEXT_VALID_ID + ACCOUNTS + FARM_OK + in_use)
    assert (record["ib.messages.up"], record["ib.messages.down"], record["ib.last_error_code"]) == (2, 5, 326)
    assert (record["end.by"], record["end.reason"], record["ib.stage"]) == ("upstream", "upstream_closed", "ready")


ANNOUNCED = [
    # the last thing a gateway says, how it leaves, severity of the end, what its line says of it
    ((100, "Max rate of messages per second has been exceeded"), Peer.close, "WARN", "more than 50 messages a second"),
    ((1300, "TWS socket port has been reset"), Peer.reset, "WARN", "API port of the gateway has changed"),
    ((326, "Unable to connect as the client id is already in use."), Peer.close, "WARN", "client id 7 is in use"),
    ((1100, "Connectivity between IBKR and Trader Workstation has been lost."), Peer.close, "INFO", ""),
    ((162, "Historical data query: no data"), Peer.close, "INFO", ""),
]


@pytest.mark.parametrize(("said", "leave", "severity", "why"), ANNOUNCED, ids=[str(one[0][0]) for one in ANNOUNCED])
def test_an_end_that_a_code_has_announced_says_so(ib_relay, gateway, said, leave, severity, why):
    client, server = open_session(ib_relay, gateway)
    server.sendall(notice := frame(4, 2, -1, *said, ""))
    client.read_exactly(len(notice))
    leave(server)
    client.ending()
    client.close()
    record = ib_relay.end_of(client)
    assert (record["severity_text"], record.get("end.ib_code")) == (severity, said[0] if why else None)
    assert f"after {'error' if said[0] == 326 else 'code'} {said[0]}: {why}" in record["message"] or not why


def test_what_a_gateway_reports_and_takes_back_is_in_the_record(ib_relay, gateway):
    client, server = open_session(ib_relay, gateway)
    texts = [
        (2103, "Market data farm connection is broken:usfarm"),
        (2103, "Market data farm connection is broken:eufarm"),
        (2104, "Market data farm connection is OK:usfarm"),
        (10089, "Requested market data requires additional subscription for API."),
        (162, "Historical data query: no data"),
    ]
    server.sendall(notices := b"".join(frame(4, 2, -1, *one, "") for one in texts))
    client.read_exactly(len(notices))
    client.close()
    server.close()
    record = ib_relay.end_of(client)
    assert record["ib.last_error_code"] == 162
    assert record["ib.holding"] == [{"code": 2103, "farms": ["eufarm"]}]
    assert record["ib.error_codes"] == [10089, 162]


def test_bytes_that_cannot_be_understood_pass_all_the_same_and_the_record_says_opaque(ib_relay, gateway):
    client, server = open_session(ib_relay, gateway)
    client.pour(b"\xff" * 8 + noise(200 * KIB))
    assert server.read_to_end() == b"\xff" * 8 + noise(200 * KIB)
    server.close()
    assert client.ending() == "fin"
    assert ib_relay.end_of(client)["ib.stage"] == "opaque"


# -- manners towards a gateway that hangs ---------------------------------------------------------------------------


def test_a_handshake_that_a_client_aborts_is_aborted_at_the_gateway(ib_relay, gateway):
    client, server = after_hello(ib_relay, gateway)
    client.reset()
    assert server.ending(within=2) == "rst"


@pytest.mark.slow
@pytest.mark.long
def test_a_handshake_that_a_client_leaves_with_fin_ends_as_reset_because_fin_would_stay_at_a_hung_gateway(
    ib_relay, gateway
):
    client, server = after_hello(ib_relay, gateway)
    client.close()
    wait_until(lambda: is_reset(server), "the gateway is rid of the connection", within=4)
    assert ib_relay.end_of(client)["end.reason"] == "client_left_in_handshake"


def is_reset(peer: Peer) -> bool:
    """Whether a reset has come in, also for one who never reads (a FIN alone does not say so)."""
    return peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
