"""Root's Podman: its bridge comes with the first container and goes with the last, and that container is served."""

import pytest

from tests.docker.engine import HOST_ADDRESS
from tests.docker.networks import refused

KNOCK = "/src/tests/docker/knock.py"
NAME = "host.containers.internal"
ROUNDS = 10  # times on which the bridge comes anew, of the default network and of one that has just been made


def test_the_first_containers_are_served_by_the_host_s_name_and_by_the_bridge(rootful, relay):
    """The relay is there before any container is."""
    records = relay()
    assert not [one for one in records() if "podman" in one.get("message", "")]
    failed = []
    for number in range(ROUNDS):
        network, gateway = ("podman", "10.88.0.1") if number % 2 else ("fresh", "10.89.0.1")
        if network == "fresh":
            rootful("network", "create", network)
        said = rootful.run(KNOCK, NAME, gateway, options=("--network", network))
        failed += [f"{network}: {line}" for line in said.splitlines() if not line.endswith("  answered")]
        if network == "fresh":
            rootful("network", "rm", network)
    assert failed == []
    assert refused(records()) == []


def test_a_bridge_that_somebody_named_is_known_by_the_container_on_it(rootful, relay):
    """As newer Podmans do by --interface-name."""
    records = relay()
    rootful("network", "create", "strategies")
    settings = rootful.folder / "home/networks/strategies.json"
    settings.write_text(settings.read_text().replace('"podman1"', '"strategies0"'))
    try:
        said = rootful.run(KNOCK, NAME, "10.89.0.1", options=("--network", "strategies"))
    finally:
        rootful("network", "rm", "strategies")
    assert said.splitlines() == [f"{NAME}  answered", "10.89.0.1  answered"]
    assert any("(strategies0)" in one.get("message", "") for one in records())


@pytest.mark.parametrize("environment", [(), (f"IB_HOST={NAME}", "IB_PORT=4003")], ids=["nothing configured", NAME])
def test_ib_diagnose_finds_nothing_wrong_on_a_user_network(rootful, diagnose, relay, environment):
    records = relay()
    rootful("network", "create", "strategies")
    try:
        run = diagnose(rootful, options=("--network", "strategies"), environment=environment)
    finally:
        rootful("network", "rm", "strategies")
    assert (run.status, run.codes) == (0, []), (run, run.said["findings"])
    assert refused(records()) == []


@pytest.mark.parametrize("network", ["podman", "host"])
@pytest.mark.parametrize("environment", [(), (f"IB_HOST={NAME}", "IB_PORT=4003")], ids=["nothing configured", NAME])
def test_ib_diagnose_finds_nothing_wrong(rootful, diagnose, relay, network, environment):
    """With the host's network the name means the host's own address, so that the relay has to listen there."""
    on_the_host = ("--listen", "auto:4003", "--listen", f"{HOST_ADDRESS}:4003")
    records = relay(*(on_the_host if network == "host" and environment else ()))
    run = diagnose(rootful, options=("--network", network), environment=environment)
    assert (run.status, run.codes) == (0, []), (run, run.said["findings"])
    assert refused(records()) == []


def test_containers_of_a_pod_are_served(rootful, diagnose, relay):
    records = relay()
    first = rootful.start("-c", "import time; time.sleep(600)")
    try:
        pod = ("--network", f"container:{first}")
        assert rootful.run(KNOCK, "10.88.0.1", options=pod).split() == ["10.88.0.1", "answered"]
        run = diagnose(rootful, options=pod)
    finally:
        rootful("rm", "--force", "--time", "0", first)
    assert (run.status, run.codes) == (0, []), (run, run.said["findings"])
    assert refused(records()) == []
