"""7xx: Interactive Brokers behind the gateway."""

from __future__ import annotations

from diagnostics.findings.entry import NAME_FAULTS, Explanation, FindingEntry, Side

ENTRIES = (
    FindingEntry(
        code="IBD701",
        slug="upstream-lost",
        title="connectivity is fine, and the gateway has lost IB's servers",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "the gateway's internet connection",
            "the nightly reset at IB",
            "another session of the same user",
        ),
        fix=("Do not reconnect: wait until the gateway reports the connection as restored (1101 or 1102)."),
        commands=(
            "ib-diagnose watch --for online",
            "docker logs --tail 50 GATEWAY",
        ),
        check="Is it inside a maintenance window (IBD703)? Then waiting is all there is to do.",
        docs=(
            "Client and gateway talk to each other without trouble; the gateway itself says that it is cut "
            "off from IB (1100 or 2110). After 1101 subscriptions have to be made anew, after 1102 they are "
            "still there."
        ),
        silenced_by=NAME_FAULTS,
        explanations=(
            Explanation(code="IBD703"),
            Explanation(code="IBD611"),
            Explanation(code="IBD607"),
        ),
        may_be_maintenance=True,
    ),
    FindingEntry(
        code="IBD702",
        slug="farm-broken",
        title="connectivity is fine, and a data farm of IB is not available",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "the nightly reset",
            "a short disturbance at IB",
        ),
        fix=("Wait; the gateway reports when it is back (2104, 2106, 2158). Reconnecting does not help."),
        commands=("ib-diagnose watch --for online",),
        check="Does it pass within minutes? Otherwise look at IB's system status page.",
        docs=(
            "The session works. IB's servers for market data, history or contract data are reported as broken "
            "for now (2103, 2105, 2157), so requests for these may stay unanswered. A farm counts until the gateway "
            "takes back that one, by its name where it has one."
        ),
        silenced_by=(*NAME_FAULTS, "IBD701"),
        may_be_maintenance=True,
    ),
    FindingEntry(
        code="IBD703",
        slug="maintenance-window",
        title="this is a time of planned maintenance at IB",
        severity="info",
        side=Side.GATEWAY,
        causes=("IB resets its servers every night, and for longer on Friday night",),
        fix="Wait until the window is over, then look again.",
        commands=("ib-diagnose wait --for online --timeout 7200",),
        check="Is it still there after the window has ended?",
        docs=(
            "IB publishes times at which logins and connections may fail, per region. What was found falls "
            "into one of them. That does not prove that it is the reason, but it is not worth a search before "
            "the window has passed."
        ),
        silenced_by=NAME_FAULTS,
    ),
    FindingEntry(
        code="IBD704",
        slug="port-reset",
        title="the gateway's API port was changed",
        severity="error",
        side=Side.GATEWAY,
        causes=("somebody changed the port in the gateway's settings while it was running",),
        fix="Use the new port.",
        commands=(
            "docker exec GATEWAY ss -ltnp",
            "docker logs --tail 50 GATEWAY",
        ),
        check="ss -ltnp beside the gateway: the port on which java listens now.",
        docs=(
            "The gateway announced that its port has changed and that it drops this connection (1300). It is "
            "not reachable under the old port from now on."
        ),
        silenced_by=NAME_FAULTS,
        title_in_verdict=True,
    ),
)
