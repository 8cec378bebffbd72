"""1xx: names, and what they stand for."""

from __future__ import annotations

from diagnostics.findings.entry import NAME_FAULTS, FindingEntry, Side, Sign

ENTRIES = (
    FindingEntry(
        code="IBD101",
        slug="name-unknown",
        title="the name is not known here",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "on Linux nobody defines host.docker.internal unless the container was started with it",
            "host networking: the name does not exist there, and 127.0.0.1 is the host",
            "a typing error in IB_HOST or --target",
            "the name is a container's, and the client is not on its network",
        ),
        fix=(
            "On Docker Engine for Linux start the container with the name, or use the address of the default "
            "gateway. On Docker Desktop, OrbStack, Colima and Rancher Desktop the name is there already: do "
            "not add it."
        ),
        commands=(
            "docker run --add-host host.docker.internal:host-gateway ...",
            "getent hosts HOST",
            "docker network inspect --format '{{json .Containers}}' NETWORK",
        ),
        check=("getent hosts HOST inside the container: no line means unknown, a hang means the resolver (IBD102)."),
        docs=(
            "The resolver answered: there is no such name. Nothing was sent to a gateway, so this says "
            "nothing about it. In a compose file the name is added with extra_hosts and the value "
            "host-gateway. A container's name is known only to containers of the same user-defined network, "
            "never on the default bridge."
        ),
        silenced_by=(),
        does="is a name that is not known here",
    ),
    FindingEntry(
        code="IBD102",
        slug="resolver-down",
        title="names cannot be looked up at all",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "the container has no network (network_mode: none)",
            "the name server in /etc/resolv.conf does not answer",
            "a VPN took the name server away while the container was running",
        ),
        fix=("Give the container a network, or correct its name server. Until then use an address instead of a name."),
        commands=(
            "cat /etc/resolv.conf",
            "docker inspect --format '{{.HostConfig.NetworkMode}}' CLIENT",
            "getent hosts HOST",
        ),
        check="Try a target that is an address: if that works, only the resolver is broken.",
        docs=(
            "The lookup failed because no name server gave an answer, which is not the same as an answer that "
            "the name does not exist (IBD101). The gateway was not reached and may be fine."
        ),
        silenced_by=(),
        does="is a name, and no name server answers",
    ),
    FindingEntry(
        code="IBD103",
        slug="name-wrong-family",
        title="the name leads to IPv6, and only IPv4 answers",
        severity="warning",
        side=Side.LOCAL,
        causes=(
            "localhost is ::1 first, and the gateway listens on IPv4 only",
            "the name has only an IPv6 address",
            "a port is published for both families in front of a service that has one",
        ),
        fix="Use the IPv4 address, for the machine itself 127.0.0.1 instead of localhost.",
        commands=(
            "getent ahosts HOST",
            "ss -ltn 'sport = :PORT'",
        ),
        check=(
            "The same port on an IPv4 address of the same machine: it answers with this finding and fails with IBD201."
        ),
        docs=(
            "Clients try the addresses of a name in the resolver's order. ib_async and ib_insync go on after one that "
            "fails, and ibapi dials IPv4 only; some programs give up at the first. Here that was an IPv6 address "
            "which failed, while an IPv4 address works. An IPv6 source address also misses an entry of the "
            "gateway's trusted addresses that was written as IPv4."
        ),
        silenced_by=(*NAME_FAULTS, "IBD108"),
    ),
    FindingEntry(
        code="IBD104",
        slug="hostname-is-vm",
        title="the host's name points into the virtual machine, not to the host",
        severity="error",
        side=Side.ROUTING,
        causes=(
            "extra_hosts with host-gateway overrides the name that Docker Desktop, Colima or OrbStack provides itself",
            "the compose file was written for Linux",
        ),
        fix=("Remove the extra_hosts line for this name; the runtime resolves it correctly by itself."),
        commands=(
            "grep host.docker.internal /etc/hosts",
            "docker compose config",
        ),
        check=("Does another route work, and is the name's address 172.17.0.1, a bridge? Both: this finding."),
        docs=(
            "Where Docker runs in a virtual machine, host-gateway means the bridge inside that machine. The "
            "gateway runs on the other side, so the name leads to a place where nothing listens. On Docker "
            "Engine for Linux the same line is right and needed, which is why it travels between compose "
            "files."
        ),
        silenced_by=NAME_FAULTS,
        excluded_by=(Sign.NO_NAME_OF_A_VM_HOST,),
    ),
    FindingEntry(
        code="IBD105",
        slug="name-stale",
        title="the host's name leads nowhere any more",
        severity="error",
        side=Side.ROUTING,
        causes=(
            "a VPN changed the routes after the container runtime was started",
            "the machine changed networks or woke up, and the runtime kept the old address",
        ),
        fix=(
            "Restart the container runtime, or disconnect the VPN and try again. Until then use the address that works."
        ),
        commands=(
            "getent hosts HOST",
            "ib-diagnose --target HOST:PORT --verbose",
        ),
        check=("Restart the runtime: if the name works afterwards it was this, else look at the firewall (IBD205)."),
        docs=(
            "The name resolves, nothing at that address answers, and the gateway can be reached another way. "
            "So the gateway is running and its port is open: only the address behind the runtime's own name "
            "is out of date."
        ),
        silenced_by=(*NAME_FAULTS, "IBD108"),
        excluded_by=(Sign.NO_HOST_NAME,),
    ),
    FindingEntry(
        code="IBD106",
        slug="localhost-in-container",
        title="127.0.0.1 inside a container is the container itself",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "the gateway runs on the host or in another container, and the client was told 127.0.0.1 or localhost",
        ),
        fix=(
            "Point the client at the gateway: at the name of its container on a network that both share, or at the "
            "host (host.docker.internal, or the default gateway's address) unless the table shows it failing too."
        ),
        commands=(
            "ib-diagnose --target host.docker.internal:PORT",
            "docker network connect NETWORK CLIENT",
        ),
        check=("With host networking, or for a gateway in the same container, 127.0.0.1 is right; then it is IBD201."),
        docs=(
            "Every container has its own loopback interface unless it was started with host networking or "
            "joined to another container's network. Nothing listens on the port in the client's own, so the "
            "connection was refused without leaving it."
        ),
        silenced_by=NAME_FAULTS,
        excluded_by=(Sign.OWN_LOOPBACK_KNOWN,),
        supported_by=(Sign.DIALS_LOOPBACK,),
        where_to_look="the target is wrong, not the gateway",
    ),
    FindingEntry(
        code="IBD107",
        slug="setting-repaired",
        title="a setting has more in it than its value, and a client takes it as it stands",
        severity="warning",
        side=Side.LOCAL,
        causes=(
            "docker run --env-file keeps quotes, blanks and a comment behind the value",
            "the file has Windows line ends, so that every value ends with a CR",
            "Kubernetes sets IB_PORT to tcp://... where a Service is called ib, unless enableServiceLinks is false",
        ),
        fix="Set it to the value that was most likely meant.",
        commands=(
            "docker exec CLIENT env | grep ^IB_",
            "grep -n IB_ .env",
        ),
        check="Print the value in quotes from inside your program.",
        docs=(
            "ib-diagnose goes on with the value that was most likely meant. A client does not: a host name with a "
            "blank or a quote cannot be looked up, and a port that is no number ends a program before it connects. "
            "Some programs remove blanks by themselves, so this is a warning and no error."
        ),
        but="a program that takes the setting as it stands fails: there is more in it than its value",
        silenced_by=(),
    ),
    FindingEntry(
        code="IBD108",
        slug="name-held-up",
        title="an address of the name is silent, and clients wait there",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "the name has an IPv6 address, and packets to it are lost: no IPv6 on the way, or a firewall that drops it",
            "the name has an old address beside the one that is right, in DNS, extra_hosts or hostAliases",
            "the machine has several addresses, and one of them cannot be reached from here",
        ),
        fix=(
            "Dial the address that answers instead of the name. Or mend the name: take the silent address out of DNS, "
            "or out of /etc/hosts and what writes it. If it is IPv6, the line precedence ::ffff:0:0/96 100 in "
            "/etc/gai.conf puts IPv4 first (glibc only)."
        ),
        commands=(
            "getent ahosts HOST",
            "ip route get ADDRESS",
        ),
        check="Use the address that answers as the host in your program: if it connects at once, it was this.",
        docs=(
            "ib_async and ib_insync dial the addresses of a name one after the other. After a refusal they go on at "
            "once. At an address that says nothing they wait, and give up after 4 seconds by default. ibapi dials the "
            "first IPv4 address only, and waits for minutes. curl and browsers try the next address after a moment, "
            "so with those the name seems to work."
        ),
        silenced_by=NAME_FAULTS,
        does="keeps clients waiting at an address that does not answer",
        where_to_look="the fault is in what the name stands for: another of its addresses answers",
    ),
    FindingEntry(
        code="IBD109",
        slug="not-for-ibapi",
        title="ibapi does not dial the address that works",
        severity="info",
        side=Side.LOCAL,
        causes=(
            "the name has IPv6 addresses only, or an IPv6 address was configured",
            "the first IPv4 address of the name does not take connections, and another one does",
        ),
        fix=(
            "Nothing, for ib_async and ib_insync. For ibapi use an IPv4 address that works, for the machine itself "
            "127.0.0.1, or let the relay listen on one."
        ),
        commands=(
            "getent ahosts HOST",
            "ss -ltn 'sport = :PORT'",
        ),
        check="Does your program import ibapi? If not, this does not concern it.",
        docs=(
            "ibapi makes an IPv4 socket and connects it to the name: the first IPv4 address that the resolver gives "
            "is dialled, and no other. A name without an IPv4 address cannot be looked up for it. Clients that use "
            "asyncio go through all addresses."
        ),
        silenced_by=NAME_FAULTS,
    ),
    FindingEntry(
        code="IBD110",
        slug="name-stays-with-one",
        title="clients stay with an address of the name that does not work, and another one answers",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "the name has an old address beside the one that is right, in DNS, extra_hosts or hostAliases",
            "the machine has several addresses, and on one of them another program or a forwarder has the port",
            "the gateway, or what is before it, serves connections to one of its addresses and not to the other",
        ),
        fix=(
            "Dial the address that answers as a gateway instead of the name. Or mend the name: take the other address "
            "out of DNS, or out of /etc/hosts and what writes it."
        ),
        commands=(
            "getent ahosts HOST",
            "grep -n ADDRESS /etc/hosts",
        ),
        check="Use the address that answers as the host in your program: if that gets further, it was this.",
        docs=(
            "Clients dial the addresses of a name one after the other, and the first one that takes the connection is "
            "the one they use. What comes of it then, silence or an end, does not make them try the next. ibapi dials "
            "the first IPv4 address only. Whether the address that does not work is the same gateway's is not known."
        ),
        silenced_by=(*NAME_FAULTS, "IBD302"),
        does="leads clients to an address that takes the connection and does not work, and they stay there",
        where_to_look="the fault is in what the name stands for: another of its addresses answers as a gateway",
    ),
)
