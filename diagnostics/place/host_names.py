"""The names by which runtimes let containers find their host, and which runtimes have a virtual machine between."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostName:
    """A name by which some runtime lets containers find their host."""

    whose: str
    known_to: frozenset[str]  # flavours and runtimes that define it, or commonly have it


def _host_name(whose: str, *known_to: str) -> HostName:
    return HostName(whose, frozenset(known_to))


HOST_NAMES = {
    "host.docker.internal": _host_name(
        "Docker's name for its host",
        "docker",
        "podman",
        "docker desktop",
        "orbstack",
        "colima",
        "rancher",
        "podman machine",
    ),
    "gateway.docker.internal": _host_name("Docker Desktop's name for its gateway", "docker desktop"),
    "host.containers.internal": _host_name("Podman's name for its host", "podman", "podman machine"),
    "host.lima.internal": _host_name("Lima's and Colima's name for the Mac", "lima", "colima", "rancher"),
    "host.orb.internal": _host_name("OrbStack's name for the Mac", "orbstack"),
    "host.k3d.internal": _host_name("k3d's name for its host", "k3d", "k3s", "kubernetes"),
    "host.minikube.internal": _host_name("minikube's name for its host", "minikube", "kubernetes"),
    "host.rancher-desktop.internal": _host_name("Rancher Desktop's name for its host", "rancher"),
}
# Flavours whose containers run in a virtual machine: its bridge and gateway are the machine's, not the Mac's or
# Windows'.
VM_FLAVOURS = frozenset({"docker desktop", "orbstack", "lima", "colima", "rancher", "podman machine"})
