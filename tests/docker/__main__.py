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


def run_apart(name: str, missing: set[str], folder: str, *namespaces: str) -> int:
    """Run the tests of a folder in namespaces of their own; `missing`: Debian packages that are not installed."""
    if missing or os.geteuid():
        wanted = f"apt-get install {' '.join(sorted(missing))}" if missing else "must be run as root"
        print(f"{name}: {wanted}", file=sys.stderr)
        return 1
    words = sys.argv[1:]
    where = [] if any("test_" in word for word in words) else [folder]
    pytest = [sys.executable, "-m", "pytest", "-o", "addopts=", "-v", *where, *words]
    return os.execvp("unshare", ["unshare", "--net", "--mount", *namespaces, *pytest])


def not_installed(needed: dict[str, str]) -> set[str]:
    """Packages whose programs are not there."""
    return {package for program, package in needed.items() if shutil.which(program) is None}


if __name__ == "__main__":
    sys.exit(run_apart("tests.docker", not_installed(NEEDED), os.path.dirname(__file__)))
