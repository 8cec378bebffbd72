"""`python -m tests.docker`: ib-diagnose in containers of a real Docker engine (root, dockerd, iptables, iproute2).

Everything happens in a network namespace of its own, so that neither this machine's addresses nor its firewall are
touched. Words after the command go to pytest: `-k paused`.
"""

import os
import shutil
import sys

NEEDED = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "ip": "iproute2",
    "iptables": "iptables",
    "unshare": "util-linux",
}


def main() -> int:
    missing = sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})
    if missing or os.geteuid():
        wanted = f"apt-get install {' '.join(missing)}" if missing else "must be run as root"
        print(f"tests.docker: {wanted}", file=sys.stderr)
        return 1
    pytest = [sys.executable, "-m", "pytest", "-o", "addopts=", "-v", os.path.dirname(__file__), *sys.argv[1:]]
    return os.execvp("unshare", ["unshare", "--net", "--mount", *pytest])


if __name__ == "__main__":
    sys.exit(main())
