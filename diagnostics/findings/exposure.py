"""9xx: what is open here that need not be, whether anything fails or not."""

from __future__ import annotations

from diagnostics.findings.entry import FindingEntry, Side

ENTRIES = (
    FindingEntry(
        code="IBD901",
        slug="port-exposed",
        title="whoever reaches the machine reaches the gateway, and can trade",
        severity="warning",
        side=Side.LOCAL,
        causes=(
            "socat listens on all addresses, without range= or bind=",
            "a port is published without an address (4002:4004 instead of 127.0.0.1:4002:4004)",
        ),
        fix=(
            "Bind it to 127.0.0.1, or to the one address its clients use. Or put the relay there, which lets in only "
            "whom it is told to (allow)."
        ),
        commands=(
            "ss -ltn",
            "ib-relay run --upstream 127.0.0.1:4002",
        ),
        check="ss -ltn on the machine shows the port on 0.0.0.0 or [::], or on * for both.",
        docs=(
            "A program on the machine forwards connections from everywhere, and asks nobody who they are. Behind "
            "it they come from an address that the gateway trusts. The API has no password: a connection is all it "
            "takes to trade. A firewall may still keep others away; it was not asked."
        ),
        silenced_by=(),
    ),
)
