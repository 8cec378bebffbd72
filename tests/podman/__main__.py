"""`python -m tests.podman`: the relay and ib-diagnose beside a real Podman, rootful and rootless (root, podman).

Everything happens in namespaces of its own: neither this machine's addresses, containers nor users are touched. Words
after the command go to pytest: `-k rootless`.
"""

import os
import shutil
import sys

NEEDED = {
    "podman": "podman",
    "slirp4netns": "slirp4netns",
    "newuidmap": "uidmap",
    "ip": "iproute2",
    "iptables": "iptables",
    "unshare": "util-linux",
}
NETAVARK = "/usr/lib/podman/netavark"


def main() -> int:
    missing = {package for program, package in NEEDED.items() if shutil.which(program) is None}
    missing |= set() if os.path.exists(NETAVARK) else {"netavark"}
    if missing or os.geteuid():
        wanted = f"apt-get install {' '.join(sorted(missing))}" if missing else "must be run as root"
        print(f"tests.podman: {wanted}", file=sys.stderr)
        return 1
    words = sys.argv[1:]
    where = [] if any("test_" in word for word in words) else [os.path.dirname(__file__)]
    pytest = [sys.executable, "-m", "pytest", "-o", "addopts=", "-v", *where, *words]
    # A process namespace, too: what an ordinary user's Podman leaves running ends with it.
    return os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--kill-child", "--mount-proc", *pytest])


if __name__ == "__main__":
    sys.exit(main())
