"""`python -m tests.podman`: the relay and ib-diagnose beside a real Podman, rootful and rootless (root, podman).

Everything happens in namespaces of its own: neither this machine's addresses, containers nor users are touched. Words
after the command go to pytest: `-k rootless`.
"""

import os
import sys

from tests.docker.__main__ import not_installed, run_apart

NEEDED = {
    "podman": "podman",
    "slirp4netns": "slirp4netns",
    "newuidmap": "uidmap",
    "ip": "iproute2",
    "iptables": "iptables",
    "unshare": "util-linux",
}
NETAVARK = "/usr/lib/podman/netavark"


if __name__ == "__main__":
    missing = not_installed(NEEDED) | (set() if os.path.exists(NETAVARK) else {"netavark"})
    # A process namespace, too: what an ordinary user's Podman leaves running ends with it.
    spaces = ("--pid", "--kill-child", "--mount-proc")
    sys.exit(run_apart("tests.podman", missing, os.path.dirname(__file__), *spaces))
