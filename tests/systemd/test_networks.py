"""The installed service beside a real Docker engine: container networks come and go, and nobody installs again.

The engine runs beside the booted machine, in its network: its bridges are the machine's.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docker.engine import Engine
from tests.docker.networks import first_clients
from tests.relay.kit.scripted import wait_until
from tests.systemd.machine import Machine
from tests.systemd.test_service import SERVICE, attempt

ROUNDS = 25  # networks, one after the other, on each of two systemds
OTHER_POOL = ("--subnet", "198.18.7.0/24", "--gateway", "198.18.7.1")  # none that engines use unless told to


@pytest.fixture(scope="module")
def engine(installed) -> Iterator[Engine]:
    """It starts after the relay."""
    with Engine(through=("nsenter", f"--net=/proc/{installed.leader}/ns/net", "--")) as engine:
        yield engine


def refused(machine: Machine) -> int:
    return machine.journal().count("acl_denied")


def test_the_first_clients_of_fresh_networks_are_served(engine, installed):
    before = refused(installed)
    assert first_clients(engine, ROUNDS) == []
    assert refused(installed) == before


def test_those_of_networks_with_ipv6_are_served(engine, installed):
    assert first_clients(engine, 3, "--ipv6", "--subnet", "fd00:7::/64", "--gateway", "fd00:7::1") == []


def test_those_of_a_bridge_that_somebody_named_are_served(engine, installed):
    """The sandbox lets the relay see what is plugged into it."""
    assert first_clients(engine, 3, "--opt", "com.docker.network.bridge.name=strategies0") == []


def test_ports_on_followed_bridges_outlive_a_kill(engine, installed):
    """A client that comes while the relay is dead waits in the queue of a socket that systemd has kept."""
    engine("network", "create", "--subnet", "172.30.0.0/24", "--gateway", "172.30.0.1", "lasting")
    try:
        wait_until(lambda: b"176" in attempt(installed, "172.30.0.1", "172.30.0.1"), "it is listened on", 15)
        pid = installed.main_pid()
        installed.run("systemctl", "kill", "-s", "KILL", SERVICE)
        assert b"176" in attempt(installed, "172.30.0.1", "172.30.0.1")
        assert installed.main_pid() != pid
    finally:
        engine("network", "rm", "lasting")


def test_a_network_that_the_unit_does_not_let_in_is_named_and_let_in_after_install(engine, installed):
    engine("network", "create", *OTHER_POOL, "other")
    try:
        wait_until(lambda: "(198.18.7.0/24) is not listened on" in installed.journal(), "the log says so", 15)
        assert "ib-relay service install" in installed.journal()
        said = installed.run("ib-relay", "service", "install").stdout
        assert "replace /etc/systemd/system/ib-relay.service" in said
        wait_until(lambda: b"176" in attempt(installed, "198.18.7.1", "198.18.7.1"), "it is listened on", 15)
    finally:
        engine("network", "rm", "other")


def test_with_the_bridges_of_the_moment_install_has_nothing_to_change(engine, installed):
    installed.run("ib-relay", "service", "install")
    engine("network", "create", "another")
    try:
        assert "nothing to change" in installed.run("ib-relay", "service", "install").stdout
        assert "drift           none" in installed.run("ib-relay", "service", "status").stdout
    finally:
        engine("network", "rm", "another")
