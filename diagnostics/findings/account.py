"""8xx: the account, its mode, and the rate of messages."""

from __future__ import annotations

from diagnostics.findings.entry import NAME_FAULTS, FindingEntry, Side

ENTRIES = (
    FindingEntry(
        code="IBD801",
        slug="paper-live-mix",
        title="the account is of the other kind than the port suggests",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "credentials of the other kind",
            "a port mapping that swaps paper and live",
        ),
        fix=(
            "Make sure which account you are trading with before anything else. Then align port, trading mode "
            "and credentials."
        ),
        commands=(
            "docker port GATEWAY",
            "docker logs --tail 50 GATEWAY",
        ),
        check="Accounts that begin with D are paper accounts.",
        docs=(
            "By convention 4001 and 7496 are live, 4002 and 7497 paper. The account this gateway reported is "
            "of the other kind. Connectivity is fine; what is at stake is which money is traded."
        ),
        silenced_by=NAME_FAULTS,
    ),
    FindingEntry(
        code="IBD802",
        slug="read-only",
        title="connectivity is fine, and the gateway refused a request as not valid or read-only",
        severity="warning",
        side=Side.GATEWAY,
        causes=(
            "the API is set to read-only",
            "a request with a mistake in it",
        ),
        fix="If orders are wanted: switch Read-Only API off (READ_ONLY_API=no).",
        commands=("docker logs --tail 50 GATEWAY",),
        check="The text of error 321 in the client's log: it names read-only if that is the reason.",
        docs=(
            "The gateway answered a request with error 321, which it uses for requests that do not pass its "
            "checks; in read-only mode that is everything that has to do with orders. The connection itself "
            "works."
        ),
        silenced_by=NAME_FAULTS,
    ),
    FindingEntry(
        code="IBD803",
        slug="competing-session",
        title="connectivity is fine, and market data go to another session",
        severity="warning",
        side=Side.GATEWAY,
        causes=("the same user, or the live user of this paper account, has a session with market data elsewhere",),
        fix="Close the other session, or subscribe market data for this user too.",
        commands=("docker logs --tail 50 GATEWAY",),
        check="Log out of TWS, website and mobile app, and ask again.",
        docs=("IB gives live market data to one session per user (error 10197). The connection to the gateway works."),
        silenced_by=NAME_FAULTS,
    ),
    FindingEntry(
        code="IBD804",
        slug="rate",
        title="messages came faster than IB allows",
        severity="error",
        side=Side.GATEWAY,
        causes=("a client that sends more than 50 messages a second",),
        fix="Throttle the client to less than 45 messages a second, over all kinds of requests.",
        commands=("ib-diagnose watch --for online",),
        check="Stop the other clients and try again.",
        docs=(
            "The gateway counts messages and ends the connection with error 100 if there are too many. This "
            "tool sends a handful, so it is other traffic that counts, or a gateway that was busy already."
        ),
        silenced_by=NAME_FAULTS,
        title_in_verdict=True,
    ),
)
