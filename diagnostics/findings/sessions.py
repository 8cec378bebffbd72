"""5xx: the session after the handshake."""

from __future__ import annotations

from diagnostics.findings.entry import LOGIN_FAULTS, NAME_FAULTS, Explanation, FindingEntry, Side, Sign

ENTRIES = (
    FindingEntry(
        code="IBD501",
        slug="client-id-in-use",
        title="this client id is taken",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "another program uses the same id",
            "an earlier run died, and the gateway has not noticed",
            "a reconnect within seconds after a disconnect",
        ),
        fix=(
            "Use another client id, or end the program that has this one. After a crash wait, or restart the gateway."
        ),
        commands=(
            "ib-diagnose --client-id 7301",
            "ss -tn '( sport = :PORT )'",
        ),
        check="Try another id: if that works, the gateway is fine.",
        docs=(
            "The gateway said so itself (error 326) and closed. Network, login and handshake all work. A "
            "client that reconnects with the same id while the old socket is still open keeps the conflict "
            "alive for ever."
        ),
        silenced_by=NAME_FAULTS,
        explanations=(
            Explanation(
                code="IBD501", check="Another client id works: the old one belongs to a program that is running."
            ),
            Explanation(code="IBD506"),
        ),
        does="reaches the gateway, where the client id is in use",
    ),
    FindingEntry(
        code="IBD502",
        slug="start-api-closed",
        title="the gateway closed the connection after START_API",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the gateway is not completely logged in",
            "the client id is taken, and the gateway did not say so",
            "too many clients",
        ),
        fix="Try once with another client id; if that fails too, look at the gateway's login.",
        commands=(
            "ib-diagnose --client-id 7301",
            "docker logs --tail 50 GATEWAY",
        ),
        check="Another client id: works if the id was the reason, fails if it is the login.",
        docs=(
            "The handshake was answered and the session was not: the gateway ended the connection without "
            "giving a reason. The way to the gateway works on this route."
        ),
        silenced_by=(*NAME_FAULTS, "IBD501", "IBD505", "IBD704", "IBD804", *LOGIN_FAULTS),
        explanations=(
            Explanation(code="IBD501", check="Another client id works."),
            Explanation(code="IBD602"),
            Explanation(code="IBD505"),
            Explanation(
                code="IBD502",
                check="No other id works, and the log says that the login is complete: restart the gateway.",
            ),
        ),
    ),
    FindingEntry(
        code="IBD503",
        slug="start-api-silent",
        title="the handshake works, and the session never becomes ready",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "the login is not finished, or waits for a second factor",
            "a dialog is open on the gateway's screen",
        ),
        fix="Look at the gateway's screen or log and finish the login; then try again.",
        commands=(
            "docker logs --tail 50 GATEWAY",
            "ib-diagnose wait --for online",
        ),
        check="The gateway's log: does it say that login has completed?",
        docs=(
            "The gateway answered the hello, so network and process are fine. After START_API the next order "
            "id and the accounts have to come, and not both of them did. Clients report this as a time-out "
            "while connecting."
        ),
        silenced_by=(*NAME_FAULTS, "IBD301", "IBD303", "IBD309", *LOGIN_FAULTS),
        explanations=(
            Explanation(code="IBD602"),
            Explanation(code="IBD605"),
            Explanation(code="IBD607"),
            Explanation(code="IBD309"),
            Explanation(code="IBD601", check="The log goes on, and the login is not complete yet: wait."),
        ),
        may_be_maintenance=True,
    ),
    FindingEntry(
        code="IBD504",
        slug="partial-sync",
        title="the session is ready, and a request was not answered",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "the gateway is busy",
            "a fault of this gateway build",
            "another client asked the same within a second",
        ),
        fix=(
            "Connectivity is fine: change nothing in the network. Give the client more time, or let it skip "
            "what it fetches at the start."
        ),
        commands=("ib-diagnose --timeout 20",),
        check="Run it again with more time.",
        docs=(
            "Order id and accounts came, which is all a connection needs. The question for the gateway's time "
            "stayed without an answer. Clients that fetch orders and positions while connecting may report a "
            "time-out although the connection works."
        ),
        silenced_by=(),
    ),
    FindingEntry(
        code="IBD505",
        slug="client-limit",
        title="the gateway has all the clients it takes",
        severity="error",
        side=Side.GATEWAY,
        causes=(
            "clients that never close their connections",
            "more than 32 clients at the same time",
        ),
        fix=("Close clients that are not needed; restart the gateway if they are gone and it still counts them."),
        commands=(
            "ss -tn state established '( sport = :APIPORT )'",
            "docker restart GATEWAY",
        ),
        check="Count the established connections on the API port: the limit is 32.",
        docs=(
            "IB allows 32 clients at a time. What is too many is closed early or stays without an answer, and "
            "nothing on the connection says why; only the number of connections does."
        ),
        silenced_by=NAME_FAULTS,
        excluded_by=(Sign.FEW_CLIENTS, Sign.FORWARDER_FOUND_NOBODY),
        title_in_verdict=True,
    ),
    FindingEntry(
        code="IBD506",
        slug="ghost-client",
        title="the gateway still holds a client that is gone",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "a forwarder that did not pass on the end of a connection",
            "a client that vanished without closing",
        ),
        fix=(
            "Restart the gateway to free the id, and put the relay between: it notices vanished clients and "
            "closes both sides."
        ),
        commands=(
            "ss -tn state close-wait '( sport = :APIPORT )'",
            "ib-relay run",
        ),
        check="CLOSE_WAIT on the gateway's side: the peer is gone, and the gateway has not closed.",
        docs=(
            "The id is taken by a connection whose other end is no longer there. The gateway keeps it until "
            "it notices, in bad cases until it is restarted."
        ),
        silenced_by=NAME_FAULTS,
        excluded_by=(Sign.NO_LEFTOVERS_KNOWN,),
    ),
    FindingEntry(
        code="IBD507",
        slug="slow-answer",
        title="the gateway answers later than the usual clients wait",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "the gateway's machine is short of processor or memory",
            "the gateway has just started, or many clients connect at the same time",
            "the way to it is slow",
        ),
        fix=(
            "Give the client more time: in ib_async and ib_insync connect(timeout=20). If it is slow every time, look "
            "at the processor and the memory of the gateway's machine."
        ),
        commands=("ib-diagnose --timeout 20",),
        check="Run it again: if it is fast then, the gateway had just started or was busy.",
        docs=(
            "The connection works for whoever waits. IB.connect of ib_async and ib_insync waits 4 s by default for the "
            "hello and the answer to START_API together, and then reports TimeoutError. The official ibapi waits for "
            "ever, its newer sync wrapper 5 s."
        ),
        silenced_by=(),
        but="ib_async and ib_insync give up before so slow a gateway has answered",
    ),
)
