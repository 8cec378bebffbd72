"""One side has finished and still listens: half-closes pass as half-closes, answers arrive whole, within a bound.

That a slow answer is waited for stands in test_conformance_waiting.py.
"""

import pytest

from tests.relay.kit.blackbox import RelayProcess
from tests.relay.kit.scripted import KIB, MIB, Upstream, digest_of, noise

ANSWER = noise(MIB)


def test_after_the_client_half_closes_the_upstream_sees_eof_and_its_answer_arrives_whole(relay, upstream):
    client, gateway = relay.session(upstream)
    client.sendall(b"my last request")
    client.half_close()
    assert gateway.read_to_end() == b"my last request"
    gateway.pour(ANSWER)
    assert client.read_to_end() == ANSWER


def test_after_the_upstream_half_closes_the_client_sees_eof_and_its_upload_arrives_whole(relay, upstream):
    client, gateway = relay.session(upstream)
    gateway.sendall(b"my last answer")
    gateway.half_close()
    assert client.read_to_end() == b"my last answer"
    client.pour(ANSWER)
    assert gateway.read_to_end() == ANSWER


@pytest.mark.slow
def test_data_in_flight_when_the_upstream_closes_reaches_a_client_that_reads_late(relay, upstream):
    client, gateway = relay.session(upstream)
    size = gateway.send_until_stalled(ANSWER)
    gateway.close()
    assert client.digest_to_end() == digest_of(ANSWER, size)


def test_a_client_that_writes_and_closes_at_once_loses_nothing_to_an_upstream_that_reads_late(relay):
    """The narrow window makes the relay hold bytes of a client that is gone already."""
    with Upstream(relay.upstream_port, receive_buffer=8 * KIB) as upstream:
        client = relay.connect()
        client.sendall(ANSWER)
        client.close()
        assert upstream.accept().read_to_end() == ANSWER


@pytest.mark.slow
def test_bytes_keep_a_half_closed_connection_alive_and_only_silence_ends_it():
    with Upstream() as upstream, RelayProcess(upstream.port, half_close_timeout=0.8) as relay:
        client, gateway = relay.session(upstream)
        client.half_close()
        assert gateway.read_to_end() == b""
        for _ in range(4):  # a second in all, more than the bound, and half a second less than it in each
            assert client.stays_quiet(0.25)
            gateway.sendall(b"tick")
            assert client.read_exactly(4) == b"tick"
        assert client.ending(within=3) != "open"
        assert gateway.ending(within=3) != "open"
        assert relay.end_of(client)["end.reason"] == "half_close_timeout"
