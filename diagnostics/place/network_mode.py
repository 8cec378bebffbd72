"""How a place is connected, recognised from texts and interfaces: bridge, host networking, pasta, none, ..."""

from __future__ import annotations

import re

from diagnostics.place.netfiles import host_lines, nameservers
from diagnostics.place.reading import Reading
from diagnostics.place.surroundings import FIRST_NETWORK, HOSTNAME, HOSTS, RESOLV, VERSION, Surroundings

LOOPBACK = ("lo", "lo0")
# Devices the kernel makes by itself in a new namespace once their module is loaded, or on a machine without any use
IDLE = re.compile(r"(tunl|sit|ip6tnl|gre|gretap|erspan|ip_vti|ip6_vti|ip6gre|dummy|ifb|bond|teql)0|ifb1")
# Ends of containers' cables: who sees them is on the host's side, unless it runs containers itself
# What nspawn gives a container with a network of its own (systemd.nspawn(5): VirtualEthernet=, MACVLAN=, IPVLAN=)
OF_NSPAWN = re.compile(r"host0|(mv|iv)-.+")
HOST_SIDE = re.compile(
    r"docker0|docker_gwbridge|br-[0-9a-f]{12}|veth[0-9a-f]{6,}|podman\d+|cni-?podman\d+|"
    r"cni\d+|flannel\..*|cali.{5,}|kube-ipvs0"
)


def network_mode(surroundings: Surroundings, container: Reading, runtime: Reading) -> Reading:
    """The network of this place; what `container` and `runtime` say of it is known already."""
    if surroundings.interfaces is None:
        return Reading(None, "/proc/net/dev")
    if surroundings.texts.get(FIRST_NETWORK) is not None and runtime.value != "wsl":
        return Reading("host", FIRST_NETWORK)
    if not surroundings.addresses and all(name in LOOPBACK or IDLE.fullmatch(name) for name in surroundings.interfaces):
        return Reading("none", "/proc/net/dev: nothing but loopback")
    if container.value is None:
        return Reading(None, container.source)
    if runtime.value == "wsl":
        return _wsl_network(surroundings)
    if container.value == "no":
        return Reading("host", container.source, container.confidence)
    if runtime.value == "kubernetes":
        return _pod_network(surroundings)
    return _container_network(surroundings, runtime)


def _wsl_network(surroundings: Surroundings) -> Reading:
    if "loopback0" in (surroundings.interfaces or ()):
        return Reading("wsl mirrored", "/proc/net/dev: loopback0", "likely")
    if "WSL2" not in surroundings.text(VERSION) and "microsoft-standard" not in surroundings.text(VERSION):
        return Reading("host", VERSION, "likely")  # WSL 1 has no network of its own
    return Reading("wsl nat", "/proc/net/dev: no loopback0", "likely")


def _pod_network(surroundings: Surroundings) -> Reading:
    if re.search(r"^# Kubernetes-managed hosts file \(host network\)", surroundings.text(HOSTS), re.MULTILINE):
        return Reading("host", HOSTS)
    end = _host_side(surroundings)
    return Reading("host", f"/proc/net/dev: {end}", "likely") if end else Reading("kubernetes", "the runtime", "likely")


def _container_network(surroundings: Surroundings, runtime: Reading) -> Reading:
    servers = nameservers(surroundings.text(RESOLV))
    named = _is_named_in_hosts(surroundings)
    end = _host_side(surroundings)
    runs_containers = named and surroundings.peered is not False  # then it is named, and has its own cable
    if end and not runs_containers:
        return Reading("host", f"/proc/net/dev: {end}", "likely")
    if runtime.value == "docker" and _is_by_docker_gwbridge(surroundings):
        return Reading("overlay", f"{HOSTS}: our name is not at the address of the default route", "likely")
    if runtime.value == "systemd-nspawn" and not any(map(OF_NSPAWN.fullmatch, surroundings.interfaces or ())):
        return Reading("host", "/proc/net/dev: no interface that nspawn makes", "likely")
    if runtime.value == "docker" and "127.0.0.11" in servers:
        return Reading("user network", f"{RESOLV}: Docker's own name server")
    if runtime.value == "podman":
        return _podman_network(surroundings, servers, named)
    if runtime.value == "docker" and surroundings.peered is False:
        return Reading("host", "/sys/class/net: no peer in another namespace", "likely")
    if runtime.value == "docker" and (named or surroundings.peered):
        usual = any(address.startswith("172.17.") for address in surroundings.addresses)
        return Reading("default bridge", f"{RESOLV}, {HOSTS}", "certain" if usual and named else "likely")
    return Reading(None, "/proc/net/dev")


def _podman_network(surroundings: Surroundings, servers: tuple[str, ...], named: bool) -> Reading:
    if "10.0.2.100" in surroundings.addresses and surroundings.gateway == "10.0.2.2":
        return Reading("slirp4netns", "/proc/net/route", "likely")
    if not named and _has_the_host_s_address(surroundings):
        return Reading("host", HOSTS, "likely")
    if surroundings.peered:  # aardvark-dns answers at the gateway of a network that was made by name
        mode = "user network" if surroundings.gateway in servers else "default bridge"
        return Reading(mode, f"/sys/class/net, {RESOLV}", "likely")
    if "169.254.1." in surroundings.text(RESOLV) or (named and "169.254.1.2" in surroundings.text(HOSTS)):
        return Reading("pasta", f"{HOSTS}, {RESOLV}", "likely")
    if surroundings.peered is False:
        mode = "pasta" if named else "host"
        return Reading(mode, f"/sys/class/net, {HOSTS}", "hint")
    return Reading(None, "/sys/class/net")


def _host_side(surroundings: Surroundings) -> str | None:
    return next((name for name in surroundings.interfaces or () if HOST_SIDE.fullmatch(name)), None)


def _is_named_in_hosts(surroundings: Surroundings) -> bool:
    """Docker and Podman write "own address, own name" into /etc/hosts, except with host networking and none."""
    return bool(_named_addresses(surroundings))


def _named_addresses(surroundings: Surroundings) -> set[str]:
    name = surroundings.text(HOSTNAME).strip()
    lines = host_lines(surroundings.text(HOSTS))
    return {address for address, names in lines if address in surroundings.addresses and name in names}


def _is_by_docker_gwbridge(surroundings: Surroundings) -> bool:
    """An overlay network has no way out: it is by docker_gwbridge, the one network without a line in /etc/hosts.

    Seen with Docker 20.10 in services, in stacks and in containers on an attachable network. With a bridge network
    beside the overlay one, that has the default route, and each of several bridge networks has its line.
    """
    named = _named_addresses(surroundings)
    return bool(named and surroundings.gateway) and surroundings.addresses[0] not in named


def _has_the_host_s_address(surroundings: Surroundings) -> bool:
    """Podman says in /etc/hosts which address the host has: with host networking it is one of ours."""
    return any(
        address in surroundings.addresses and "host.containers.internal" in names
        for address, names in host_lines(surroundings.text(HOSTS))
    )
