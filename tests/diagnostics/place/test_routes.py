"""Facts and wishes to routes: which ones, in which order, with which reason; and targets as people type them."""

import re

import pytest

from diagnostics.evidence import Fact, Route
from diagnostics.place.routes import (
    DEFAULT_PORT,
    HOST_NAMES,
    SIBLINGS,
    Target,
    candidates,
    is_loopback,
    label,
    parse_port,
    parse_target,
    siblings,
)

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
    for route in candidates(facts(**given), (Target("gate"),)):
        assert 8 <= len(route.why) <= 80, route
        assert route.kind in ("configured", "name", "gateway", "bridge", "loopback", "host_address")


@pytest.mark.parametrize("given", [row[1] for row in PLACES], ids=[row[0] for row in PLACES])
def test_the_configured_come_first_everywhere(given):
    targets = (Target("host.docker.internal", 4001), Target("127.0.0.1"), Target("gate", 4002, "IB_HOST"))
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
    assert candidates(facts(**given, hosts_entries="host.docker.internal=172.17.0.1"), (Target("gate"),)) == WHOLE


BRIDGED = DOCKER | {"network_mode": "default bridge"}
REASONS = [  # (facts, target, why)
    (BRIDGED, Target("127.0.0.1"), "--target says so; inside a container this is the container itself"),
    (BRIDGED, Target("localhost", 1, "IB_HOST"), "IB_HOST says so; inside a container this is the container itself"),
    (BRIDGED, Target("0.0.0.0"), "--target says so; inside a container this is the container itself"),
    (DOCKER | {"network_mode": "host"}, Target("127.0.0.1"), "--target says so"),
    (HOST, Target("localhost"), "--target says so"),
    (
        BRIDGED,
        Target("Host.Docker.Internal."),
        "--target says so; Docker's name for its host; on Linux only with extra_hosts",
    ),
    (BRIDGED, Target("host.orb.internal"), "--target says so; OrbStack's name for the Mac; nothing here looks like it"),
    (BRIDGED, Target("10.0.0.9"), "--target says so"),
]


@pytest.mark.parametrize("given, target, why", REASONS)
def test_what_was_configured_is_commented_where_that_helps(given, target, why):
    assert candidates(facts(**given), (target,))[0].why == why


SAME = [("GATE", "gate"), ("gate.", "gate"), ("0:0:0:0:0:0:0:1", "::1"), ("FD00::1", "fd00::1")]


@pytest.mark.parametrize("one, other", SAME)
def test_two_spellings_of_a_host_are_one_route_as_it_was_written_first(one, other):
    found = candidates(facts(**HOST), (Target(one), Target(other), Target(one, 4001)))
    assert hosts(found, "configured") == [one, one]


def test_the_configured_spelling_replaces_the_discovered_one():
    found = candidates(facts(**BRIDGED), (Target("HOST.docker.internal"),))
    assert hosts(found)[0] == "HOST.docker.internal" and "host.docker.internal" not in hosts(found)


PORTS = [  # (targets, --port, port of the discovered routes)
    ((), None, 4003),
    ((), 4001, 4001),
    ((Target("gate"),), None, 4003),
    ((Target("gate", 4002),), None, 4002),
    ((Target("gate"), Target("gate", 4002), Target("other", 4001)), None, 4003),
    ((Target("gate", 4002), Target("other")), None, 4002),
    ((Target("gate", 4002),), 7496, 7496),
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


LABELS = [
    ("gate", 4003, "gate:4003"),
    ("10.0.0.1", 1, "10.0.0.1:1"),
    ("::1", 4003, "[::1]:4003"),
    ("fe80::1%eth0", 4003, "[fe80::1%eth0]:4003"),
    ("gate", None, "gate"),
    ("::1", None, "[::1]"),
]


@pytest.mark.parametrize("host, port, expected", LABELS)
def test_label(host, port, expected):
    assert label(Target(host, port)) == expected
    if port:
        assert label(Route(host, port, "configured", "")) == expected


LOOPBACKS = [
    ("localhost", True),
    ("LOCALHOST.", True),
    ("a.localhost", True),
    ("127.0.0.1", True),
    ("127.9.9.9", True),
    ("::1", True),
    ("0.0.0.0", True),
    ("::", True),
    ("::ffff:127.0.0.1", True),
    ("10.0.0.1", False),
    ("gate", False),
    ("localhost.example.com", False),
    ("", False),
]


@pytest.mark.parametrize("host, expected", LOOPBACKS)
def test_is_loopback(host, expected):
    assert is_loopback(host) is expected


GOOD = [
    ("gate", Target("gate")),
    (" gate:4003\n", Target("gate", 4003)),
    ("Gate.example.com.:1", Target("Gate.example.com.", 1)),
    ("ib_gateway-1:65535", Target("ib_gateway-1", 65535)),
    ("10.0.0.1:4002", Target("10.0.0.1", 4002)),
    ("0.0.0.0", Target("0.0.0.0")),
    ("::1", Target("::1")),
    ("[::1]", Target("::1")),
    ("[::1]:4003", Target("::1", 4003)),
    ("[FD00:0::1]:4003", Target("fd00::1", 4003)),
    ("fe80::1%eth0", Target("fe80::1%eth0")),
    ("[fe80::1%eth0.5]:4003", Target("fe80::1%eth0.5", 4003)),
    ("2606:4700::1111", Target("2606:4700::1111")),
    ("xn--bcher-kva.example", Target("xn--bcher-kva.example")),
    ("1and1.com", Target("1and1.com")),
    ("a" * 63 + ".b", Target("a" * 63 + ".b")),
]


@pytest.mark.parametrize("text, expected", GOOD)
def test_targets(text, expected):
    assert parse_target(text) == expected
    assert parse_target(label(expected)) == expected


FORM = "HOST or HOST:PORT was expected"
NAME = "not a host name (letters, digits, '-', '_' and '.'; others in their xn-- form)"
PORT = "a number from 1 to 65535 was expected"
BAD = [
    ("", f"--target is empty: {FORM}"),
    (" \t", f"--target is empty: {FORM}"),
    ("tcp://gate:4003", f"--target 'tcp://gate:4003': {FORM}, without 'tcp://'"),
    ("gate/path", f"--target 'gate/path': {FORM}, without a path"),
    ("me:secret@gate:4003", f"--target '***@gate:4003': {FORM}, without a user"),
    ("http://me:secret@gate", f"--target '***@gate': {FORM}, without 'http://'"),
    ("a,b", f"--target 'a,b': {FORM}, one at a time"),
    ("a b", f"--target 'a b': {FORM}, without spaces"),
    ("gate :4003", f"--target 'gate :4003': {FORM}, without spaces"),
    (":4003", f"--target ':4003': the host is missing, {FORM}"),
    ("4003", "--target '4003': a number is no host; a port goes to --port or behind a host"),
    ("gate:", f"--target 'gate:': port '': {PORT}"),
    ("gate:0", f"--target 'gate:0': port '0': {PORT}"),
    ("gate:70000", f"--target 'gate:70000': port '70000': {PORT}"),
    ("gate:-1", f"--target 'gate:-1': port '-1': {PORT}"),
    ("gate:4_003", f"--target 'gate:4_003': port '4_003': {PORT}"),
    ("gate:\u0664", f"--target 'gate:\\u0664': port '\\u0664': {PORT}"),
    ("gate:" + "9" * 5000, f"--target 'gate:{'9' * 52}...': port '{'9' * 57}...': {PORT}"),
    ("[::1]4003", "--target '[::1]4003': [IPV6] or [IPV6]:PORT was expected"),
    ("[::1", "--target '[::1': [IPV6] or [IPV6]:PORT was expected"),
    ("[::1]:", f"--target '[::1]:': port '': {PORT}"),
    ("[]:1", "--target '[]:1': brackets are for IPv6 addresses"),
    ("[10.0.0.1]:1", "--target '[10.0.0.1]:1': brackets are for IPv6 addresses"),
    ("::1:4003", "--target '::1:4003': is 4003 a port? Write [::1]:4003, or [::1:4003] for the address"),
    ("gate:1:2", "--target 'gate:1:2': not an IPv6 address; write [IPV6]:PORT or HOST:PORT"),
    ("fe80::1%\x1b[31m", "--target 'fe80::1%\\x1b[31m': not an IPv6 address; write [IPV6]:PORT or HOST:PORT"),
    ("127.1", "--target '127.1': not an IPv4 address, four numbers from 0 to 255 were expected"),
    ("256.0.0.1", "--target '256.0.0.1': not an IPv4 address, four numbers from 0 to 255 were expected"),
    ("010.0.0.1:4003", "--target '010.0.0.1:4003': not an IPv4 address, four numbers from 0 to 255 were expected"),
    ("a..b", f"--target 'a..b': {NAME}"),
    ("-a", f"--target '-a': {NAME}"),
    ("*", f"--target '*': {NAME}"),
    ("b\u00fccher", f"--target 'b\\xfccher': {NAME}"),
    ("gate\x00", f"--target 'gate\\x00': {NAME}"),
    ("a" * 64, f"--target '{'a' * 57}...': {NAME}"),
    (".".join(["abc"] * 64), f"--target '{('abc.' * 20)[:57]}...': {NAME}"),
]


@pytest.mark.parametrize("text, expected", BAD)
def test_a_bad_target_gets_one_line_that_says_what_is_wrong(text, expected):
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$") as caught:
        parse_target(text)
    assert str(caught.value) == expected


def test_the_line_names_where_the_target_came_from():
    with pytest.raises(ValueError, match=r"^IB_HOST 'a b': "):
        parse_target("a b", "IB_HOST")
    assert parse_target("gate", "IB_HOST") == Target("gate", None, "IB_HOST")


@pytest.mark.parametrize("text, expected", [("4003", 4003), (" 1\n", 1), (65535, 65535)])
def test_ports(text, expected):
    assert parse_port(text) == expected


@pytest.mark.parametrize("text", ["0", "65536", "", "-1", "4e3", "4003 4004", 0, 70000])
def test_a_bad_port_names_its_origin(text):
    expected = f"IB_PORT {str(text)!r}: {PORT}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$") as caught:
        parse_port(text, "IB_PORT")
    assert str(caught.value) == expected
