"""2xx: the words for the kinds of place where those of an entry, for Docker on Linux, are not right."""

from __future__ import annotations

from diagnostics.findings.elsewhere import DOCKER_SWARM, MACOS, POD, SYSTEM_CONTAINER, WSL_MIRRORED, WSL_NAT, Elsewhere
from diagnostics.place.setting import (
    HOST_NETWORK,
    IN_VM,
    NO_CONTAINER,
    NO_NETWORK,
    PODMANS,
    ROOTLESS,
    WSL,
    Setting,
)

WAYS: dict[str, tuple[Elsewhere, ...]] = {  # by code; the first that holds counts
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
            where=frozenset(Setting),
            to_loopback=True,
            fix=(
                "On loopback hardly any firewall drops packets: look at the accept queue of what listens there, and "
                "restart that program if the queue is full."
            ),
            check="ss -ltn: Recv-Q above Send-Q is a full queue (IBD207); at zero it is a rule for loopback.",
            commands=("ss -ltn 'sport = :PORT'",),
        ),
        Elsewhere(
            where=DOCKER_SWARM,
            fix=(
                "Allow the subnet of docker_gwbridge to the port in the host's firewall, or put both services on "
                "one overlay network."
            ),
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
            where=DOCKER_SWARM,
            fix=(
                "Use a name instead of the address: the service's on an overlay network that both share, or "
                "host.docker.internal."
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
            where=DOCKER_SWARM,
            fix=(
                "Lower the MTU of the overlay network (in the stack file driver_opts, com.docker.network.driver.mtu), "
                "and try without the VPN."
            ),
            commands=(
                "ip link",
                "ss -tin dst ADDRESS",
            ),
        ),
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
