"""The bridges of a host: parsed from tables everywhere, found for real in a network namespace where root allows one."""

import json
import os
import shutil
import subprocess
import sys
from ipaddress import ip_interface
from pathlib import Path

import pytest

from relay.entry.bridges import NAMES, Bridge, Survey, find_bridges, parse_if_inet6

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("docker0", True),
        ("br-0123456789ab", True),
        ("podman0", True),
        ("podman12", True),
        ("cni-podman0", True),
        ("docker_gwbridge", True),
        ("docker1", False),
        ("br-0123456789a", False),
        ("br-0123456789abc", False),
        ("br-0123456789AB", False),
        ("br-lan", False),
        ("br0", False),
        ("virbr0", False),
        ("lxdbr0", False),
        ("eth0", False),
        ("lo", False),
        ("veth1234567", False),
        ("podman", False),
        ("xdocker0", False),
    ],
)
def test_a_bridge_of_an_engine_s_own_naming_is_known_by_its_name(name, ours):
    assert bool(NAMES.fullmatch(name)) is ours


IF_INET6 = [
    ("", {}),
    (
        "fd00dead0000000000000000000000" + "01 05 40 00 80  docker0\n",
        {"docker0": (ip_interface("fd00:dead::1/64"),)},
    ),
    (
        (
            "00000000000000000000000000000001 01 80 10 80       lo\n"
            "fe800000000000000042acfffe110001 05 40 20 80  docker0\n"
            "fd000000000000000000000000000001 05 40 00 40  docker0\n"
            "20010db8000000000000000000000001 05 30 00 80  docker0\n"
        ),
        {"lo": (ip_interface("::1/128"),), "docker0": (ip_interface("fd00::1/64"), ip_interface("2001:db8::1/48"))},
    ),
    ("short line\nzz 01 80 10 80 lo\n" + "f" * 33 + " 01 80 10 80 lo\n\ufffd\ufffd\n", {}),
    ("00000000000000000000000000000001 01 ff 10 80 lo\n", {}),
]


@pytest.mark.parametrize(("text", "found"), IF_INET6)
def test_ipv6_addresses_are_read_by_interface_and_link_local_ones_left_out(text, found):
    assert parse_if_inet6(text) == found


def fake_sys(folder: Path, *bridges: str, plain: tuple[str, ...] = ()) -> str:
    for name in bridges:
        (folder / name / "bridge").mkdir(parents=True)
    for name in plain:
        (folder / name).mkdir(parents=True)
    return str(folder)


def test_a_host_without_bridges_has_an_empty_survey_and_nothing_to_explain(tmp_path):
    folder = fake_sys(tmp_path, "virbr0", plain=("docker0", "eth0"))  # docker0: named so, but not a bridge
    assert find_bridges(folder, "/absent") == Survey()


def test_where_nothing_can_be_read_the_survey_says_why(tmp_path):
    assert find_bridges("/absent/net") == Survey(why=("/absent/net: No such file or directory",))
    folder = fake_sys(tmp_path, "podman987654")
    assert find_bridges(folder, str(tmp_path)) == Survey(why=(f"IPv6 addresses: {tmp_path}: Is a directory",))


def test_a_kernel_without_ipv6_is_nothing_to_tell(tmp_path):
    assert find_bridges(fake_sys(tmp_path, "podman987654"), "/absent") == Survey()


def test_a_bridge_that_vanished_while_looking_is_just_not_there(tmp_path):
    assert find_bridges(fake_sys(tmp_path, "podman987654"), "/dev/null") == Survey()


def test_ipv6_is_found_where_there_is_no_ipv4_and_too_wide_networks_are_refused(tmp_path):
    folder = fake_sys(tmp_path / "sys", "podman987654", "podman987655")
    table = tmp_path / "if_inet6"
    table.write_text(
        "fd000000000000000000000000000001 05 40 00 40 podman987655\n"
        "20010db8000000000000000000000001 05 00 00 80 podman987654\n"
    )
    assert find_bridges(folder, str(table)) == Survey(
        (Bridge("podman987655", ip_interface("fd00::1/64")),),
        ("podman987654: 2001:db8::1/0 is too wide to be trusted",),
    )


def test_looking_on_this_host_never_raises():
    survey = find_bridges()
    assert all(NAMES.fullmatch(one.name) or one.interface.is_private for one in survey.bridges)
    assert all(isinstance(line, str) for line in survey.why)


# A namespace has its own interfaces; /sys shows those of whoever mounted it, so it is mounted anew.
SET_UP = """
set -e
mount -t sysfs sysfs /sys
ip link set lo up
for name in docker0 br-0123456789ab podman1 virbr0; do ip link add $name type bridge; done
ip address add 172.17.0.1/16 dev docker0
ip address add 172.17.0.99/16 dev docker0
ip address add 172.20.5.1/24 dev br-0123456789ab
ip address add 10.0.0.1/4 dev podman1
ip address add 192.168.122.1/24 dev virbr0
ip link set docker0 up
"""
LOOK = """
import json, sys
from relay.entry.bridges import find_bridges
survey = find_bridges()
json.dump([[[b.name, str(b.interface)] for b in survey.bridges], survey.why], sys.stdout)
"""


def in_a_namespace(set_up: str, end: str = "") -> list:
    """What `find_bridges` sees in a network namespace of its own after the shell lines of `set_up`, before `end`."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux: makes real bridges in a network namespace")
    if not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs ip (iproute2) and unshare (util-linux)")
    namespace = ["unshare", "--net", "--mount", "sh", "-c"]
    probe = "mount -t sysfs sysfs /sys && ip link add docker0 type bridge"
    possible = subprocess.run([*namespace, probe], capture_output=True, timeout=30)
    if possible.returncode:
        pytest.skip(f"no bridges in a namespace here: {possible.stderr.decode().strip()}")
    script = f'{set_up}\n"$0" -c "$1"\n{end}'
    done = subprocess.run(
        [*namespace, script, sys.executable, LOOK], capture_output=True, timeout=30, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.slow
def test_real_bridges_are_found_with_their_subnets():
    assert in_a_namespace(SET_UP) == [
        [["br-0123456789ab", "172.20.5.1/24"], ["docker0", "172.17.0.1/16"]],
        ["podman1: 10.0.0.1/4 is too wide to be trusted"],
    ]


@pytest.mark.slow
def test_real_ipv6_addresses_of_a_bridge_are_found():
    bridges, _ = in_a_namespace(SET_UP + "ip -6 address add fd00:dead::1/64 dev docker0 nodad || true\n")
    if not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 on this host")
    assert ["docker0", "fd00:dead::1/64"] in bridges
