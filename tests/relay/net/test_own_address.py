"""Which addresses are this machine's: asked of the real kernel, also where it has others than loopback's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.net.own_address import is_own_address

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("192.0.2.1", False),  # RFC 5737: nobody has it
        ("2001:db8::1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("", False),
        ("localhost.invalid", False),
        ("fe80::1", False),  # without its zone it is nobody's
    ],
)
def test_an_address_is_this_machine_s_or_not(address, own):
    assert is_own_address(address) is own


SET_UP = """
ip link set lo up
ip link add cable0 type veth peer name cable1
ip link set cable1 up
ip address add 10.9.8.1/24 dev cable0
ip address add fd00:9::1/64 dev cable0 nodad
ip link set cable0 up
ip route add default via 10.9.8.254
sysctl -qw net.ipv4.ip_nonlocal_bind=1
"""
LOOK = """
import sys
from relay.net.own_address import is_own_address
print(*map(is_own_address, sys.argv[1:]))
"""


@pytest.mark.slow
def test_addresses_of_a_network_card_and_their_neighbours():
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs root on Linux, ip and unshare: gives addresses to an interface in a network namespace")
    asked = ["10.9.8.1", "10.9.8.2", "10.9.8.255", "8.8.8.8", "fd00:9::1", "fd00:9::2", "127.0.0.1", "::1"]
    command = ["unshare", "--net", "sh", "-ec", f'{SET_UP}exec "$0" -c "$@"', sys.executable, LOOK, *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["True", "False", "False", "False", "True", "False", "True", "True"]
