"""`python -m tests.docker`: the relay and ib-diagnose beside a real Docker engine (root, docker, iptables, iproute2).

Everything happens in a network namespace of its own, so that neither this machine's addresses nor its firewall are
touched. Words after the command go to pytest: `-k paused`, or the files to run.
"""

import os
import shutil
import sys

NEEDED = {
    "dockerd": "docker.io",
    "docker-compose": "docker-compose",
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
    words = sys.argv[1:]
    where = [] if any("test_" in word for word in words) else [os.path.dirname(__file__)]
    pytest = [sys.executable, "-m", "pytest", "-o", "addopts=", "-v", *where, *words]
    return os.execvp("unshare", ["unshare", "--net", "--mount", *pytest])


if __name__ == "__main__":
    sys.exit(main())
