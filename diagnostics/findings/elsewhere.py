"""1xx: the words for the kinds of place where those of an entry, for Docker on Linux, are not right."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostics.place.setting import HOST_NETWORK, NO_CONTAINER, NO_NETWORK, PODMANS, ROOTLESS, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What is right in these kinds of place instead of the entry's own words; "" and None: those are."""

    where: frozenset[Setting]
    to_loopback: bool = False  # and only for a target on loopback
    fix: str = ""
    check: str = ""
    commands: tuple[str, ...] | None = None

    def holds(self, setting: Setting, on_loopback: bool) -> bool:
        """Whether these words are right in that kind of place, for a target on loopback or another one."""
        return setting in self.where and (on_loopback or not self.to_loopback)


DOCKER_DESKTOP = frozenset({Setting.DOCKER_DESKTOP})
DOCKER_ROOTLESS = frozenset({Setting.DOCKER_ROOTLESS})
DOCKER_SWARM = frozenset({Setting.DOCKER_SWARM})
MACOS = frozenset({Setting.MACOS})
POD = frozenset({Setting.POD})
SYSTEM_CONTAINER = frozenset({Setting.SYSTEM_CONTAINER})
WSL_MIRRORED = frozenset({Setting.WSL_MIRRORED})
WSL_NAT = frozenset({Setting.WSL_NAT})

NAMES: dict[str, tuple[Elsewhere, ...]] = {  # by code; the first that holds counts
    "IBD101": (
        Elsewhere(
            where=NO_CONTAINER,
            fix=(
                "Correct the name, or use an address: this machine itself is 127.0.0.1. A container's name is "
                "known in its own network only; from here its published port is dialled."
            ),
            commands=("getent hosts HOST",),
        ),
        Elsewhere(
            where=HOST_NETWORK,
            fix=(
                "With host networking the host is 127.0.0.1, and no name for it exists. A container's name is "
                "known in its own network only; from here its published port is dialled."
            ),
            commands=("getent hosts HOST",),
        ),
        Elsewhere(
            where=NO_NETWORK,
            fix="Give this container a network first: without one no name is known.",
            commands=("getent hosts HOST",),
        ),
        Elsewhere(
            where=DOCKER_SWARM,
            fix=(
                "Name it in the stack or compose file (extra_hosts: host.docker.internal:host-gateway), or use the "
                "default gateway's address. A service's name is known on an overlay network that both share."
            ),
            commands=(
                "docker service update --host-add host.docker.internal:host-gateway CLIENT",
                "getent hosts HOST",
                "docker network inspect --verbose NETWORK",
            ),
        ),
        Elsewhere(
            where=DOCKER_ROOTLESS,
            fix=(
                "Use the host's own address. For a rootless engine host-gateway is its own bridge, unless the "
                "daemon was started with host-gateway-ip. A container's name needs a shared network."
            ),
        ),
        Elsewhere(
            where=DOCKER_DESKTOP,
            fix=(
                "The name of the host is host.docker.internal, and it is there already: do not add it. A "
                "container's name is known only on a network that both share."
            ),
            commands=(
                "getent hosts HOST",
                "docker network inspect --format '{{json .Containers}}' NETWORK",
            ),
        ),
        Elsewhere(
            where=PODMANS,
            fix=(
                "Podman's name for the host is host.containers.internal. A container's name is known only on "
                "a network that both share and that was made by name."
            ),
            commands=(
                "getent hosts HOST",
                "podman network inspect NETWORK",
            ),
        ),
        Elsewhere(
            where=POD,
            fix=(
                "Use the name of the gateway's Service, with its namespace if that is another one; in the "
                "same pod it is 127.0.0.1."
            ),
            commands=(
                "kubectl get services -A",
                "getent hosts HOST",
            ),
        ),
        Elsewhere(
            where=SYSTEM_CONTAINER,
            fix="Use an address: the host is mostly the default gateway. Or add the name to /etc/hosts.",
            commands=(
                "getent hosts HOST",
                "ip route",
            ),
        ),
    ),
    "IBD102": (
        Elsewhere(
            where=NO_CONTAINER | HOST_NETWORK,
            fix=(
                "Correct the name server of this machine, or its network. Until then use an address instead of a name."
            ),
            commands=(
                "cat /etc/resolv.conf",
                "getent hosts HOST",
            ),
        ),
        Elsewhere(
            where=POD,
            fix="Look at the cluster's DNS service. Until then use an address instead of a name.",
            commands=(
                "cat /etc/resolv.conf",
                "kubectl -n kube-system get pods",
            ),
        ),
        Elsewhere(
            where=SYSTEM_CONTAINER,
            fix=(
                "Correct the name server here, or the network the host gives. Until then use an address "
                "instead of a name."
            ),
        ),
    ),
    "IBD105": (
        Elsewhere(
            where=NO_CONTAINER | HOST_NETWORK | SYSTEM_CONTAINER | POD,
            fix=(
                "Correct where the name is defined (/etc/hosts), or disconnect the VPN. Until then use the "
                "address that works."
            ),
            check=(
                "Does the name work without the VPN, or with the right address? Otherwise look at the "
                "firewall (IBD205)."
            ),
        ),
    ),
    "IBD106": (
        Elsewhere(
            where=ROOTLESS,
            fix=(
                "Let the relay on the host listen on the host's own address and dial that, or the name of the "
                "gateway's container on a network that both share."
            ),
            commands=(
                "ib-relay run --listen HOSTIP:4003 --allow HOSTIP/32",
                "ib-diagnose --target HOSTIP:4003",
            ),
        ),
        Elsewhere(
            where=NO_NETWORK,
            fix="Give this container a network: without one it reaches nothing but itself.",
            commands=("docker network connect NETWORK CLIENT",),
        ),
        Elsewhere(
            where=DOCKER_SWARM,
            fix=(
                "Point the client at the gateway's service, by its name on an overlay network that both share, or at "
                "the host (the default gateway's address) unless the table shows it failing too."
            ),
        ),
        Elsewhere(
            where=PODMANS,
            fix=(
                "Point the client at the host (host.containers.internal), or at the name of the gateway's "
                "container on a network that both share."
            ),
            commands=(
                "ib-diagnose --target host.containers.internal:PORT",
                "podman network connect NETWORK CLIENT",
            ),
        ),
        Elsewhere(
            where=SYSTEM_CONTAINER,
            fix=(
                "Point the client at the machine on which the gateway runs: the host is mostly the default gateway, "
                "if this container has a network that leads there."
            ),
            commands=("ip route",),
        ),
    ),
    "IBD107": (
        Elsewhere(
            where=POD,
            fix=(
                "Set it to the value that was most likely meant. Where a Service set it, rename that, or set "
                "enableServiceLinks: false."
            ),
        ),
    ),
}
