"""Where a process runs, recognised from texts: container or not, whose, on what kind of machine, with which network.

Pure: `facts` reads the files, this file only looks at what they say. Nothing here is proof, so every Guess carries how
sure it is. Three traps shaped the tables:
  - a cgroup v2 container with a namespace of its own sees "0::/" in /proc/1/cgroup, like a host: the bind mounts of
    /etc/hosts and /etc/resolv.conf tell more;
  - /.dockerenv outlives its container when an image becomes a virtual machine: without those mounts it is litter;
  - the host of containers has all their paths in its own mount table: only what is mounted at a few places counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from diagnostics.place.netfiles import host_lines, nameservers

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
WSL_DISTRO = "env WSL_DISTRO_NAME"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

# Everything `facts` has to read for this file; a folder or a socket counts as "" when it is there.
READ = (MOUNTINFO, CGROUP, VERSION, HOSTS, RESOLV, HOSTNAME, UID_MAP, DOCKERENV, CONTAINERENV, MANAGER)
EXISTS = (SERVICE_ACCOUNT, "/dev/lxd/sock", "/dev/incus/sock", "/.singularity.d", "/proc/sys/fs/binfmt_misc/WSLInterop")
VARIABLES = ("KUBERNETES_SERVICE_HOST", "container", "WSL_DISTRO_NAME")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read. In `texts` a missing or unreadable source is None or not there at all."""

    texts: Mapping[str, str | None] = field(default_factory=dict)
    interfaces: tuple[str, ...] | None = None
    addresses: tuple[str, ...] = ()  # our own, without loopback and link-local ones
    gateway: str | None = None
    peered: bool | None = None  # the default interface has its other end in another namespace (veth, macvlan)
    linux: bool = True

    def text(self, source: str) -> str:
        return self.texts.get(source) or ""


@dataclass(frozen=True, slots=True)
class Guess:
    value: str | None
    source: str
    confidence: str = "certain"


@dataclass(frozen=True, slots=True)
class Place:
    container: Guess
    runtime: Guess
    flavour: Guess
    network_mode: Guess
    rootless: Guess
    container_id: Guess


def recognise(seen: Seen) -> Place:
    seen = replace(seen, texts={**seen.texts, MOUNTINFO: own_mounts(seen.text(MOUNTINFO)) or None})
    runtime = _runtime(seen)
    container = _container(seen, runtime)
    return Place(
        container,
        runtime if runtime.value or container.value == "yes" else replace(container, value=container.value and "none"),
        _flavour(seen, container, runtime),
        _network_mode(seen, container, runtime),
        _rootless(seen, container),
        _container_id(seen, container),
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
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) > 5 and right and fields[4] in ("/", *OF_A_CONTAINER):
            found.append(f"{fields[4]} {fields[3][:MAX_PATH]} {right.split(' ')[0][:MAX_PATH]}")
    return "\n".join(found[:MAX_MOUNTS])


def _has_container_files(seen: Seen) -> bool:
    return any(line.startswith(OF_A_CONTAINER) for line in seen.text(MOUNTINFO).splitlines())


def _is_layered(seen: Seen) -> bool:
    lines = seen.text(MOUNTINFO).splitlines()
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


def _runtime(seen: Seen) -> Guess:
    for runtime, source, pattern, confidence in SIGNS:
        text = seen.texts.get(source)
        if text is not None and re.search(pattern, text, re.MULTILINE):
            return Guess(runtime, source, confidence)
    for source, runtime in LITTER:
        if seen.texts.get(source) is not None and not _is_litter(seen):
            return Guess(runtime, source, "certain" if seen.texts.get(MOUNTINFO) else "likely")
    declared = seen.text(MANAGER) or seen.text(DECLARED)
    if re.fullmatch(r"[a-z][a-z0-9-]{1,30}\n?", declared) and declared.strip() not in ("wsl", "oci"):
        return Guess(declared.strip(), MANAGER if seen.text(MANAGER) else DECLARED, "likely")
    if WSL.search(seen.text(VERSION)) and not _has_container_files(seen):
        return Guess("wsl", VERSION, "certain" if seen.texts.get(WSL_DISTRO) else "likely")
    return Guess(None, MOUNTINFO)


def _is_litter(seen: Seen) -> bool:
    """A container's file in a tree whose mounts, as far as they can be read, are those of a machine."""
    return bool(seen.texts.get(MOUNTINFO)) and not _has_container_files(seen) and not _is_layered(seen)


def _container(seen: Seen, runtime: Guess) -> Guess:
    if runtime.value == "wsl":
        return Guess("no", runtime.source, runtime.confidence)
    if runtime.value:
        return Guess("yes", runtime.source, runtime.confidence)
    if _has_container_files(seen):
        return Guess("yes", f"{MOUNTINFO}: files of /etc are mounted one by one", "likely")
    litter = next((source for source, _ in LITTER if seen.texts.get(source) is not None), None)
    if litter:
        return Guess("no", f"{litter} is there, but {MOUNTINFO} is that of a machine", "likely")
    if not seen.linux:
        return Guess("no", "the operating system", "likely")
    if _is_layered(seen) or not seen.texts.get(MOUNTINFO):
        return Guess(None, MOUNTINFO)
    return Guess("no", MOUNTINFO, "likely")


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


def _flavour(seen: Seen, container: Guess, runtime: Guess) -> Guess:
    inside = FLAVOURS_INSIDE if container.value != "no" else ()
    for flavour, source, pattern, confidence in (*FLAVOURS, *inside, *WSLS):
        if re.search(pattern, seen.text(source), re.MULTILINE):
            return Guess(flavour, source, confidence)
    if runtime.value in ("docker", "podman") and seen.texts.get(VERSION):
        return Guess("linux engine", f"no trace of a desktop's machine in {VERSION}, {RESOLV}, {HOSTS}", "hint")
    if container.value == "no":
        return Guess("none", container.source, container.confidence)
    return Guess(None, VERSION)


# Network

LOOPBACK = ("lo", "lo0")
# Devices the kernel makes by itself in a new namespace once their module is loaded, or on a machine without any use
IDLE = re.compile(r"(tunl|sit|ip6tnl|gre|gretap|erspan|ip_vti|ip6_vti|ip6gre|dummy|ifb|bond|teql)0|ifb1")
# Ends of containers' cables: who sees them is on the host's side, unless it runs containers itself
HOST_SIDE = re.compile(
    r"docker0|docker_gwbridge|br-[0-9a-f]{12}|veth[0-9a-f]{6,}|podman\d+|cni-?podman\d+|"
    r"cni\d+|flannel\..*|cali.{5,}|kube-ipvs0"
)


def _network_mode(seen: Seen, container: Guess, runtime: Guess) -> Guess:
    if seen.interfaces is None:
        return Guess(None, "/proc/net/dev")
    if not seen.addresses and all(name in LOOPBACK or IDLE.fullmatch(name) for name in seen.interfaces):
        return Guess("none", "/proc/net/dev: nothing but loopback")
    if container.value is None:
        return Guess(None, container.source)
    if runtime.value == "wsl":
        return _wsl_network(seen)
    if container.value == "no":
        return Guess("host", container.source, container.confidence)
    if runtime.value == "kubernetes":
        return _pod_network(seen)
    return _container_network(seen, runtime)


def _wsl_network(seen: Seen) -> Guess:
    if "loopback0" in (seen.interfaces or ()):
        return Guess("wsl mirrored", "/proc/net/dev: loopback0", "likely")
    if "WSL2" not in seen.text(VERSION) and "microsoft-standard" not in seen.text(VERSION):
        return Guess("host", VERSION, "likely")  # WSL 1 has no network of its own
    return Guess("wsl nat", "/proc/net/dev: no loopback0", "likely")


def _pod_network(seen: Seen) -> Guess:
    if re.search(r"^# Kubernetes-managed hosts file \(host network\)", seen.text(HOSTS), re.MULTILINE):
        return Guess("host", HOSTS)
    end = _host_side(seen)
    return Guess("host", f"/proc/net/dev: {end}", "likely") if end else Guess("kubernetes", "the runtime", "likely")


def _container_network(seen: Seen, runtime: Guess) -> Guess:
    servers = nameservers(seen.text(RESOLV))
    named = _is_named_in_hosts(seen)
    end = _host_side(seen)
    if end and (
        not named or seen.peered is False
    ):  # a container that runs containers is named, and has a cable of its own
        return Guess("host", f"/proc/net/dev: {end}", "likely")
    if runtime.value == "docker" and "127.0.0.11" in servers:
        return Guess("user network", f"{RESOLV}: Docker's own name server")
    if runtime.value == "podman":
        return _podman_network(seen, servers, named)
    if runtime.value == "docker" and seen.peered is False:
        return Guess("host", "/sys/class/net: no peer in another namespace", "likely")
    if runtime.value == "docker" and (named or seen.peered):
        usual = any(one.startswith("172.17.") for one in seen.addresses)
        return Guess("default bridge", f"{RESOLV}, {HOSTS}", "certain" if usual and named else "likely")
    return Guess(None, "/proc/net/dev")


def _podman_network(seen: Seen, servers: tuple[str, ...], named: bool) -> Guess:
    if "10.0.2.100" in seen.addresses and seen.gateway == "10.0.2.2":
        return Guess("slirp4netns", "/proc/net/route", "likely")
    if seen.peered:  # aardvark-dns answers at the gateway of a network that was made by name
        mode = "user network" if seen.gateway in servers else "default bridge"
        return Guess(mode, f"/sys/class/net, {RESOLV}", "likely")
    if "169.254.1." in seen.text(RESOLV) or (named and "169.254.1.2" in seen.text(HOSTS)):
        return Guess("pasta", f"{HOSTS}, {RESOLV}", "likely")
    if seen.peered is False:
        mode = "pasta" if named else "host"
        return Guess(mode, f"/sys/class/net, {HOSTS}", "hint")
    return Guess(None, "/sys/class/net")


def _host_side(seen: Seen) -> str | None:
    return next((name for name in seen.interfaces or () if HOST_SIDE.fullmatch(name)), None)


def _is_named_in_hosts(seen: Seen) -> bool:
    """Docker and Podman write "own address, own name" into /etc/hosts, except with host networking and none."""
    name = seen.text(HOSTNAME).strip()
    return any(address in seen.addresses and name in names for address, names in host_lines(seen.text(HOSTS)))


# User namespace, id


def _rootless(seen: Seen, container: Guess) -> Guess:
    """One line is the whole range or a plain shift (userns-remap); a rootless engine has to piece it together."""
    lines = [line.split() for line in seen.text(UID_MAP).splitlines()]
    if container.value != "yes" or not lines or not all(len(line) == 3 for line in lines):
        return Guess(None, UID_MAP)
    return Guess("yes" if len(lines) > 1 else "no", UID_MAP, "likely")


def _container_id(seen: Seen, container: Guess) -> Guess:
    """The twelve digits that `docker ps` shows."""
    if container.value != "yes":
        return Guess(None, MOUNTINFO)
    for source in (MOUNTINFO, CGROUP):
        found = re.search(rf"[/-]({ID})\b", seen.text(source))
        if found:
            return Guess(found[1][:12], source)
    name = seen.text(HOSTNAME).strip()
    return Guess(name, HOSTNAME, "likely") if re.fullmatch("[0-9a-f]{12}", name) else Guess(None, MOUNTINFO)
