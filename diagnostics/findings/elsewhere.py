"""The words of a finding for the kinds of place where those of its entry, for Docker on Linux, are not right."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostics.place.setting import HOST_NETWORK, IN_VM, NO_CONTAINER, NO_NETWORK, PODMANS, ROOTLESS, WSL, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What is right in these kinds of place instead of the entry's own words; "" and None: those are."""

    where: frozenset[Setting]
    fix: str = ""
    check: str = ""
    commands: tuple[str, ...] | None = None


DOCKER_DESKTOP = frozenset({Setting.DOCKER_DESKTOP})
DOCKER_ROOTLESS = frozenset({Setting.DOCKER_ROOTLESS})
MACOS = frozenset({Setting.MACOS})
POD = frozenset({Setting.POD})
SYSTEM_CONTAINER = frozenset({Setting.SYSTEM_CONTAINER})
WSL_MIRRORED = frozenset({Setting.WSL_MIRRORED})
WSL_NAT = frozenset({Setting.WSL_NAT})

ELSEWHERE: dict[str, tuple[Elsewhere, ...]] = {  # by code; the first that holds counts
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
    ),
    "IBD201": (
        Elsewhere(
            where=WSL,
            fix=(
                "Look on Windows, and here, what listens on the port. Nothing: start the gateway and wait for "
                "its login. Another port: use that one. Its API settings must trust the address it sees."
            ),
            check=(
                "No line for the port is IBD201; only 127.0.0.1, while another address was dialled, is "
                "IBD202; a line for all addresses means a firewall."
            ),
            commands=(
                "netstat.exe -ano -p TCP",
                "ss -ltnp 'sport = :PORT'",
            ),
        ),
        Elsewhere(
            where=NO_CONTAINER | HOST_NETWORK,
            fix=(
                "Look what listens on the port. Nothing: start the gateway (or the relay) and wait for its "
                "login. Another port: use that one."
            ),
            check=(
                "No line for the port is IBD201; only 127.0.0.1, while another address was dialled, is "
                "IBD202; a line for all addresses means a firewall."
            ),
            commands=(
                "ss -ltnp 'sport = :PORT'",
                "docker logs --tail 50 GATEWAY",
            ),
        ),
        Elsewhere(
            where=NO_NETWORK,
            fix="Give this container a network, unless the gateway runs in it: then look what listens here.",
            commands=("ss -ltnp 'sport = :PORT'",),
        ),
        Elsewhere(
            where=ROOTLESS,
            fix=(
                "The engine's own bridge is not the host's. Let the relay listen on the host's own address "
                "and dial that; if it does, look there whether the gateway runs."
            ),
            commands=(
                "ss -ltnp 'sport = :PORT'",
                "docker logs --tail 50 GATEWAY",
                "ib-relay run --listen HOSTIP:4003 --allow HOSTIP/32",
            ),
        ),
        Elsewhere(
            where=IN_VM,
            fix=(
                "Look on the computer around the virtual machine what listens on the port. Nothing: start the "
                "gateway and wait for its login. Another port: use that one."
            ),
        ),
        Elsewhere(
            where=POD,
            fix=(
                "Look what listens in the gateway's pod, and whether the Service's targetPort is that. Only "
                "127.0.0.1: put the relay into that pod. In the same pod dial 127.0.0.1."
            ),
            commands=(
                "kubectl exec GATEWAY -- ss -ltn",
                "kubectl get endpoints",
                "kubectl logs --tail 50 GATEWAY",
            ),
        ),
        Elsewhere(
            where=SYSTEM_CONTAINER,
            fix=(
                "Look on the gateway's machine, or here if it is this one, what listens on the port. Nothing: "
                "start it and wait for its login. Only 127.0.0.1: put the relay beside it."
            ),
            check=(
                "No line for the port is IBD201; only 127.0.0.1, while another address was dialled, is "
                "IBD202; a line for all addresses means a firewall."
            ),
        ),
    ),
    "IBD202": (
        Elsewhere(
            where=NO_CONTAINER | HOST_NETWORK,
            fix=(
                "From this machine dial 127.0.0.1. For other machines let the relay listen on the address "
                "they use, with --allow for exactly those."
            ),
            commands=("ss -ltn 'sport = :PORT'",),
        ),
        Elsewhere(
            where=ROOTLESS,
            fix=(
                "Let the relay on the host listen on the host's own address, and dial that: a rootless "
                "engine's network does not lead to the host's 127.0.0.1 by itself."
            ),
            commands=(
                "ss -ltn 'sport = :PORT'",
                "ib-relay run --listen HOSTIP:4003 --allow HOSTIP/32",
            ),
        ),
        Elsewhere(
            where=IN_VM | POD | SYSTEM_CONTAINER | NO_NETWORK,
            fix="Put the relay beside the gateway and let it listen on the address that is dialled from here.",
            commands=("ss -ltn 'sport = :PORT'",),
        ),
    ),
    "IBD203": (
        Elsewhere(
            where=NO_CONTAINER | POD | SYSTEM_CONTAINER,
            fix="Use the route that works, or let the service listen on this route's address, too.",
            check="ss -ltn on the other end shows the one address the port is bound to.",
        ),
    ),
    "IBD205": (
        Elsewhere(
            where=WSL_MIRRORED,
            fix=(
                "In mirrored mode a closed port of Windows looks like this, too: it is swallowed, not "
                "refused. See whether the gateway listens there, then look at Windows' firewall."
            ),
            check=(
                "netstat.exe -ano: no line for the port is a closed one, which mirrored mode swallows; else "
                "it is a firewall."
            ),
            commands=("netstat.exe -ano -p TCP",),
        ),
        Elsewhere(
            where=WSL_NAT,
            fix="Allow the port for this WSL machine's address in Windows' firewall.",
            check="netstat.exe -ano: a line for the port, and Windows' firewall has no rule that allows it.",
            commands=("netstat.exe -ano -p TCP",),
        ),
        Elsewhere(
            where=NO_CONTAINER | HOST_NETWORK | SYSTEM_CONTAINER,
            fix=(
                "Allow this machine's address to the port in the firewall of the gateway's machine; where "
                "that is this one, in its own."
            ),
            commands=("ss -ltn 'sport = :PORT'",),
        ),
        Elsewhere(
            where=IN_VM,
            fix=(
                "Allow the port in the firewall of the computer around the virtual machine, or put both "
                "containers on one network."
            ),
            commands=(
                "ss -ltn 'sport = :PORT'",
                "docker network connect NETWORK CLIENT",
            ),
        ),
        Elsewhere(
            where=ROOTLESS,
            fix=(
                "Allow the port in the host's firewall: a rootless container dials from the host itself. Or "
                "put both containers on one network."
            ),
            commands=(
                "ss -ltn 'sport = :PORT'",
                "docker network connect NETWORK CLIENT",
            ),
        ),
        Elsewhere(
            where=POD,
            fix=(
                "Allow the port in the network policies of both pods, and in the firewall of the gateway's "
                "machine if it is outside."
            ),
        ),
    ),
    "IBD206": (
        Elsewhere(
            where=NO_CONTAINER | HOST_NETWORK | SYSTEM_CONTAINER,
            fix=(
                "Use the address that the machine has now, or its name. A container is best dialled at its "
                "published port."
            ),
        ),
        Elsewhere(
            where=POD,
            fix="Use the name of a Service: it outlives the pods behind it.",
        ),
    ),
    "IBD208": (
        Elsewhere(
            where=MACOS,
            fix=(
                "Allow this program in macOS's privacy settings for the local network: without that it fails "
                "at once like this. Else change the rule that rejects it."
            ),
        ),
    ),
    "IBD209": (
        Elsewhere(
            where=NO_CONTAINER | HOST_NETWORK | SYSTEM_CONTAINER,
            fix="Connect this machine to a network, or add the missing route.",
            check="ip route here: no line for the address, and none that begins with default.",
            commands=("ip route",),
        ),
        Elsewhere(
            where=POD,
            fix="Look at the cluster's network plugin: this pod has no way out.",
            check="ip route here: no line that begins with default.",
            commands=(
                "ip route",
                "kubectl -n kube-system get pods",
            ),
        ),
    ),
    "IBD210": (
        Elsewhere(
            where=NO_CONTAINER | HOST_NETWORK | SYSTEM_CONTAINER | POD,
            fix="Lower the MTU of the interface that leads there, and try without the VPN.",
            commands=(
                "ip link",
                "ss -tin dst ADDRESS",
            ),
        ),
    ),
    "IBD211": (
        Elsewhere(
            where=PODMANS,
            fix="Let the relay listen on the host's own address and dial that. Or start the container with "
            "slirp4netns:allow_host_loopback=true and dial 10.0.2.2.",
            commands=(
                "ib-relay run --listen HOSTIP:4003 --allow HOSTIP/32",
                "ib-diagnose --target HOSTIP:4003",
                "podman run --network slirp4netns:allow_host_loopback=true ...",
            ),
        ),
    ),
}
