"""What any transparent relay owes its users: every byte, both ways, in order, at once. Real process, real sockets."""

import statistics
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.relay.kit.blackbox import CLOSE, RelayProcess
from tests.relay.kit.scripted import KIB, MIB, Peer, Upstream, echo, free_port, noise, wait_until

LONG_STREAM = noise(8 * MIB)
OTHER_STREAM = noise(8 * MIB, seed=2)

# A relay that knows no protocol must not look into, wait for, or stumble over any of these.
FOREIGN_BYTES = [
    ("http", b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"),
    ("tls client hello", bytes.fromhex("16030100a5010000a10303") + noise(157)),
    ("ssh banner", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("proxy protocol header", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
    ("ib hello with a length that lies", b"API\0\xff\xff\xff\xff"),
    ("one NUL", b"\0"),
    ("telnet urgency", b"\xff\xf4\xff\xfd\x06"),
    ("every byte value", bytes(range(256))),
]


def test_what_a_client_sends_reaches_the_upstream_and_the_answer_comes_back_unchanged(relay, upstream):
    client, gateway = relay.session(upstream)
    client.sendall(b"a request")
    assert gateway.read_exactly(9) == b"a request"
    gateway.sendall(b"an answer")
    assert client.read_exactly(9) == b"an answer"


def test_a_long_stream_from_client_to_upstream_arrives_whole_then_eof(relay, upstream):
    client, gateway = relay.session(upstream)
    with ThreadPoolExecutor(1) as background:
        arriving = background.submit(gateway.read_to_end)
        client.sendall(LONG_STREAM)
        client.half_close()
        assert arriving.result() == LONG_STREAM


def test_a_long_stream_from_upstream_to_client_arrives_whole_then_eof(relay, upstream):
    client, gateway = relay.session(upstream)
    with ThreadPoolExecutor(1) as background:
        arriving = background.submit(client.read_to_end)
        gateway.sendall(LONG_STREAM)
        gateway.half_close()
        assert arriving.result() == LONG_STREAM


def test_both_directions_at_once_lose_nothing(relay, upstream):
    client, gateway = relay.session(upstream)

    def send(peer: Peer, stream: bytes) -> None:
        peer.sendall(stream)
        peer.half_close()

    with ThreadPoolExecutor(4) as background:
        sending = [background.submit(send, client, LONG_STREAM), background.submit(send, gateway, OTHER_STREAM)]
        arriving = [background.submit(gateway.read_to_end), background.submit(client.read_to_end)]
        assert [each.result() for each in arriving] == [LONG_STREAM, OTHER_STREAM]
        assert [each.result() for each in sending] == [None, None]


def test_bytes_written_one_at_a_time_arrive_as_the_same_stream(relay, upstream):
    client, gateway = relay.session(upstream)
    stream = noise(500)
    for number in range(len(stream)):
        client.sendall(stream[number : number + 1])
        gateway.sendall(stream[number : number + 1])
    assert gateway.read_exactly(500) == stream
    assert client.read_exactly(500) == stream


def test_the_upstream_is_dialled_on_accept_because_a_server_may_speak_first(relay, upstream):
    client, gateway = relay.session(upstream)  # nobody has sent a byte
    gateway.sendall(b"RFB 003.008\n")
    assert client.read_exactly(12) == b"RFB 003.008\n"


@pytest.mark.parametrize("stream", [row[1] for row in FOREIGN_BYTES], ids=[row[0] for row in FOREIGN_BYTES])
def test_bytes_of_whatever_protocol_pass_untouched(relay, upstream, stream):
    client, gateway = relay.session(upstream)
    client.sendall(stream)
    assert gateway.read_exactly(len(stream)) == stream
    gateway.sendall(stream)
    assert client.read_exactly(len(stream)) == stream


def test_fifty_clients_at_once_each_get_their_own_answers(relay, upstream):
    upstream.serve(echo)
    clients = [relay.connect() for _ in range(50)]
    for number, client in enumerate(clients):
        client.sendall(noise(4 * KIB, seed=number))
    right = [client.read_exactly(4 * KIB) == noise(4 * KIB, seed=number) for number, client in enumerate(clients)]
    assert right == [True] * 50


@pytest.mark.slow
def test_requests_written_in_two_parts_keep_loopback_latency(relay, upstream):
    """With Nagle's algorithm on, the second part waits for the first one's acknowledgement: 40 ms."""
    client, gateway = relay.session(upstream)
    times = []
    for _ in range(100):
        before = time.perf_counter()
        client.sendall(b"\0\0\0\x0c")
        client.sendall(b"a request...")
        gateway.read_exactly(16)
        gateway.sendall(b"\0\0\0\x09")
        gateway.sendall(b"an answer")
        client.read_exactly(13)
        times.append(time.perf_counter() - before)
    assert statistics.median(times) < 0.010
    assert sum(one > 0.030 for one in times) <= 5, "more stalls than a loaded machine explains"


@pytest.mark.slow
def test_five_small_messages_without_an_answer_in_between_all_arrive_within_20_ms(relay, upstream):
    """A burst of orders, a burst of ticks. The median of 11 bursts each way: one slow burst is the machine's."""
    client, gateway = relay.session(upstream)

    def burst(sender: Peer, receiver: Peer) -> float:
        before = time.perf_counter()
        for _ in range(5):
            sender.sendall(b"x" * 40)
            time.sleep(0.001)  # the burst's own pace
        receiver.read_exactly(200)
        return time.perf_counter() - before

    assert statistics.median(burst(client, gateway) for _ in range(11)) < 0.020
    assert statistics.median(burst(gateway, client) for _ in range(11)) < 0.020


@pytest.mark.slow
def test_a_stalled_connection_does_not_slow_another_one(relay, upstream):
    stalled, pouring = relay.session(upstream)
    assert pouring.send_until_stalled(noise(64 * KIB)) > 0
    client, gateway = relay.session(upstream)
    times = []
    for _ in range(50):
        before = time.perf_counter()
        client.sendall(b"ping")
        gateway.sendall(gateway.read_exactly(4))
        client.read_exactly(4)
        times.append(time.perf_counter() - before)
    assert statistics.median(times) < 0.010
    assert stalled.read_exactly(1)


def test_a_client_that_opens_and_closes_without_a_word_is_seen_by_the_upstream_as_eof(relay, upstream):
    client, gateway = relay.session(upstream)
    client.close()
    assert gateway.ending() == "fin"


@pytest.mark.slow
def test_64_clients_in_the_same_instant_are_all_served_within_a_second(relay, upstream):
    """A backlog that is too short drops SYNs, and a client's kernel repeats one after a whole second."""
    upstream.serve(echo)
    start = threading.Barrier(65)

    def visit(_: int) -> float:
        start.wait()
        before = time.perf_counter()
        with Peer.dial((relay.host, relay.port)) as client:
            client.sendall(b"hello")
            client.read_exactly(5)
            return time.perf_counter() - before

    with ThreadPoolExecutor(64) as crowd:
        visits = [crowd.submit(visit, number) for number in range(64)]
        start.wait()
        assert max(each.result() for each in visits) < 1.0


def test_a_request_and_fin_sent_before_the_upstream_is_dialled_lose_nothing(relay, upstream):
    client = relay.connect()
    client.sendall(b"a request")
    client.half_close()
    gateway = upstream.accept()
    assert gateway.read_to_end() == b"a request"
    gateway.sendall(b"an answer")
    gateway.close()
    assert client.read_to_end() == b"an answer"


EARLY_CLIENTS = 400


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["raw", "ib"])
def test_first_bytes_are_never_lost_at_any_moment_of_the_dial(protocol):
    """400 clients, first write 0 to 3 ms after connect: some hit every step from accept to the open connection."""
    hello = b"API\0\0\0\0\x09v100..187"
    with RelayProcess(free_port(), protocol=protocol) as process:

        def visit(number: int) -> bool:
            request = hello + b"%08d" % number
            with Peer.dial((process.host, process.port)) as client:
                deadline = time.perf_counter() + (number % 31) / 10_000
                while time.perf_counter() < deadline:
                    pass  # a sleep would be rounded up to where the race is over
                client.sendall(request)
                client.half_close()
                return client.read_to_end() == reply(request)

        def reply(request: bytes) -> bytes:
            answer = b"176\0" + request.hex().encode() + b"\0"  # a server hello that shows all that arrived
            return struct.pack(">I", len(answer)) + answer

        def answer(gateway: Peer) -> None:
            gateway.sendall(reply(gateway.read_to_end()))

        with Upstream(process.upstream_port).serve(answer), ThreadPoolExecutor(8) as crowd:
            lost = EARLY_CLIENTS - sum(crowd.map(visit, range(EARLY_CLIENTS)))
            assert lost == 0
        wait_until(lambda: len(process.records(CLOSE)) == EARLY_CLIENTS, "a record of each client")
        assert {one["ib_relay.bytes.up"] for one in process.records(CLOSE)} == {len(hello) + 8}
