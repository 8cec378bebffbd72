"""Network namespaces of this machine as hosts of their own: peers that can vanish, bridges that come and go.

Needs root and iproute2; `usable` is the reason why not, or "". Nothing outside the namespaces made here is touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

CLONE_NEWNET = 0x40000000  # linux/sched.h
_numbers = itertools.count()


def ip(*words: str) -> None:
    """Run iproute2's `ip`; AssertionError with its own words when it refuses."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"


def why_not() -> str:
    """Why these tests cannot run here; empty when they can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux'"
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    if not shutil.which("ip"):
        return "needs iproute2"
    try:
        with Namespace("trial"):
            return ""
    except AssertionError as refused:
        return f"cannot make a network namespace: {refused}"


class Namespace:
    """A host with nothing but a loopback interface, for as long as the `with` lasts."""

    def __init__(self, role: str) -> None:
        self.name = f"ibr-{os.getpid()}-{role}-{next(_numbers)}"

    def __enter__(self) -> Namespace:
        ip("netns", "add", self.name)
        self.ip("link", "set", "lo", "up")
        return self

    def __exit__(self, *exception: object) -> None:
        ip("netns", "del", self.name)

    def ip(self, *words: str) -> None:
        ip("-n", self.name, *words)

    @property
    def through(self) -> str:
        """A line of shell that runs "$@" on this host (RelayProcess takes it); /sys shows this host's interfaces."""
        return f'exec ip netns exec {self.name} "$@"'

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes in here belong to this host, for all their life."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as before, open(f"/run/netns/{self.name}", "rb") as here:
            assert libc.setns(here.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(before.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def join(one: Namespace, address: str, other: Namespace, other_address: str) -> tuple[str, str]:
    """A cable between two hosts, both ends up and with these addresses (CIDR); the names of the two ends."""
    number = next(_numbers)
    ends = (f"v{os.getpid() % 100000}a{number}", f"v{os.getpid() % 100000}b{number}")
    ip("link", "add", ends[0], "netns", one.name, "type", "veth", "peer", "name", ends[1], "netns", other.name)
    for host, end, its_address in ((one, ends[0], address), (other, ends[1], other_address)):
        if its_address:
            host.ip("address", "add", its_address, "dev", end)
        host.ip("link", "set", end, "up")
    return ends
