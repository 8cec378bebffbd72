"""What is plugged into a bridge that no engine has named: real bridges and cables, in network namespaces."""

import pytest

from relay.entry.plugs import ENDS, has_containers_only
from tests.relay.entry.test_bridges import in_a_namespace

NAMES = [
    ("veth0a1b2c3", True),  # Docker
    ("veth0", True),  # netavark
    ("veth123", True),
    ("veth0a1b2c", False),  # LXC: six letters and digits
    ("vethA1B2C3", False),
    ("veth0a1b2c3d", False),  # LXD, and the bridge plug-in of Kubernetes
    ("vb-machine", False),  # systemd-nspawn
    ("vnet0", False),  # libvirt
    ("tap0", False),
    ("eth0", False),
    ("eth0.10", False),
    ("bond0", False),
    ("vxlan0", False),
    ("veth", False),
]


@pytest.mark.parametrize(("name", "ours"), NAMES)
def test_the_host_s_end_of_a_container_s_cable_is_named_by_its_engine(name, ours):
    assert bool(ENDS.fullmatch(name)) is ours


def test_what_cannot_be_read_is_not_known_to_have_containers(tmp_path):
    assert has_containers_only(str(tmp_path), "mybr") is False  # gone
    port = tmp_path / "mybr" / "brif" / "veth0a1b2c3"
    port.mkdir(parents=True)
    assert has_containers_only(str(tmp_path), "mybr") is False  # its port has gone


# A container is a network namespace here: the one of the process that sleeps.
SET_UP = """
set -e
mount -t sysfs sysfs /sys
ip link set lo up
unshare --net sleep 60 & container=$!
until [ "$(readlink /proc/$container/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
bridge() { ip link add $1 type bridge; ip address add $2 dev $1; ip link set $1 up; }
cable() { ip link add $1 type veth peer name $1 netns $container; ip link set $1 master $2; }
"""
BRIDGES = [
    # what is done, what of it counts
    ("bridge mybr 192.168.77.1/24; cable veth0a1b2c3 mybr; cable veth1a1b2c3 mybr", ["mybr"]),
    ("bridge mybr 192.168.77.1/24; cable veth0 mybr", ["mybr"]),
    ("bridge mybr 192.168.77.1/24", []),  # nobody is there
    ("bridge mybr 8.8.8.1/24; cable veth0a1b2c3 mybr", []),  # an address that others may have
    ("bridge lxdbr0 10.9.8.1/24; cable veth0a1b2c3d lxdbr0", []),
    ("bridge virbr0 192.168.122.1/24; ip tuntap add vnet0 mode tap; ip link set vnet0 master virbr0", []),
    # a virtual machine among the containers, and one that is named like a container
    ("bridge br0 10.9.8.1/24; cable veth0a1b2c3 br0; ip tuntap add vnet0 mode tap; ip link set vnet0 master br0", []),
    ("bridge br0 10.9.8.1/24; ip tuntap add veth0a1b2c3 mode tap; ip link set veth0a1b2c3 master br0", []),
    # a cable from one bridge of the host to another one, which may have the network card
    (
        "bridge br0 10.9.8.1/24; ip link add veth0a1b2c3 type veth peer name veth1; ip link set veth0a1b2c3 master br0",
        [],
    ),
    (
        (
            "bridge br0 10.9.8.1/24; cable veth0a1b2c3 br0; bridge lan 10.9.9.1/24;"
            "ip link add veth1a1b2c3 type veth peer name veth1; ip link set veth1a1b2c3 master br0;"
            "ip link set veth1 master lan"
        ),
        [],
    ),
    # a container that is being started: Docker plugs its cable in first, and moves the other end then
    (
        (
            "bridge mybr 192.168.77.1/24; cable veth0a1b2c3 mybr;"
            "ip link add veth1a1b2c3 type veth peer name veth2a1b2c3; ip link set veth1a1b2c3 master mybr"
        ),
        ["mybr"],
    ),
    # the engine's own name needs no proof
    ("bridge br-0123456789ab 172.20.0.1/16", ["br-0123456789ab"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("done", "found"), BRIDGES)
def test_a_bridge_counts_by_what_is_plugged_into_it(done, found):
    bridges, why = in_a_namespace(f"{SET_UP}\n{done}\n", end="kill $container")
    assert ([name for name, _ in bridges], why) == (found, [])
