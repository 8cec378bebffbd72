"""relay/logs/record.py: the closed set of ends, its letters, and the sentence for each."""

import itertools

import pytest

from relay.logs.explain import end_code, explain
from relay.logs.record import CLEAN_ENDS, RESERVED_REASONS, Cause, EndPhase, Reason, Record

# Every way a connection can end: by, how, reason, phase -> the letters HAProxy users read. A reason may have several.
ENDS = [
    ("client", "fin", Reason.CLIENT_CLOSED, EndPhase.DATA, "--"),
    ("client", "fin", Reason.CLIENT_CLOSED, EndPhase.DRAIN, "--"),
    ("upstream", "fin", Reason.UPSTREAM_CLOSED, EndPhase.DATA, "--"),
    ("upstream", "fin", Reason.UPSTREAM_CLOSED, EndPhase.HANDSHAKE, "--"),
    ("client", "rst", Reason.CLIENT_RESET, EndPhase.DATA, "CD"),
    ("client", "rst", Reason.CLIENT_RESET, EndPhase.HALF_CLOSED, "CL"),
    ("upstream", "rst", Reason.UPSTREAM_RESET, EndPhase.DATA, "SD"),
    ("upstream", "rst", Reason.UPSTREAM_RESET, EndPhase.HANDSHAKE, "SH"),
    ("client", "rst", Reason.CLIENT_LEFT_WHILE_CONNECTING, EndPhase.CONNECT, "CC"),
    ("client", "fin", Reason.CLIENT_LEFT_WHILE_CONNECTING, EndPhase.CONNECT, "CC"),
    ("client", "fin", Reason.CLIENT_LEFT_WHILE_QUEUED, EndPhase.HANDSHAKE, "CH"),
    ("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE, EndPhase.HANDSHAKE, "CH"),
    ("client", "rst", Reason.CLIENT_LEFT_IN_HANDSHAKE, EndPhase.HANDSHAKE, "CH"),
    ("upstream", "rst", Reason.CONNECTION_REFUSED, EndPhase.CONNECT, "SC"),
    ("upstream", "timeout", Reason.CONNECT_TIMEOUT, EndPhase.CONNECT, "sC"),
    ("upstream", "error", Reason.UNREACHABLE, EndPhase.CONNECT, "SC"),
    ("relay", "error", Reason.DNS_ERROR, EndPhase.CONNECT, "PC"),
    ("relay", "error", Reason.LOOP_DETECTED, EndPhase.CONNECT, "PC"),
    ("relay", "timeout", Reason.HANDSHAKE_TIMEOUT, EndPhase.HANDSHAKE, "cH"),
    ("relay", "policy", Reason.NOT_IB, EndPhase.HANDSHAKE, "PH"),
    ("relay", "policy", Reason.CONNECTION_LIMIT, EndPhase.HANDSHAKE, "PH"),
    ("relay", "policy", Reason.ACL_DENIED, EndPhase.HANDSHAKE, "PH"),
    ("relay", "timeout", Reason.IDLE_TIMEOUT, EndPhase.DATA, "cD"),
    ("relay", "timeout", Reason.HALF_CLOSE_TIMEOUT, EndPhase.HALF_CLOSED, "cL"),
    ("client", "timeout", Reason.CLIENT_DEAD, EndPhase.DATA, "cD"),
    ("upstream", "timeout", Reason.UPSTREAM_DEAD, EndPhase.DATA, "sD"),
    ("client", "timeout", Reason.WRITE_STALLED, EndPhase.DATA, "cD"),
    ("upstream", "timeout", Reason.WRITE_STALLED, EndPhase.HALF_CLOSED, "sL"),
    ("relay", "policy", Reason.SHUTDOWN, EndPhase.DRAIN, "KD"),
    ("relay", "error", Reason.RESOURCE_EXHAUSTED, EndPhase.CONNECT, "RC"),
    ("relay", "error", Reason.INTERNAL_ERROR, EndPhase.DATA, "ID"),
]

STAGES = ("nothing", "client_hello", "server_hello", "start_api", "ready", "opaque", "legacy", None)


def record(cause, stage=None, **more):
    return Record(
        "close",
        0.0,
        "boot-000001",
        "paper",
        "127.0.0.1",
        50000,
        4003,
        "127.0.0.1",
        4002,
        cause=cause,
        phase=EndPhase.DATA,
        ib_stage=stage,
        **more,
    )


@pytest.mark.parametrize("by, how, reason, phase, code", ENDS, ids=[f"{end[2].value}-{end[3].value}" for end in ENDS])
def test_an_end_has_its_two_letters(by, how, reason, phase, code):
    assert end_code(Cause(by, how, reason), phase) == code


def test_the_table_of_ends_knows_every_reason():
    assert {reason for _, _, reason, _, _ in ENDS} == set(Reason)


def test_only_a_clean_end_has_no_letters():
    for by, how, reason, _, _ in ENDS:
        for phase in EndPhase:
            code = end_code(Cause(by, how, reason), phase)
            assert len(code) == 2
            assert (code == "--") == (reason in CLEAN_ENDS)


def test_every_phase_has_its_letter():
    reset = Cause("client", "rst", Reason.CLIENT_RESET)
    assert [end_code(reset, phase)[1] for phase in EndPhase] == ["H", "C", "D", "L", "D"]  # draining is data to HAProxy


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_every_reason_is_explained_at_every_stage_in_one_plain_sentence(reason):
    for by, stage in itertools.product(("client", "upstream", "relay"), STAGES):
        text = explain(record(Cause(by, "fin", reason), stage))
        assert 10 < len(text) < 200
        assert "\n" not in text
        assert reason.value not in text  # words, not the code again


# What the log says of every reason: (detail as the relay gives it, sentence at any stage[, sentence before it was
# ready]).
SENTENCES = {
    Reason.CLIENT_CLOSED: (None, "the client closed its session"),
    Reason.UPSTREAM_CLOSED: (
        None,
        "the gateway closed the session",
        "the gateway closed the session at stage start_api, before the session was ready",
    ),
    Reason.CLIENT_RESET: (None, "the client aborted (reset)"),
    Reason.UPSTREAM_RESET: (
        None,
        "the gateway aborted (reset)",
        "the gateway aborted (reset) at stage start_api, before the session was ready",
    ),
    Reason.CLIENT_LEFT_WHILE_CONNECTING: (None, "the client left while the gateway was being dialled"),
    Reason.CLIENT_LEFT_WHILE_QUEUED: (None, "the client left before it was its turn to reach the gateway"),
    Reason.CLIENT_LEFT_IN_HANDSHAKE: (
        None,
        "the client left during the API handshake",
        "the client left before the gateway answered START_API: not logged in, still starting, or a dialog is open",
    ),
    Reason.CONNECTION_REFUSED: (
        "127.0.0.1:4998 refuses",
        (
            "nothing listens at the gateway's address: not started, not logged in, or another port "
            "(127.0.0.1:4998 refuses)"
        ),
    ),
    Reason.CONNECT_TIMEOUT: (
        "no answer from 10.0.0.1 in 5 s",
        (
            "the gateway's host did not answer the dial: packets dropped, or the gateway stopped accepting "
            "(no answer from 10.0.0.1 in 5 s)"
        ),
    ),
    Reason.UNREACHABLE: (
        "no route to 10.0.0.1:4002",
        "the gateway's address cannot be reached (no route to 10.0.0.1:4002)",
    ),
    Reason.DNS_ERROR: (
        "gw.example: Name or service not known",
        "the gateway's name could not be looked up (gw.example: Name or service not known)",
    ),
    Reason.LOOP_DETECTED: (
        "gw.example:4003 is 127.0.1.1:4003, where this relay listens itself",
        (
            "upstream leads back to this relay: a fault of the configuration "
            "(gw.example:4003 is 127.0.1.1:4003, where this relay listens itself)"
        ),
    ),
    Reason.HANDSHAKE_TIMEOUT: (
        "5 bytes of a hello in 10 s",
        "the client sent no complete hello; the gateway was not dialled (5 bytes of a hello in 10 s)",
    ),
    Reason.NOT_IB: ("http", "the client did not speak the IB API; the gateway was not dialled (http)"),
    Reason.CONNECTION_LIMIT: (
        "5 connections are open, max_connections = 5",
        "too many connections (5 connections are open, max_connections = 5)",
    ),
    Reason.ACL_DENIED: (
        "10.0.0.9 is in none of the allowed networks (::1/128)",
        "the client's address is not on the access list (10.0.0.9 is in none of the allowed networks (::1/128))",
    ),
    Reason.IDLE_TIMEOUT: (
        "60 s without a byte",
        "no byte moved either way, and none waited, for the configured idle time (60 s without a byte)",
    ),
    Reason.HALF_CLOSE_TIMEOUT: (
        "upstream silent for 30 s after the other side had finished",
        (
            "one side had finished and the other stayed silent "
            "(upstream silent for 30 s after the other side had finished)"
        ),
    ),
    Reason.CLIENT_DEAD: (None, "the client vanished without a word"),
    Reason.UPSTREAM_DEAD: (
        None,
        "the gateway vanished without a word",
        "the gateway vanished without a word at stage start_api, before the session was ready",
    ),
    Reason.WRITE_STALLED: (
        "the client is gone, in 10 s: 5 B not taken",
        (
            "the remaining bytes could not be delivered: the receiver does not read "
            "(the client is gone, in 10 s: 5 B not taken)"
        ),
    ),
    Reason.SHUTDOWN: (None, "the relay was stopped"),
    Reason.RESOURCE_EXHAUSTED: (
        "no socket left to dial 127.0.0.1:4002",
        "the relay ran out of descriptors or memory (no socket left to dial 127.0.0.1:4002)",
    ),
    Reason.INTERNAL_ERROR: ("KeyError at flow.py:7", "a fault in the relay itself (KeyError at flow.py:7)"),
}


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
@pytest.mark.parametrize("stage", [None, "start_api", "ready", "opaque"])
def test_every_sentence_reads_well_with_and_without_a_stage_and_a_detail(reason, stage):
    detail, plain, *unready = SENTENCES[reason]
    end = {one[2]: one[:2] for one in ENDS}[reason]
    text = explain(record(Cause(*end, reason, detail), stage)) + (f" ({detail})" if detail else "")
    assert text == (unready[0] if unready and stage == "start_api" else plain)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_where_a_session_never_was_nothing_is_said_of_its_course(reason):
    never = reason in {
        Reason.CLIENT_LEFT_WHILE_CONNECTING,
        Reason.CLIENT_LEFT_WHILE_QUEUED,
        Reason.CONNECTION_REFUSED,
        Reason.CONNECT_TIMEOUT,
        Reason.UNREACHABLE,
        Reason.DNS_ERROR,
        Reason.LOOP_DETECTED,
        Reason.HANDSHAKE_TIMEOUT,
        Reason.NOT_IB,
        Reason.CONNECTION_LIMIT,
        Reason.ACL_DENIED,
        Reason.RESOURCE_EXHAUSTED,
        Reason.CLIENT_LEFT_IN_HANDSHAKE,
    }
    announced = None if reason is Reason.CLIENT_LEFT_IN_HANDSHAKE else 326  # which can be why a client left
    more = {"opaque": "client: too many bytes", "announced": announced}
    text = explain(record(Cause("upstream", "fin", reason), "client_hello", **more))
    assert ("not understood" in text) is not never
    assert not never or "326" not in text
    redirected = explain(record(Cause("upstream", "fin", reason), "client_hello", redirect="gate:4001"))
    assert ("redirected" in redirected) is (not never or reason is Reason.CLIENT_LEFT_IN_HANDSHAKE)


def test_no_two_reasons_have_the_same_explanation():
    texts = [explain(record(Cause("relay", "error", reason), "ready")) for reason in Reason]
    assert len(set(texts)) == len(Reason)


EXPLAINED = [
    (
        "a port check",
        record(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE), "nothing"),
        "the client left before it said anything (a port check looks like this); the gateway was not dialled",
    ),
    (
        "a hung gateway",
        record(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE), "client_hello"),
        "the client left before the gateway answered its hello: the gateway takes connections but does not serve them",
    ),
    (
        "a probe for the hello",
        record(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE), "server_hello"),
        "the client left after the gateway's hello, before it sent START_API",
    ),
    (
        "a gateway that is not logged in",
        record(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE), "start_api"),
        "the client left before the gateway answered START_API: not logged in, still starting, or a dialog is open",
    ),
    (
        "a redirect",
        record(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE), "client_hello", redirect="gate:4001"),
        "the gateway redirected the client to gate:4001, which only IB's Java client follows",
    ),
    (
        "another service",
        record(Cause("upstream", "fin", Reason.UPSTREAM_CLOSED), "opaque", opaque="gateway: first bytes are SSH"),
        "what answered is no IB gateway (gateway: first bytes are SSH); it closed the connection",
    ),
    (
        "another service that aborts",
        record(Cause("upstream", "rst", Reason.UPSTREAM_RESET), "opaque", opaque="gateway: first bytes are TLS"),
        "what answered is no IB gateway (gateway: first bytes are TLS); it reset the connection",
    ),
    (
        "a client id in use",
        record(Cause("upstream", "fin", Reason.UPSTREAM_CLOSED), "start_api", announced=326),
        "the gateway closed the session after error 326: the client id is in use",
    ),
    (
        "a client id in use that is known",
        record(Cause("upstream", "rst", Reason.UPSTREAM_RESET), "start_api", announced=326, client_id=7),
        "the gateway aborted (reset) after error 326: client id 7 is in use",
    ),
    (
        "a client that left because of it",
        record(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE), "start_api", announced=326, client_id=7),
        "the client left after error 326: client id 7 is in use",
    ),
    (
        "a client that was too fast",
        record(Cause("upstream", "fin", Reason.UPSTREAM_CLOSED), "ready", announced=100),
        "the gateway closed the session after code 100: more than 50 messages a second were sent",
    ),
    (
        "a client that heard that the port has changed",
        record(Cause("client", "fin", Reason.CLIENT_CLOSED), "ready", announced=1300),
        (
            "the client closed its session after code 1300: "
            "API port of the gateway has changed, this connection is being dropped"
        ),
    ),
    (
        "a client that was too fast when the relay was stopped",
        record(Cause("relay", "policy", Reason.SHUTDOWN), "ready", announced=100),
        "the relay was stopped",
    ),
    (
        "error 326 long before the client closed its session",
        record(Cause("client", "fin", Reason.CLIENT_CLOSED), "ready", last_error_code=326),
        "the client closed its session",
    ),
    (
        "a gateway that sent the client elsewhere and closed",
        record(Cause("client", "fin", Reason.CLIENT_CLOSED), "ready", redirect="gate:4001"),
        "the client closed its session; the gateway had redirected the client to gate:4001",
    ),
    (
        "a gateway that gives up at a stage",
        record(Cause("upstream", "rst", Reason.UPSTREAM_RESET), "client_hello"),
        "the gateway aborted (reset) at stage client_hello, before the session was ready",
    ),
    (
        "a gateway that ends a live session",
        record(Cause("upstream", "rst", Reason.UPSTREAM_RESET), "ready"),
        "the gateway aborted (reset)",
    ),
    ("a live connection", record(None), "still open"),
]


@pytest.mark.parametrize("given, text", [end[1:] for end in EXPLAINED], ids=[end[0] for end in EXPLAINED])
def test_what_people_read(given, text):
    assert explain(given) == text


def test_the_words_are_public_and_those_kept_free_are_not_in_use():
    words = {reason.value for reason in Reason}
    assert len(words) == len(Reason)
    assert words.isdisjoint(RESERVED_REASONS)
    assert all(word == word.lower() and word.replace("_", "").isalpha() for word in words | RESERVED_REASONS)


def test_a_reason_is_the_word_itself():
    assert Reason("not_ib") is Reason.NOT_IB
    assert Reason.NOT_IB == "not_ib"
