"""What a relay must simply wait through, spending nothing: silence is no reason to end a connection.

All of it waits at the same time: every session is opened first, five seconds pass once, then each test looks at its
own.
"""

import select
import time
from dataclasses import dataclass

import pytest

from tests.relay.kit.blackbox import RelayProcess
from tests.relay.kit.scripted import KIB, Peer, Upstream, digest_of, free_port, noise

pytestmark = [pytest.mark.slow, pytest.mark.long]

SILENCE = 5.0  # seconds; the longest any statement asks for (see tests/soak for more than a minute)
BLOCK = noise(256 * KIB)
Session = tuple[Peer, Peer]


@dataclass(frozen=True)
class Waited:
    """Connections that have waited for SILENCE; in each pair the client stands first."""

    idle: list[Session]
    stalled: Session
    stalled_size: int
    half_closed: Session
    unanswered: Peer
    upstream: Upstream
    ended: list[Peer]  # clients that heard something meanwhile
    processor_share: float  # of one core


@pytest.fixture(scope="module")
def waited():
    with RelayProcess(free_port()) as relay, Upstream(relay.upstream_port) as upstream:
        idle = [relay.session(upstream) for _ in range(20)]
        stalled = relay.session(upstream)
        stalled_size = stalled[1].send_until_stalled(BLOCK)
        half_closed = relay.session(upstream)
        half_closed[0].half_close()
        assert half_closed[1].read_to_end() == b""
        unanswered = relay.connect()
        unanswered.sendall(b"early bytes")  # the kernel accepts for the upstream, which does not look
        silent = [client for client, _ in idle] + [half_closed[0], unanswered]
        began, spent = time.monotonic(), relay.cpu_seconds()
        ended = select.select(silent, [], [], SILENCE)[0]
        share = (relay.cpu_seconds() - spent) / (time.monotonic() - began)
        yield Waited(idle, stalled, stalled_size, half_closed, unanswered, upstream, ended, share)


def test_an_upstream_that_accepts_and_never_answers_does_not_end_the_connection_and_early_bytes_are_kept(waited):
    assert waited.unanswered not in waited.ended
    gateway = waited.upstream.accept()
    assert gateway.read_exactly(11) == b"early bytes"
    gateway.sendall(b"a late answer")
    assert waited.unanswered.read_exactly(13) == b"a late answer"


def test_a_half_closed_connection_whose_answer_takes_its_time_is_kept_until_the_answer_is_through(waited):
    client, gateway = waited.half_closed
    assert client not in waited.ended
    gateway.sendall(b"the answer, at last")
    gateway.close()
    assert client.read_to_end() == b"the answer, at last"


def test_idle_sessions_are_left_alone(waited):
    for client, gateway in waited.idle:
        assert client not in waited.ended
        client.sendall(b"good morning")
        assert gateway.read_exactly(12) == b"good morning"
        gateway.sendall(b"hello")
        assert client.read_exactly(5) == b"hello"


def test_idle_stalled_and_half_closed_connections_together_cost_under_two_percent_of_a_core(waited):
    assert waited.processor_share < 0.02


def test_a_reader_that_stopped_for_a_while_gets_every_byte_on_resume(waited):
    client, gateway = waited.stalled
    gateway.half_close()
    assert client.digest_to_end() == digest_of(BLOCK, waited.stalled_size)
