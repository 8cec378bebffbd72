"""The failure matrix on loopback: real peers play a failure; its cause must be named first, or be a candidate.

What needs containers, a firewall or other machines is played in tests/docker, a name with several addresses in
tests/host. `test_every_code_is_played_somewhere` walks the catalogue over all of them and over the recorded runs.
"""

import concurrent.futures
import contextlib
import dataclasses
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from diagnostics.evidence import Asked
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.place.targets import ProbeTarget
from diagnostics.probing.collect import collect
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.run_view import look_at
from relay.wire.framing import encode_frame, join_fields
from relay.wire.hello import ServerHello
from tests.diagnostics import commands
from tests.diagnostics.peers import LINUX_ONLY, LOOPBACK, accepting, black_hole, practice, silent
from tests.diagnostics.recorded import CASES, NOT_PLAYED
from tests.diagnostics.rules.test_proved import FALSE_BESIDE_A_SESSION, said, with_a_session_beside
from tests.relay.kit.blackbox import CLOSE, RelayProcess
from tests.relay.kit.scripted import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
TOGETHER = 8  # failures played at a time
HELLO = ServerHello(176, "20250102 09:30:00 EST").encode()
READY = encode_frame(join_fields(9, 1, 1)) + encode_frame(join_fields(15, 1, "DU1234567,"))
TIME = encode_frame(join_fields(49, 1, 1_790_000_000))


def code(number):
    return encode_frame(join_fields(4, 2, -1, number, "a text", ""))


@contextlib.contextmanager
def scripted(*answers, close=False, keep=None):
    """A peer that answers each of our messages with the next of `answers`, then waits, or closes. Its port number."""

    def serve(sock, _):
        threading.Thread(target=play, args=(sock,), daemon=True).start()

    def play(sock):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(sock) if keep is None else keep.append(sock)
            for answer in answers:
                if not sock.recv(4096):
                    return
                sock.sendall(answer)
            while not close and sock.recv(4096):
                pass

    with accepting(serve) as port:
        yield port
    for sock in keep or ():
        sock.close()


def behaviour(name, **settings):
    """The port of a practice gateway that plays it."""

    @contextlib.contextmanager
    def play():
        with practice(name, **settings) as gateway:
            yield gateway.port

    return play


def script(*answers, **options):
    return lambda: scripted(*answers, **options)


@contextlib.contextmanager
def nobody():
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        yield sock.getsockname()[1]


@contextlib.contextmanager
def full_house():
    """32 clients are in; the gateway turns the next one away."""
    with practice("client-limit=32") as gateway, contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(socket.create_connection((LOOPBACK, gateway.port)))
        yield gateway.port


@contextlib.contextmanager
def ghost():
    """A client is gone without the gateway noticing, and its id is still taken."""
    kept = []
    with scripted(HELLO, code(326), keep=kept) as port:
        with socket.create_connection((LOOPBACK, port)):
            pass
        wait_until(lambda: kept, "the gateway has met its client")
        yield port


@contextlib.contextmanager
def frozen():
    """A gateway that is healthy, and stopped."""
    port = free_port()
    program = [sys.executable, ROOT / "tests/docker/gateway.py", LOOPBACK, str(port)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    with process:
        try:
            assert process.stdout.readline() == b"listening\n"
            process.send_signal(signal.SIGSTOP)
            yield port
        finally:
            process.kill()


@contextlib.contextmanager
def forwarder_before_a_hole():
    """It accepts at once, as socat and docker-proxy do, and dials the same port elsewhere, where nothing answers."""
    with contextlib.ExitStack() as stack:

        def serve(sock, _):
            stack.enter_context(sock)
            onward = stack.enter_context(socket.socket())
            onward.setblocking(False)
            onward.connect_ex(("127.0.0.2", sock.getsockname()[1]))

        with accepting(serve) as port, black_hole("127.0.0.2", port):
            yield port


@contextlib.contextmanager
def slow_to_wake():
    """Says nothing to the first handshake, answers every later one.

    The first connection is that of the quiet moment.
    """
    heard = []
    with contextlib.ExitStack() as stack:

        def serve(sock, _):
            stack.enter_context(sock)
            for answer in (HELLO, READY, TIME):
                if not sock.recv(4096):
                    return
                heard.append(sock)
                if len(heard) == 1:
                    return
                sock.sendall(answer)

        with accepting(serve) as port:
            yield port


# (code, what is played, its name)
MATRIX = (
    ("IBD201", nobody, "nothing listens"),
    ("IBD207", black_hole, "its queue is full"),
    ("IBD301", behaviour("close"), "closed at accept"),
    ("IBD301", behaviour("reset"), "reset at accept"),
    ("IBD301", behaviour("client-limit=0"), "turned away"),
    ("IBD303", behaviour("silent"), "accepts and is silent"),
    ("IBD304", behaviour("silent"), "a dialog waits: looks like it"),
    ("IBD305", silent, "never accepts"),
    ("IBD305", behaviour("wedged"), "wedged"),
    ("IBD306", frozen, "stopped"),
    ("IBD307", forwarder_before_a_hole, "a forwarder whose dial gets no answer"),
    ("IBD308", slow_to_wake, "the first handshake gets no answer"),
    ("IBD309", behaviour("start-api-ignored"), "a dialog blocks: looks like it"),
    ("IBD401", behaviour("ssh"), "ssh"),
    ("IBD402", behaviour("http"), "http"),
    ("IBD403", behaviour("tls"), "tls"),
    ("IBD404", script(b"", close=True), "closes at our hello"),
    ("IBD401", behaviour("garbage"), "garbage at accept"),
    ("IBD405", script(encode_frame(b"176\0a\0b\0")), "a hello of three fields"),
    ("IBD405", behaviour("oversize-frame"), "a frame of 2 GiB"),
    ("IBD406", script(ServerHello(99, "20200102 09:30:00 EST").encode()), "a gateway older than the protocol"),
    ("IBD406", script(ServerHello(300, "20200102 09:30:00 EST").encode()), "a version that was not asked for"),
    ("IBD408", script(HELLO[:10]), "a hello that stops"),
    ("IBD408", script(HELLO[:10], close=True), "a hello that ends"),
    ("IBD408", behaviour("hello-dribbled=0.5"), "a hello that drips"),
    ("IBD406", script(ServerHello(120, "20200102 09:30:00 EST").encode(), READY, TIME), "an old gateway"),
    ("IBD407", behaviour("redirect=gateway.example:4001"), "a redirect"),
    ("IBD501", behaviour("client-id-in-use"), "326"),
    ("IBD502", behaviour("close-on-start-api"), "closes on START_API"),
    ("IBD502", behaviour("close-after-hello"), "closes after its hello"),
    ("IBD502", behaviour("reset-after-hello"), "resets after its hello"),
    ("IBD503", behaviour("start-api-ignored"), "START_API ignored"),
    ("IBD503", behaviour("silent-after-hello"), "silent after its hello"),
    ("IBD503", behaviour("no-next-id"), "no next id"),
    ("IBD503", behaviour("no-accounts"), "no accounts"),
    ("IBD503", behaviour("empty-accounts"), "an empty account list"),
    ("IBD504", script(HELLO, READY), "ready, and no answer to a request"),
    ("IBD505", full_house, "32 clients"),
    ("IBD506", ghost, "a client that is gone is still there"),
    ("IBD602", behaviour("start-api-ignored"), "2FA is pending: looks like it"),
    ("IBD701", behaviour("offline"), "cut off from IB"),
    ("IBD701", behaviour("outage=60"), "cut off from IB just after the session was ready"),
    ("IBD702", behaviour("farms-broken"), "farms broken"),
    ("IBD704", script(HELLO, READY + code(1300), TIME), "1300"),
    ("IBD801", behaviour("normal", accounts=("U1234567",)), "a live account where TRADING_MODE says paper"),
    ("IBD802", script(HELLO, READY + code(321), TIME), "321"),
    ("IBD803", script(HELLO, READY + code(10197), TIME), "10197"),
    ("IBD804", script(HELLO, READY + code(100), TIME), "100"),
)


def run(port, **asked):
    evidence = collect((ProbeTarget(LOOPBACK, port, "--target"),), None, Asked(timeout=0.6, **asked))
    return evidence, diagnose(evidence)


@pytest.fixture(scope="module")
def diagnoses(plain_machine):
    """Of every row. Most of the time of a failure is waiting, so they are played together."""

    def diagnosed(play):
        with play() as port:
            evidence, diagnosis = run(port)
        for failed in look_at(evidence).failing:
            beside = with_a_session_beside(evidence, failed)
            alone = dataclasses.replace(beside, probes=(failed, beside.probes[-1]))
            assert not FALSE_BESIDE_A_SESSION & set(said(diagnose(alone)))
        return diagnosis

    with pytest.MonkeyPatch.context() as patch, concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        patch.setenv("TRADING_MODE", "paper")
        return list(pool.map(diagnosed, [play for _, play, _ in MATRIX]))


@LINUX_ONLY
@pytest.mark.slow
@pytest.mark.parametrize("at", range(len(MATRIX)), ids=[f"{row[0]} {row[2]}" for row in MATRIX])
def test_a_failure_that_is_played_gets_the_code_of_its_cause(at, diagnoses):
    codes, diagnosis = MATRIX[at][0], diagnoses[at]
    first = diagnosis.findings[0]
    named = {first.code, *(one.code for one in first.candidates)}
    assert set(codes.split()) <= named, diagnosis
    assert first.code[3:] in diagnosis.verdict.line, diagnosis.verdict


# What turns us away beside a port that gives a session: it is the port, whatever else such an end could mean alone.
TURNED_AWAY = {
    "refuses": nobody,
    "closes at accept": behaviour("close"),
    "resets at accept": behaviour("reset"),
    "closes at our hello": script(b"", close=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TURNED_AWAY)
def test_a_port_that_turns_us_away_beside_one_with_a_session_is_the_wrong_port(name, plain_machine):
    with TURNED_AWAY[name]() as port, practice() as gateway:
        targets = (ProbeTarget(LOOPBACK, port, "--target"), ProbeTarget(LOOPBACK, gateway.port, "--target"))
        diagnosis = diagnose(collect(targets, None, Asked(timeout=0.6), every_route=True))
    assert said(diagnosis)[0] == "IBD204" and not FALSE_BESIDE_A_SESSION & set(said(diagnosis))
    assert diagnosis.findings[0].message.endswith(f"({LOOPBACK}:{gateway.port} gives a session)")


# Behind our own relay, which dials after the hello only and passes on what it meets there.
# Each row: what is behind it, its name, the finding, the explanation that comes first, what else it could be, and what
# the relay's log then says, where that is the check that decides.
RELAYED = (
    (nobody, "nothing listens", "IBD404", "IBD301", "IBD404", "connection_refused"),
    (black_hole, "no answer", "IBD404", "IBD307", "IBD301", "connect_timeout"),
    (silent, "never accepts", "IBD305", "IBD305", "IBD306", ""),
    (frozen, "stopped", "IBD305", "IBD305", "IBD306", ""),
    (behaviour("silent"), "silent", "IBD303", "IBD305", "IBD304", ""),
    (behaviour("close"), "closes at once", "IBD404", "", "IBD301 IBD302 IBD404", ""),
    (behaviour("http"), "http", "IBD402", "", "", ""),
    (behaviour("normal"), "healthy", "", "", "", ""),
)
GIVES_UP = 3.2  # seconds the relay gives its dial here: as long as a dial to an address that nobody has takes


@pytest.fixture(scope="module")
def behind_the_relay(plain_machine):
    """Of every row: diagnosis, why the relay ended the connection with the handshake, its port and its upstream's."""

    def diagnosed(play):
        timeout, more = (GIVES_UP + 0.4, {"connect_timeout": GIVES_UP}) if play is black_hole else (0.6, {})
        with play() as upstream, RelayProcess(upstream, protocol="ib", **more) as relay:
            evidence = collect((ProbeTarget(LOOPBACK, relay.port, "--target"),), None, Asked(timeout=timeout))
            ends = wait_until(lambda: relay.records(CLOSE)[1:], "the relay tells how the handshake ended")
        outside_a_window = dataclasses.replace(evidence, created=1_790_000_000.0)
        return diagnose(outside_a_window), ends[0]["end.reason"], (relay.port, upstream)

    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(diagnosed, [row[0] for row in RELAYED]))


@LINUX_ONLY
@pytest.mark.slow
@pytest.mark.parametrize("at", range(len(RELAYED)), ids=[row[1] for row in RELAYED])
def test_what_is_behind_our_own_relay_is_told_apart_or_its_log_decides(at, behind_the_relay):
    (_, _, code, first, others, decides), (diagnosis, reason, _) = RELAYED[at], behind_the_relay[at]
    found = diagnosis.findings[0] if diagnosis.findings else None
    explanations = [one.code for one in found.candidates] if found else []
    assert (found.code if found else "") == code, diagnosis
    assert (explanations[0] if first else "") == first and set(others.split()) <= set(explanations), diagnosis
    assert not decides or (reason == decides and decides in found.candidates[0].check)
    assert diagnosis.verdict.level.value == ("usable" if not code else "no_handshake")


@LINUX_ONLY
@pytest.mark.slow
@pytest.mark.parametrize("at", range(len(RELAYED)), ids=[row[1] for row in RELAYED])
def test_behind_our_own_relay_the_port_of_its_upstream_is_looked_at(at, behind_the_relay):
    """The relay's flags say where it leads; where a file does, the port that was dialled is all there is to look at."""
    (play, *_), (diagnosis, _, (port, upstream)) = RELAYED[at], behind_the_relay[at]
    looks = [
        command for one in diagnosis.findings for command in one.commands if "sport" in command or "curl" in command
    ]
    assert all(f":{port if play is black_hole else upstream}" in command for command in looks), looks
    seen = f"ib-relay has port {port} and leads to {LOOPBACK}:{upstream}, as seen here."
    assert all(one.between == ("" if play is black_hole else seen) for one in diagnosis.findings)


@LINUX_ONLY
@pytest.mark.slow
def test_whom_our_own_relay_does_not_let_in_is_sent_to_its_log(plain_machine):
    with practice() as gateway, RelayProcess(gateway.port, protocol="ib", allow=["10.0.0.0/8"]) as relay:
        diagnosis = run(relay.port)[1]
        assert relay.record(CLOSE)["end.reason"] == "acl_denied"
    found = diagnosis.findings[0]
    assert (found.code, found.candidates[0].code) == ("IBD301", "IBD302") and "acl_denied" in found.candidates[0].check


@LINUX_ONLY
@pytest.mark.slow
@pytest.mark.long
def test_with_the_usual_times_of_both_the_relay_has_given_up_before_the_diagnosis_has():
    with black_hole() as port, RelayProcess(port, protocol="ib") as relay:
        ended = commands.run("--target", f"{LOOPBACK}:{relay.port}")
        ends = wait_until(lambda: relay.records(CLOSE)[1:], "the relay tells how the handshake ended")
        assert ends[0]["end.reason"] == "connect_timeout"
    assert ended.code == 3 and "RESET 5.0 s" in ended.out and "1. IBD307 " in ended.out


HEALTHY = [
    ("normal", {}),
    ("ticks=500", {}),
    ("hello-dribbled=0.001", {}),
    ("hello-glued", {}),
    ("slow-sync=0.2", {}),
    *(("normal", {"server_version": version}) for version in (176, 200, 201, 203, 207, 208, 213, 226)),
]


@pytest.mark.slow
@pytest.mark.parametrize("name, settings", HEALTHY, ids=[f"{name} {settings}" for name, settings in HEALTHY])
def test_what_is_healthy_has_no_finding(name, settings, plain_machine):
    with practice(name, **settings) as gateway:
        evidence, diagnosis = run(gateway.port)
    outside_a_window = dataclasses.replace(evidence, created=1_790_000_000.0)
    assert (diagnose(outside_a_window).findings, diagnosis.verdict.level.value) == ((), "usable")


# What is no failure of a peer, by the code that is said of it.
WARNED = {
    "IBD107": ("normal", '"{}"  # paper'),
    "IBD507": ("slow-hello=4.1", "{}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("code", WARNED)
def test_what_works_and_will_not_for_others_is_warned_of(code, plain_machine):
    name, target = WARNED[code]
    with practice(name) as gateway:
        ended = commands.run("--target", target.format(f"{LOOPBACK}:{gateway.port}"), "--fail-on", "warning")
    assert ended.code == 5 and ended.out.startswith("Works via ") and f"warning {code}: " in ended.out


def played():
    yield from WARNED
    for codes, _, _ in MATRIX:
        yield from codes.split()
    for elsewhere in ("docker/test_routes.py", "host/test_names.py", "diagnostics/probing/test_collect.py"):
        yield from re.findall(r"IBD\d{3}", (ROOT / "tests" / elsewhere).read_text(encoding="utf-8"))


def recorded():
    """Codes of the recorded runs, among them those that no peer can play here."""
    for case in CASES:
        yield from (finding.code for finding in diagnose(case.evidence).findings)


def test_every_code_is_played_somewhere_and_nothing_else_is():
    real = set(played())
    assert set(CATALOGUE) - NOT_PLAYED <= real <= set(CATALOGUE)
    assert set(recorded()) >= NOT_PLAYED
