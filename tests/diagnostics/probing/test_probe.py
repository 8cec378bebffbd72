"""A route from its name to an answered request, over real sockets: each outcome at each stage, and what is skipped."""

import socket
import threading
from time import monotonic

import pytest

from diagnostics.evidence import Asked, Evidence, Outcome, Probe, ProbeStage, Route, StageResult
from diagnostics.probing import probe
from diagnostics.probing.connection import GOODBYE, leave, listen
from diagnostics.probing.resolve import Resolution, resolve
from diagnostics.saved_evidence import dump, load
from tests.diagnostics.peers import FILTER_ONLY, LINUX_ONLY, LOOPBACK, black_hole, data_hole, practice
from tests.relay.kit.loopback import unused_port
from tests.relay.kit.scripted import HAS_IPV6, Upstream

OK, SKIPPED, TIMED_OUT, CLOSED = Outcome.OK, Outcome.SKIPPED, Outcome.TIMED_OUT, Outcome.CLOSED
QUIET = 0.02  # seconds, where the real one would only cost time


def to(port, host=LOOPBACK):
    return Route(host, port, "configured", "a test")


def opened(route, resolution, **more):
    """The route up to QUIET, and goodbye."""
    found, dialled = probe.opened(route, resolution, **more)
    if dialled.sock is not None:
        leave(dialled.sock)
    return found


def tcp(port, host=LOOPBACK, **more):
    return opened(to(port, host), resolve(host, port), quiet=QUIET, **more)


def outcomes(found):
    return [one.outcome for one in found.stages]


def details(found):
    return [one.detail for one in found.stages]


def walked(*done):
    return [*done, *[SKIPPED] * (len(ProbeStage) - len(done))]


# Up to QUIET.


def test_a_gateway_waits_for_its_client():
    with practice("silent") as gateway:
        found = tcp(gateway.port)
    assert outcomes(found) == walked(OK, OK, OK)
    assert [one.stage for one in found.stages] == list(ProbeStage)
    assert details(found) == [""] * 3 + [probe.ONE_HANDSHAKE] * 3
    assert (found.addresses, found.address, found.source) == ((LOOPBACK,), LOOPBACK, LOOPBACK)
    assert (found.spoke_first, found.first_bytes, found.bytes_received, found.attempts) == (False, None, 0, 1)


def test_the_quiet_window_is_150_ms(monkeypatch):
    asked = []
    monkeypatch.setattr(probe, "listen", lambda sock, seconds: asked.append(seconds) or listen(sock, seconds))
    with practice("silent") as gateway:
        found = opened(to(gateway.port), Resolution((LOOPBACK,), 0.0))
    assert asked == [0.15] and found.stages[2].seconds >= 0.15


AT_QUIET = (
    ("close", CLOSED, None, None, False),
    ("reset", Outcome.RESET, "ECONNRESET", None, False),
    ("ssh", Outcome.BAD_PEER, None, "ssh", True),
    ("garbage", Outcome.BAD_PEER, None, "garbage", True),
    ("http", OK, None, None, False),  # as a gateway so far
    ("tls", OK, None, None, False),
)


@pytest.mark.parametrize("behaviour, outcome, error, name, spoke", AT_QUIET, ids=[case[0] for case in AT_QUIET])
def test_what_happens_before_a_word_is_said(behaviour, outcome, error, name, spoke):
    with practice(behaviour) as gateway:
        found = tcp(gateway.port)
    assert outcomes(found) == walked(OK, OK, outcome)
    assert (found.stages[2].error, found.first_bytes, found.spoke_first) == (error, name, spoke)
    if outcome is not OK:
        assert details(found)[3:] == ["QUIET failed"] * 3


def test_the_sentences_of_quiet():
    with practice("ssh") as gateway:
        assert details(tcp(gateway.port))[2].startswith("it spoke first, SSH, ")
    with practice("close") as gateway:
        assert details(tcp(gateway.port))[2].startswith("closed before anything was said, ")


def test_a_vnc_server_is_named():
    with Upstream().serve(lambda peer: (peer.sendall(b"RFB 003.008\n"), peer.read_to_end())) as upstream:
        assert tcp(upstream.port).first_bytes == "vnc"


AT_CONNECT = (
    ("nobody listens", LOOPBACK, Outcome.REFUSED, "ECONNREFUSED"),
    ("an address there is no way to", "255.255.255.255", Outcome.UNREACHABLE, None),
)


@pytest.mark.parametrize(
    "host, outcome, error", [case[1:] for case in AT_CONNECT], ids=[case[0] for case in AT_CONNECT]
)
def test_a_connect_that_fails_ends_it(host, outcome, error):
    found = tcp(unused_port(), host)
    assert outcomes(found) == walked(OK, outcome)
    assert found.stages[1].error == error or error is None
    assert details(found)[2:] == ["CONNECT failed"] * 4
    assert (found.source, found.spoke_first) == (None, None)


@LINUX_ONLY
def test_a_connect_without_an_answer_ends_it():
    with black_hole() as port:
        assert outcomes(tcp(port, timeout=0.05)) == walked(OK, TIMED_OUT)


AT_RESOLVE = (
    ("an unknown name", Resolution((), 0.01, "EAI_NONAME", "the name is not known"), Outcome.UNREACHABLE),
    ("no resolver", Resolution((), 0.01, "EAI_AGAIN", "no name server answered"), Outcome.UNREACHABLE),
    ("a resolver that hangs", Resolution((), 3.0, None, "the resolver did not answer in 3.0 s"), TIMED_OUT),
)


@pytest.mark.parametrize("resolution, outcome", [case[1:] for case in AT_RESOLVE], ids=[case[0] for case in AT_RESOLVE])
def test_a_name_without_an_address_ends_it(resolution, outcome):
    found = opened(to(4003, "gate.example"), resolution)
    first = StageResult(ProbeStage.RESOLVE, outcome, resolution.seconds, resolution.detail, resolution.error)
    assert found == Probe(to(4003, "gate.example"), (first, *found.stages[1:]))
    assert details(found)[1:] == ["RESOLVE failed"] * 5


def test_the_address_of_another_route_is_not_dialled_again():
    found = probe.untouched(to(4003, "gate"), Resolution(("10.0.0.1",), 0.01), "other:4003")
    assert (outcomes(found), found.same_as, found.addresses) == (walked(OK), "other:4003", ("10.0.0.1",))
    assert details(found)[1:] == ["the same address as other:4003"] * 5


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_a_name_whose_first_family_is_refused_says_so():
    with practice("silent") as gateway:
        found = opened(to(gateway.port, "localhost"), Resolution(("::1", LOOPBACK), 0.0), quiet=QUIET)
    assert outcomes(found) == walked(OK, OK, OK)
    assert (found.addresses, found.address) == (("::1", LOOPBACK), LOOPBACK)
    assert details(found)[1] == "::1 refused; 127.0.0.1 answered"


# The handshake.

READY = [StageResult(stage, OK, 0.0) for stage in (ProbeStage.RESOLVE, ProbeStage.CONNECT, ProbeStage.QUIET)]


def ready(port):
    return Probe(to(port), probe.all_stages(READY), (LOOPBACK,), LOOPBACK)


def through_quiet(port):
    found = tcp(port)
    assert outcomes(found) == walked(OK, OK, OK)
    return found


HANDSHAKES = (
    ("normal", True, walked(OK, OK, OK, OK, OK, OK)),
    ("normal", False, walked(OK, OK, OK, OK)),
    ("silent", True, walked(OK, OK, OK, TIMED_OUT)),
    ("http", True, walked(OK, OK, OK, Outcome.BAD_PEER)),
    ("redirect=gate:4001", True, walked(OK, OK, OK, Outcome.BAD_PEER)),
    ("close-after-hello", True, walked(OK, OK, OK, OK, CLOSED)),
    ("client-id-in-use", True, walked(OK, OK, OK, OK, Outcome.REFUSED)),
    ("start-api-ignored", True, walked(OK, OK, OK, OK, TIMED_OUT)),
    ("pacing=1", True, walked(OK, OK, OK, OK, OK, CLOSED)),
)


@pytest.mark.parametrize("behaviour, session, expected", HANDSHAKES)
def test_a_handshake_goes_on_where_tcp_ended(behaviour, session, expected):
    with practice(behaviour) as gateway:
        before = through_quiet(gateway.port)
        found = probe.handshake(before, Asked(session=session, timeout=0.1 if TIMED_OUT in expected else 5.0))
    assert outcomes(found) == expected
    assert found.stages[:3] == before.stages[:3]
    assert (found.route, found.address, found.attempts) == (before.route, before.address, 1)
    failed = next((one.stage.name for one in found.stages if one.outcome not in (OK, SKIPPED)), None)
    skipped = {one.detail for one in found.stages if one.outcome is SKIPPED}
    assert skipped <= {f"{failed} failed" if failed else probe.NO_SESSION}


def test_what_the_conversation_gave_is_in_the_probe_and_can_be_saved():
    with practice("offline") as gateway:
        found = probe.handshake(through_quiet(gateway.port), Asked())
    assert (found.server_version, found.accounts, found.first_bytes) == (176, ("DU***567",), None)
    assert {2110, 1100} <= set(found.codes) and found.bytes_received > 100
    evidence = Evidence(1.0, "0", Asked(), (), (found,))
    assert load(dump(evidence)) == evidence


@FILTER_ONLY
@pytest.mark.slow  # the goodbye of a peer that hears nothing
def test_bytes_that_get_lost_are_told_from_a_gateway_that_is_silent():
    with data_hole() as port:
        lost = probe.handshake(ready(port), Asked(timeout=0.3))
    assert outcomes(lost) == walked(OK, OK, OK, TIMED_OUT)
    assert lost.kernel.unacknowledged == 1 and lost.kernel.unsent == 17 and lost.kernel.retransmits > 0


def test_a_second_handshake_is_a_second_attempt_and_its_result_counts():
    with practice("fail-first=2") as gateway:
        socket.create_connection((LOOPBACK, gateway.port)).close()  # the first of the two that fail
        first = probe.handshake(ready(gateway.port), Asked(session=False))
        second = probe.handshake(first, Asked(session=False))
    assert (outcomes(first), first.attempts) == (walked(OK, OK, OK, CLOSED), 1)
    assert (outcomes(second), second.attempts) == (walked(OK, OK, OK, OK), 2)
    assert details(second)[3] == "server version at least 176; the handshake before this one: CLOSED"


def test_of_two_silences_the_longer_one_is_told():
    with practice("silent") as gateway:
        first = probe.handshake(through_quiet(gateway.port), Asked(timeout=0.1))
        second = probe.handshake(first, Asked(timeout=0.1), timeout=0.05)
    assert (outcomes(second), second.attempts) == (walked(OK, OK, OK, TIMED_OUT), 2)
    assert second.stages[3].seconds == first.stages[3].seconds >= 0.1
    assert details(second)[3] == f"{details(first)[3]}; nor to a second handshake in 0.1 s"


def test_a_gateway_that_is_gone_by_the_time_of_the_handshake():
    found = probe.handshake(ready(port := unused_port()), Asked())
    assert outcomes(found) == walked(OK, Outcome.REFUSED)
    assert details(found)[1] == f"a first connection was accepted, another one not: {LOOPBACK} refused"
    assert found.route.port == port


def test_a_gateway_that_is_gone_after_a_handshake_leaves_its_result():
    hello = StageResult(ProbeStage.HELLO, TIMED_OUT, 5.0, "no hello")
    before = Probe(to(unused_port()), probe.all_stages([*READY, hello]), (LOOPBACK,), LOOPBACK)
    found = probe.handshake(before, Asked())
    assert (outcomes(found), found.attempts) == (walked(OK, OK, OK, TIMED_OUT), 2)
    assert details(found)[3] == f"no hello; another connection after it was not accepted: {LOOPBACK} refused"


# All on one connection.


WALKS = (
    ("normal", ProbeStage.CONNECT, walked(OK, OK, OK)),
    ("normal", ProbeStage.HELLO, walked(OK, OK, OK, OK)),
    ("normal", ProbeStage.SYNC, walked(OK, OK, OK, OK, OK, OK)),
    ("silent", ProbeStage.CONNECT, walked(OK, OK, OK)),
    ("silent", ProbeStage.HELLO, walked(OK, OK, OK, TIMED_OUT)),
    ("close", ProbeStage.CONNECT, walked(OK, OK, CLOSED)),
    ("close", ProbeStage.HELLO, walked(OK, OK, CLOSED)),
    ("ssh", ProbeStage.HELLO, walked(OK, OK, Outcome.BAD_PEER)),
    ("tls", ProbeStage.HELLO, walked(OK, OK, OK, Outcome.BAD_PEER)),
    ("client-id-in-use", ProbeStage.HELLO, walked(OK, OK, OK, OK)),
    ("client-id-in-use", ProbeStage.SYNC, walked(OK, OK, OK, OK, Outcome.REFUSED)),
)


@pytest.mark.parametrize("behaviour, until, expected", WALKS, ids=[f"{case[0]}-{case[1].value}" for case in WALKS])
def test_a_walk_goes_as_far_as_asked(behaviour, until, expected):
    lines = []
    with practice(behaviour, lines.append) as gateway:
        found = probe.walk(to(gateway.port), Asked(timeout=0.1 if TIMED_OUT in expected else 5.0), until)
        assert gateway.accepted == 1
    assert outcomes(found) == expected
    if all(one is OK or one is SKIPPED for one in expected):
        why = probe.NO_SESSION if until is ProbeStage.HELLO else probe.NO_MORE
        assert {one.detail for one in found.stages if one.outcome is SKIPPED} <= {why}


def test_a_walk_to_a_healthy_hello_takes_no_time(monkeypatch):
    """Whatever it could wait for would take longer here: the whole quiet moment, a bound, the goodbye."""
    monkeypatch.setattr(probe, "QUIET", 5.0)
    with practice() as gateway:
        started = monotonic()
        found = probe.walk(to(gateway.port), Asked(session=False))
        assert monotonic() - started < GOODBYE
    assert found.server_version == 176 and found.stages[2].seconds >= probe.BRIEF


def test_a_walk_keeps_to_its_limit():
    with practice("silent") as gateway:
        started = monotonic()
        found = probe.walk(to(gateway.port), Asked(timeout=60), limit=0.1)
        assert monotonic() - started < 1.0
    assert outcomes(found) == walked(OK, OK, OK, TIMED_OUT)


@LINUX_ONLY
def test_the_goodbye_keeps_to_the_limit():
    with practice("silent-after-hello") as gateway:  # it does not answer our FIN
        started = monotonic()
        probe.walk(to(gateway.port), Asked(timeout=60), ProbeStage.SYNC, limit=0.1)
        assert monotonic() - started < GOODBYE


def test_the_limit_holds_for_the_connect_too():
    with black_hole() as port:
        started = monotonic()
        assert outcomes(probe.walk(to(port), Asked(), limit=0.1)) == walked(OK, TIMED_OUT)
        assert monotonic() - started < 1.0


def test_a_limit_that_has_passed_is_a_timeout_and_no_fault():
    with practice() as gateway:
        assert outcomes(probe.walk(to(gateway.port), Asked(), limit=0.0)) == walked(OK, TIMED_OUT)


def test_many_walks_at_once_do_not_disturb_each_other():
    found = []
    with practice() as gateway:
        threads = [
            threading.Thread(target=lambda: found.append(probe.walk(to(gateway.port), Asked(), ProbeStage.SYNC)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [outcomes(one) for one in found] == [walked(*[OK] * 6)] * 8
