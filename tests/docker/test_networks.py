"""`ib-relay run` beside a real engine: the first client of a network that has just been made is served."""

import contextlib
import json
import subprocess
import sys

import pytest

from tests.docker.engine import ROOT
from tests.docker.networks import first_clients
from tests.relay.kit.scripted import wait_until

ROUNDS = 50  # networks, one after the other: more than the engine has subnets, so that these come again


@pytest.fixture
def relay(host, tmp_path):
    """`ib-relay run` with its default listen, before a healthy gateway on the host's loopback."""
    host.gateway("127.0.0.1", 4002)
    log = tmp_path / "log"
    # /sys shows the interfaces of whoever mounted it: this namespace's, as on any host.
    inside = ["unshare", "--mount", "sh", "-ec", 'mount -t sysfs sysfs /sys; exec "$@"', "sh"]
    command = [*inside, sys.executable, "-m", "relay", "run", "--log-format", "json"]
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("wb"))
        process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT))
        stack.callback(process.kill)
        wait_until(lambda: b"ib_relay.listening" in log.read_bytes(), "the relay listens")
        yield lambda: [json.loads(line) for line in log.read_text().splitlines()]


def refused(records):
    return [record for record in records if record.get("end.reason") == "acl_denied"]


def test_the_first_clients_of_fifty_fresh_networks_are_served(engine, relay):
    assert first_clients(engine, ROUNDS) == []
    assert refused(relay()) == []


def test_the_first_clients_of_fresh_networks_with_ipv6_are_served(engine, relay):
    subnet = ("--ipv6", "--subnet", "fd00:7::/64", "--gateway", "fd00:7::1")
    assert first_clients(engine, 5, *subnet) == []
    assert refused(relay()) == []


def test_a_network_outside_of_the_usual_pools_is_a_container_network_like_any_other(engine, relay):
    assert first_clients(engine, 3, "--subnet", "198.18.7.0/24", "--gateway", "198.18.7.1") == []
