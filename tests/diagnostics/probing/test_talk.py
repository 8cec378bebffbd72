"""One conversation with every kind of peer: the practice gateway, and scripts for what a gateway never says."""

import socket
import struct
from dataclasses import replace
from time import sleep

import pytest

from diagnostics.evidence import Asked, KernelView, Outcome, ProbeStage
from diagnostics.probing import talk as module
from diagnostics.probing.strangers import STRANGERS, stranger
from diagnostics.probing.talk import own_client_id, talk
from relay.practice import BEHAVIOURS
from relay.wire.framing import encode_frame
from relay.wire.hello import ClientHello, Redirect, ServerHello
from tests.diagnostics.peers import LOOPBACK, practice, silent
from tests.relay.kit.loopback import RESET
from tests.relay.kit.scripted import Upstream, wait_until

OK, CLOSED, TIMED_OUT, BAD_PEER = Outcome.OK, Outcome.CLOSED, Outcome.TIMED_OUT, Outcome.BAD_PEER
RESET_, REFUSED = Outcome.RESET, Outcome.REFUSED
BRIEF = 0.15  # seconds of patience where nothing is going to come
LATER = 1.0  # where something comes, and then nothing
PATIENT = 5.0  # where all that is needed comes
HELLO = ServerHello(176, "20260101 10:00:00 UTC").encode()
OURS = ClientHello(100, 176).encode()
SIZE_OF_OURS = len(OURS)
USUAL = Asked()


def converse(port, asked=USUAL, hello_timeout=PATIENT, **more):
    sock = socket.create_connection((LOOPBACK, port))
    sock.setblocking(False)
    return talk(sock, asked, hello_timeout, **more)


def outcomes(told):
    return [one.outcome for one in told.results]


def says(data, after=SIZE_OF_OURS):
    """A script: read our hello, say that, wait for our goodbye."""

    def script(peer):
        peer.read_exactly(after)
        peer.sendall(data)
        peer.read_to_end()

    return script


# Every behaviour of the practice gateway that lets us connect: what comes of HELLO, START_API, SYNC.
FARMS_OK = (2104, 2104, 2104, 2104, 2104, 2106, 2106, 2158)
FARMS = (*("usfarm.nj", "usfuture", "cashfarm", "usopt", "usfarm"), *("euhmds", "ushmds"), "secdefil")
BEHAVED = {
    "normal": [OK, OK, OK],
    "ticks": [OK, OK, OK],
    "wedged": [TIMED_OUT],
    "close": [CLOSED],
    "reset": [RESET_],
    "fail-first": [CLOSED],
    "client-limit=0": [CLOSED],
    "silent": [TIMED_OUT],
    "garbage": [BAD_PEER],
    "ssh": [BAD_PEER],
    "http": [BAD_PEER],
    "tls": [BAD_PEER],
    "close-after-hello": [OK, CLOSED],
    "reset-after-hello": [OK, RESET_],
    "silent-after-hello": [OK, TIMED_OUT],
    "hello-dribbled=0.001": [OK, OK, OK],
    "hello-glued": [OK, OK, OK],
    "oversize-frame": [BAD_PEER],
    "redirect=gate.example:4001": [BAD_PEER],
    "start-api-ignored": [OK, TIMED_OUT],
    "close-on-start-api": [OK, CLOSED],
    "client-id-in-use": [OK, REFUSED],
    "no-accounts": [OK, TIMED_OUT],
    "empty-accounts": [OK, TIMED_OUT],
    "no-next-id": [OK, TIMED_OUT],
    "farms-broken": [OK, OK, OK],
    "offline": [OK, OK, OK],
    "outage": [OK, OK, OK],
    "slow-sync": [OK, OK, OK],
    "session-close=60": [OK, OK, OK],
    "session-reset=60": [OK, OK, OK],
    "session-stall=60": [OK, OK, OK],
    "truncated-frame=60": [OK, OK, OK],
    "pacing=1": [OK, OK, CLOSED],
    "restart": [OK, OK, OK],
    "slow-hello=0.2": [OK, OK, OK],
    "slow-start-api=0.2": [OK, OK, OK],
    "live-account": [OK, OK, OK],
    "fa-accounts": [OK, OK, OK],
    "accounts-swapped": [OK, OK, OK],
    "order-ids-back": [OK, OK, OK],
    "id-closing=0.1": [OK, OK, OK],
    "outage-after=60": [OK, OK, OK],
    "not-entitled": [OK, OK, OK],
    "localised": [OK, OK, OK],
}
SLOW = ("wedged", "silent-after-hello")  # they do not answer our goodbye either


@pytest.mark.parametrize(
    "behaviour", [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in BEHAVED]
)
def test_every_behaviour_ends_where_it_should(behaviour):
    expected = BEHAVED[behaviour]
    hello = BRIEF if expected == [TIMED_OUT] else PATIENT
    ready = {(OK, TIMED_OUT): BRIEF, (OK, OK, TIMED_OUT): LATER}.get(tuple(expected), PATIENT)
    with practice(behaviour) as gateway:
        told = converse(gateway.port, Asked(timeout=ready), hello)
    assert outcomes(told) == expected


def test_of_ten_thousand_accounts_the_first_are_shown_and_all_are_counted():
    many = tuple(f"U{number}" for number in range(1_000_000, 1_010_000))  # 90 kB in one frame
    with practice("normal", accounts=many) as gateway:
        told = converse(gateway.port)
    assert (outcomes(told), len(told.accounts), told.account_count) == ([OK, OK, OK], 16, 10_000)


def test_notices_that_come_after_the_answer_are_heard_out():
    with practice("outage=60") as gateway:
        assert 1100 in converse(gateway.port).codes
    with practice("outage=0.05") as gateway:
        assert [code for code in converse(gateway.port).codes if code < 2000] == [1100, 1102]


def test_who_does_not_want_the_notices_need_not_wait_for_them():
    with practice("session-close=0.3") as gateway:
        assert outcomes(converse(gateway.port, settle=False)) == [OK, OK, OK]
        assert outcomes(converse(gateway.port)) == [OK, OK, CLOSED]


@pytest.mark.parametrize(
    "behaviour, slow", [("slow-hello=0.4", ProbeStage.HELLO), ("slow-start-api=0.4", ProbeStage.START_API)]
)
def test_the_stage_that_took_long_is_the_one_that_says_so(behaviour, slow):
    with practice(behaviour) as gateway:
        took = {one.stage: one.seconds for one in converse(gateway.port).results}
    assert took[slow] >= 0.4


def test_no_behaviour_is_forgotten():
    assert {name.partition("=")[0] for name in BEHAVED} == set(BEHAVIOURS)


def test_a_healthy_session_tells_everything():
    lines = []
    with practice("normal", lines.append) as gateway:
        told = converse(gateway.port)
    assert [one.stage for one in told.results] == [ProbeStage.HELLO, ProbeStage.START_API, ProbeStage.SYNC]
    assert all(0 <= one.seconds < 1.0 for one in told.results)
    rest = replace(told, results=(), bytes_received=0)
    assert rest == module.TalkResult((), None, None, 0, 176, None, ("DU***567",), 1, FARMS_OK, FARMS)
    assert told.bytes_received > 300


def test_notices_that_come_after_our_goodbye_count_too():
    with practice("offline") as gateway:
        assert {2110, 1100} <= set(converse(gateway.port).codes)


def test_without_a_session_the_hello_is_all():
    with practice() as gateway:
        told = converse(gateway.port, Asked(session=False))
    assert outcomes(told) == [OK] and told.server_version == 176 and told.accounts == ()


def test_the_client_id_asked_for_is_the_one_used():
    with practice("client-id-in-use") as gateway:
        told = converse(gateway.port, Asked(client_id=7))
    assert told.results[-1].detail == "client id 7 is in use by another session (326)"
    assert told.codes == (326,)


def test_our_own_client_ids_are_high_and_differ():
    ids = {own_client_id() for _ in range(100)}
    assert len(ids) > 90 and all(10**9 <= one < 2**31 for one in ids)


DETAILS = (
    # behaviour, stage, seconds of patience with it, what is said
    ("no-accounts", ProbeStage.START_API, LATER, "only the order id came in 1.0 s"),
    ("empty-accounts", ProbeStage.START_API, LATER, "only the order id and an empty account list came in 1.0 s"),
    ("no-next-id", ProbeStage.START_API, LATER, "only accounts came in 1.0 s"),
    ("start-api-ignored", ProbeStage.START_API, BRIEF, "neither order id nor accounts came in 0."),
    ("silent", ProbeStage.HELLO, BRIEF, "no hello from the gateway in 0."),
    ("close-on-start-api", ProbeStage.START_API, PATIENT, "closed "),
    ("redirect=gate.example:4001", ProbeStage.HELLO, PATIENT, "redirected to gate.example:4001"),
    ("http", ProbeStage.HELLO, PATIENT, "server hello: first bytes are HTTP, not an IB hello"),
    ("pacing=1", ProbeStage.SYNC, PATIENT, "closed "),
)


@pytest.mark.slow
@pytest.mark.parametrize("behaviour, stage, patience, detail", DETAILS, ids=[case[0] for case in DETAILS])
def test_a_failure_says_what_was_seen(behaviour, stage, patience, detail):
    with practice(behaviour) as gateway:
        hello = patience if stage is ProbeStage.HELLO else PATIENT
        failed = converse(gateway.port, Asked(timeout=patience), hello).results[-1]
    assert failed.stage is stage and failed.detail.startswith(detail)


def test_the_code_that_announces_the_end_is_part_of_it():
    with practice("pacing=1") as gateway:
        assert " and error 100, " in converse(gateway.port).results[-1].detail


STRANGE = (
    ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", "http"),
    ("TLS", b"\x15\x03\x03\x00\x02\x02\x0a", "tls"),
    ("SSH", b"SSH-2.0-x\r\n", "ssh"),
    ("VNC", b"RFB 003.008\n", "vnc"),
    ("some text", b"-ERR unknown command 'API'\r\n", "text"),
    ("the header of a proxy", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "garbage"),
    ("no protocol", b"\xff\xfe\xfd\xfc\0\0", "garbage"),
    ("a frame that is no hello", encode_frame(b"176\0one\0two\0"), "garbage"),
    ("a hello without a number", encode_frame(b"1x6\0time\0"), "garbage"),
    ("a length of zero", b"\0\0\0\0", "garbage"),
)


@pytest.mark.parametrize("data, name", [case[1:] for case in STRANGE], ids=[case[0] for case in STRANGE])
def test_a_stranger_gets_its_name(data, name):
    with Upstream().serve(says(data)) as upstream:
        told = converse(upstream.port)
    assert outcomes(told) == [BAD_PEER]
    assert (told.first_bytes, told.server_version, told.bytes_received) == (name, None, len(data))


@pytest.mark.slow  # NAMING
def test_a_stranger_of_one_letter_gets_the_likely_name():
    with Upstream().serve(says(b"H")) as upstream:
        told = converse(upstream.port)
    assert (outcomes(told), told.first_bytes) == ([BAD_PEER], "http")


def test_a_stranger_is_named_when_its_word_is_complete():
    def script(peer):
        for letter in b"SSH-2.0-x\r\n":
            peer.sendall(bytes((letter,)))
            sleep(0.002)
        peer.read_to_end()

    with Upstream().serve(script) as upstream:
        told = converse(upstream.port)
    assert told.first_bytes == "ssh" and told.bytes_received > 3


def test_all_names_have_words():
    assert {stranger(data) for _, data, _ in STRANGE} == set(STRANGERS)


VERSIONS = (("too old", 76), ("too new", 177), ("absurd", 999_999_999))


@pytest.mark.parametrize("version", [case[1] for case in VERSIONS], ids=[case[0] for case in VERSIONS])
def test_a_gateway_of_another_era_is_told_by_its_version(version):
    with Upstream().serve(says(ServerHello(version, "x").encode())) as upstream:
        told = converse(upstream.port)
    assert outcomes(told) == [BAD_PEER]
    assert (told.server_version, told.first_bytes) == (version, None)


REDIRECTS = (
    (Redirect("gate", 4001), "gate:4001"),
    (Redirect("gate"), "gate"),
    (Redirect("::1"), "[::1]"),
    (Redirect("[::1]", 4001), "[::1]:4001"),
)


@pytest.mark.parametrize("redirect, told_as", REDIRECTS, ids=[case[1] for case in REDIRECTS])
def test_a_redirect_is_told_and_not_followed(redirect, told_as):
    with Upstream().serve(says(redirect.encode())) as upstream:
        told = converse(upstream.port)
    assert (outcomes(told), told.redirect, told.first_bytes) == ([BAD_PEER], told_as, None)


def in_pieces(peer):
    peer.read_exactly(len(OURS))
    for at in range(len(HELLO)):
        peer.sendall(HELLO[at : at + 1])
        sleep(0.001)
    peer.read_to_end()


def test_a_hello_in_pieces_is_a_hello():
    with Upstream().serve(in_pieces) as upstream:
        told = converse(upstream.port, Asked(session=False))
    assert (outcomes(told), told.server_version, told.bytes_received) == ([OK], 176, len(HELLO))


def test_half_a_hello_is_silence_with_bytes():
    with Upstream().serve(says(HELLO[:10])) as upstream:
        told = converse(upstream.port, hello_timeout=LATER)
    assert (outcomes(told), told.bytes_received, told.first_bytes) == ([TIMED_OUT], 10, None)
    assert told.hello_length == len(HELLO) == 30
    assert told.results[0].detail.startswith("only 10 of 30 bytes of the gateway's hello came in 1.0 s")


def test_a_hello_that_ends_in_its_middle_is_no_end_without_an_answer():
    def script(peer):
        peer.read_exactly(len(OURS))
        peer.sendall(HELLO[:10])

    with Upstream().serve(script) as upstream:
        told = converse(upstream.port)
    assert (outcomes(told), told.bytes_received, told.hello_length) == ([CLOSED], 10, 30)
    assert told.results[0].detail.endswith(" ms after our hello, 10 of 30 bytes of the gateway's hello came")


def test_a_hello_that_drips_does_not_extend_the_deadline():
    """If it did, there would be a hello in the end."""

    def drip(peer):
        for at in range(len(HELLO)):
            peer.sendall(HELLO[at : at + 1])
            sleep(0.1)

    with Upstream().serve(drip) as upstream:
        assert outcomes(converse(upstream.port, hello_timeout=BRIEF)) == [TIMED_OUT]


def test_our_hello_comes_first_and_nothing_before_its_answer():
    heard = []

    def script(peer):
        heard.append(peer.read_exactly(len(OURS)))
        heard.append(peer.stays_quiet(0.05))
        peer.sendall(HELLO)
        heard.append(peer.read_exactly(4))
        peer.read_to_end()

    with Upstream().serve(script) as upstream:
        converse(upstream.port, Asked(timeout=BRIEF))
    assert heard == [OURS, True, b"\0\0\0\x11"]  # START_API: 71, 2, ten digits, no capabilities


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_an_end_with_the_answer_on_its_way_is_the_end(how):
    def script(peer):
        peer.read_exactly(len(OURS))
        if how == "rst":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with Upstream().serve(script) as upstream:
        failed = converse(upstream.port).results[0]
    assert (failed.outcome, failed.error) == ((CLOSED, None) if how == "fin" else (RESET_, "ECONNRESET"))
    assert failed.detail.startswith(f"{'closed' if how == 'fin' else 'reset'} ")


def test_a_reset_the_dial_has_seen_is_not_taken_for_an_end():
    def script(peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with Upstream().serve(script) as upstream:
        sock = socket.create_connection((LOOPBACK, upstream.port))
        sock.setblocking(False)
        wait_until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "the reset")
        told = talk(sock, Asked(), 1.0, reset=True)
    assert outcomes(told) == [RESET_]


def test_we_leave_with_fin_after_every_failure():
    ends = []

    def script(peer):
        peer.read_exactly(len(OURS))
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 100_000)
        ends.append(peer.ending())

    with Upstream().serve(script) as upstream:
        converse(upstream.port)
        wait_until(lambda: ends, "our end is seen")
    assert ends == ["fin"]


def test_a_flood_ends_the_conversation(monkeypatch):
    monkeypatch.setattr(module, "MAX_RECEIVED", 1 << 20)
    notice = encode_frame(b"4\x002\x00-1\x002104\x00" + b"x" * 60_000 + b"\0\0")

    def script(peer):
        peer.read_exactly(len(OURS))
        peer.sendall(HELLO + encode_frame(b"15\x001\x00DU1234567\x00") + encode_frame(b"9\x001\x001\x00"))
        while True:
            peer.sendall(notice)

    with Upstream().serve(script) as upstream:
        told = converse(upstream.port)
    assert outcomes(told) == [OK, OK, BAD_PEER]
    assert told.results[-1].detail == "more than 1 MiB came, and no answer among them"
    assert len(told.codes) <= module.MAX_CODES


@pytest.mark.slow  # LEAST_SYNC
def test_a_request_that_is_not_answered_is_a_timeout_of_sync():
    ready = HELLO + encode_frame(b"15\x001\x00DU1234567\x00") + encode_frame(b"9\x001\x001\x00")
    with Upstream().serve(says(ready)) as upstream:
        told = converse(upstream.port, Asked(timeout=0.2))
    assert outcomes(told) == [OK, OK, TIMED_OUT]
    assert told.results[-1].detail.startswith("the request for the current time was not answered in 1.0 s")
    assert told.accounts == ("DU***567",)


@pytest.mark.slow  # a peer that does not answer a goodbye either
def test_silence_is_looked_into_while_the_connection_is_there():
    looked = []
    with silent() as port:
        told = converse(port, hello_timeout=BRIEF, on_silence=lambda: looked.append(True))
    assert looked == [True]
    assert told.kernel in (KernelView(0, 0, 0), KernelView())  # the latter where there is no TCP_INFO


def test_nobody_looks_into_anything_else():
    looked = []
    for behaviour in ("normal", "close", "http"):
        with practice(behaviour) as gateway:
            assert converse(gateway.port, on_silence=lambda: looked.append(True)).kernel is None
    assert looked == []


FATES = (
    (None, ""),
    (KernelView(), ""),
    (KernelView(0, 0, 0), "; our bytes were acknowledged"),
    (KernelView(1, 3, 17), "; our bytes were sent again and again, and not acknowledged"),
)


@pytest.mark.parametrize("view, told", FATES)
def test_the_kernels_view_is_part_of_the_sentence(view, told):
    assert module._fate(view) == told


def test_a_session_needs_an_answer_whose_length_makes_sense():
    with Upstream().serve(says(HELLO + struct.pack(">I", 0x7FFFFFFF))) as upstream:
        told = converse(upstream.port)
    assert outcomes(told) == [OK, BAD_PEER] and told.server_version == 176 and told.first_bytes is None
