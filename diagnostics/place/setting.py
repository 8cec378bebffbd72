"""The kinds of place a run can be made in, as far as they decide which advice can be followed there."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from diagnostics.place.host_names import VM_FLAVOURS


class Setting(Enum):
    """A kind of place; the value is its name for people."""

    LINUX = "a Linux machine, outside of containers"
    MACOS = "macOS, outside of containers"
    WSL_NAT = "WSL with a network of its own"
    WSL_MIRRORED = "WSL in mirrored mode"
    DOCKER = "a container of Docker Engine"
    DOCKER_HOST = "a container of Docker with host networking"
    DOCKER_NO_NETWORK = "a container of Docker without a network"
    DOCKER_SWARM = "a container of Docker on an overlay network (Swarm)"
    DOCKER_ROOTLESS = "a container of rootless Docker"
    DOCKER_DESKTOP = "a container whose Docker runs in a virtual machine (Docker Desktop, OrbStack, Colima)"
    PODMAN = "a container of Podman"
    PODMAN_HOST = "a container of Podman with host networking"
    PODMAN_NO_NETWORK = "a container of Podman without a network"
    PODMAN_ROOTLESS = "a container of rootless Podman"
    PODMAN_MACHINE = "a container in a Podman machine"
    POD = "a pod of Kubernetes"
    SYSTEM_CONTAINER = "a container with a system of its own (LXC, nspawn)"
    SYSTEM_CONTAINER_HOST = "a container with a system of its own and the host's network (nspawn)"
    UNKNOWN = "a place that is not recognised"


NO_CONTAINER = frozenset({Setting.LINUX, Setting.MACOS, Setting.WSL_NAT, Setting.WSL_MIRRORED})
WSL = frozenset({Setting.WSL_NAT, Setting.WSL_MIRRORED})
DOCKERS = frozenset(setting for setting in Setting if setting.name.startswith("DOCKER"))
PODMANS = frozenset(setting for setting in Setting if setting.name.startswith("PODMAN"))
ROOTLESS = frozenset({Setting.DOCKER_ROOTLESS, Setting.PODMAN_ROOTLESS})
IN_VM = frozenset({Setting.DOCKER_DESKTOP, Setting.PODMAN_MACHINE})
HOST_NETWORK = frozenset({Setting.DOCKER_HOST, Setting.PODMAN_HOST, Setting.SYSTEM_CONTAINER_HOST})
NO_NETWORK = frozenset({Setting.DOCKER_NO_NETWORK, Setting.PODMAN_NO_NETWORK})

SYSTEM_RUNTIMES = ("lxc", "systemd-nspawn")


def here(setting: Setting) -> str:
    """What somebody who is there calls it."""
    if setting is Setting.UNKNOWN:
        return "this place"
    if setting is Setting.POD:
        return "this pod"
    return "this machine" if setting in NO_CONTAINER else "this container"


def setting_of(fact: Callable[[str], str | None]) -> Setting:
    """The kind of place that these facts (by the names of place/facts.py) describe."""
    container, runtime, mode = fact("container"), fact("runtime"), fact("network_mode")
    if container == "no":
        return _of_a_machine(fact("os") or "", runtime, mode)
    if container != "yes":
        return Setting.MACOS if (fact("os") or "").startswith("Darwin") else Setting.UNKNOWN
    if runtime == "kubernetes":
        return Setting.POD
    if runtime in SYSTEM_RUNTIMES:
        return Setting.SYSTEM_CONTAINER_HOST if mode == "host" else Setting.SYSTEM_CONTAINER
    if runtime in ("docker", "podman"):
        return _of_an_engine(fact, Setting.DOCKER if runtime == "docker" else Setting.PODMAN, mode)
    return Setting.UNKNOWN


def _of_a_machine(system: str, runtime: str | None, mode: str | None) -> Setting:
    if runtime == "wsl":
        return Setting.WSL_MIRRORED if mode == "wsl mirrored" else Setting.WSL_NAT
    if system.startswith("Darwin"):
        return Setting.MACOS
    return Setting.LINUX if system.startswith("Linux") else Setting.UNKNOWN


def _of_an_engine(fact: Callable[[str], str | None], plain: Setting, mode: str | None) -> Setting:
    docker = plain is Setting.DOCKER
    if mode == "none":
        return Setting.DOCKER_NO_NETWORK if docker else Setting.PODMAN_NO_NETWORK
    if fact("flavour") in VM_FLAVOURS:
        return Setting.DOCKER_DESKTOP if docker else Setting.PODMAN_MACHINE
    rootless = fact("rootless") == "yes" or mode in ("slirp4netns", "pasta")
    if rootless and (docker or mode != "host"):  # host networking of rootless Docker is that of its own namespace
        return Setting.DOCKER_ROOTLESS if docker else Setting.PODMAN_ROOTLESS
    if mode == "host":
        return Setting.DOCKER_HOST if docker else Setting.PODMAN_HOST
    return Setting.DOCKER_SWARM if mode == "overlay" else plain
