"""Signals, drains, ports: how the process behaves towards the one who runs it."""

import contextlib
import signal
import socket
import subprocess
import time

import pytest

from tests.relay.kit.blackbox import LISTENING, ROOT, RelayProcess
from tests.relay.kit.scripted import KIB, LOOPBACK, BlackHole, Peer, Upstream, free_port, noise, wait_until

pytestmark = pytest.mark.slow  # each starts a relay of its own, and ends it


def can_listen(port: int) -> bool:
    """Whether the port is free for the next relay, which sets SO_REUSEADDR like this one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_told_to_go_without_connections_the_relay_is_gone_and_its_port_free_at_once(number):
    with RelayProcess(free_port()) as relay:
        relay.signal(number)
        assert relay.ends(within=5) == 0
        assert can_listen(relay.port)


def test_sigint_ends_the_relay_also_with_a_live_session():
    with Upstream() as upstream, RelayProcess(upstream.port) as relay:
        client, gateway = relay.session(upstream)
        relay.signal(signal.SIGINT)
        assert relay.ends(within=5) == 0
        assert (client.ending(within=1), gateway.ending(within=1)) != ("open", "open")


def test_sigterm_refuses_new_clients_at_once_keeps_the_live_session_for_the_drain_and_tells_both_peers():
    with Upstream() as upstream, RelayProcess(upstream.port, drain_timeout=1.5) as relay:
        client, gateway = relay.session(upstream)
        relay.signal(signal.SIGTERM)
        told_at = time.monotonic()
        wait_until(lambda: is_refused(relay), "new clients are refused", within=1)
        client.sendall(b"one more order")
        assert gateway.read_exactly(14) == b"one more order"
        gateway.sendall(b"filled")
        assert client.read_exactly(6) == b"filled"
        assert client.stays_quiet(max(0, told_at + 1.0 - time.monotonic())), "the drain was cut short"
        assert relay.ends(within=3) == 0
        assert client.ending(within=1) != "open"
        assert gateway.ending(within=1) != "open"


def is_refused(relay: RelayProcess) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        Peer.dial((relay.host, relay.port)).reset()  # leaves nothing for the drain to wait for
        return False
    return True


def test_a_drain_ends_with_its_last_session():
    with Upstream() as upstream, RelayProcess(upstream.port, drain_timeout=60) as relay:
        client, gateway = relay.session(upstream)
        relay.signal(signal.SIGTERM)
        wait_until(lambda: is_refused(relay), "the drain has begun")
        client.close()
        assert gateway.ending() == "fin"
        gateway.close()
        assert relay.ends(within=2) == 0


def test_a_session_whose_peer_does_not_read_cannot_block_the_drain():
    with Upstream() as upstream, RelayProcess(upstream.port, drain_timeout=0.5) as relay:
        _, gateway = relay.session(upstream)
        gateway.send_until_stalled(noise(64 * KIB))
        relay.signal(signal.SIGTERM)
        assert relay.ends(within=3) == 0


def test_a_dial_that_hangs_cannot_block_the_drain():
    with BlackHole() as hole, RelayProcess(hole.port, drain_timeout=0.5, connect_timeout=60) as relay:
        relay.connect()
        wait_until(lambda: relay.sockets() == 2, "the dial is under way")
        relay.signal(signal.SIGTERM)
        assert relay.ends(within=3) == 0


def test_a_second_sigterm_ends_a_drain_at_once():
    with Upstream() as upstream, RelayProcess(upstream.port, drain_timeout=60) as relay:
        client, _ = relay.session(upstream)
        relay.signal(signal.SIGTERM)
        wait_until(lambda: is_refused(relay), "the drain has begun")
        assert client.stays_quiet(0.3)
        relay.signal(signal.SIGTERM)
        assert relay.ends(within=2) == 0


def test_sighup_reloads_the_configuration_and_leaves_a_live_session_alone():
    with Upstream() as old, Upstream() as new, RelayProcess(old.port, connect_timeout=5) as relay:
        client, gateway = relay.session(old)
        relay.upstream = f"{LOOPBACK}:{new.port}"
        relay.write_configuration()
        relay.signal(signal.SIGHUP)
        assert relay.record("ib_relay.reload")["ok"] is True
        client.sendall(b"still here")
        assert gateway.read_exactly(10) == b"still here"
        later, later_gateway = relay.session(new)
        later.sendall(b"hello")
        assert later_gateway.read_exactly(5) == b"hello"


def test_sighup_with_a_wrong_configuration_keeps_the_old_one_and_says_so():
    with Upstream() as upstream, RelayProcess(upstream.port, connect_timeout=5) as relay:
        client, gateway = relay.session(upstream)
        relay.config_file.write_text("[[map]]\nlisten = 'nowhere'\n")
        relay.signal(signal.SIGHUP)
        refusal = relay.record("ib_relay.reload")
        assert refusal["ok"] is False and "nowhere" in refusal["message"]
        client.sendall(b"still here")
        assert gateway.read_exactly(10) == b"still here"
        relay.session(upstream)


def test_after_a_kill_with_live_sessions_the_port_can_be_listened_on_again_at_once():
    with Upstream() as upstream, RelayProcess(upstream.port) as killed:
        client, gateway = killed.session(upstream)
        client.sendall(b"ping")
        gateway.read_exactly(4)
        killed.signal(signal.SIGKILL)
        killed.process.wait(5)
        with RelayProcess(upstream.port, port=killed.port) as relay:
            relay.session(upstream)


def test_a_second_relay_on_a_taken_port_fails_loudly_and_names_the_address():
    with RelayProcess(free_port()) as relay:
        second = subprocess.run(relay.command(), cwd=ROOT, capture_output=True, text=True, timeout=5, check=False)
        assert second.returncode == 69
        assert second.stderr.count("\n") == 1
        assert f"{LOOPBACK}:{relay.port}" in second.stderr
        assert relay.process.poll() is None


def test_a_relay_told_to_listen_on_loopback_is_not_reachable_at_another_address_of_the_host(own_addresses):
    with RelayProcess(free_port()) as relay:
        for address in own_addresses:
            with pytest.raises(ConnectionRefusedError):
                Peer.dial((address, relay.port))


def test_by_default_no_address_but_loopback_and_container_bridges_is_listened_on(own_addresses):
    port = free_port()
    with RelayProcess(free_port(), listen=f"auto:{port}", port=port) as relay:
        relay.connect().close()
        places = {one["network.local.address"] for one in relay.records(LISTENING)}
        assert LOOPBACK in places
        assert not places & {"0.0.0.0", "::"}


@pytest.fixture
def own_addresses() -> list[str]:
    """Addresses of this host that are not 127.0.0.1; Linux answers on all of 127.0.0.0/8, so there is always one."""
    addresses = ["127.0.0.2"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing: asks which address a packet would leave from
        addresses.append(probe.getsockname()[0])
    usable = [one for one in addresses if one != LOOPBACK and is_own(one)]
    if not usable:
        pytest.skip("this host has no address beside 127.0.0.1")
    return usable


def is_own(address: str) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind((address, 0))
        return True
    return False
