"""A relay as it comes, and nothing wrong: the client is served from any network, and ib-diagnose finds nothing."""

import json

import pytest

from tests.docker.engine import DOCKER0, HOST_ADDRESS
from tests.docker.networks import refused

KNOCK = "/src/tests/docker/knock.py"
SLEEP = ("-c", "import time; time.sleep(600)")
HOST_GATEWAY = ("--add-host", "host.docker.internal:host-gateway")
CONFIGURED = ("IB_HOST=host.docker.internal", "IB_PORT=4003")
IPV6 = ("--ipv6", "--subnet", "fd00:7::/64", "--gateway", "fd00:7::1")
NAMED = ("--opt", "com.docker.network.bridge.name=strategies0")


@pytest.mark.parametrize(
    ("options", "environment"),
    [((), ()), ((), CONFIGURED), (IPV6, ()), (NAMED, CONFIGURED)],
    ids=["nothing configured", "host.docker.internal", "ipv6", "named bridge"],
)
def test_a_user_network(diagnose, containers, relay, options, environment):
    records = relay()
    containers.network("strategies", *options)
    run = diagnose(options=(*HOST_GATEWAY, "--network", "strategies"), environment=environment)
    assert (run.status, run.codes) == (0, []), (run, run.said["findings"])
    assert refused(records()) == []


@pytest.mark.parametrize("environment", [(), CONFIGURED], ids=["nothing configured", "host.docker.internal"])
def test_the_default_bridge(diagnose, relay, environment):
    records = relay()
    run = diagnose(options=HOST_GATEWAY, environment=environment)
    assert (run.status, run.codes) == (0, []), (run, run.said["findings"])
    assert refused(records()) == []


def test_a_pod(engine, diagnose, containers, relay):
    """Containers in the network of another one."""
    records = relay()
    pod = ("--network", f"container:{containers.start(*SLEEP)}")
    assert engine.run(KNOCK, DOCKER0, options=pod).split() == [DOCKER0, "answered"]
    run = diagnose(options=pod)
    assert (run.status, run.codes) == (0, []), (run, run.said["findings"])
    assert refused(records()) == []


@pytest.mark.parametrize("environment", [(), CONFIGURED], ids=["nothing configured", "host.docker.internal"])
def test_the_host_s_network(engine, diagnose, relay, environment):
    """From there docker0's address is dialled from the host's own: Docker's rule hides the source of what leaves it."""
    records = relay()
    options = (*HOST_GATEWAY, "--network", "host")
    said = engine.run(KNOCK, "127.0.0.1", DOCKER0, options=options)
    assert said.splitlines() == ["127.0.0.1  answered", f"{DOCKER0}  answered"]
    assert HOST_ADDRESS in {record.get("client.address") for record in records()}
    run = diagnose(options=options, environment=environment)
    assert (run.status, run.codes) == (0, []), (run, run.said["findings"])
    assert refused(records()) == []


def test_the_host_itself(engine, on_the_host, relay):
    records = relay()
    run = on_the_host()
    assert (run.status, run.codes) == (0, []), json.dumps(run.said["findings"], indent=1)
    assert refused(records()) == []
