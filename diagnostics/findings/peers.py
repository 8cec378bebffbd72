"""3xx: what happens behind an accepted connection."""

from __future__ import annotations

from diagnostics.findings.entry import LOGIN_FAULTS, NAME_FAULTS, Explanation, FindingEntry, Side, Sign

ENTRIES = (
    FindingEntry(
        code="IBD301",
        slug="proxy-no-backend",
        title="the connection is accepted and closed at once",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "a forwarder (socat, a published port) accepts; behind it nothing listens yet, or what does ends it, too",
            "the port is published to an inner port on which nobody listens",
            "inside its container the gateway listens on 127.0.0.1 only",
            "the gateway does not trust the address the connection comes from",
            "the relay does not let this address in, or no more connections (acl_denied, connection_limit in its log)",
        ),
        fix=(
            "If a relay has the port, its log says why. Else wait for the gateway's login to finish, then "
            "check that the published port leads to the inner port of the image's forwarder (4003 live and "
            "4004 paper in gnzsnz/ib-gateway-docker)."
        ),
        commands=(
            "docker logs --tail 50 GATEWAY",
            "docker port GATEWAY",
            "docker exec GATEWAY ss -ltn",
        ),
        check=("Connect from where the gateway runs, to its own port on 127.0.0.1: if that works it is IBD302."),
        docs=(
            "Somebody took the connection and ended it before we had said a word. A forwarder (docker-proxy, socat) "
            "that accepts first and then finds nobody behind it does this within milliseconds (ib-relay only after the "
            "hello: IBD404), and so may a gateway that does not like where the connection comes from. That "
            "TCP connected therefore proves nothing, and a health check that only connects reports such a "
            "gateway as healthy."
        ),
        silenced_by=(*NAME_FAULTS, "IBD110", "IBD104", "IBD204", "IBD302", "IBD310", "IBD505", *LOGIN_FAULTS),
        explanations=(
            Explanation(
                code="IBD301",
                check="docker exec GATEWAY ss -ltn: nothing listens on the inner port, or only on 127.0.0.1.",
            ),
            Explanation(
                code="IBD302",
                check=(
                    "The same port on 127.0.0.1 where the gateway runs works; or a relay has the port, and its log "
                    "says acl_denied or connection_limit."
                ),
                check_from_loopback="A relay has the port, and its log says acl_denied or connection_limit.",
                meaning="the gateway, or the relay before it, turns this address away",
            ),
            Explanation(code="IBD601"),
            Explanation(code="IBD602"),
            Explanation(code="IBD605"),
            Explanation(code="IBD607"),
            Explanation(code="IBD310"),
            Explanation(code="IBD505"),
        ),
        supported_by=(Sign.FORWARDER_FOUND_NOBODY, Sign.RESET_AT_ONCE),
        where_to_look="the fault is at the gateway or at what forwards to it, not on the way from here",
        may_be_maintenance=True,
    ),
    FindingEntry(
        code="IBD302",
        slug="peer-rejected",
        title="the gateway turns this address away",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the gateway allows connections from localhost only",
            "the source address is not among its trusted addresses, which are exact ones, not ranges",
        ),
        fix=(
            "Put the relay beside the gateway: it dials from 127.0.0.1. Or add the exact address the "
            "connection comes from to the trusted addresses in the gateway's API settings."
        ),
        commands=(
            "ib-relay run --upstream 127.0.0.1:4002",
            "docker exec GATEWAY ss -tn",
        ),
        check="The same port on 127.0.0.1 where the gateway runs: works here, fails with IBD301.",
        docs=(
            "The gateway takes connections on all addresses and looks at who is calling. Through Docker it "
            "sees a container's or a bridge's address, which changes, instead of 127.0.0.1. It closes such "
            "connections without an answer, so clients report a lost connection or a time-out."
        ),
        silenced_by=NAME_FAULTS,
        excluded_by=(Sign.FORWARDER_FOUND_NOBODY,),
        supported_by=(Sign.GATEWAY_PORT_ENDS, Sign.RESET_AT_ACCEPT),
        doubted_by=(Sign.FROM_LOOPBACK,),
    ),
    FindingEntry(
        code="IBD303",
        slug="accept-then-silence",
        title="the connection is accepted, and the handshake gets no answer",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the gateway is wedged: it no longer serves its API port, until it is restarted",
            "it waits for somebody to confirm an incoming connection",
            "its process is stopped or its container paused",
            "a forwarder accepted, and the gateway behind it does not answer the dial",
        ),
        fix=(
            "Look at the gateway, not at Docker: sockets in CLOSE_WAIT mean that it is wedged and needs a "
            "restart; a dialog on its screen has to be answered; a paused container has to go on."
        ),
        commands=(
            "ss -tn state close-wait '( sport = :APIPORT )'",
            "ss -ltn 'sport = :APIPORT'",
            "docker inspect --format '{{.State.Status}} paused={{.State.Paused}}' GATEWAY",
            "docker logs --tail 50 GATEWAY",
        ),
        check=(
            "On the gateway's side: CLOSE_WAIT sockets (IBD305), a dialog (IBD304), a stopped process "
            "(IBD306), SYN_SENT of a forwarder (IBD307)."
        ),
        docs=(
            "TCP connected, our hello went out, and not a byte came back. The kernel accepts connections for "
            "a program that has stopped working, so 'Connected' followed by a time-out is exactly what every "
            "client prints. Another route or another Docker network leads to the same gateway and changes "
            "nothing."
        ),
        silenced_by=(
            *NAME_FAULTS,
            "IBD110",
            "IBD210",
            "IBD304",
            "IBD305",
            "IBD306",
            "IBD307",
            "IBD308",
            "IBD309",
            "IBD310",
            "IBD505",
            *LOGIN_FAULTS,
        ),
        explanations=(
            Explanation(
                code="IBD305",
                check=(
                    "ss on the gateway's side: sockets in CLOSE_WAIT on the API port, or Recv-Q of its listener above "
                    "zero."
                ),
            ),
            Explanation(code="IBD304"),
            Explanation(code="IBD306", check="docker inspect GATEWAY says paused, or ps shows the state T."),
            Explanation(code="IBD307"),
            Explanation(code="IBD210", check="ss -tin during the attempt: unacked and retrans above zero."),
            Explanation(code="IBD309"),
        ),
    ),
    FindingEntry(
        code="IBD304",
        slug="accept-dialog-pending",
        title="the gateway waits for somebody to accept the connection",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the source address is not trusted, and the gateway asks in a dialog",
            "IBC is told to leave that dialog alone (AcceptIncomingConnectionAction=manual)",
        ),
        fix=(
            "Put the relay beside the gateway, which dials from 127.0.0.1, or trust the exact address, or let "
            "IBC accept (then whoever reaches the port can trade)."
        ),
        commands=(
            "ib-relay run --upstream 127.0.0.1:4002",
            "docker logs --tail 50 GATEWAY",
        ),
        check=(
            "From 127.0.0.1 beside the gateway the handshake works; with IBD305 it does not work from there either."
        ),
        docs=(
            "With 'localhost only' switched off, the gateway asks on its screen about an address it does not "
            "know, and says nothing on the connection until somebody answers. In a container nobody sees that "
            "screen."
        ),
        silenced_by=NAME_FAULTS,
        doubted_by=(Sign.FROM_LOOPBACK,),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD305",
        slug="gateway-wedged",
        title="the gateway no longer serves its API port",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "clients that vanished in the middle of a handshake",
            "a fault of the gateway after hours of connects and disconnects",
            "its process is stopped or starved of memory",
        ),
        fix=(
            "If its process is stopped or paused, let that go on; else restart the gateway. Then stop what caused it: "
            "health checks that only connect, clients that give up in the middle of the handshake or reconnect within "
            "seconds."
        ),
        commands=(
            "ss -tn state close-wait '( sport = :APIPORT )'",
            "ss -ltn 'sport = :APIPORT'",
            "docker inspect --format '{{.State.Status}} paused={{.State.Paused}}' GATEWAY",
            "docker restart GATEWAY",
        ),
        check=("CLOSE_WAIT or waiting connections on the API port, for every client, also from 127.0.0.1."),
        docs=(
            "The kernel still takes connections, but the program neither accepts nor closes them. Nothing on "
            "the client's side mends this. As the queue fills up the picture changes to connections that time "
            "out (IBD207)."
        ),
        silenced_by=NAME_FAULTS,
        explanations=(
            Explanation(code="IBD305"),
            Explanation(code="IBD306"),
        ),
        doubted_by=(Sign.NOTHING_LEFT_OVER,),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD306",
        slug="process-frozen",
        title="the gateway's process is stopped",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "its container is paused",
            "the host is out of memory, or Java collects garbage",
            "somebody stopped it",
        ),
        fix=("Let it go on (unpause, SIGCONT); if it was memory, give the gateway's container or Java more of it."),
        commands=(
            "docker inspect --format '{{.State.Status}} paused={{.State.Paused}}' GATEWAY",
            "docker unpause GATEWAY",
            "ps -o pid,stat,comm -C java",
        ),
        check="docker inspect says paused, or ps shows the state T.",
        docs=(
            "A stopped process keeps its listening socket, and the kernel keeps accepting for it. From the "
            "client's side this cannot be told from a wedged gateway (IBD305); the state of the process "
            "decides."
        ),
        silenced_by=NAME_FAULTS,
        doubted_by=(
            Sign.QUEUE_HAS_ROOM,
        ),  # where nobody knows better, that of the port dialled, which may be a relay's
    ),
    FindingEntry(
        code="IBD307",
        slug="proxy-dialing",
        title="a forwarder accepted and cannot reach the gateway",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "packets between forwarder and gateway are dropped",
            "the gateway's accept queue is full",
            "the forwarder points to an address nobody has",
        ),
        fix="Go to the machine of the forwarder and diagnose from there to the address it dials.",
        commands=(
            "ss -tn state syn-sent",
            "docker logs --tail 50 GATEWAY",
        ),
        check=("SYN_SENT towards the gateway on the forwarder's side; with a wedged gateway (IBD305) there is none."),
        docs=(
            "The connection ends at a forwarder that accepts first and dials afterwards. Its own dial gets no "
            "answer, so it keeps us waiting; ib-relay gives up after five seconds and resets (IBD404). The "
            "fault is on the stretch behind it."
        ),
        silenced_by=NAME_FAULTS,
        excluded_by=(Sign.NOBODY_DIALS,),
        supported_by=(Sign.FORWARDER_WAITS, Sign.ENDED_LIKE_A_DIAL),
        does="connects to a forwarder that cannot reach the gateway",
    ),
    FindingEntry(
        code="IBD308",
        slug="first-connect-slow",
        title="the first handshake got no answer, the next one did",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "the gateway had just been started",
            "the gateway was busy for a few seconds",
        ),
        fix=(
            "Nothing to repair. Let the client try again after a few seconds, with a handshake time-out of 10 "
            "s or more."
        ),
        commands=("ib-diagnose wait --for hello",),
        check="Run it again: if the first handshake is silent every time, look at IBD305.",
        docs=(
            "One handshake was met with silence, a second one on the same route was answered. Connectivity is "
            "fine. Clients that give up after four seconds see such a gateway as dead."
        ),
        silenced_by=(),
    ),
    FindingEntry(
        code="IBD309",
        slug="modal-blocks-api",
        title="a dialog on the gateway's screen blocks the API",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the warning that a paper account is no brokerage account was not confirmed",
            "another message box is open",
        ),
        fix=("Confirm it on the gateway's screen, or let IBC do so (AcceptNonBrokerageAccountWarning=yes)."),
        commands=("docker logs --tail 50 GATEWAY",),
        check="The title of the open dialog in IBC's log.",
        docs=(
            "The login is through, and a window that wants an answer keeps the API waiting. Connections are "
            "accepted and stay silent, or START_API is not answered."
        ),
        silenced_by=NAME_FAULTS,
        doubted_by=(Sign.ALWAYS,),  # seldom, and IBC answers that dialog by default
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD310",
        slug="api-never-opened",
        title="by its log the gateway is up, and the API port is not open",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "it has ended since, or the log is that of another machine or container",
            "socket clients are not enabled in the API settings",
            "the settings name another port",
            "a fault of this gateway build or image",
        ),
        fix=(
            "If the log says that the API listened, see whether that gateway still runs, and where. If it does not say "
            "so, enable socket clients in the API settings and look which port is set there; then restart it."
        ),
        commands=(
            "docker exec GATEWAY ss -ltnp",
            "docker logs --tail 50 GATEWAY",
        ),
        check="ss -ltnp beside the gateway: no line that belongs to java.",
        docs=(
            "The log says that the login is complete or that the API listens, and nothing listens on the port that "
            "was dialled. No line of IBC says that a port is open; the gateway's own log names the port, as it was "
            "at that time. A log does not tell of which machine it is."
        ),
        silenced_by=(*NAME_FAULTS, "IBD614"),
        excluded_by=(Sign.LOGIN_NOT_KNOWN,),
        supported_by=(Sign.LOGGED_IN,),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD311",
        slug="port-not-of-the-log",
        title="the gateway's log names another port for the API",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "paper and live are mixed up (4002 and 4001)",
            "what listens on the port that was dialled, a relay or a forwarder, is not running",
            "the log is that of another gateway",
        ),
        fix=(
            "Dial the port that the log names, after making sure that it is the account you mean: paper or live. Or "
            "start what is to listen on the port that was dialled, such as a relay."
        ),
        commands=("ss -ltnp",),
        check="ss -ltnp beside the gateway: the ports on which java listens.",
        docs=(
            "The log says on which port the API listens, and that is not the port that was dialled, on which nothing "
            "listens here. The log tells what was so at that time, and not of which machine it is."
        ),
        silenced_by=(*NAME_FAULTS, "IBD106", "IBD204", "IBD614"),
        where_to_look="the port asked for is not the one that the gateway's log names",
    ),
)
