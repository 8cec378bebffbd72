"""A Swarm of one: its services reach the relay by docker_gwbridge, which is not there before the swarm is."""

import pytest

from tests.docker.engine import DOCKER0, HOST_ADDRESS, IMAGE, ROOT
from tests.docker.networks import gateways, refused
from tests.relay.kit.scripted import wait_until

KNOCK = ("/usr/bin/python3", "-u", "/src/tests/docker/knock.py")


@pytest.fixture
def swarm(engine, relay):
    """The relay is there first; gives what reads its records."""
    records = relay()
    engine("swarm", "init", "--advertise-addr", HOST_ADDRESS)
    try:
        wait_until(lambda: "docker_gwbridge" in engine("network", "ls"), "the swarm has its bridge")
        engine("network", "create", "--driver", "overlay", "--attachable", "strategies")
        yield records
    finally:
        engine("swarm", "leave", "--force")
        engine("network", "rm", "docker_gwbridge")


def test_a_service_and_a_container_are_served_by_the_swarm_s_own_bridge(engine, swarm, diagnose):
    (gateway,) = gateways(engine, "docker_gwbridge")
    source = f"type=bind,src={ROOT},dst=/src,ro"
    options = ("--network", "strategies", "--endpoint-mode", "dnsrr", "--restart-condition", "none")
    options += ("--mount", source, "--env", "PYTHONPATH=/src", "--detach")
    engine("service", "create", "--name", "bot", *options, f"{IMAGE}:latest", *KNOCK, gateway, DOCKER0)
    wait_until(lambda: len(engine("service", "logs", "bot").splitlines()) == 2, "the service has knocked", 60)
    assert engine("service", "logs", "bot").count("answered") == 2

    said = engine.run(KNOCK[-1], gateway, DOCKER0, options=("--network", "strategies"))
    assert said.splitlines() == [f"{gateway}  answered", f"{DOCKER0}  answered"]

    run = diagnose(options=("--network", "strategies"))
    assert (run.status, run.codes, run.line.split(":")[0]) == (0, [], f"Works via {gateway}")
    assert {one["name"]: one["value"] for one in run.said["facts"]}["network_mode"] == "overlay"
    assert refused(swarm()) == []
