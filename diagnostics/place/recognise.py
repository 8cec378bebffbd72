"""Where a process runs, recognised from texts: container or not, whose, on what kind of machine, with which network.

Pure: `facts` reads the files, this file only looks at what they say. Nothing here is proof, so every Reading carries
how sure it is. Three traps shaped the tables:
  - a cgroup v2 container with a namespace of its own sees "0::/" in /proc/1/cgroup, like a host: the bind mounts of
    /etc/hosts and /etc/resolv.conf tell more;
  - /.dockerenv outlives its container when an image becomes a virtual machine: without those mounts it is litter;
  - the host of containers has all their paths in its own mount table: only what is mounted at a few places counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from diagnostics.place.network_mode import network_mode
from diagnostics.place.reading import Reading
from diagnostics.place.surroundings import (
    CGROUP,
    CONTAINERENV,
    DECLARED,
    DOCKERENV,
    HOSTNAME,
    HOSTS,
    KUBERNETES,
    MANAGER,
    MOUNTINFO,
    RESOLV,
    SERVICE_ACCOUNT,
    UID_MAP,
    VERSION,
    WSL_DISTRO,
    Surroundings,
)


@dataclass(frozen=True, slots=True)
class Place:
    """What is recognised of a place; a value is None where the signs do not tell."""

    container: Reading
    runtime: Reading
    flavour: Reading
    network_mode: Reading
    rootless: Reading
    container_id: Reading


def recognise(surroundings: Surroundings) -> Place:
    """What these texts tell about the place they were read in."""
    surroundings = replace(
        surroundings, texts={**surroundings.texts, MOUNTINFO: own_mounts(surroundings.text(MOUNTINFO)) or None}
    )
    runtime = _runtime(surroundings)
    container = _container(surroundings, runtime)
    return Place(
        container,
        runtime if runtime.value or container.value == "yes" else replace(container, value=container.value and "none"),
        _flavour(surroundings, container, runtime),
        network_mode(surroundings, container, runtime),
        _rootless(surroundings, container),
        _container_id(surroundings, container),
    )


# Mounts

OF_A_CONTAINER = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv", "/dev/termination-log")
MAX_PATH = 4096  # PATH_MAX
MAX_MOUNTS = 16  # at these places; more only by mounting one over the other
LAYERED = ("overlay", "aufs", "fuse.fuse-overlayfs", "fuse-overlayfs")


def own_mounts(mountinfo: str) -> str:
    """Of a mountinfo, one line "mount point, root within its file system, type" for / and for OF_A_CONTAINER.

    A line is "id parent major:minor root point options [tags] - type source options" (proc(5)).
    """
    mounts = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) > 5 and right and fields[4] in ("/", *OF_A_CONTAINER):
            mounts.append(f"{fields[4]} {fields[3][:MAX_PATH]} {right.split(' ')[0][:MAX_PATH]}")
    return "\n".join(mounts[:MAX_MOUNTS])


def _has_container_files(surroundings: Surroundings) -> bool:
    return any(line.startswith(OF_A_CONTAINER) for line in surroundings.text(MOUNTINFO).splitlines())


def _is_layered(surroundings: Surroundings) -> bool:
    lines = surroundings.text(MOUNTINFO).splitlines()
    return any(line.startswith("/ ") and line.endswith(LAYERED) for line in lines)


# Runtime

ID = "[0-9a-f]{64}"
SIGNS = (  # (runtime, where, what it says there, confidence); the first that matches decides
    ("kubernetes", KUBERNETES, "", "certain"),
    ("kubernetes", SERVICE_ACCOUNT, "", "certain"),
    ("kubernetes", MOUNTINFO, r"/pods/[0-9a-f-]{32,36}/(etc-hosts|containers/)", "certain"),
    ("kubernetes", HOSTS, r"^# Kubernetes-managed hosts file", "certain"),
    ("kubernetes", CGROUP, r"[:/]kubepods", "likely"),
    ("podman", MOUNTINFO, rf"^/run/\.containerenv |/(overlay|vfs|btrfs|zfs)-containers/{ID}/userdata/", "certain"),
    ("podman", DECLARED, r"^podman$", "certain"),
    ("podman", CGROUP, rf"/libpod-({ID}|payload)", "likely"),
    ("containerd", MOUNTINFO, rf"/nerdctl/[^ ]*/({ID}|etchosts)", "certain"),
    ("docker", MOUNTINFO, rf"/containers/{ID}/(hosts|resolv\.conf|hostname) |/buildkit/executor/", "certain"),
    ("docker", CGROUP, rf"/docker[/-]{ID}", "certain"),
    ("lxc", MANAGER, r"^lxc", "certain"),
    ("lxc", DECLARED, r"^lxc", "certain"),
    ("lxc", "/dev/lxd/sock", "", "certain"),
    ("lxc", "/dev/incus/sock", "", "certain"),
    ("lxc", CGROUP, r":/lxc([./]|$)", "likely"),
    ("systemd-nspawn", MANAGER, r"^systemd-nspawn", "certain"),
    ("apptainer", "/.singularity.d", "", "likely"),
)
LITTER = ((CONTAINERENV, "podman"), (DOCKERENV, "docker"))  # files that prove nothing alone
WSL = re.compile(r"microsoft", re.IGNORECASE)


def _runtime(surroundings: Surroundings) -> Reading:
    for runtime, source, pattern, confidence in SIGNS:
        text = surroundings.texts.get(source)
        if text is not None and re.search(pattern, text, re.MULTILINE):
            return Reading(runtime, source, confidence)
    for source, runtime in LITTER:
        if surroundings.texts.get(source) is not None and not _is_litter(surroundings):
            return Reading(runtime, source, "certain" if surroundings.texts.get(MOUNTINFO) else "likely")
    declared = surroundings.text(MANAGER) or surroundings.text(DECLARED)
    if re.fullmatch(r"[a-z][a-z0-9-]{1,30}\n?", declared) and declared.strip() not in ("wsl", "oci"):
        return Reading(declared.strip(), MANAGER if surroundings.text(MANAGER) else DECLARED, "likely")
    if WSL.search(surroundings.text(VERSION)) and not _has_container_files(surroundings):
        return Reading("wsl", VERSION, "certain" if surroundings.texts.get(WSL_DISTRO) else "likely")
    return Reading(None, MOUNTINFO)


def _is_litter(surroundings: Surroundings) -> bool:
    """A container's file in a tree whose mounts, as far as they can be read, are those of a machine."""
    return (
        bool(surroundings.texts.get(MOUNTINFO))
        and not _has_container_files(surroundings)
        and not _is_layered(surroundings)
    )


def _container(surroundings: Surroundings, runtime: Reading) -> Reading:
    if runtime.value == "wsl":
        return Reading("no", runtime.source, runtime.confidence)
    if runtime.value:
        return Reading("yes", runtime.source, runtime.confidence)
    if _has_container_files(surroundings):
        return Reading("yes", f"{MOUNTINFO}: files of /etc are mounted one by one", "likely")
    litter = next((source for source, _ in LITTER if surroundings.texts.get(source) is not None), None)
    if litter:
        return Reading("no", f"{litter} is there, but {MOUNTINFO} is that of a machine", "likely")
    if not surroundings.linux:
        return Reading("no", "the operating system", "likely")
    if _is_layered(surroundings) or not surroundings.texts.get(MOUNTINFO):
        return Reading(None, MOUNTINFO)
    return Reading("no", MOUNTINFO, "likely")


# Flavour

FLAVOURS = (  # (flavour, where, what it says there, confidence): what gives the machine away, container or not
    ("orbstack", VERSION, r"orbstack", "certain"),
    ("docker desktop", VERSION, r"linuxkit", "likely"),
    ("rancher", HOSTNAME, r"^lima-rancher-desktop", "certain"),
    ("colima", HOSTNAME, r"^colima", "likely"),
    ("lima", HOSTNAME, r"^lima-", "likely"),
    ("rancher", HOSTS, r"^[^#\n]*\shost\.rancher-desktop\.internal\b", "likely"),
    ("colima", HOSTS, r"^127\.[0-9.]+\s+colima\b", "likely"),
    ("lima", HOSTS, r"^192\.168\.5\.2\s[^#\n]*\bhost\.(lima|docker)\.internal\b", "likely"),
    ("podman machine", HOSTS, r"^192\.168\.127\.254\s", "likely"),
)
FLAVOURS_INSIDE = (  # only believed inside a container: a home network may have these numbers, too
    ("docker desktop", RESOLV, r"\b192\.168\.65\.\d", "likely"),  # nameserver, or the engine's "# ExtServers"
    ("docker desktop", HOSTS, r"^192\.168\.65\.\d+\s[^#\n]*\.docker\.internal\b", "likely"),
    ("orbstack", RESOLV, r"\b(0\.250\.250|198\.19\.248)\.\d", "likely"),
    ("podman machine", RESOLV, r"\b192\.168\.127\.1\b", "likely"),
    ("lima", RESOLV, r"\b192\.168\.5\.[1-3]\b", "likely"),  # also Colima and Rancher Desktop, which are built on Lima
    ("k3d", HOSTS, r"^[^#\n]*\shost\.k3d\.internal\b", "likely"),
    ("minikube", HOSTS, r"^[^#\n]*\shost\.minikube\.internal\b", "likely"),
    ("k3s", RESOLV, r"^nameserver\s+10\.43\.0\.10\b", "hint"),  # its default service network; k3d is k3s in Docker
)
WSLS = (("wsl2", VERSION, r"WSL2|microsoft-standard", "certain"), ("wsl1", VERSION, r"Microsoft", "likely"))


def _flavour(surroundings: Surroundings, container: Reading, runtime: Reading) -> Reading:
    inside = FLAVOURS_INSIDE if container.value != "no" else ()
    for flavour, source, pattern, confidence in (*FLAVOURS, *inside, *WSLS):
        if re.search(pattern, surroundings.text(source), re.MULTILINE):
            return Reading(flavour, source, confidence)
    if runtime.value in ("docker", "podman") and surroundings.texts.get(VERSION):
        return Reading("linux engine", f"no trace of a desktop's machine in {VERSION}, {RESOLV}, {HOSTS}", "hint")
    if container.value == "no":
        return Reading("none", container.source, container.confidence)
    return Reading(None, VERSION)


# User namespace, id


def _rootless(surroundings: Surroundings, container: Reading) -> Reading:
    """One line is the whole range or a plain shift (userns-remap); a rootless engine has to piece it together."""
    lines = [line.split() for line in surroundings.text(UID_MAP).splitlines()]
    if container.value != "yes" or not lines or not all(len(line) == 3 for line in lines):
        return Reading(None, UID_MAP)
    return Reading("yes" if len(lines) > 1 else "no", UID_MAP, "likely")


def _container_id(surroundings: Surroundings, container: Reading) -> Reading:
    """The twelve digits that `docker ps` shows."""
    if container.value != "yes":
        return Reading(None, MOUNTINFO)
    for source in (MOUNTINFO, CGROUP):
        match = re.search(rf"[/-]({ID})\b", surroundings.text(source))
        if match:
            return Reading(match[1][:12], source)
    name = surroundings.text(HOSTNAME).strip()
    return Reading(name, HOSTNAME, "likely") if re.fullmatch("[0-9a-f]{12}", name) else Reading(None, MOUNTINFO)
