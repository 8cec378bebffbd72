"""The catalogue of findings: for every code what it means, why it happens, what to do and what to look at to decide.

One table of some eight hundred lines, longer than a file should be: it is read by code number like a dictionary, and
its order is the order in which the rules are tried. A code is permanent and never used for anything else; the slug
may change. 1xx names, 2xx the way and TCP, 3xx what happens behind an accepted connection, 4xx the first bytes, 5xx the
session, 6xx the gateway's process and login, 7xx IB behind the gateway, 8xx account, mode and rate.

Words in capitals in a command stand for something of the user's: HOST and PORT of the route (of a redirect: of where it
leads), GATEWAY and CLIENT for the names of the two containers, NETWORK for a Docker network's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One code. `depends_on`: its causes; while one of these is found too, this one is an effect and stays silent."""

    code: str
    slug: str
    title: str
    severity: str  # error | warning | info
    causes: tuple[str, ...]  # most likely first
    fix: str
    commands: tuple[str, ...]  # to type; they look or start something, none is run by us
    check: str  # what decides between this and what looks the same
    depends_on: tuple[str, ...]
    covered: str  # real: peers and networks can produce it; recorded: needs logs or hardware, an evidence file has it
    docs: str


# What the gateway's log can say that explains a dead port or a silent session.
LOGIN = tuple(f"IBD{number}" for number in range(601, 612))
# A name or a network that does not work explains everything behind it.
NAME = ("IBD101", "IBD102")

_ENTRIES = (
    Entry(
        "IBD101",
        "name-unknown",
        "the name is not known here",
        "error",
        (
            "on Linux nobody defines host.docker.internal unless the container was started with it",
            "host networking: the name does not exist there, and 127.0.0.1 is the host",
            "a typing error in IB_HOST or --target",
            "the name is a container's, and this container is on another network",
        ),
        "On Docker Engine for Linux start the container with the name, or use the address of the default gateway. "
        "On Docker Desktop, OrbStack, Colima and Rancher Desktop the name is there already: do not add it.",
        (
            "docker run --add-host host.docker.internal:host-gateway ...",
            "getent hosts HOST",
            "docker network inspect --format '{{json .Containers}}' NETWORK",
        ),
        "getent hosts HOST inside the container: no line means unknown, a hang means the resolver (IBD102).",
        (),
        "real",
        "The resolver answered: there is no such name. Nothing was sent to a gateway, so this says nothing about it. "
        "In a compose file the name is added with extra_hosts and the value host-gateway. A container's name is known "
        "only to containers of the same user-defined network, never on the default bridge.",
    ),
    Entry(
        "IBD102",
        "resolver-down",
        "names cannot be looked up at all",
        "error",
        (
            "the container has no network (network_mode: none)",
            "the name server in /etc/resolv.conf does not answer",
            "a VPN took the name server away while the container was running",
        ),
        "Give the container a network, or correct its name server. Until then use an address instead of a name.",
        ("cat /etc/resolv.conf", "docker inspect --format '{{.HostConfig.NetworkMode}}' CLIENT", "getent hosts HOST"),
        "Try a target that is an address: if that works, only the resolver is broken.",
        (),
        "real",
        "The lookup failed because no name server gave an answer, which is not the same as an answer that the name "
        "does not exist (IBD101). The gateway was not reached and may be fine.",
    ),
    Entry(
        "IBD103",
        "name-wrong-family",
        "the name leads to IPv6, and only IPv4 answers",
        "warning",
        (
            "localhost is ::1 first, and the gateway listens on IPv4 only",
            "the name has only an IPv6 address",
            "a port is published for both families in front of a service that has one",
        ),
        "Use the IPv4 address, for the machine itself 127.0.0.1 instead of localhost.",
        ("getent ahosts HOST", "ss -ltn 'sport = :PORT'"),
        "The same port on an IPv4 address of the same machine: it answers with this finding and fails with IBD201.",
        NAME,
        "real",
        "Clients try the addresses of a name in the resolver's order, and many give up at the first. Here that was an "
        "IPv6 address which failed, while an IPv4 address works. An IPv6 source address also misses an entry of the "
        "gateway's trusted addresses that was written as IPv4.",
    ),
    Entry(
        "IBD104",
        "hostname-is-vm",
        "the host's name points into the virtual machine, not to the host",
        "error",
        (
            "extra_hosts with host-gateway overrides the name that Docker Desktop, Colima or OrbStack provides itself",
            "the compose file was written for Linux",
        ),
        "Remove the extra_hosts line for this name on this machine; the runtime resolves it correctly by itself.",
        ("grep host.docker.internal /etc/hosts", "docker compose config"),
        "Does another route work, and is the name's address that of docker0 (172.17.0.1)? Both: this finding.",
        NAME,
        "real",
        "Where Docker runs in a virtual machine, host-gateway means the bridge inside that machine. The gateway runs "
        "on the other side, so the name leads to a place where nothing listens. On Docker Engine for Linux the same "
        "line is right and needed, which is why it travels between compose files.",
    ),
    Entry(
        "IBD105",
        "name-stale",
        "the host's name leads nowhere any more",
        "error",
        (
            "a VPN changed the routes after the container runtime was started",
            "the machine changed networks or woke up, and the runtime kept the old address",
        ),
        "Restart the container runtime, or disconnect the VPN and try again. Until then use the address that works.",
        ("getent hosts HOST", "ib-diagnose --target HOST:PORT --verbose"),
        "Restart the runtime: if the name works afterwards it was this, else look at the firewall (IBD205).",
        NAME,
        "real",
        "The name resolves, nothing at that address answers, and the gateway can be reached another way. So the "
        "gateway is running and its port is open: only the address behind the runtime's own name is out of date.",
    ),
    Entry(
        "IBD106",
        "localhost-in-container",
        "127.0.0.1 inside a container is the container itself",
        "error",
        ("the gateway runs on the host or in another container, and the client was told 127.0.0.1 or localhost",),
        "Point the client at the host (host.docker.internal, or the default gateway's address), or at the name of the "
        "gateway's container on a network that both share.",
        ("ib-diagnose --target host.docker.internal:PORT", "docker network connect NETWORK CLIENT"),
        "With network_mode: host, or for a gateway in this very container, 127.0.0.1 is right; then it is IBD201.",
        NAME,
        "real",
        "Every container has its own loopback interface unless it was started with host networking or joined to "
        "another container's network. Nothing listens on the port in this container, so the connection was refused "
        "without leaving it.",
    ),
    Entry(
        "IBD201",
        "refused",
        "the port refuses connections",
        "error",
        (
            "gateway or relay is not running, or not yet logged in",
            "another port than the one the gateway uses",
            "it listens on 127.0.0.1 only, and the connection comes from elsewhere",
            "socket clients are not enabled in TWS",
            "a firewall rule rejects instead of dropping",
        ),
        "Look on the host what listens on the port. Nothing: start the gateway (or the relay) and wait for its login. "
        "Another port: use that one. Only 127.0.0.1: put the relay in front, which listens on the bridge.",
        ("ss -ltnp 'sport = :PORT'", "docker logs --tail 50 GATEWAY", "ib-relay run --upstream 127.0.0.1:4002"),
        "ss -ltn on the host: no line is IBD201, only 127.0.0.1 is IBD202, a line for all addresses means a firewall.",
        (*NAME, "IBD103", "IBD104", "IBD106", "IBD202", "IBD203", "IBD204", "IBD310", *LOGIN),
        "real",
        "The other end answered at once: nobody takes connections on this port. The way there works, so changing "
        "networks, DNS or Docker settings will not help unless another route answers. A gateway opens its port only "
        "after the login, so this is also how one looks that waits for its second factor. A firewall that rejects "
        "looks exactly the same from here.",
    ),
    Entry(
        "IBD202",
        "refused-loopback-bind",
        "the service listens on the host's 127.0.0.1 only",
        "error",
        ("relay, socat or a published port is bound to 127.0.0.1", "the gateway's API is bound to loopback"),
        "Let the relay listen on the bridge (its default), or give the client host networking. On native Linux nothing "
        "in a bridge network reaches a service on the host's loopback.",
        ("ss -ltn 'sport = :PORT'", "ib-relay run", "docker run --network host ..."),
        "ss -ltn on the host: the only line for the port shows 127.0.0.1 or [::1].",
        (),
        "real",
        "The port is open, but only for programs in the same network namespace. Where Docker runs in a virtual machine "
        "the runtime carries connections to the host's loopback; on native Linux it does not. Binding to the bridge "
        "address 172.17.0.1 serves all containers and nobody else.",
    ),
    Entry(
        "IBD203",
        "refused-other-bridge",
        "the service listens on one bridge, this route leads to another",
        "error",
        (
            "it is bound to docker0 (172.17.0.1), and the client uses the gateway address of its own network",
            "it is bound to one network's gateway address, and the client uses host-gateway",
        ),
        "Use the route that works, or let the service listen on the other bridge too (the relay does so by itself).",
        ("ss -ltn 'sport = :PORT'", "ip -4 -brief address"),
        "ss -ltn on the host shows the one bridge address the port is bound to.",
        NAME,
        "real",
        "Several addresses of one host were tried; one accepts, another refuses at once. On a user-defined network the "
        "default gateway is that network's bridge, while host-gateway always means docker0.",
    ),
    Entry(
        "IBD204",
        "wrong-sibling-port",
        "this port refuses, a neighbour of it answers",
        "error",
        (
            "paper and live are mixed up (4002 and 4001, 7497 and 7496)",
            "ports of another container image (4003, 4004, 8888, 4000)",
            "Gateway's port used for TWS, or the reverse",
        ),
        "Set IB_PORT to the port that answers, after making sure that it is the account you mean: paper or live.",
        ("ib-diagnose --port PORT", "docker port GATEWAY"),
        "Probe the other port: only a handshake tells that the gateway is behind it.",
        (*NAME, "IBD103", "IBD104", "IBD106"),
        "real",
        "The usual ports of gateways and images were tried because the configured one refused everywhere. One of them "
        "takes connections; it has not been told anything. Images disagree: the inner port 4003 is live in one, 4001 "
        "and 4002 are the forwarder's ports in another and the gateway's own in a third.",
    ),
    Entry(
        "IBD205",
        "filtered",
        "no answer to the connection attempt",
        "error",
        (
            "a firewall on the host drops packets from the container's network (ufw, firewalld, Windows)",
            "the address is a container's on another Docker network: Docker drops that",
            "the gateway's accept queue is full",
        ),
        "Allow the bridge's subnet to the port in the host's firewall, or put both containers on one network.",
        (
            "ufw allow from 172.16.0.0/12 to any port PORT proto tcp",
            "ss -ltn 'sport = :PORT'",
            "docker network connect NETWORK CLIENT",
        ),
        "ss -ltn on the gateway's host: Recv-Q above Send-Q is a full queue (IBD207), else packets are dropped.",
        (*NAME, "IBD105", "IBD207", "IBD209"),
        "real",
        "Packets went out and nothing came back, neither an acceptance nor a refusal. A firewall that drops looks like "
        "this, and so does a gateway that stopped accepting and whose queue has filled up; they cannot be told apart "
        "on the wire. If another port of the same host answers, it is a rule for this port or the queue.",
    ),
    Entry(
        "IBD206",
        "no-such-host",
        "nobody has this address",
        "error",
        ("the address of a container that was started anew and has another one now", "a machine that is switched off"),
        "Use a name instead of the address: the container's name on a shared network, or host.docker.internal.",
        ("ip neigh show HOST", "docker inspect --format '{{json .NetworkSettings.Networks}}' GATEWAY"),
        "It takes about three seconds (no answer to ARP); an immediate error is a firewall's or router's (IBD208).",
        (*NAME, "IBD209"),
        "real",
        "The address belongs to a network this machine is attached to, and nobody on it answered for it. Addresses of "
        "containers are given out anew at every start, so a noted one goes stale.",
    ),
    Entry(
        "IBD207",
        "listen-queue-full",
        "the gateway's accept queue is full",
        "error",
        ("the gateway stopped accepting connections", "a client or health check that connects all the time"),
        "Restart the gateway, then find the client or health check that keeps connecting without finishing.",
        ("ss -ltn 'sport = :PORT'", "ss -tn state close-wait '( sport = :PORT )'", "docker restart GATEWAY"),
        "ss -ltn: Recv-Q of the listening socket is above Send-Q.",
        (*NAME, "IBD209"),
        "real",
        "The kernel completes connections on behalf of the program and queues them. The program has not taken any for "
        "so long that the queue is full, and further attempts are dropped. Before it was full, connections succeeded "
        "and got no answer: it is the late form of IBD305.",
    ),
    Entry(
        "IBD208",
        "prohibited",
        "the connection is forbidden by a rule",
        "error",
        ("a firewall rejects with an ICMP message", "a local policy forbids it (routing rule, seccomp, sandbox)"),
        "Change the rule that rejects the client's network on its way to the port.",
        ("nft list ruleset", "iptables -S", "ip route get HOST"),
        "An immediate error is a rule; one after about three seconds is a missing machine (IBD206).",
        (*NAME, "IBD209"),
        "real",
        "Somebody on the way, or this machine itself, said at once that the connection is not allowed. A program's "
        "closed port never looks like this, so the gateway is not to blame.",
    ),
    Entry(
        "IBD209",
        "no-route",
        "there is no network to go by",
        "error",
        ("the container was started with network_mode: none", "it has no default route"),
        "Attach the container to a network.",
        ("docker network connect bridge CLIENT", "ip route"),
        "ip route inside the container: no line that begins with default.",
        NAME,
        "real",
        "The system knew without sending anything that no interface leads to the address. Neither the gateway nor the "
        "host's firewall were asked.",
    ),
    Entry(
        "IBD210",
        "data-blackhole",
        "the connection opens, and data disappears on the way",
        "error",
        (
            "a smaller MTU on the way (VPN, overlay network) and no message about it",
            "a stateful firewall or NAT that lost the connection",
        ),
        "Lower the MTU of the container's network, and try without the VPN.",
        ("ip link", "docker network create --opt com.docker.network.driver.mtu=1400 NETWORK", "ss -tin dst HOST"),
        "ss -tin during the attempt: unacked and retrans above zero. At zero the bytes arrived (IBD303).",
        NAME,
        "real",
        "The connection was accepted, and our bytes were sent again and again without being acknowledged. The gateway "
        "cannot have seen them, so its login and settings are not the reason.",
    ),
    Entry(
        "IBD301",
        "proxy-no-backend",
        "the connection is accepted and closed at once",
        "error",
        (
            "a forwarder (docker-proxy, socat) accepts, and nothing listens behind it: the gateway is not up yet",
            "the port is published to an inner port on which nobody listens",
            "inside its container the gateway listens on 127.0.0.1 only",
            "the gateway does not trust the address the connection comes from",
            "the relay does not let this address in, or no more connections (acl_denied, connection_limit in its log)",
        ),
        "If a relay has the port, its log says why. Else wait for the gateway's login to finish, then check that the "
        "published port leads to the inner port of the image's forwarder (4003 live and 4004 paper in "
        "gnzsnz/ib-gateway-docker).",
        ("docker logs --tail 50 GATEWAY", "docker port GATEWAY", "docker exec GATEWAY ss -ltn"),
        "Connect from where the gateway runs, to its own port on 127.0.0.1: if that works it is IBD302.",
        (*NAME, "IBD104", "IBD302", "IBD310", "IBD505", *LOGIN),
        "real",
        "Somebody took the connection and ended it before we had said a word. A forwarder that accepts first and then "
        "finds nobody behind it does this within milliseconds (ib-relay only after the hello: IBD404), and so may a "
        "gateway that does not like where the connection comes from. That TCP connected therefore proves nothing, and "
        "a health check that only connects reports such a gateway as healthy.",
    ),
    Entry(
        "IBD302",
        "peer-rejected",
        "the gateway turns this address away",
        "error",
        (
            "the gateway allows connections from localhost only",
            "the source address is not among its trusted addresses, which are exact ones, not ranges",
        ),
        "Put the relay beside the gateway: it dials from 127.0.0.1. Or add the exact address the connection comes from "
        "to the trusted addresses in the gateway's API settings.",
        ("ib-relay run --upstream 127.0.0.1:4002", "docker exec GATEWAY ss -tn"),
        "The same port on 127.0.0.1 where the gateway runs: works here, fails with IBD301.",
        NAME,
        "real",
        "The gateway takes connections on all addresses and looks at who is calling. Through Docker it sees a "
        "container's or a bridge's address, which changes, instead of 127.0.0.1. It closes such connections without an "
        "answer, so clients report a lost connection or a time-out.",
    ),
    Entry(
        "IBD303",
        "accept-then-silence",
        "the connection is accepted, and the handshake gets no answer",
        "error",
        (
            "the gateway is wedged: it no longer serves its API port, until it is restarted",
            "it waits for somebody to confirm an incoming connection",
            "its process is stopped or its container paused",
            "a forwarder accepted, and the gateway behind it does not answer the dial",
        ),
        "Look at the gateway, not at Docker: sockets in CLOSE_WAIT mean that it is wedged and needs a restart; a "
        "dialog on its screen has to be answered; a paused container has to go on.",
        (
            "ss -tn state close-wait '( sport = :PORT )'",
            "docker inspect --format '{{.State.Status}} paused={{.State.Paused}}' GATEWAY",
            "docker logs --tail 50 GATEWAY",
        ),
        "On the gateway's side: CLOSE_WAIT sockets (IBD305), a dialog (IBD304), a stopped process (IBD306), SYN_SENT "
        "of a forwarder (IBD307).",
        (
            *NAME,
            "IBD210",
            *(f"IBD{number}" for number in range(304, 311)),
            "IBD505",
            *LOGIN,
        ),
        "real",
        "TCP connected, our hello went out, and not a byte came back. The kernel accepts connections for a program "
        "that has stopped working, so 'Connected' followed by a time-out is exactly what every client prints. Another "
        "route or another Docker network leads to the same gateway and changes nothing.",
    ),
    Entry(
        "IBD304",
        "accept-dialog-pending",
        "the gateway waits for somebody to accept the connection",
        "error",
        (
            "the source address is not trusted, and the gateway asks in a dialog",
            "IBC is told to leave that dialog alone (AcceptIncomingConnectionAction=manual)",
        ),
        "Put the relay beside the gateway, which dials from 127.0.0.1, or trust the exact address, or let IBC accept "
        "(then whoever reaches the port can trade).",
        ("ib-relay run --upstream 127.0.0.1:4002", "docker logs --tail 50 GATEWAY"),
        "From 127.0.0.1 beside the gateway the handshake works; with IBD305 it does not work from there either.",
        NAME,
        "recorded",
        "With 'localhost only' switched off, the gateway asks on its screen about an address it does not know, and "
        "says nothing on the connection until somebody answers. In a container nobody sees that screen.",
    ),
    Entry(
        "IBD305",
        "gateway-wedged",
        "the gateway no longer serves its API port",
        "error",
        (
            "clients that vanished in the middle of a handshake",
            "a fault of the gateway after hours of connects and disconnects",
            "its process is stopped or starved of memory",
        ),
        "Restart the gateway. Then stop what caused it: health checks that only connect, clients that give up in the "
        "middle of the handshake, reconnecting within seconds.",
        ("ss -tn state close-wait '( sport = :PORT )'", "docker restart GATEWAY"),
        "CLOSE_WAIT or waiting connections on the API port, for every client, also from 127.0.0.1.",
        NAME,
        "real",
        "The kernel still takes connections, but the program neither accepts nor closes them. Nothing on the client's "
        "side mends this. As the queue fills up the picture changes to connections that time out (IBD207).",
    ),
    Entry(
        "IBD306",
        "process-frozen",
        "the gateway's process is stopped",
        "error",
        ("its container is paused", "the host is out of memory, or Java collects garbage", "somebody stopped it"),
        "Let it go on (unpause, SIGCONT); if it was memory, give the container or Java more of it.",
        (
            "docker inspect --format '{{.State.Status}} paused={{.State.Paused}}' GATEWAY",
            "docker unpause GATEWAY",
            "ps -o pid,stat,comm -C java",
        ),
        "docker inspect says paused, or ps shows the state T.",
        NAME,
        "real",
        "A stopped process keeps its listening socket, and the kernel keeps accepting for it. From the client's side "
        "this cannot be told from a wedged gateway (IBD305); the state of the process decides.",
    ),
    Entry(
        "IBD307",
        "proxy-dialing",
        "a forwarder accepted and cannot reach the gateway",
        "error",
        (
            "packets between forwarder and gateway are dropped",
            "the gateway's accept queue is full",
            "the forwarder points to an address nobody has",
        ),
        "Go to the machine of the forwarder and diagnose from there to the address it dials.",
        ("ss -tn state syn-sent", "docker logs --tail 50 GATEWAY"),
        "SYN_SENT towards the gateway on the forwarder's side; with a wedged gateway (IBD305) there is none.",
        NAME,
        "real",
        "The connection ends at a forwarder that accepts first and dials afterwards. Its own dial gets no answer, so "
        "it keeps us waiting; ib-relay gives up after five seconds and resets (IBD404). The fault is on the stretch "
        "behind it.",
    ),
    Entry(
        "IBD308",
        "first-connect-slow",
        "the first handshake got no answer, the next one did",
        "warning",
        ("the gateway had just been started", "the gateway was busy for a few seconds"),
        "Nothing to repair. Let the client try again after a few seconds, with a handshake time-out of 10 s or more.",
        ("ib-diagnose wait --for hello",),
        "Run it again: if the first handshake is silent every time, look at IBD305.",
        (),
        "real",
        "One handshake was met with silence, a second one on the same route was answered. Connectivity is fine. "
        "Clients that give up after four seconds see such a gateway as dead.",
    ),
    Entry(
        "IBD309",
        "modal-blocks-api",
        "a dialog on the gateway's screen blocks the API",
        "error",
        ("the warning that a paper account is no brokerage account was not confirmed", "another message box is open"),
        "Confirm it on the gateway's screen, or let IBC do so (AcceptNonBrokerageAccountWarning=yes).",
        ("docker logs --tail 50 GATEWAY",),
        "The title of the open dialog in IBC's log.",
        NAME,
        "recorded",
        "The login is through, and a window that wants an answer keeps the API waiting. Connections are accepted and "
        "stay silent, or START_API is not answered.",
    ),
    Entry(
        "IBD310",
        "api-never-opened",
        "logged in, and the API port is not open",
        "error",
        (
            "socket clients are not enabled in the API settings",
            "the settings name another port",
            "a fault of this gateway build or image",
        ),
        "Enable socket clients in the API settings and look which port is set there; then restart the gateway.",
        ("docker exec GATEWAY ss -ltnp", "docker logs --tail 50 GATEWAY"),
        "ss -ltnp beside the gateway: no line that belongs to java.",
        NAME,
        "recorded",
        "The log says that login and configuration are complete, and nothing listens on the port. No line of that log "
        "ever says that the port is open: a finished login is needed for it, and not enough.",
    ),
    Entry(
        "IBD401",
        "not-ib-banner",
        "another service is on this port: it speaks first",
        "error",
        ("the port belongs to another program, such as SSH or VNC",),
        "Use the port of the gateway's API.",
        ("ss -ltnp 'sport = :PORT'", "docker port GATEWAY"),
        "ss -ltnp on the host names the program.",
        NAME,
        "real",
        "An IB gateway says nothing until the client has sent its hello. Bytes came before that, so this is something "
        "else.",
    ),
    Entry(
        "IBD402",
        "not-ib-http",
        "a web server is on this port",
        "error",
        ("the Client Portal gateway (port 5000) instead of the TWS API", "a web proxy in front of the port"),
        "Use the TWS API's port: 4001 or 4002 of IB Gateway, 7496 or 7497 of TWS.",
        ("curl -sI http://HOST:PORT/", "ss -ltnp 'sport = :PORT'"),
        "curl gets an HTTP answer.",
        NAME,
        "real",
        "The answer to the IB hello was HTTP. IB's web API and its socket API are two different products with "
        "different ports; libraries for the one cannot talk to the other.",
    ),
    Entry(
        "IBD403",
        "not-ib-tls",
        "a TLS server is on this port",
        "error",
        ("stunnel or another TLS front", "an HTTPS port"),
        "Dial the gateway's own port, which speaks without TLS, or go through the client end of the tunnel.",
        ("openssl s_client -connect HOST:PORT", "ss -ltnp 'sport = :PORT'"),
        "openssl s_client shows a certificate.",
        NAME,
        "real",
        "The answer to the IB hello was a TLS alert. Clients of the API do not speak TLS here, so a TLS front needs a "
        "counterpart on the client's side.",
    ),
    Entry(
        "IBD404",
        "closed-after-hello",
        "the connection was closed in answer to the hello",
        "error",
        (
            "a relay took the connection and found no gateway behind it (ib-relay dials after the hello)",
            "the gateway turned the source address away, a little late",
            "it supports none of the protocol versions offered",
            "what listens there is no IB gateway",
        ),
        "Look who has the port. A relay or another forwarder: its log says whether it reached the gateway; if not, "
        "start the gateway, or correct where it dials. The gateway itself: check its trusted addresses, then its "
        "version.",
        ("ss -ltnp 'sport = :PORT'", "ib-relay service status", "docker logs --tail 50 GATEWAY"),
        "The log of the relay on this port, if there is one; then the same handshake from 127.0.0.1 beside the "
        "gateway.",
        (*NAME, "IBD302", "IBD505", *LOGIN),
        "real",
        "The connection was quiet until we said hello, and was ended then without a byte of an answer. A gateway that "
        "is down behind ib-relay looks like this: the relay dials after the hello, and passes a refused dial on as a "
        "reset at once, one without an answer as a reset after five seconds. Forwarders that dial at once (socat, "
        "docker-proxy) "
        "end the connection before the hello (IBD301). An end with FIN is more likely that of something which did take "
        "the connection.",
    ),
    Entry(
        "IBD405",
        "bad-frame",
        "the answer is not the IB protocol",
        "error",
        ("another program's port", "something on the way that changes or cuts the stream"),
        "Find out which program has the port, and dial the gateway without anything between.",
        ("ss -ltnp 'sport = :PORT'", "ib-diagnose --target HOST:PORT --verbose"),
        "ss -ltnp on the host names the program.",
        (*NAME, "IBD401", "IBD402", "IBD403", "IBD407"),
        "real",
        "Bytes came that are no frame of the API: a length that cannot be, a hello that is no version and time, or "
        "half a message and then nothing. They fit no other protocol known here either.",
    ),
    Entry(
        "IBD406",
        "server-version-low",
        "the gateway is older than today's clients accept",
        "warning",
        ("an IB Gateway or TWS that has not been updated for years",),
        "Update IB Gateway or TWS.",
        ("docker pull ghcr.io/gnzsnz/ib-gateway:stable",),
        "The server version in the report against the minimum of your client library.",
        (),
        "real",
        "The handshake works; the gateway announces a protocol version below what ib_insync and ib_async accept (157). "
        "Such a client disconnects by itself, whatever route it takes.",
    ),
    Entry(
        "IBD407",
        "redirected",
        "the gateway sends clients to another address",
        "error",
        ("the gateway answered the hello with the address of another one",),
        "Connect to the address it named, or use a gateway that serves the API itself.",
        ("ib-diagnose --target HOST:PORT",),
        "Diagnose the address that was named.",
        NAME,
        "real",
        "The protocol allows a gateway to answer 'ask over there' instead of its version. Most clients do not follow "
        "that and fail with a bad version. It was not followed here either: nobody asked to talk to that address.",
    ),
    Entry(
        "IBD501",
        "client-id-in-use",
        "this client id is taken",
        "error",
        (
            "another program uses the same id",
            "an earlier run died, and the gateway has not noticed",
            "a reconnect within seconds after a disconnect",
        ),
        "Use another client id, or end the program that has this one. After a crash wait, or restart the gateway.",
        ("ib-diagnose --client-id 7301", "ss -tn '( sport = :PORT )'"),
        "Try another id: if that works, the gateway is fine.",
        NAME,
        "real",
        "The gateway said so itself (error 326) and closed. Network, login and handshake all work. A client that "
        "reconnects with the same id while the old socket is still open keeps the conflict alive for ever.",
    ),
    Entry(
        "IBD502",
        "start-api-closed",
        "the gateway closed the connection after START_API",
        "error",
        (
            "the gateway is not completely logged in",
            "the client id is taken, and the gateway did not say so",
            "too many clients",
        ),
        "Try once with another client id; if that fails too, look at the gateway's login.",
        ("ib-diagnose --client-id 7301", "docker logs --tail 50 GATEWAY"),
        "Another client id: works if the id was the reason, fails if it is the login.",
        (*NAME, "IBD501", "IBD505", "IBD704", "IBD804", *LOGIN),
        "real",
        "The handshake was answered and the session was not: the gateway ended the connection without giving a reason. "
        "The way to the gateway works on this route.",
    ),
    Entry(
        "IBD503",
        "start-api-silent",
        "the handshake works, and the session never becomes ready",
        "error",
        ("the login is not finished, or waits for a second factor", "a dialog is open on the gateway's screen"),
        "Look at the gateway's screen or log and finish the login; then try again.",
        ("docker logs --tail 50 GATEWAY", "ib-diagnose wait --for session"),
        "The gateway's log: does it say that login has completed?",
        (*NAME, "IBD301", "IBD303", "IBD309", *LOGIN),
        "real",
        "The gateway answered the hello, so network and process are fine. After START_API the next order id and the "
        "accounts have to come, and not both of them did. Clients report this as a time-out while connecting.",
    ),
    Entry(
        "IBD504",
        "partial-sync",
        "the session is ready, and a request was not answered",
        "warning",
        ("the gateway is busy", "a fault of this gateway build", "another client asked the same within a second"),
        "Connectivity is fine: change nothing in the network. Give the client more time, or let it skip what it "
        "fetches at the start.",
        ("ib-diagnose --timeout 20",),
        "Run it again with more time.",
        (),
        "real",
        "Order id and accounts came, which is all a connection needs. The question for the gateway's time stayed "
        "without an answer. Clients that fetch orders and positions while connecting may report a time-out although "
        "the connection works.",
    ),
    Entry(
        "IBD505",
        "client-limit",
        "the gateway has all the clients it takes",
        "error",
        ("clients that never close their connections", "more than 32 clients at the same time"),
        "Close clients that are not needed; restart the gateway if they are gone and it still counts them.",
        ("ss -tn state established '( sport = :PORT )'", "docker restart GATEWAY"),
        "Count the established connections on the API port: the limit is 32.",
        NAME,
        "real",
        "IB allows 32 clients at a time. What is too many is closed early or stays without an answer, and nothing on "
        "the connection says why; only the number of connections does.",
    ),
    Entry(
        "IBD506",
        "ghost-client",
        "the gateway still holds a client that is gone",
        "warning",
        ("a forwarder that did not pass on the end of a connection", "a client that vanished without closing"),
        "Restart the gateway to free the id, and put the relay between: it notices vanished clients and closes both "
        "sides.",
        ("ss -tn state close-wait '( sport = :PORT )'", "ib-relay run"),
        "CLOSE_WAIT on the gateway's side: the peer is gone, and the gateway has not closed.",
        NAME,
        "real",
        "The id is taken by a connection whose other end is no longer there. The gateway keeps it until it notices, "
        "in bad cases until it is restarted.",
    ),
    Entry(
        "IBD601",
        "starting",
        "the gateway is still starting",
        "error",
        ("it was started a moment ago; one to two minutes are normal",),
        "Wait.",
        ("ib-diagnose wait --for session --timeout 180", "docker logs -f GATEWAY"),
        "The log goes on, and 'Login has completed' has not come yet.",
        (*NAME, *(code for code in LOGIN if code != "IBD601")),
        "recorded",
        "The log shows a start and no finished login since. The API port opens after the login. A start that takes "
        "more than three minutes is waiting for something: a second factor, a dialog, or IB's servers.",
    ),
    Entry(
        "IBD602",
        "twofa-pending",
        "the login waits for the second factor",
        "error",
        ("the message on the phone has not been confirmed",),
        "Confirm the login in IBKR Mobile.",
        ("docker logs -f GATEWAY", "ib-diagnose wait --for session --timeout 180"),
        "The log: the second factor was started, and no login completed after it.",
        (*NAME, "IBD603", "IBD604", "IBD605", "IBD606", "IBD607", "IBD610", "IBD611"),
        "recorded",
        "User name and password were accepted, and IB sent a message to the user's device. It is valid for about "
        "three minutes.",
    ),
    Entry(
        "IBD603",
        "twofa-timeout",
        "the second factor was not confirmed in time",
        "error",
        ("nobody confirmed within three minutes", "the message never reached the device"),
        "Let the gateway try again and confirm then. So that it tries by itself: TWOFA_TIMEOUT_ACTION=restart and "
        "RELOGIN_AFTER_TWOFA_TIMEOUT=yes.",
        ("docker restart GATEWAY", "docker logs -f GATEWAY"),
        "The log: a time-out of the second factor, or exit status 87.",
        NAME,
        "recorded",
        "The login was given up because the second factor was missing. Depending on its settings the gateway tries "
        "again, or has ended.",
    ),
    Entry(
        "IBD604",
        "twofa-device-choice",
        "the login does not know which second-factor device to use",
        "error",
        ("the user has several devices", "the device named in the settings does not exist"),
        "Set TWOFA_DEVICE to the exact name of the device as the login dialog shows it.",
        ("docker logs --tail 50 GATEWAY", "docker restart GATEWAY"),
        "The log: the device was not found in the list.",
        NAME,
        "recorded",
        "The login dialog offers a list of devices, and IBC does not find the one it was told, or was told none. "
        "Nothing is sent to any device, so there is nothing to confirm.",
    ),
    Entry(
        "IBD605",
        "login-failed",
        "IB refused the login",
        "error",
        (
            "wrong user name or password",
            "the password has expired",
            "paper credentials with live mode, or the reverse",
        ),
        "Correct user, password and trading mode; log in once by hand on IB's website to see a message about an "
        "expired password.",
        ("docker logs --tail 50 GATEWAY",),
        "The log: 'Login failed' and the message after it.",
        (*NAME, "IBD606", "IBD611"),
        "recorded",
        "The gateway runs and reaches IB; the account data were not accepted. Repeating it locks the user (IBD606).",
    ),
    Entry(
        "IBD606",
        "login-throttled",
        "too many failed logins: IB makes you wait",
        "error",
        ("a restart loop with a wrong password",),
        "Stop the gateway, wait as long as its message says, correct the credentials, start it once.",
        ("docker stop GATEWAY", "docker logs --tail 50 GATEWAY"),
        "The log: too many failed login attempts.",
        NAME,
        "recorded",
        "IB counts failed logins and refuses more of them for some time. Every automatic restart prolongs it.",
    ),
    Entry(
        "IBD607",
        "existing-session",
        "the user is logged in somewhere else",
        "error",
        ("TWS, IBKR Mobile or the website is used by the same user", "a second container with the same user"),
        "Log out there, or use a second user name for the API. EXISTING_SESSION_DETECTED_ACTION=primary keeps this "
        "session, and logs the other one out.",
        ("docker logs --tail 50 GATEWAY",),
        "The log: a dialog about an existing session after the last finished login.",
        (*NAME, "IBD605"),
        "recorded",
        "IB allows one session per user name. The gateway found another one and waits for a decision, or was pushed "
        "out by it.",
    ),
    Entry(
        "IBD608",
        "login-dialog-missing",
        "the gateway's login window never appeared",
        "error",
        ("trouble of Java or of the display in the container", "too little memory or too few file descriptors"),
        "Restart it; if it happens again, give the container more memory and a limit of 10000 open files.",
        ("docker restart GATEWAY", "docker stats --no-stream GATEWAY", "docker logs --tail 50 GATEWAY"),
        "The log: exit status 88.",
        NAME,
        "recorded",
        "IBC waited for the login window and gave up. Nothing was sent to IB, so account and network are not to blame.",
    ),
    Entry(
        "IBD609",
        "restart-in-progress",
        "the gateway is restarting itself",
        "error",
        ("the daily automatic restart",),
        "Wait one to three minutes; this is expected once a day.",
        ("ib-diagnose wait --for session --timeout 300", "docker logs -f GATEWAY"),
        "The log: a restart without a new full login, and 'Login has completed' not yet.",
        (*NAME, "IBD602", "IBD603", "IBD604", "IBD605", "IBD606", "IBD607", "IBD608", "IBD610", "IBD611"),
        "recorded",
        "Gateways restart once a day and log in again with the token they have. Meanwhile connections are dropped and "
        "refused. Clients should reconnect with growing pauses.",
    ),
    Entry(
        "IBD610",
        "weekly-reauth",
        "the weekly full login is due",
        "error",
        ("on Sunday IB invalidates the token of the automatic restart, and a full login is needed",),
        "Confirm the second factor in IBKR Mobile; plan for it once a week.",
        ("docker logs --tail 50 GATEWAY", "docker restart GATEWAY"),
        "The log: no token for the automatic restart, full authentication.",
        NAME,
        "recorded",
        "The automatic restart works from Sunday to Sunday. After that user name, password and second factor are asked "
        "for again, and without somebody to confirm it the gateway stays down.",
    ),
    Entry(
        "IBD611",
        "server-unreachable",
        "the gateway cannot reach IB's servers",
        "error",
        ("its machine has no way to the internet", "maintenance at IB", "a firewall or proxy for outgoing traffic"),
        "Check the way out from the gateway's machine, and IB's system status page.",
        ("docker exec GATEWAY curl -sI https://www.interactivebrokers.com", "docker logs --tail 50 GATEWAY"),
        "From the gateway's container: does it reach the internet at all?",
        NAME,
        "recorded",
        "The login could not even begin. The route from the client to the gateway is a different one and not affected.",
    ),
    Entry(
        "IBD701",
        "upstream-lost",
        "connectivity is fine, and the gateway has lost IB's servers",
        "warning",
        ("the gateway's internet connection", "the nightly reset at IB", "another session of the same user"),
        "Do not reconnect: wait until the gateway reports the connection as restored (1101 or 1102).",
        ("ib-diagnose watch", "docker logs --tail 50 GATEWAY"),
        "Is it inside a maintenance window (IBD703)? Then waiting is all there is to do.",
        NAME,
        "real",
        "Client and gateway talk to each other without trouble; the gateway itself says that it is cut off from IB "
        "(1100 or 2110). After 1101 subscriptions have to be made anew, after 1102 they are still there.",
    ),
    Entry(
        "IBD702",
        "farm-broken",
        "connectivity is fine, and a data farm of IB is not available",
        "warning",
        ("the nightly reset", "a short disturbance at IB"),
        "Wait; the gateway reports when it is back (2104, 2106, 2158). Reconnecting does not help.",
        ("ib-diagnose watch",),
        "Does it pass within minutes? Otherwise look at IB's system status page.",
        (*NAME, "IBD701"),
        "real",
        "The session works. IB's servers for market data, history or contract data are reported as broken for now "
        "(2103, 2105, 2157), so requests for these may stay unanswered.",
    ),
    Entry(
        "IBD703",
        "maintenance-window",
        "this is a time of planned maintenance at IB",
        "info",
        ("IB resets its servers every night, and for longer on Friday night",),
        "Wait until the window is over, then look again.",
        ("ib-diagnose wait --for session --timeout 7200",),
        "Is it still there after the window has ended?",
        NAME,
        "real",
        "IB publishes times at which logins and connections may fail, per region. What was found falls into one of "
        "them. That does not prove that it is the reason, but it is not worth a search before the window has passed.",
    ),
    Entry(
        "IBD704",
        "port-reset",
        "the gateway's API port was changed",
        "error",
        ("somebody changed the port in the gateway's settings while it was running",),
        "Use the new port.",
        ("docker exec GATEWAY ss -ltnp", "docker logs --tail 50 GATEWAY"),
        "ss -ltnp beside the gateway: the port on which java listens now.",
        NAME,
        "real",
        "The gateway announced that its port has changed and that it drops this connection (1300). It is not "
        "reachable under the old port from now on.",
    ),
    Entry(
        "IBD801",
        "paper-live-mix",
        "the account is of the other kind than the port suggests",
        "warning",
        ("credentials of the other kind", "a port mapping that swaps paper and live"),
        "Make sure which account you are trading with before anything else. Then align port, trading mode and "
        "credentials.",
        ("docker port GATEWAY", "docker logs --tail 50 GATEWAY"),
        "Accounts that begin with D are paper accounts.",
        NAME,
        "real",
        "By convention 4001 and 7496 are live, 4002 and 7497 paper. The account this gateway reported is of the other "
        "kind. Connectivity is fine; what is at stake is which money is traded.",
    ),
    Entry(
        "IBD802",
        "read-only",
        "connectivity is fine, and the gateway refused a request as not valid or read-only",
        "warning",
        ("the API is set to read-only", "a request with a mistake in it"),
        "If orders are wanted: switch Read-Only API off (READ_ONLY_API=no).",
        ("docker logs --tail 50 GATEWAY",),
        "The text of error 321 in the client's log: it names read-only if that is the reason.",
        NAME,
        "real",
        "The gateway answered a request with error 321, which it uses for requests that do not pass its checks; "
        "in read-only mode that is everything that has to do with orders. The connection itself works.",
    ),
    Entry(
        "IBD803",
        "competing-session",
        "connectivity is fine, and market data go to another session",
        "warning",
        ("the same user, or the live user of this paper account, has a session with market data elsewhere",),
        "Close the other session, or subscribe market data for this user too.",
        ("docker logs --tail 50 GATEWAY",),
        "Log out of TWS, website and mobile app, and ask again.",
        NAME,
        "real",
        "IB gives live market data to one session per user (error 10197). The connection to the gateway works.",
    ),
    Entry(
        "IBD804",
        "rate",
        "messages came faster than IB allows",
        "error",
        ("a client that sends more than 50 messages a second",),
        "Throttle the client to less than 45 messages a second, over all kinds of requests.",
        ("ib-diagnose watch",),
        "Stop the other clients and try again.",
        NAME,
        "real",
        "The gateway counts messages and ends the connection with error 100 if there are too many. This tool sends "
        "a handful, so it is other traffic that counts, or a gateway that was busy already.",
    ),
)

CATALOGUE: dict[str, Entry] = {entry.code: entry for entry in _ENTRIES}
