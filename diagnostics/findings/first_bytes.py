"""4xx: what the first bytes of an answer show; most often that it is no IB gateway."""

from __future__ import annotations

from diagnostics.findings.client_libraries import CLIENT_LIBRARIES
from diagnostics.findings.entry import LOGIN_FAULTS, NAME_FAULTS, Explanation, FindingEntry, Side, Sign

ENTRIES = (
    FindingEntry(
        code="IBD401",
        slug="not-ib-banner",
        title="another service answers, no IB gateway",
        severity="error",
        side=Side.LOCAL,
        causes=("the port belongs to another program, such as SSH or VNC",),
        fix="Use the port of the gateway's API.",
        commands=(
            "ss -ltnp 'sport = :PORT'",
            "docker port GATEWAY",
        ),
        check="ss -ltnp on the host names the program.",
        docs=(
            "An IB gateway says nothing until the client has sent its hello. Bytes came before that, so this "
            "is something else."
        ),
        silenced_by=(*NAME_FAULTS, "IBD110"),
        where_to_look="the host or port asked for is another service's",
    ),
    FindingEntry(
        code="IBD402",
        slug="not-ib-http",
        title="a web server answers",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "the Client Portal gateway (port 5000) instead of the TWS API",
            "a web proxy in front of the port",
        ),
        fix="Dial the socket port that the API settings of IB Gateway or TWS name: a web server has this one.",
        commands=(
            "curl -sI http://UPSTREAM/",
            "ss -ltnp 'sport = :APIPORT'",
        ),
        check="curl gets an HTTP answer.",
        docs=(
            "The answer to the IB hello was HTTP. IB's web API and its socket API are two different products "
            "with different ports; libraries for the one cannot talk to the other."
        ),
        silenced_by=(*NAME_FAULTS, "IBD110"),
        where_to_look="the host or port asked for is another service's",
    ),
    FindingEntry(
        code="IBD403",
        slug="not-ib-tls",
        title="a TLS server answers",
        severity="error",
        side=Side.LOCAL,
        causes=(
            "stunnel or another TLS front",
            "an HTTPS port",
        ),
        fix=("Dial the gateway's own port, which speaks without TLS, or go through the client end of the tunnel."),
        commands=(
            "openssl s_client -connect UPSTREAM",
            "ss -ltnp 'sport = :APIPORT'",
        ),
        check="openssl s_client shows a certificate.",
        docs=(
            "The answer to the IB hello was a TLS alert. Clients of the API do not speak TLS here, so a TLS "
            "front needs a counterpart on the client's side."
        ),
        silenced_by=(*NAME_FAULTS, "IBD110"),
        where_to_look="the host or port asked for is another service's",
    ),
    FindingEntry(
        code="IBD404",
        slug="closed-after-hello",
        title="the connection was closed in answer to the hello",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "a relay took the connection and found no gateway behind it (ib-relay dials after the hello)",
            "the gateway turned the source address away, a little late",
            "it supports none of the protocol versions offered",
            "what listens there is no IB gateway",
        ),
        fix=(
            "Look who has the port. A relay or another forwarder: its log says whether it reached the "
            "gateway; if not, start the gateway, or correct where it dials. The gateway itself: check its "
            "trusted addresses, then its version."
        ),
        commands=(
            "ss -ltnp 'sport = :PORT'",
            "ib-relay service status",
            "docker logs --tail 50 GATEWAY",
        ),
        check=(
            "The log of the relay on this port, if there is one; then the same handshake from 127.0.0.1 "
            "beside the gateway."
        ),
        docs=(
            "The connection was quiet until we said hello, and was ended then without a byte of an answer. A "
            "gateway that is down behind ib-relay looks like this: the relay dials after the hello, and "
            "passes a refused dial on as a reset at once, one without an answer as a reset after five "
            "seconds. Forwarders that dial at once (socat, docker-proxy) end the connection before the hello "
            "(IBD301). An end with FIN is more likely that of something which did take the connection."
        ),
        silenced_by=(*NAME_FAULTS, "IBD110", "IBD204", "IBD302", "IBD505", *LOGIN_FAULTS),
        explanations=(
            Explanation(
                code="IBD302",
                check="From 127.0.0.1 beside the gateway, without a forwarder, the handshake works.",
                check_from_loopback="A forwarder has the port, and beside the gateway behind it the handshake works.",
            ),
            Explanation(
                code="IBD301",
                check=(
                    "The relay's log (its terminal, or ib-relay service status) says connection_refused; or nothing "
                    "listens where it dials (ss -ltn there)."
                ),
                check_after_fin=(
                    "A relay's log says upstream_closed, and what it dials is a forwarder itself (such as "
                    "socat): nothing listens on its inner port."
                ),
                meaning="a relay or another forwarder took the connection, and no gateway is behind it",
                after_reset="most likely a relay has the port, and no gateway listens behind it",
            ),
            Explanation(
                code="IBD307",
                check="The relay's log says connect_timeout or unreachable; ss -tn beside it shows SYN-SENT.",
                after_reset="most likely a relay has the port, and its dial of the gateway got no answer",
            ),
            Explanation(
                code="IBD404",
                check=(
                    "From 127.0.0.1 beside the gateway it ends the same way: look who has the port (ss -ltnp), then "
                    "at versions."
                ),
                meaning="what listens there speaks none of the versions offered, or is no IB gateway",
                first_with=(Sign.ASKED_AS_A_CLIENT,),
                check_if_first=(
                    "ib-diagnose --target HOST:PORT without --client-versions: if that is answered, it is the versions."
                ),
            ),
            Explanation(code="IBD601", check="The gateway's log goes on, and 'Login has completed' has not come yet."),
            Explanation(code="IBD505"),
        ),
        where_to_look="the fault is at the gateway or at what forwards to it, not on the way from here",
    ),
    FindingEntry(
        code="IBD405",
        slug="bad-frame",
        title="the answer is not the IB protocol",
        severity="error",
        side=Side.UNCLEAR,
        causes=(
            "another program's port",
            "something on the way that changes or cuts the stream",
        ),
        fix="Find out which program has the port, and dial the gateway without anything between.",
        commands=(
            "ss -ltnp 'sport = :APIPORT'",
            "ib-diagnose --target UPSTREAM --verbose",
        ),
        check="ss -ltnp on the host names the program.",
        docs=(
            "Bytes came that are no frame of the API: a length that cannot be, or a hello that is no version and "
            "time. They fit no other protocol known here either. What begins like a hello is IBD408."
        ),
        silenced_by=(*NAME_FAULTS, "IBD110", "IBD401", "IBD402", "IBD403", "IBD407"),
        does="connects, and the answer is not the IB protocol",
    ),
    FindingEntry(
        code="IBD406",
        slug="server-version-low",
        title="the gateway's server version is outside of what clients ask for",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "an IB Gateway or TWS that has not been updated for a long time",
            "a client library that speaks with new gateways only",
            "a client library that is older than the gateway, which answers with more than was asked for",
        ),
        fix="Update IB Gateway or TWS, or use a client library that speaks its version.",
        fix_if_newer="Update the client library: the gateway speaks a newer version than it asks for.",
        commands=("docker pull ghcr.io/gnzsnz/ib-gateway:stable",),
        check="ib-diagnose with --client-versions and the range of your client library says what that client gets.",
        docs=(
            "The gateway announces a server version outside of the range that a client asks for; ib_insync, ib_async "
            "and @stoqey/ib then disconnect by themselves. With --client-versions the range given is judged, else "
            f"these: {', '.join(map(str, CLIENT_LIBRARIES))}. A gateway newer than a client is no fault: it answers "
            "with the newest version it was asked for."
        ),
        silenced_by=(),
        where_to_look="gateway and client have no server version in common, the way to it is not broken",
        does="answers with a server version that was not asked for",
    ),
    FindingEntry(
        code="IBD407",
        slug="redirected",
        title="the gateway sends clients to another address",
        severity="error",
        side=Side.GATEWAY,
        causes=("the gateway answered the hello with the address of another one",),
        fix="Connect to the address it named, or use a gateway that serves the API itself.",
        commands=("ib-diagnose --target HOST:PORT",),
        check="Diagnose the address that was named.",
        docs=(
            "The protocol allows a gateway to answer 'ask over there' instead of its version. Most clients do "
            "not follow that and fail with a bad version. It was not followed here either: nobody asked to "
            "talk to that address."
        ),
        silenced_by=NAME_FAULTS,
        does="reaches a gateway that sends us elsewhere",
    ),
    FindingEntry(
        code="IBD408",
        slug="hello-incomplete",
        title="the answer begins like a gateway's hello and does not come whole",
        severity="error",
        side=Side.UNCLEAR,
        causes=(
            "the gateway got stuck or ended in the middle of its hello",
            "something on the way holds back, slows down or cuts the stream",
            "where no more than four bytes came: another service has the port, and its answer begins so, too",
        ),
        fix=(
            "Try it beside the gateway, with nothing between. If the hello comes whole there, look at what forwards; "
            "else restart the gateway."
        ),
        commands=(
            "ss -tn '( sport = :PORT )'",
            "docker logs --tail 50 GATEWAY",
            "ib-diagnose --timeout 20",
        ),
        check="From 127.0.0.1 beside the gateway the hello comes whole: then it is the way, else the gateway.",
        docs=(
            "A gateway's hello is one small packet that says its own length. Its beginning came. Hardly another "
            "service begins like five bytes of it, and many like fewer. The rest did not come in time, or the "
            "connection was ended before it."
        ),
        silenced_by=(*NAME_FAULTS, "IBD110"),
        does="connects, and no more comes than how a gateway's hello begins",
    ),
)
