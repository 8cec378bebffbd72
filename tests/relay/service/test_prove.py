"""The proof at the end of an installation: every way a relay and the gateway behind it can be, with real ones."""

import contextlib
import errno
import os
import select
import socket
import subprocess
import sys

import pytest

from relay.config.addresses import Upstream
from relay.config.keys import Protocol
from relay.config.load import PortMap
from relay.service import owner
from relay.service.prove import Proof, not_taken_by, prove
from tests.relay.kit.blackbox import CLOSE, ROOT, RelayProcess
from tests.relay.kit.scripted import LOOPBACK, free_port, wait_until

pytestmark = pytest.mark.slow  # every case starts processes


@contextlib.contextmanager
def practice(behaviour: str):
    port = free_port()
    command = [sys.executable, "-m", "relay", "practice", "--listen", f"{LOOPBACK}:{port}", "--behaviour", behaviour]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: not _refused(port), "the practice gateway listens")
            yield port
        finally:
            process.terminate()


def _refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((LOOPBACK, port)) != 0


def proof(relay: RelayProcess) -> Proof:
    port_map = PortMap(upstream=Upstream(LOOPBACK, relay.upstream_port), protocol=relay.protocol)
    return prove(port_map, relay.host, relay.port)


def test_relay_and_gateway_answer():
    with practice("normal") as port, RelayProcess(port, protocol="ib") as relay:
        found = proof(relay)
    assert (found.relay, found.gateway) == (True, True)
    assert f"the relay answers on {LOOPBACK}:{relay.port}, the gateway {LOOPBACK}:{port} answers (" in found.message
    assert found.message.endswith(" ms): server version at least 176 (we ask for no more)")


def test_the_gateway_is_not_there():
    with RelayProcess(free_port(), protocol="ib") as relay:
        found = proof(relay)
        ends = [relay.record(CLOSE)["severity_text"], *(line["severity_text"] for line in relay.records(CLOSE))]
    assert (found.relay, found.gateway) == (True, False)
    assert "connection refused, nothing listens there" in found.message
    assert set(ends) == {"INFO"}, "no warning of a client that there never was"


@pytest.mark.parametrize(
    "behaviour, words",
    [
        ("http", "what answers is no gateway: server hello: first bytes are HTTP, not an IB hello"),
        ("redirect=gate.example:4001", "the connection was redirected to gate.example:4001"),
    ],
)
def test_what_answers_is_another_service_or_sends_us_elsewhere(behaviour, words):
    with practice(behaviour) as port, RelayProcess(port, protocol="ib") as relay:
        found = proof(relay)
    assert (found.relay, found.gateway) == (True, False)
    assert words in found.message


def test_the_gateway_is_silent(monkeypatch):
    monkeypatch.setattr("relay.service.prove.HELLO_TIMEOUT", 0.5)
    with practice("silent") as port, RelayProcess(port, protocol="ib") as relay:
        found = proof(relay)
    assert (found.relay, found.gateway) == (True, False)
    assert "takes connections but says nothing" in found.message


@pytest.mark.parametrize("there, words", [(True, " answers"), (False, "does not: connection refused")])
def test_a_raw_map_is_only_dialled(there, words):
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1] if there else free_port()
        with RelayProcess(port) as relay:
            found = proof(relay)
    assert (found.relay, found.gateway) == (True, there) and words in found.message


def test_a_raw_map_that_resets_before_it_is_looked_at_has_answered(monkeypatch):
    """A client that is slow to look finds the reset where it expects the connection."""

    def look_late(address, timeout):
        sock = socket.socket()
        sock.setblocking(False)
        if sock.connect_ex(address) != errno.ECONNREFUSED:
            waiting = select.poll()
            waiting.register(sock, 0)  # only for what is reported unasked
            waiting.poll(timeout * 1000)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        sock.close()
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(socket, "create_connection", look_late)
    with RelayProcess(free_port()) as relay:
        found = proof(relay)
    assert (found.relay, found.gateway) == (True, False) and "does not: connection refused" in found.message


def test_a_port_that_nobody_serves_is_no_relay(monkeypatch):
    """As systemd holds it open: the kernel takes the connection, nobody answers."""
    monkeypatch.setattr("relay.service.prove.HELLO_TIMEOUT", 0.3)
    monkeypatch.setattr("relay.service.prove.DIAL_TIMEOUT", 0.3)
    with socket.create_server((LOOPBACK, 0)) as server:
        found = prove(PortMap(upstream=Upstream(LOOPBACK, free_port())), *server.getsockname())
    assert (found.relay, found.gateway) == (False, None) and "nothing answers" in found.message


@pytest.mark.skipif(not owner.CAN_LOOK, reason="elsewhere it cannot be seen")
def test_a_raw_map_that_nobody_serves_is_no_relay(monkeypatch):
    monkeypatch.setattr("relay.service.prove.TAKEN", 0.3)
    with socket.create_server((LOOPBACK, 0)) as server:
        found = prove(PortMap(upstream=Upstream(LOOPBACK, free_port()), protocol=Protocol.RAW), *server.getsockname())
    assert (found.relay, found.gateway) == (False, None) and "no process has accepted the connection" in found.message


@pytest.mark.skipif(not owner.CAN_LOOK, reason="elsewhere it cannot be seen")
def test_it_is_seen_which_process_takes_the_connections(monkeypatch):
    monkeypatch.setattr("relay.service.prove.TAKEN", 0.3)
    with RelayProcess(free_port(), protocol="ib") as relay:
        assert not_taken_by(relay.process.pid, relay.host, relay.port) == ""
        expected = f"it was accepted by another process; expected process {os.getpid()} of the service"
        assert not_taken_by(os.getpid(), relay.host, relay.port).endswith(expected)
    with socket.create_server((LOOPBACK, 0)) as server:
        assert "no process has accepted" in not_taken_by(os.getpid(), *server.getsockname())
    assert "connection refused" in not_taken_by(os.getpid(), LOOPBACK, free_port())


def test_a_closed_port_is_no_relay():
    found = prove(PortMap(), LOOPBACK, free_port())
    assert (found.relay, found.gateway) == (False, None) and "does not answer: connection refused" in found.message


def test_a_relay_that_has_closed_it_again_has_taken_it_all_the_same():
    """Behind a gateway that is down a raw map ends it at once, perhaps between two looks of ours."""
    with RelayProcess(free_port()) as relay:
        assert {not_taken_by(relay.process.pid, relay.host, relay.port) for _ in range(100)} == {""}
