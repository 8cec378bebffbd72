"""What a process can read about the place it runs in, by source: the texts that recognise.py looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MOUNTINFO = "/proc/self/mountinfo"
CGROUP = "/proc/1/cgroup"
VERSION = "/proc/version"
HOSTS = "/etc/hosts"
RESOLV = "/etc/resolv.conf"
HOSTNAME = "/etc/hostname"
UID_MAP = "/proc/self/uid_map"
DOCKERENV = "/.dockerenv"
CONTAINERENV = "/run/.containerenv"
MANAGER = "/run/systemd/container"  # written by systemd as PID 1 of a container
KUBERNETES = "env KUBERNETES_SERVICE_HOST"
DECLARED = "env container"  # systemd's container interface; Podman and LXC set it, Docker does not
# Settings of the whole machine's network: the kernel shows them in its first network namespace and in no other
# (net/core/sysctl_net_core.c registers net_core_table for init_net only).
FIRST_NETWORK = "/proc/sys/net/core/netdev_budget"
WSL_DISTRO = "env WSL_DISTRO_NAME"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

# Everything `facts` has to read for `recognise`; a folder or a socket counts as "" when it is there.
READ = (MOUNTINFO, CGROUP, VERSION, HOSTS, RESOLV, HOSTNAME, UID_MAP, DOCKERENV, CONTAINERENV, MANAGER)
EXISTS = (
    SERVICE_ACCOUNT,
    "/dev/lxd/sock",
    "/dev/incus/sock",
    "/.singularity.d",
    "/proc/sys/fs/binfmt_misc/WSLInterop",
    FIRST_NETWORK,
)
VARIABLES = ("KUBERNETES_SERVICE_HOST", "container", "WSL_DISTRO_NAME")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was read. In `texts` a missing or unreadable source is None or not there at all."""

    texts: Mapping[str, str | None] = field(default_factory=dict)
    interfaces: tuple[str, ...] | None = None
    addresses: tuple[str, ...] = ()  # our own, without loopback and link-local ones
    gateway: str | None = None
    peered: bool | None = None  # the default interface has its other end in another namespace (veth, macvlan)
    linux: bool = True

    def text(self, source: str) -> str:
        """What that source says; "" where it could not be read."""
        return self.texts.get(source) or ""
