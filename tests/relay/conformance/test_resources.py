"""Nothing is left behind, nothing is wasted, and running out of something is survived.

What idle connections cost stands in test_conformance_waiting.py.
"""

import psutil
import pytest

from tests.relay.kit.blackbox import RelayProcess, linux_only
from tests.relay.kit.scripted import Upstream, echo, wait_until

KEEP_ALIVE_TIMER = "02"  # column "tr" of /proc/net/tcp; its length follows in 1/100 s


def ping(client) -> None:
    client.sendall(b"ping")
    assert client.read_exactly(4) == b"ping"


@pytest.mark.slow
def test_300_short_connections_leave_no_socket_process_or_memory_behind(relay, upstream):
    upstream.serve(echo)
    ping(relay.connect())
    relay.close_clients()
    assert relay.is_idle()
    descriptors, memory = relay.descriptors(), relay.memory()
    for _ in range(300):
        with relay.connect() as client:
            ping(client)
    assert relay.is_idle()
    wait_until(lambda: relay.descriptors() <= descriptors, "no descriptor is left behind")
    assert relay.memory() - memory < 4 * 1024 * 1024


@pytest.mark.slow
def test_200_port_probes_leave_nothing_behind_and_each_is_dialled_in_raw_mode(relay, upstream):
    """Raw mode cannot tell a probe from a client that waits for its server to speak."""
    upstream.serve(echo)
    descriptors = relay.descriptors()
    for _ in range(200):
        relay.connect().close()
    wait_until(lambda: len(upstream.accepted) == 200, "each probe is dialled")
    assert relay.is_idle()
    wait_until(lambda: relay.descriptors() <= descriptors, "no descriptor is left behind")


@pytest.mark.slow
def test_started_with_few_descriptors_the_relay_lets_in_what_fits_and_serves_again_when_clients_leave():
    with Upstream() as upstream, RelayProcess(upstream.port, through='ulimit -n 60; exec "$@"') as relay:
        upstream.serve(echo)
        live = relay.connect()
        ping(live)
        crowd = [relay.connect() for _ in range(40)]
        wait_until(lambda: relay.sockets() >= 10, "the crowd is let in as far as there is room")
        assert spins_not(relay, live)
        ping(live)
        for client in crowd:
            client.close()
        wait_until(lambda: relay.sockets() == 2, "the crowd is gone")
        ping(relay.connect())
        ping(live)


@linux_only
@pytest.mark.slow
def test_out_of_descriptors_the_relay_lives_does_not_spin_and_serves_again_when_clients_leave():
    """The limit is lowered behind the relay's back: no bookkeeping of its own protects it now."""
    with Upstream() as upstream, RelayProcess(upstream.port) as relay:
        upstream.serve(echo)
        live = relay.connect()
        ping(live)
        limit = relay.descriptors() + 9
        relay.tree.rlimit(psutil.RLIMIT_NOFILE, (limit, limit))
        crowd = [relay.connect() for _ in range(40)]
        wait_until(lambda: relay.descriptors() >= limit - 1, "the last descriptor is taken")
        assert spins_not(relay, live)
        ping(live)
        for client in crowd:
            client.close()
        wait_until(lambda: relay.sockets() == 2, "the crowd is gone")
        ping(relay.connect())
        ping(live)


def spins_not(relay, live) -> bool:
    """A level-triggered listener that nobody can accept from costs a whole core when it is not put aside."""
    before = relay.cpu_seconds()
    assert live.stays_quiet(1.0)
    return relay.cpu_seconds() - before < 0.1


@linux_only
def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one():
    with (
        Upstream() as upstream,
        RelayProcess(upstream.port, through='ulimit -Sn 64; ulimit -Hn 2048; exec "$@"') as relay,
    ):
        assert relay.tree.rlimit(psutil.RLIMIT_NOFILE) == (2048, 2048)


@linux_only
def test_both_legs_carry_a_keep_alive_timer_that_fires_within_ten_minutes(relay, upstream):
    client, gateway = relay.session(upstream)
    client_leg = (relay.port, client.port)
    gateway_leg = (gateway.getpeername()[1], gateway.port)
    timers = wait_until(lambda: len(found := keep_alive_timers({client_leg, gateway_leg})) == 2 and found, "two timers")
    assert all(0 < seconds < 600 for seconds in timers), timers


def keep_alive_timers(legs: set[tuple[int, int]]) -> list[float]:
    """Seconds until the keep-alive timer fires, of the sockets with these local and remote ports."""
    found = []
    with open("/proc/net/tcp", encoding="ascii") as table:
        for _, local, remote, _, _, timer, *_ in map(str.split, list(table)[1:]):
            ports = tuple(int(address.partition(":")[2], 16) for address in (local, remote))
            kind, _, ticks = timer.partition(":")
            if ports in legs and kind == KEEP_ALIVE_TIMER:
                found.append(int(ticks, 16) / 100)
    return found
