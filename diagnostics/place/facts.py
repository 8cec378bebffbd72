"""What can be known about where we run without asking anybody: files, ioctls, variables, each with its source.

Nothing here resolves a name or sends a packet, nothing raises, and every read is bounded. Of the environment only
VARIABLES are looked at, and none of them can hold a secret; of the files nothing is kept but the values of NAMES.

`root` makes it look at a copy of a machine (/proc, /etc, /sys, /run, markers) instead of the one it runs on.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

from diagnostics.evidence import Fact
from diagnostics.place.file_tree import FileTree
from diagnostics.place.network import is_peered, network_facts
from diagnostics.place.reading import MAX_TEXT, Reading, reading
from diagnostics.place.recognise import recognise
from diagnostics.place.surroundings import CONTAINERENV, DOCKERENV, EXISTS, READ, Surroundings
from diagnostics.place.surroundings import VARIABLES as SIGNS_IN_VARIABLES
from relay.printable import printable

NAMES = {  # the closed set of fact names; lists are joined with ", ", and "" is a list known to be empty
    "os": "kernel and release, and the distribution where there is one",
    "python": "implementation and version that runs this",
    "container": "yes, no; unknown where the signs contradict each other",
    "runtime": "docker, podman, kubernetes, containerd, lxc, ..., wsl; none on a plain machine",
    "flavour": "the machine under it: docker desktop, orbstack, colima, lima, rancher, podman machine, wsl2, wsl1, "
    "k3d, k3s, minikube, linux engine; none on a plain machine",
    "network_mode": "host (also where there is no container), none, default bridge, user network, overlay (that of a "
    "Docker Swarm), kubernetes, pasta, slirp4netns, wsl nat, wsl mirrored",
    "rootless": "whether the engine of this container runs without root: yes, no",
    "container_id": "the first twelve digits of this container's id",
    "own_addresses": "our addresses without loopback and link-local ones, those of the default route's interface first",
    "interfaces": "network interfaces of our namespace",
    "mtu": "largest packet of the default route's interface, in bytes",
    "default_gateway": "next hop of the default routes, IPv4 first, without link-local ones",
    "resolver": "name servers of resolv.conf, in order",
    "hosts_entries": "name=address of /etc/hosts for the names by which containers know their host",
    "docker0": "address of Docker's default bridge, where it can be seen",
    "unprivileged": "yes when we are not root",
    "env.IB_HOST": "variable IB_HOST",
    "env.IB_PORT": "variable IB_PORT",
    "env.IB_CLIENT_ID": "variable IB_CLIENT_ID",
    "env.TRADING_MODE": "variable TRADING_MODE of the gateway images: live or paper",
}
VARIABLES = tuple(name.removeprefix("env.") for name in NAMES if name.startswith("env."))
MAX_VALUE = 200  # characters of a variable

ROOT = "/"  # of the machine to look at


def look_around(
    root: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[Fact, ...]:
    """Every fact of NAMES in its order, variables only if set. Never raises. `root` is ROOT if it is not given."""
    tree = FileTree(os.fspath(root or ROOT))
    readings = {"os": _os(tree), "python": _python(), "unprivileged": _unprivileged(), **network_facts(tree)}
    readings |= _place(tree, environ, readings)
    readings |= {f"env.{name}": _variable(environ[name], name) for name in VARIABLES if environ.get(name)}
    ordered = [(name, readings[name]) for name in NAMES if name in readings]
    return tuple(Fact(name, fact.value, fact.source, fact.confidence) for name, fact in ordered)


def _os(tree: FileTree) -> Reading:
    kernel, release = tree.read("/proc/sys/kernel/ostype"), tree.read("/proc/sys/kernel/osrelease")
    source = "/proc/sys/kernel"
    if not (kernel and release) and tree.is_this_machine:
        if hasattr(os, "uname"):
            kernel, release, source = os.uname().sysname, os.uname().release, "uname"
        else:
            kernel, release, source = sys.platform, "", "sys"
    if not kernel:
        return reading(None, source)
    name = f"{kernel.strip()} {(release or '').strip()}".strip()[:100]
    pretty = re.search(r'^PRETTY_NAME="?([^"\n]{1,80})"?$', tree.read("/etc/os-release") or "", re.MULTILINE)
    return reading(f"{name} ({pretty[1]})", f"{source}, /etc/os-release") if pretty else reading(name, source)


def _python() -> Reading:
    return reading(f"{sys.implementation.name} {'.'.join(map(str, sys.version_info[:3]))}", "sys")


def _unprivileged() -> Reading:
    if not hasattr(os, "geteuid"):
        return reading(None, "geteuid")
    return reading("no" if os.geteuid() == 0 else "yes", "geteuid")


def _variable(value: str, name: str) -> Reading:
    """Shortened, and without what stands before an @: somebody may have put a URL with a password into IB_HOST."""
    _, sign, after = value.rpartition("@")
    return reading(f"***@{after}"[:MAX_VALUE] if sign else after[:MAX_VALUE], name)


def _place(tree: FileTree, environ: Mapping[str, str], network: Mapping[str, Reading]) -> dict[str, Reading]:
    texts = {source: tree.read(source) for source in READ}
    texts |= {source: "" if tree.exists(source) else None for source in EXISTS}
    texts |= {f"env {name}": printable(environ[name], MAX_TEXT) for name in SIGNS_IN_VARIABLES if environ.get(name)}
    for marker in (DOCKERENV, CONTAINERENV):  # there counts, readable or not
        texts[marker] = "" if tree.exists(marker) else None
    interfaces, own, gateway = (network[name].value for name in ("interfaces", "own_addresses", "default_gateway"))
    place = recognise(
        Surroundings(
            texts,
            interfaces=None if interfaces is None else tuple(filter(None, interfaces.split(", "))),
            addresses=tuple(own.split(", ")) if own else (),
            gateway=gateway.partition(", ")[0] if gateway else None,
            peered=is_peered(tree),
            linux=not tree.is_this_machine or sys.platform.startswith("linux"),
        )
    )
    return {
        "container": place.container,
        "runtime": place.runtime,
        "flavour": place.flavour,
        "network_mode": place.network_mode,
        "rootless": place.rootless,
        "container_id": place.container_id,
    }
