"""Minutes and gigabytes: what is too long for every run.

Its own command, 2 to 3 minutes: `python -X dev -W error -m pytest tests/soak -m soak`.
"""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.relay.kit.blackbox import RelayProcess
from tests.relay.kit.scripted import (
    KIB,
    LOOPBACK,
    MIB,
    BlackHole,
    Peer,
    Upstream,
    digest_of,
    echo,
    free_port,
    noise,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.soak]

GIB = 1024 * MIB
STONES = noise(2 * MIB)


def send_gigabyte(peer: Peer) -> str:
    """A GiB of which no two MiB are alike, then EOF; its SHA-256."""
    digest, view = hashlib.sha256(), memoryview(STONES)
    for number in range(GIB // MIB):
        start = number * 1021 % MIB
        piece = view[start : start + MIB]
        digest.update(piece)
        peer.sendall(piece)
    peer.half_close()
    return digest.hexdigest()


def read_slowly(peer: Peer) -> tuple[int, str]:
    """Everything up to EOF, with a rest of 0.2 s after every 64 MiB: enough for every buffer on the way to fill."""
    digest, size, buffer, rested = hashlib.sha256(), 0, bytearray(MIB), 0
    while got := peer.recv_into(buffer):
        digest.update(memoryview(buffer)[:got])
        size += got
        if size - rested > 64 * MIB:
            rested = size
            time.sleep(0.2)  # the reader's slowness is what is tested
    return size, digest.hexdigest()


@pytest.mark.parametrize("protocol", ["raw", "ib"])
def test_a_gibibyte_each_way_past_slow_readers_arrives_byte_for_byte(protocol):
    """The same bytes, whatever a receive buffer that is used again, or a view that is kept, could have done to them."""
    hello, answer = b"API\0\0\0\0\x09v100..187", b"\0\0\0\x06176\0x\0"
    with Upstream() as server, RelayProcess(server.port, protocol=protocol) as relay, ThreadPoolExecutor(4) as work:
        client = relay.connect()
        client.sendall(hello)
        gateway = server.accept()
        assert gateway.read_exactly(len(hello)) == hello
        gateway.sendall(answer)
        assert client.read_exactly(len(answer)) == answer
        before = relay.memory()
        sent = [work.submit(send_gigabyte, peer) for peer in (client, gateway)]
        read = [work.submit(read_slowly, peer) for peer in (gateway, client)]
        assert [one.result() for one in read] == [(GIB, one.result()) for one in sent]
        assert relay.memory() - before < 32 * MIB
        record = relay.end_of(client)
        assert record["ib_relay.bytes.up"] == GIB + len(hello)
        assert record["ib_relay.bytes.down"] == GIB + len(answer)


STALL = 65.0  # seconds; twice TCP_USER_TIMEOUT, which Linux also applies to a peer that lives but does not read


def test_readers_that_stop_for_longer_than_the_user_timeout_still_get_every_byte(relay, upstream):
    """One client and one upstream that read nothing for 65 s, at the same time; an idle session beside them."""
    block = noise(256 * KIB)
    client, pouring = relay.session(upstream)
    pouring_client, gateway = relay.session(upstream)
    idle, idle_gateway = relay.session(upstream)
    down, up = pouring.send_until_stalled(block), pouring_client.send_until_stalled(block)
    cpu = relay.cpu_seconds()
    assert idle.stays_quiet(STALL)
    assert relay.cpu_seconds() - cpu < 0.02 * STALL
    with ThreadPoolExecutor(2) as readers:
        read_down, read_up = readers.submit(client.digest_to_end), readers.submit(gateway.digest_to_end)
        pouring.half_close()
        pouring_client.half_close()
        assert read_down.result() == digest_of(block, down)
        assert read_up.result() == digest_of(block, up)
    idle.sendall(b"still here")
    assert idle_gateway.read_exactly(10) == b"still here"


def test_the_default_connect_bound_is_five_seconds():
    with BlackHole() as hole, RelayProcess(hole.port) as relay:
        before = time.monotonic()
        assert relay.connect().ending() == "rst"
        assert 4.5 < time.monotonic() - before < 6.5


def test_the_default_bound_of_the_first_bytes_is_ten_seconds():
    with RelayProcess(free_port(), protocol="ib") as relay:
        before = time.monotonic()
        assert relay.connect().ending(within=15) != "open"
        assert 9.5 < time.monotonic() - before < 11.5


def test_the_default_drain_is_ten_seconds():
    with Upstream() as server, RelayProcess(server.port) as relay:
        relay.session(server)
        before = time.monotonic()
        relay.signal(15)
        assert relay.ends(within=13) == 0
        assert time.monotonic() - before > 9.5


def test_ten_thousand_short_connections_leave_no_memory_behind(relay, upstream):
    upstream.serve(echo)

    def visit(_: int) -> None:
        with Peer.dial((LOOPBACK, relay.port)) as client:
            client.sendall(b"ping")
            assert client.read_exactly(4) == b"ping"

    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(visit, range(1000)))
        assert relay.is_idle()
        memory, descriptors = relay.memory(), relay.descriptors()
        list(crowd.map(visit, range(9000)))
    assert relay.is_idle()
    wait_until(lambda: relay.descriptors() <= descriptors, "no descriptor is left behind")
    assert relay.memory() - memory < MIB
