"""How a place is connected, recognised from texts and interfaces: bridge, host networking, pasta, none, ..."""

from __future__ import annotations

import re

from diagnostics.place.netfiles import host_lines, nameservers
from diagnostics.place.reading import Reading
from diagnostics.place.surroundings import HOSTNAME, HOSTS, RESOLV, VERSION, Surroundings

LOOPBACK = ("lo", "lo0")
# Devices the kernel makes by itself in a new namespace once their module is loaded, or on a machine without any use
IDLE = re.compile(r"(tunl|sit|ip6tnl|gre|gretap|erspan|ip_vti|ip6_vti|ip6gre|dummy|ifb|bond|teql)0|ifb1")
# Ends of containers' cables: who sees them is on the host's side, unless it runs containers itself
HOST_SIDE = re.compile(
    r"docker0|docker_gwbridge|br-[0-9a-f]{12}|veth[0-9a-f]{6,}|podman\d+|cni-?podman\d+|"
    r"cni\d+|flannel\..*|cali.{5,}|kube-ipvs0"
)


def network_mode(here: Surroundings, container: Reading, runtime: Reading) -> Reading:
    """The network of this place; what `container` and `runtime` say of it is known already."""
    if here.interfaces is None:
        return Reading(None, "/proc/net/dev")
    if not here.addresses and all(name in LOOPBACK or IDLE.fullmatch(name) for name in here.interfaces):
        return Reading("none", "/proc/net/dev: nothing but loopback")
    if container.value is None:
        return Reading(None, container.source)
    if runtime.value == "wsl":
        return _wsl_network(here)
    if container.value == "no":
        return Reading("host", container.source, container.confidence)
    if runtime.value == "kubernetes":
        return _pod_network(here)
    return _container_network(here, runtime)


def _wsl_network(here: Surroundings) -> Reading:
    if "loopback0" in (here.interfaces or ()):
        return Reading("wsl mirrored", "/proc/net/dev: loopback0", "likely")
    if "WSL2" not in here.text(VERSION) and "microsoft-standard" not in here.text(VERSION):
        return Reading("host", VERSION, "likely")  # WSL 1 has no network of its own
    return Reading("wsl nat", "/proc/net/dev: no loopback0", "likely")


def _pod_network(here: Surroundings) -> Reading:
    if re.search(r"^# Kubernetes-managed hosts file \(host network\)", here.text(HOSTS), re.MULTILINE):
        return Reading("host", HOSTS)
    end = _host_side(here)
    return Reading("host", f"/proc/net/dev: {end}", "likely") if end else Reading("kubernetes", "the runtime", "likely")


def _container_network(here: Surroundings, runtime: Reading) -> Reading:
    servers = nameservers(here.text(RESOLV))
    named = _is_named_in_hosts(here)
    end = _host_side(here)
    if end and (not named or here.peered is False):  # one that runs containers itself is named, and has its own cable
        return Reading("host", f"/proc/net/dev: {end}", "likely")
    if runtime.value == "docker" and "127.0.0.11" in servers:
        return Reading("user network", f"{RESOLV}: Docker's own name server")
    if runtime.value == "podman":
        return _podman_network(here, servers, named)
    if runtime.value == "docker" and here.peered is False:
        return Reading("host", "/sys/class/net: no peer in another namespace", "likely")
    if runtime.value == "docker" and (named or here.peered):
        usual = any(address.startswith("172.17.") for address in here.addresses)
        return Reading("default bridge", f"{RESOLV}, {HOSTS}", "certain" if usual and named else "likely")
    return Reading(None, "/proc/net/dev")


def _podman_network(here: Surroundings, servers: tuple[str, ...], named: bool) -> Reading:
    if "10.0.2.100" in here.addresses and here.gateway == "10.0.2.2":
        return Reading("slirp4netns", "/proc/net/route", "likely")
    if here.peered:  # aardvark-dns answers at the gateway of a network that was made by name
        mode = "user network" if here.gateway in servers else "default bridge"
        return Reading(mode, f"/sys/class/net, {RESOLV}", "likely")
    if "169.254.1." in here.text(RESOLV) or (named and "169.254.1.2" in here.text(HOSTS)):
        return Reading("pasta", f"{HOSTS}, {RESOLV}", "likely")
    if here.peered is False:
        mode = "pasta" if named else "host"
        return Reading(mode, f"/sys/class/net, {HOSTS}", "hint")
    return Reading(None, "/sys/class/net")


def _host_side(here: Surroundings) -> str | None:
    return next((name for name in here.interfaces or () if HOST_SIDE.fullmatch(name)), None)


def _is_named_in_hosts(here: Surroundings) -> bool:
    """Docker and Podman write "own address, own name" into /etc/hosts, except with host networking and none."""
    name = here.text(HOSTNAME).strip()
    return any(address in here.addresses and name in names for address, names in host_lines(here.text(HOSTS)))
