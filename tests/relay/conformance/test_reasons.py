"""Every word the log may give as the reason of an end is reached from outside, by the trouble it stands for.

Two words are missing here: client_dead and upstream_dead take a host that vanishes (tests/host/test_vanish.py).
"""

import contextlib
import os
import signal
from collections.abc import Callable

import psutil
import pytest

from tests.relay.kit.blackbox import LINUX, RelayProcess
from tests.relay.kit.scripted import KIB, BlackHole, Peer, Upstream, free_port, noise, wait_until

pytestmark = pytest.mark.slow  # each starts a relay with settings of its own

Ended = tuple[RelayProcess, Peer]
HELLO = b"API\0\0\0\0\x09v100..187"


@contextlib.contextmanager
def session(protocol: str = "raw", **settings):
    """A relay and one open connection through it: (relay, client, gateway)."""
    with Upstream() as upstream, RelayProcess(upstream.port, protocol=protocol, **settings) as relay:
        client = relay.connect()
        if protocol == "ib":
            client.sendall(HELLO)
        yield relay, client, upstream.accept()


@contextlib.contextmanager
def client_closes():
    with session() as (relay, client, gateway):
        client.close()
        gateway.ending()
        gateway.close()
        yield relay, client


@contextlib.contextmanager
def upstream_closes():
    with session() as (relay, client, gateway):
        gateway.close()
        client.ending()
        client.close()
        yield relay, client


@contextlib.contextmanager
def client_resets():
    with session() as (relay, client, _):
        client.reset()
        yield relay, client


@contextlib.contextmanager
def upstream_resets():
    with session() as (relay, client, gateway):
        gateway.reset()
        yield relay, client


@contextlib.contextmanager
def client_leaves_during_the_dial():
    with BlackHole() as hole, RelayProcess(hole.port) as relay:
        client = relay.connect()
        wait_until(lambda: relay.sockets() == 2, "the dial is under way")
        client.reset()
        yield relay, client


@contextlib.contextmanager
def client_leaves_after_its_hello():
    with session(protocol="ib") as (relay, client, _):
        client.reset()
        yield relay, client


@contextlib.contextmanager
def nothing_listens():
    with RelayProcess(free_port()) as relay:
        yield relay, relay.connect()


@contextlib.contextmanager
def nobody_answers():
    with BlackHole() as hole, RelayProcess(hole.port, connect_timeout=0.3) as relay:
        yield relay, relay.connect()


@contextlib.contextmanager
def no_route():
    with RelayProcess("255.255.255.255:4002") as relay:  # TCP to the broadcast address: refused by the kernel itself
        yield relay, relay.connect()


@contextlib.contextmanager
def no_such_name():
    with RelayProcess("no-such-host.invalid:4002", connect_timeout=60) as relay:  # RFC 2606: will never exist
        yield relay, relay.connect()


@contextlib.contextmanager
def upstream_that_is_the_relay():
    port = free_port()
    with RelayProcess(f"0x7f000001:{port}", port=port, protocol="ib") as relay:  # a name of 127.0.0.1 without DNS
        client = relay.connect()
        client.sendall(HELLO)
        yield relay, client


@contextlib.contextmanager
def silent_client():
    with RelayProcess(free_port(), protocol="ib", first_bytes_timeout=0.3) as relay:
        yield relay, relay.connect()


@contextlib.contextmanager
def browser():
    with RelayProcess(free_port(), protocol="ib") as relay:
        client = relay.connect()
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield relay, client


@contextlib.contextmanager
def one_too_many():
    with session(max_connections=1) as (relay, _, _):
        yield relay, relay.connect()


@contextlib.contextmanager
def one_too_many_from_there():
    with session(max_per_source=1) as (relay, _, _):
        yield relay, relay.connect()


@contextlib.contextmanager
def stranger():
    with RelayProcess(free_port(), allow="192.0.2.0/24") as relay:
        yield relay, relay.connect()


@contextlib.contextmanager
def silence():
    with session(idle_timeout=0.3) as (relay, client, _):
        yield relay, client


@contextlib.contextmanager
def silence_after_half_close():
    with session(half_close_timeout=0.3) as (relay, client, _):
        client.half_close()
        yield relay, client


@contextlib.contextmanager
def receiver_that_never_reads():
    """What was read before a reset is to be delivered, and cannot be."""
    with session(flush_timeout=0.3) as (relay, client, gateway):
        gateway.send_until_stalled(noise(64 * KIB), stall=0.2)
        gateway.reset()
        yield relay, client


@contextlib.contextmanager
def receiver_that_never_reads_after_half_close():
    with session(half_close_timeout=0.5) as (relay, client, gateway):
        gateway.send_until_stalled(noise(64 * KIB), stall=0.2)
        gateway.half_close()
        client.half_close()
        yield relay, client


@contextlib.contextmanager
def stopped_relay():
    with session(drain_timeout=0.2) as (relay, client, _):
        relay.signal(signal.SIGTERM)
        yield relay, client


@contextlib.contextmanager
def no_descriptor_for_the_dial():
    if not LINUX:
        pytest.skip("needs prlimit to lower the limit of a running process")
    with RelayProcess(free_port()) as relay:
        taken = {int(name) for name in os.listdir(f"/proc/{relay.tree.pid}/fd")}
        free = [number for number in range(max(taken) + 3) if number not in taken]
        relay.tree.rlimit(psutil.RLIMIT_NOFILE, (free[1], free[1]))  # one is left: for the client
        yield relay, relay.connect()


# The reason, what happens, and what the client gets to see where that is not its own doing: a refusal must look like
# one, since a clean end would be taken for a short session.
REASONS: list[tuple[str, Callable, str | None]] = [
    ("client_closed", client_closes, None),
    ("upstream_closed", upstream_closes, None),
    ("client_reset", client_resets, None),
    ("upstream_reset", upstream_resets, "rst"),
    ("client_left_while_connecting", client_leaves_during_the_dial, None),
    ("client_left_in_handshake", client_leaves_after_its_hello, None),
    ("connection_refused", nothing_listens, "rst"),
    ("connect_timeout", nobody_answers, "rst"),
    ("unreachable", no_route, "rst"),
    ("dns_error", no_such_name, "rst"),
    ("loop_detected", upstream_that_is_the_relay, "rst"),
    ("handshake_timeout", silent_client, "fin"),
    ("not_ib", browser, "fin"),
    ("connection_limit", one_too_many, "rst"),
    ("connection_limit", one_too_many_from_there, "rst"),
    ("acl_denied", stranger, "rst"),
    ("idle_timeout", silence, "fin"),
    ("half_close_timeout", silence_after_half_close, "fin"),
    ("write_stalled", receiver_that_never_reads, "rst"),
    ("write_stalled", receiver_that_never_reads_after_half_close, "rst"),
    ("shutdown", stopped_relay, "fin"),
    ("resource_exhausted", no_descriptor_for_the_dial, "rst"),
]


@pytest.mark.parametrize(
    ("reason", "scenario", "seen"), REASONS, ids=[f"{row[0]}: {row[1].__name__}" for row in REASONS]
)
def test_the_record_names_the_reason_and_the_client_sees_an_end_of_that_kind(reason, scenario, seen):
    with scenario() as (relay, client):
        record = relay.end_of(client)
        assert record["end.reason"] == reason
        assert record["end.by"] in ("client", "upstream", "relay")
        assert record["end.how"] in ("fin", "rst", "timeout", "error", "policy")
        assert record["end.phase"] in ("connect", "handshake", "data", "half_closed", "drain")
        assert record["message"]
        if seen:
            assert client.ending() == seen
