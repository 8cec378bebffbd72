"""What the log says about a connection, and that the log can never stop the relay."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess

import pytest

from tests.relay.kit.blackbox import CLOSE, LINUX, OPEN, PROGRESS, RelayProcess, linux_only
from tests.relay.kit.scripted import KIB, LOOPBACK, MIB, Peer, Upstream, digest_of, echo, noise

# -- what it says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("up", "down"), [(0, 0), (1, 0), (0, 1), (12_347, 543_210), (3 * MIB + 1, 5)])
def test_a_finished_connection_leaves_a_record_with_the_exact_byte_counts(relay, upstream, up, down):
    client, gateway = relay.session(upstream)
    client.pour(noise(up))
    gateway.pour(noise(down))
    assert (len(gateway.read_to_end()), len(client.read_to_end())) == (up, down)
    record = relay.end_of(client)
    assert (record["ib_relay.bytes.up"], record["ib_relay.bytes.down"]) == (up, down)


def test_the_record_says_who_came_when_where_from_and_where_to(relay, upstream):
    client, gateway = relay.session(upstream)
    client.sendall(b"ping")
    gateway.sendall(gateway.read_exactly(4))
    client.read_exactly(4)
    client.close()
    gateway.close()
    record = relay.end_of(client)
    seen = {name: record[name] for name in ("client.address", "client.port", "server.address", "server.port")}
    assert seen == {
        "client.address": LOOPBACK,
        "client.port": client.port,
        "server.address": LOOPBACK,
        "server.port": upstream.port,
    }
    assert record["network.local.port"] == relay.port
    assert (record["network.peer.address"], record["network.peer.port"]) == (LOOPBACK, upstream.port)
    assert 0 <= record["connect_s"] <= record["duration_s"] < 10
    assert 0 <= record["first_byte_up_s"] <= record["first_byte_down_s"] <= record["duration_s"]


def test_a_live_connection_shows_in_the_log_while_it_is_open(relay, upstream):
    client, _ = relay.session(upstream)
    connection = relay.record(OPEN, client)["connection.id"]
    assert not relay.records(CLOSE, **{"connection.id": connection})


@pytest.mark.slow
def test_a_live_connection_reports_its_bytes_every_log_interval_as_they_pass():
    with Upstream() as upstream, RelayProcess(upstream.port, log_interval=0.2) as relay:
        client, gateway = relay.session(upstream)
        for number in range(3):
            client.sendall(b"12345")
            gateway.read_exactly(5)
            passed = {"ib_relay.bytes.up": 5 * (number + 1)}
            assert relay.record(PROGRESS, client, **passed)["ib_relay.bytes.down"] == 0


def test_all_records_of_a_connection_carry_its_one_id(relay, upstream):
    client, gateway = relay.session(upstream)
    other, other_gateway = relay.session(upstream)
    for peer in (client, gateway, other, other_gateway):
        peer.close()
    ids = [{relay.record(event, one)["connection.id"] for event in (OPEN, CLOSE)} for one in (client, other)]
    assert [len(each) for each in ids] == [1, 1]
    assert ids[0] != ids[1]


def test_a_refused_dial_leaves_a_record_that_names_the_cause_and_the_upstream(relay):
    client = relay.connect()
    assert client.ending() == "rst"
    record = relay.end_of(client)
    assert (record["end.reason"], record["error.type"]) == ("connection_refused", "ECONNREFUSED")
    assert (record["server.address"], record["server.port"]) == (LOOPBACK, relay.upstream_port)
    assert f"{LOOPBACK}:{relay.upstream_port}" in record["end.detail"]


def client_closes(client: Peer, gateway: Peer) -> None:
    client.close()
    gateway.ending()
    gateway.close()


def upstream_closes(client: Peer, gateway: Peer) -> None:
    gateway.close()
    client.ending()
    client.close()


ENDS = [
    (client_closes, ("client", "fin", "client_closed", None)),
    (upstream_closes, ("upstream", "fin", "upstream_closed", None)),
    (lambda client, gateway: client.reset(), ("client", "rst", "client_reset", "ECONNRESET")),
    (lambda client, gateway: gateway.reset(), ("upstream", "rst", "upstream_reset", "ECONNRESET")),
]


@pytest.mark.parametrize(("end", "expected"), ENDS, ids=[row[1][2] for row in ENDS])
def test_the_record_tells_the_four_ways_a_session_ends_apart(relay, upstream, end, expected):
    client, gateway = relay.session(upstream)
    end(client, gateway)
    record = relay.end_of(client)
    assert (record["end.by"], record["end.how"], record["end.reason"], record.get("error.type")) == expected


def test_every_line_is_one_json_object_with_a_time_and_an_event_name(relay, upstream):
    client, _ = relay.session(upstream)
    client.reset()
    relay.end_of(client)
    for line in relay.lines:
        record = json.loads(line)
        assert {"timestamp", "severity_text", "event.name"} <= record.keys()
        assert record["event.name"].startswith("ib_relay.")


# -- that it cannot stop the relay ----------------------------------------------------------------------------------


@contextlib.contextmanager
def stuck_pipe():
    """A pipe that nobody reads, as small as the system allows: (read end, write end)."""
    reading, writing = os.pipe()
    if LINUX:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield reading, writing
    finally:
        for descriptor in (reading, writing):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def visit_many(relay: RelayProcess, visits: int) -> None:
    for _ in range(visits):
        with relay.connect() as client:
            client.sendall(b"ping")
            assert client.read_exactly(4) == b"ping"


@pytest.mark.slow
def test_a_full_pipe_that_nobody_reads_does_not_stop_forwarding_nor_the_end():
    with Upstream() as upstream, stuck_pipe() as (_, writing), RelayProcess(upstream.port, stdout=writing) as relay:
        upstream.serve(echo)
        live = relay.connect()
        visit_many(relay, 100)  # some 100 KiB of log, 25 times the pipe
        live.sendall(b"ping")
        assert live.read_exactly(4) == b"ping"
        live.close()
        assert relay.is_idle()
        relay.signal(signal.SIGTERM)
        assert relay.ends(within=5) == 0


@pytest.mark.slow
def test_a_broken_pipe_does_not_stop_forwarding():
    with (
        Upstream() as upstream,
        stuck_pipe() as (reading, writing),
        RelayProcess(upstream.port, stdout=writing) as relay,
    ):
        upstream.serve(echo)
        live = relay.connect()
        os.close(reading)
        os.close(writing)  # ours; the relay's copy now has no reader
        visit_many(relay, 20)
        live.sendall(b"ping")
        assert live.read_exactly(4) == b"ping"
        relay.signal(signal.SIGTERM)
        live.close()
        assert relay.ends(within=5) == 0


@linux_only
@pytest.mark.slow
def test_a_full_disk_does_not_stop_forwarding():
    with Upstream() as upstream, open("/dev/full", "wb") as full, RelayProcess(upstream.port, stdout=full) as relay:
        upstream.serve(echo)
        visit_many(relay, 20)
        relay.signal(signal.SIGTERM)
        assert relay.ends(within=5) == 0


@pytest.mark.slow
def test_a_closed_standard_output_does_not_put_log_lines_into_a_session():
    """Started with descriptor 1 closed, the first socket of a careless process becomes its standard output."""
    closed = 'exec "$@" >&-'
    with Upstream() as upstream, RelayProcess(upstream.port, through=closed, stdout=subprocess.DEVNULL) as relay:
        client, gateway = relay.session(upstream)
        client.pour(noise(KIB))
        assert gateway.digest_to_end() == digest_of(noise(KIB), KIB)
        gateway.close()
        assert client.read_to_end() == b""
