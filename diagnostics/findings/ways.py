"""2xx: the way to the gateway and TCP, until the first byte has arrived."""

from __future__ import annotations

from diagnostics.findings.entry import LOGIN_FAULTS, NAME_FAULTS, Explanation, FindingEntry, Side, Sign

ENTRIES = (
    FindingEntry(
        code="IBD201",
        slug="refused",
        title="the port refuses connections",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "gateway or relay is not running, or not yet logged in",
            "another port than the one the gateway uses",
            "it listens on 127.0.0.1 only, and the connection comes from elsewhere",
            "socket clients are not enabled in TWS",
            "a firewall rule rejects instead of dropping",
        ),
        fix=(
            "Look on the host what listens on the port. Nothing: start the gateway (or the relay) and wait "
            "for its login. Another port: use that one. Only 127.0.0.1: put the relay in front, which listens "
            "on the bridge."
        ),
        commands=(
            "ss -ltnp 'sport = :PORT'",
            "docker logs --tail 50 GATEWAY",
            "ib-relay run --upstream 127.0.0.1:4002",
        ),
        check=(
            "ss -ltn on the host: no line is IBD201, only 127.0.0.1 is IBD202, a line for all addresses means "
            "a firewall."
        ),
        docs=(
            "The other end answered at once: nobody takes connections on this port. The way there works, so "
            "changing networks, DNS or Docker settings will not help unless another route answers. A gateway "
            "opens its port only after the login, so this is also how one looks that waits for its second "
            "factor. A firewall that rejects looks exactly the same from here."
        ),
        silenced_by=(
            *NAME_FAULTS,
            "IBD103",
            "IBD104",
            "IBD106",
            "IBD202",
            "IBD203",
            "IBD204",
            "IBD310",
            "IBD311",
            *LOGIN_FAULTS,
        ),
        explanations=(
            Explanation(code="IBD201", check="ss -ltn 'sport = :PORT' on the gateway's host shows nothing."),
            Explanation(
                code="IBD202", check="ss -ltn 'sport = :PORT' on the gateway's host shows 127.0.0.1 or [::1] only."
            ),
            Explanation(
                code="IBD106", check="Is the gateway really in this container? If not, 127.0.0.1 is the wrong target."
            ),
            Explanation(
                code="IBD104",
                check=(
                    "Remove the extra_hosts line for this name; the runtime's own answer should be another address."
                ),
            ),
            Explanation(code="IBD601"),
            Explanation(code="IBD602"),
            Explanation(code="IBD310"),
            Explanation(
                code="IBD208",
                check=(
                    "ss -ltn on the gateway's host shows a line for all addresses: a firewall rejects (nft list "
                    "ruleset)."
                ),
            ),
        ),
        excluded_by=(Sign.LISTENS_HERE,),
        where_to_look="look on the gateway's side (what listens there, and for whom), not in {network}",
    ),
    FindingEntry(
        code="IBD202",
        slug="refused-loopback-bind",
        title="the service listens on the host's 127.0.0.1 only",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "relay, socat or a published port is bound to 127.0.0.1",
            "the gateway's API is bound to loopback",
        ),
        fix=(
            "Let the relay listen on the bridge (its default), or give the client host networking. On native "
            "Linux nothing in a bridge network reaches a service on the host's loopback."
        ),
        commands=(
            "ss -ltn 'sport = :PORT'",
            "ib-relay run",
            "docker run --network host ...",
        ),
        check="ss -ltn on the host: the only line for the port shows 127.0.0.1 or [::1].",
        docs=(
            "The port is open, but only for programs in the same network namespace. Where Docker runs in a "
            "virtual machine the runtime carries connections to the host's loopback; on native Linux it does "
            "not. Binding to the bridge address 172.17.0.1 serves all containers and nobody else."
        ),
        silenced_by=(),
        excluded_by=(Sign.NOT_ONLY_LOOPBACK,),
    ),
    FindingEntry(
        code="IBD203",
        slug="refused-other-bridge",
        title="the service listens on one address of its machine, this route leads to another",
        severity="error",
        side=Side.ROUTING,
        causes=(
            "it is bound to docker0 (172.17.0.1), and the client uses the gateway address of its own network",
            "it is bound to one network's gateway address, and the client uses host-gateway",
        ),
        fix=(
            "Use the route that works, or let the service listen on the other bridge too (the relay does so by itself)."
        ),
        commands=(
            "ss -ltn 'sport = :PORT'",
            "ip -4 -brief address",
        ),
        check="ss -ltn on the host shows the one bridge address the port is bound to.",
        docs=(
            "Several addresses of one host were tried; one accepts, another refuses at once. On a "
            "user-defined network the default gateway is that network's bridge, while host-gateway always "
            "means docker0."
        ),
        silenced_by=NAME_FAULTS,
    ),
    FindingEntry(
        code="IBD204",
        slug="wrong-sibling-port",
        title="this port turns connections away, a neighbour of it answers",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "paper and live are mixed up (4002 and 4001, 7497 and 7496)",
            "ports of another container image (4003, 4004, 8888, 4000)",
            "Gateway's port used for TWS, or the reverse",
            "two gateways on one machine, and the one on this port is not running or not logged in",
            "it is published to the gateway's own port, which takes nobody but 127.0.0.1, beside the image's",
        ),
        fix="Dial the port that answers, after making sure that it is the account you mean: paper or live.",
        commands=(
            "ib-diagnose --target HOST:PORT",
            "docker port GATEWAY",
        ),
        check="A handshake or a session on the other port: only that tells that a gateway is behind it.",
        docs=(
            "The usual ports of gateways and images were tried because the configured one refused everywhere, or "
            "took connections and ended them. One of them answers; the table shows how. Images disagree: the inner "
            "port 4003 is live in one, 4001 and 4002 are the forwarder's ports in another and the gateway's own in "
            "a third."
        ),
        silenced_by=(*NAME_FAULTS, "IBD103", "IBD104", "IBD106", "IBD302"),
        where_to_look="the port asked for is not the one that is open",
    ),
    FindingEntry(
        code="IBD205",
        slug="filtered",
        title="no answer to the connection attempt",
        severity="error",
        side=Side.UNCLEAR,
        causes=(
            "a firewall drops the packets, on the host or on the way to it",
            "the address is a container's on another Docker network: Docker drops that",
            "the gateway's accept queue is full",
        ),
        fix=("Allow the bridge's subnet to the port in the host's firewall, or put both containers on one network."),
        commands=(
            "ss -ltn 'sport = :PORT'",
            "ufw allow from SUBNET to any port PORT proto tcp",
            "docker network connect NETWORK CLIENT",
        ),
        check=(
            "ss -ltn on the gateway's host: Recv-Q above Send-Q is a full queue (IBD207), else packets are dropped."
        ),
        docs=(
            "Packets went out and nothing came back, neither an acceptance nor a refusal. A firewall that "
            "drops (ufw, firewalld, Windows' own) looks like this, and so does a gateway that stopped accepting and "
            "whose queue has filled up; they cannot be told apart on the wire. If another port of the same host "
            "answers, it is a rule for this port or the queue."
        ),
        silenced_by=(*NAME_FAULTS, "IBD105", "IBD108", "IBD207", "IBD209"),
        explanations=(
            Explanation(
                code="IBD205",
                check=(
                    "On the gateway's host Recv-Q of the listening socket is low (ss -ltn), and the firewall logs "
                    "drops."
                ),
            ),
            Explanation(code="IBD207"),
            Explanation(code="IBD206", check="Wait longer than 3.2 s: then it says that nobody has the address."),
            Explanation(code="IBD105"),
        ),
        doubted_by=(Sign.DIALS_LOOPBACK,),  # firewalls let a machine talk to itself
    ),
    FindingEntry(
        code="IBD206",
        slug="no-such-host",
        title="nobody has this address",
        severity="error",
        side=Side.ROUTING,
        causes=(
            "the address of a container that was started anew and has another one now",
            "a machine that is switched off",
        ),
        fix=("Use a name instead of the address: the container's name on a shared network, or host.docker.internal."),
        commands=(
            "ip neigh show ADDRESS",
            "docker inspect --format '{{json .NetworkSettings.Networks}}' GATEWAY",
        ),
        check=(
            "It takes about three seconds (no answer to ARP); an immediate error is a firewall's or router's (IBD208)."
        ),
        docs=(
            "The address belongs to a network the client is attached to, and nobody on it answered for it. "
            "Addresses of containers are given out anew at every start, so a noted one goes stale."
        ),
        silenced_by=(*NAME_FAULTS, "IBD209"),
        explanations=(
            Explanation(code="IBD206"),
            Explanation(code="IBD208"),
        ),
        excluded_by=(Sign.CONNECT_TOOK_SECONDS, Sign.ACCEPTED_BEFORE, Sign.FROM_LOOPBACK),
        does="is an address that no machine has",
    ),
    FindingEntry(
        code="IBD207",
        slug="listen-queue-full",
        title="the gateway's accept queue is full",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the gateway stopped accepting connections",
            "a client or health check that connects all the time",
        ),
        fix=("Restart the gateway, then find the client or health check that keeps connecting without finishing."),
        commands=(
            "ss -ltn 'sport = :PORT'",
            "ss -tn state close-wait '( sport = :PORT )'",
            "docker restart GATEWAY",
        ),
        check="ss -ltn: Recv-Q of the listening socket is above Send-Q.",
        docs=(
            "The kernel completes connections on behalf of the program and queues them. The program has not "
            "taken any for so long that the queue is full, and further attempts are dropped. Before it was "
            "full, connections succeeded and got no answer: it is the late form of IBD305."
        ),
        silenced_by=(*NAME_FAULTS, "IBD209"),
        excluded_by=(Sign.QUEUE_HAS_ROOM,),
        supported_by=(Sign.ACCEPTED_BEFORE, Sign.FORWARDER_WAITS),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD208",
        slug="prohibited",
        title="the connection is forbidden by a rule",
        severity="error",
        side=Side.ROUTING,
        causes=(
            "a firewall rejects with an ICMP message",
            "a local policy forbids it (routing rule, seccomp, sandbox)",
        ),
        fix="Change the rule that rejects the client's network on its way to the port.",
        commands=(
            "nft list ruleset",
            "iptables -S",
            "ip route get ADDRESS",
        ),
        check=("An immediate error is a rule; one after about three seconds is a missing machine (IBD206)."),
        docs=(
            "Somebody on the way, or the client's own machine, said at once that the connection is not allowed. A "
            "program's closed port never looks like this, so the gateway is not to blame."
        ),
        silenced_by=(*NAME_FAULTS, "IBD209"),
        excluded_by=(Sign.NOBODY_LISTENS_HERE,),
        supported_by=(Sign.LISTENS_HERE,),
        does="is forbidden by a rule on the way",
    ),
    FindingEntry(
        code="IBD209",
        slug="no-route",
        title="there is no network to go by",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "the container was started with network_mode: none",
            "it has no default route",
        ),
        fix="Attach the client's container to a network.",
        commands=(
            "docker network connect bridge CLIENT",
            "ip route",
        ),
        check="ip route inside the container: no line that begins with default.",
        docs=(
            "The system knew without sending anything that no interface leads to the address. Neither the "
            "gateway nor the host's firewall were asked."
        ),
        silenced_by=(*NAME_FAULTS, "IBD211"),
        does="cannot be reached: there is no network to go by",
    ),
    FindingEntry(
        code="IBD210",
        slug="data-blackhole",
        title="the connection opens, and data disappears on the way",
        severity="error",
        side=Side.ROUTING,
        causes=(
            "a smaller MTU on the way (VPN, overlay network) and no message about it",
            "a stateful firewall or NAT that lost the connection",
        ),
        fix="Lower the MTU of the container's network, and try without the VPN.",
        commands=(
            "ip link",
            "docker network create --opt com.docker.network.driver.mtu=1400 NETWORK",
            "ss -tin dst ADDRESS",
        ),
        check=("ss -tin during the attempt: unacked and retrans above zero. At zero the bytes arrived (IBD303)."),
        docs=(
            "The connection was accepted, and our bytes were sent again and again without being acknowledged. "
            "The gateway cannot have seen them, so its login and settings are not the reason."
        ),
        silenced_by=NAME_FAULTS,
        excluded_by=(Sign.BYTES_ARRIVED,),
        does="connects, and then data disappears on the way",
    ),
    FindingEntry(
        code="IBD211",
        slug="rootless-no-host-loopback",
        title="the rootless engine's network does not lead to the host's 127.0.0.1",
        severity="error",
        side=Side.LOCAL,
        causes=("slirp4netns keeps containers away from the host's loopback, unless it is told otherwise",),
        fix=(
            "Let the relay listen on the host's own address and dial that. Or start the daemon with "
            "DOCKERD_ROOTLESS_ROOTLESSKIT_DISABLE_HOST_LOOPBACK=false and host-gateway-ip 10.0.2.2."
        ),
        commands=(
            "ib-relay run --listen HOSTIP:4003 --allow HOSTIP/32",
            "ib-diagnose --target HOSTIP:4003",
        ),
        check="The same port on the host's own address: it takes connections, or refuses them like any machine.",
        docs=(
            "There is a default route, and the engine's own network answered that there is none: so it does for "
            "10.0.2.2, which stands for the host's loopback. Neither the gateway nor the host's firewall were asked. "
            "The host's own address can be reached, and connections come from there."
        ),
        silenced_by=NAME_FAULTS,
        does="is not let through by the rootless engine's network",
    ),
)
