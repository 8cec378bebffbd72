"""`ib-relay run` beside a real engine: the first client of a network that has just been made is served."""

from tests.docker.networks import first_clients, refused

ROUNDS = 50  # networks, one after the other: more than the engine has subnets, so that these come again


def test_the_first_clients_of_fifty_fresh_networks_are_served(engine, relay):
    records = relay()
    assert first_clients(engine, ROUNDS) == []
    assert refused(records()) == []


def test_the_first_clients_of_fresh_networks_with_ipv6_are_served(engine, relay):
    records = relay()
    subnet = ("--ipv6", "--subnet", "fd00:7::/64", "--gateway", "fd00:7::1")
    assert first_clients(engine, 3, *subnet) == []
    assert refused(records()) == []


def test_a_network_outside_of_the_usual_pools_is_a_container_network_like_any_other(engine, relay):
    relay()
    assert first_clients(engine, 2, "--subnet", "198.18.7.0/24", "--gateway", "198.18.7.1") == []


def test_a_bridge_that_somebody_named_is_known_by_the_container_on_it(engine, relay):
    """Served at the network's own address, too: listened on before the container's first program runs."""
    records = relay()
    assert first_clients(engine, 5, "--opt", "com.docker.network.bridge.name=strategies0") == []
    assert refused(records()) == []


def test_containers_that_come_and_go_on_it_do_not_close_the_port_of_the_one_that_stays(engine, relay, containers):
    records = relay()
    options = ("--opt", "com.docker.network.bridge.name=strategies0")
    gateway = containers.network("strategies", *options)
    containers.start("-c", "import time; time.sleep(600)", options=("--network", "strategies"))
    for _ in range(5):
        said = engine.run("/src/tests/docker/knock.py", gateway, options=("--network", "strategies"))
        assert said.split() == [gateway, "answered"]
    assert not [one for one in records() if one["event.name"] == "ib_relay.listener.closed"]
