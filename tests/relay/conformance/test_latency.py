"""How the relay waits is never seen in what it does: the same bytes, time bounds and ends with every `latency`."""

import random
import signal
import time

import pytest

from tests.relay.kit.blackbox import RelayProcess, linux_only
from tests.relay.kit.scripted import PATIENCE, Upstream, wait_until

WAYS = ["adaptive", "always", "off"]


@pytest.mark.parametrize("latency", WAYS)
def test_exchanges_of_every_size_and_pace_arrive_unchanged(latency):
    chance = random.Random(11)
    with Upstream() as upstream, RelayProcess(upstream.port, latency=latency) as relay:
        client, gateway = relay.session(upstream)
        for number in range(300):
            there, back = chance.randbytes(chance.randint(1, 3000)), chance.randbytes(chance.randint(1, 3000))
            client.sendall(there)
            assert gateway.read_exactly(len(there)) == there
            gateway.sendall(back)
            assert client.read_exactly(len(back)) == back
            if number % 30 == 0:
                time.sleep(chance.uniform(0, 0.01))


@pytest.mark.parametrize("latency", WAYS)
def test_time_bounds_and_signals_are_kept_between_bytes(latency):
    with Upstream() as upstream, RelayProcess(upstream.port, latency=latency, idle_timeout=0.3) as relay:
        client, _ = relay.session(upstream)
        client.send(b"last words")
        assert relay.end_of(client)["end.reason"] == "idle_timeout"
        relay.signal(signal.SIGTERM)
        assert relay.ends(PATIENCE) == 0


@linux_only
def test_always_takes_a_core_and_a_reload_gives_it_back():
    with Upstream() as upstream, RelayProcess(upstream.port, latency="always") as relay:
        client, gateway = relay.session(upstream)
        client.send(b"x")
        gateway.read_exactly(1)
        before = relay.cpu_seconds()
        wait_until(lambda: relay.cpu_seconds() - before > 0.3, "it does not sleep")
        relay.write_configuration(latency="adaptive")
        relay.signal(signal.SIGHUP)
        wait_until(lambda: relay.records("ib_relay.reload"), "the reload is logged")
        before = relay.cpu_seconds()
        time.sleep(1)
        assert relay.cpu_seconds() - before < 0.1, "an idle session costs nothing"
        client.send(b"y")
        assert gateway.read_exactly(1) == b"y"
