"""Facts and wishes to routes: which ones, in which order, with which reason."""

import pytest

from diagnostics.evidence import Fact, Route
from diagnostics.place.addresses import DEFAULT_PORT, SIBLINGS
from diagnostics.place.host_names import HOST_NAMES
from diagnostics.place.routes import candidates, siblings
from diagnostics.place.targets import ProbeTarget

MAGIC = tuple(HOST_NAMES)


def facts(**values):
    return tuple(Fact(name, value, "a test") for name, value in values.items())


def hosts(found, *kinds):
    return [route.host for route in found if not kinds or route.kind in kinds]


DOCKER = {"container": "yes", "runtime": "docker", "flavour": "linux engine"}
DESKTOP = {"container": "yes", "runtime": "docker", "flavour": "docker desktop"}
HOST = {
    "container": "no",
    "runtime": "none",
    "flavour": "none",
    "network_mode": "host",
    "default_gateway": "192.168.1.1",
}
WSL = {"container": "no", "runtime": "wsl", "flavour": "wsl2"}
ADDRESSES = "192.168.1.20, 172.17.0.1, fd00::20"

PLACES = [  # (name, facts, the first routes in order, what must not be among the routes)
    (
        "docker, default bridge",
        DOCKER | {"network_mode": "default bridge", "default_gateway": "172.17.0.1", "own_addresses": "172.17.0.2"},
        ["host.docker.internal", "172.17.0.1", "gateway.docker.internal"],
        ["127.0.0.1", "172.17.0.2"],
    ),
    (
        "docker, user network: docker0 is somewhere else",
        DOCKER | {"network_mode": "user network", "default_gateway": "172.18.0.1", "own_addresses": "172.18.0.3"},
        ["host.docker.internal", "172.18.0.1", "172.17.0.1", "gateway.docker.internal"],
        ["127.0.0.1", "172.18.0.3"],
    ),
    (
        "docker, service of a swarm: the host is docker_gwbridge's default gateway, and docker0",
        DOCKER | {"network_mode": "overlay", "default_gateway": "172.18.0.1", "own_addresses": "172.18.0.5, 10.0.1.3"},
        ["host.docker.internal", "172.18.0.1", "172.17.0.1", "gateway.docker.internal"],
        ["127.0.0.1", "172.18.0.5", "10.0.1.3"],
    ),
    (
        "docker, rootless: docker0 is the engine's own",
        DOCKER | {"network_mode": "user network", "default_gateway": "172.18.0.1", "rootless": "yes"},
        ["host.docker.internal", "172.18.0.1", "gateway.docker.internal"],
        ["127.0.0.1", "172.17.0.1"],
    ),
    (
        "docker, host networking",
        DOCKER
        | {"network_mode": "host", "default_gateway": "192.168.1.1"}
        | {"docker0": "172.17.0.1", "own_addresses": ADDRESSES},
        ["127.0.0.1", "172.17.0.1", "192.168.1.20", "fd00::20", "host.docker.internal"],
        ["192.168.1.1"],
    ),
    (
        "nspawn with the network of its host: the default gateway is the router of the house",
        {"container": "yes", "runtime": "systemd-nspawn", "network_mode": "host"}
        | {"default_gateway": "192.168.1.1", "own_addresses": "192.168.1.20"},
        ["127.0.0.1", "192.168.1.20", "host.docker.internal"],
        ["192.168.1.1"],
    ),
    (
        "docker, host networking, rootless: the way out of the engine's namespace is a candidate",
        DOCKER | {"network_mode": "host", "default_gateway": "10.0.2.2", "rootless": "yes"},
        ["127.0.0.1", "host.docker.internal", "10.0.2.2"],
        [],
    ),
    (
        "docker, network none: one name and one address show it",
        DOCKER | {"network_mode": "none", "own_addresses": "", "default_gateway": ""},
        ["host.docker.internal", "172.17.0.1"],
        ["127.0.0.1", *MAGIC[1:]],
    ),
    (
        "docker desktop",
        DESKTOP | {"network_mode": "default bridge", "default_gateway": "172.17.0.1"},
        ["host.docker.internal", "gateway.docker.internal", "192.168.65.254", "172.17.0.1", "host.containers.internal"],
        ["127.0.0.1"],
    ),
    (
        "docker desktop, user network: its docker0 is that of a machine nobody wants",
        DESKTOP | {"network_mode": "user network", "default_gateway": "172.18.0.1"},
        ["host.docker.internal", "gateway.docker.internal", "192.168.65.254", "172.18.0.1"],
        ["127.0.0.1", "172.17.0.1"],
    ),
    (
        "orbstack",
        DESKTOP | {"flavour": "orbstack", "network_mode": "default bridge", "default_gateway": "192.168.215.1"},
        ["host.docker.internal", "host.orb.internal", "0.250.250.254", "192.168.215.1"],
        ["127.0.0.1", "172.17.0.1"],
    ),
    (
        "colima",
        DESKTOP | {"flavour": "colima", "network_mode": "default bridge", "default_gateway": "172.17.0.1"},
        ["host.docker.internal", "host.lima.internal", "192.168.5.2", "172.17.0.1"],
        ["127.0.0.1"],
    ),
    (
        "rancher desktop",
        DESKTOP | {"flavour": "rancher", "network_mode": "default bridge", "default_gateway": "172.17.0.1"},
        ["host.docker.internal", "host.lima.internal", "host.rancher-desktop.internal", "172.17.0.1"],
        ["127.0.0.1"],
    ),
    (
        "docker engine in wsl 2: its name server may be Windows",
        DOCKER
        | {"flavour": "wsl2", "network_mode": "default bridge"}
        | {"default_gateway": "172.17.0.1", "resolver": "172.29.32.1"},
        ["host.docker.internal", "172.29.32.1", "172.17.0.1"],
        ["127.0.0.1"],
    ),
    (
        "podman, pasta: the gateway is the router of the host",
        {"container": "yes", "runtime": "podman", "network_mode": "pasta", "default_gateway": "192.168.1.1"}
        | {"hosts_entries": "host.containers.internal=169.254.1.2"},
        ["host.docker.internal", "host.containers.internal", "169.254.1.2", "gateway.docker.internal"],
        ["127.0.0.1", "192.168.1.1", "172.17.0.1"],
    ),
    (
        "podman, slirp4netns",
        {"container": "yes", "runtime": "podman", "network_mode": "slirp4netns"}
        | {"default_gateway": "10.0.2.2", "rootless": "yes"},
        ["host.docker.internal", "host.containers.internal", "10.0.2.2"],
        ["127.0.0.1"],
    ),
    (
        "podman machine",
        {"container": "yes", "runtime": "podman", "flavour": "podman machine", "network_mode": "default bridge"},
        ["host.docker.internal", "host.containers.internal", "192.168.127.254"],
        ["127.0.0.1"],
    ),
    (
        "kubernetes",
        {"container": "yes", "runtime": "kubernetes", "network_mode": "kubernetes", "default_gateway": "10.244.0.1"},
        ["host.k3d.internal", "host.minikube.internal", "10.244.0.1", "host.docker.internal"],
        ["127.0.0.1", "172.17.0.1"],
    ),
    (
        "plain host: no names to trouble a resolver with",
        HOST | {"own_addresses": ADDRESSES, "docker0": "172.17.0.1"},
        ["127.0.0.1", "172.17.0.1", "192.168.1.20", "fd00::20"],
        [*MAGIC, "192.168.1.1"],
    ),
    (
        "machine without a network: the gateway may run on it",
        HOST | {"network_mode": "none", "own_addresses": "", "default_gateway": ""},
        ["127.0.0.1"],
        MAGIC,
    ),
    (
        "plain Mac or Windows, on which Docker Desktop wrote its names into the hosts file",
        HOST | {"hosts_entries": "host.docker.internal=192.168.1.20, gateway.docker.internal=192.168.1.20"},
        ["127.0.0.1", "host.docker.internal", "gateway.docker.internal"],
        [*MAGIC[2:]],
    ),
    (
        "wsl 2, nat: the gateway is Windows",
        WSL
        | {"network_mode": "wsl nat", "default_gateway": "172.29.32.1"}
        | {"own_addresses": "172.29.37.89", "resolver": "10.255.255.254"},
        ["127.0.0.1", "172.29.37.89", "172.29.32.1"],
        MAGIC,
    ),
    (
        "wsl 2, mirrored: loopback is Windows",
        WSL | {"network_mode": "wsl mirrored", "default_gateway": "192.168.1.1"},
        ["127.0.0.1"],
        [*MAGIC, "192.168.1.1"],
    ),
    (
        "a shell in the machine of colima",
        HOST | {"flavour": "colima", "default_gateway": "192.168.5.2"},
        ["127.0.0.1", "host.docker.internal", "host.lima.internal", "192.168.5.2"],
        ["host.orb.internal"],
    ),
    (
        "another container runtime",
        {"container": "yes", "default_gateway": "10.0.3.1"},
        ["10.0.3.1", *MAGIC],
        ["127.0.0.1", "172.17.0.1"],
    ),
    ("nothing known: everything may be", {}, ["127.0.0.1", *MAGIC], ["172.17.0.1"]),
]


@pytest.mark.parametrize("given, first, absent", [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
def test_candidates_fit_the_place(given, first, absent):
    found = candidates(facts(**given), ())
    assert hosts(found)[: len(first)] == first
    assert not set(hosts(found)) & set(absent)
    assert {route.port for route in found} == {DEFAULT_PORT}
    assert len(found) == len({(route.host, route.port) for route in found})


@pytest.mark.parametrize("given", [row[1] for row in PLACES], ids=[row[0] for row in PLACES])
def test_every_candidate_has_a_reason_that_fits_on_a_line(given):
    for route in candidates(facts(**given), (ProbeTarget("gate"),)):
        assert 8 <= len(route.why) <= 80, route
        assert route.kind in ("configured", "name", "gateway", "bridge", "loopback", "host_address")


@pytest.mark.parametrize("given", [row[1] for row in PLACES], ids=[row[0] for row in PLACES])
def test_the_configured_come_first_everywhere(given):
    targets = (
        ProbeTarget("host.docker.internal", 4001),
        ProbeTarget("127.0.0.1"),
        ProbeTarget("gate", 4002, "IB_HOST"),
    )
    found = candidates(facts(**given), targets, 4009)
    assert [(route.host, route.port, route.kind) for route in found[:3]] == [
        ("host.docker.internal", 4001, "configured"),
        ("127.0.0.1", 4009, "configured"),
        ("gate", 4002, "configured"),
    ]


WHOLE = (
    Route("gate", 4003, "configured", "--target says so"),
    Route("host.docker.internal", 4003, "name", "Docker's name for its host; /etc/hosts says 172.17.0.1"),
    Route("172.18.0.1", 4003, "gateway", "the default gateway: the container host's end of this network"),
    Route("172.17.0.1", 4003, "bridge", "docker0's usual address: where a relay for containers listens"),
    Route("gateway.docker.internal", 4003, "name", "Docker Desktop's name for its gateway; nothing here looks like it"),
    Route("host.containers.internal", 4003, "name", "Podman's name for its host; nothing here looks like it"),
    Route("host.lima.internal", 4003, "name", "Lima's and Colima's name for the Mac; nothing here looks like it"),
    Route("host.orb.internal", 4003, "name", "OrbStack's name for the Mac; nothing here looks like it"),
    Route("host.k3d.internal", 4003, "name", "k3d's name for its host; nothing here looks like it"),
    Route("host.minikube.internal", 4003, "name", "minikube's name for its host; nothing here looks like it"),
    Route(
        "host.rancher-desktop.internal", 4003, "name", "Rancher Desktop's name for its host; nothing here looks like it"
    ),
)


def test_a_whole_list():
    given = DOCKER | {"network_mode": "user network", "default_gateway": "172.18.0.1"}
    assert candidates(facts(**given, hosts_entries="host.docker.internal=172.17.0.1"), (ProbeTarget("gate"),)) == WHOLE


BRIDGED = DOCKER | {"network_mode": "default bridge"}
REASONS = [  # (facts, target, why)
    (BRIDGED, ProbeTarget("127.0.0.1"), "--target says so; the loopback of this container itself"),
    (
        BRIDGED,
        ProbeTarget("localhost", 1, "IB_HOST"),
        "IB_HOST says so; the loopback of this container itself",
    ),
    (BRIDGED, ProbeTarget("0.0.0.0"), "--target says so; the loopback of this container itself"),
    (
        {"container": "yes", "runtime": "kubernetes", "network_mode": "kubernetes"},
        ProbeTarget("127.0.0.1"),
        "--target says so; the loopback of this pod itself",
    ),
    (DOCKER | {"network_mode": "host"}, ProbeTarget("127.0.0.1"), "--target says so"),
    (HOST, ProbeTarget("localhost"), "--target says so"),
    (
        BRIDGED,
        ProbeTarget("Host.Docker.Internal."),
        "--target says so; Docker's name for its host; on Linux only with extra_hosts",
    ),
    (
        BRIDGED,
        ProbeTarget("host.orb.internal"),
        "--target says so; OrbStack's name for the Mac; nothing here looks like it",
    ),
    (BRIDGED, ProbeTarget("10.0.0.9"), "--target says so"),
]


@pytest.mark.parametrize("given, target, why", REASONS)
def test_what_was_configured_is_commented_where_that_helps(given, target, why):
    assert candidates(facts(**given), (target,))[0].why == why


SAME = [("GATE", "gate"), ("gate.", "gate"), ("0:0:0:0:0:0:0:1", "::1"), ("FD00::1", "fd00::1")]


@pytest.mark.parametrize("one, other", SAME)
def test_two_spellings_of_a_host_are_one_route_as_it_was_written_first(one, other):
    found = candidates(facts(**HOST), (ProbeTarget(one), ProbeTarget(other), ProbeTarget(one, 4001)))
    assert hosts(found, "configured") == [one, one]


def test_the_configured_spelling_replaces_the_discovered_one():
    found = candidates(facts(**BRIDGED), (ProbeTarget("HOST.docker.internal"),))
    assert hosts(found)[0] == "HOST.docker.internal" and "host.docker.internal" not in hosts(found)


PORTS = [  # (targets, --port, port of the discovered routes)
    ((), None, 4003),
    ((), 4001, 4001),
    ((ProbeTarget("gate"),), None, 4003),
    ((ProbeTarget("gate", 4002),), None, 4002),
    ((ProbeTarget("gate"), ProbeTarget("gate", 4002), ProbeTarget("other", 4001)), None, 4003),
    ((ProbeTarget("gate", 4002), ProbeTarget("other")), None, 4002),
    ((ProbeTarget("gate", 4002),), 7496, 7496),
]


@pytest.mark.parametrize("targets, port, expected", PORTS)
def test_the_port_is_the_one_asked_for_or_the_first_of_a_target(targets, port, expected):
    found = [route for route in candidates(facts(**DOCKER), targets, port) if route.kind != "configured"]
    assert {route.port for route in found} == {expected}


def test_own_addresses_are_few_and_nothing_untrusted_becomes_a_route():
    many = ", ".join(f"10.0.0.{at}" for at in range(20))
    found = candidates(facts(**HOST | {"own_addresses": f"gate\x1b, , ::1, 999.1.1.1, {many}", "docker0": "no"}), ())
    assert hosts(found, "host_address") == ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert hosts(found, "bridge") == []
    entries = "evil\x1b=1.1.1.1, host.orb.internal=192.168.0.1, =, host.docker.internal"
    assert hosts(candidates(facts(**HOST | {"hosts_entries": entries}), ()), "name") == ["host.orb.internal"]


def test_siblings_are_the_usual_ports_but_the_one_that_refused():
    found = siblings(("gate", "fd00::1", "gate"), 4003)
    assert [route.port for route in found if route.host == "gate"] == [4001, 4002, 4004, 7496, 7497, 4000, 8888]
    assert hosts(found) == ["gate"] * 7 + ["fd00::1"] * 7
    assert {route.kind for route in found} == {"sibling"} and all(route.why for route in found)
    assert [route.port for route in siblings(("gate",), 5000)] == [port for port, _ in SIBLINGS]
    assert siblings((), 4003) == ()
