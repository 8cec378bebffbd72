"""The catalogue: every entry by its code. Its order is the order in which findings of equal rank are reported."""

from __future__ import annotations

from diagnostics.findings import (
    account,
    broker,
    elsewhere,
    elsewhere_ways,
    exposure,
    first_bytes,
    gateway_logs,
    logins,
    names,
    peers,
    sessions,
    ways,
)
from diagnostics.findings.elsewhere import Elsewhere
from diagnostics.findings.entry import FindingEntry

CATALOGUE: dict[str, FindingEntry] = {
    entry.code: entry
    for hundred in (names, ways, peers, first_bytes, sessions, logins, gateway_logs, broker, account, exposure)
    for entry in hundred.ENTRIES
}

ELSEWHERE: dict[str, tuple[Elsewhere, ...]] = elsewhere.NAMES | elsewhere_ways.WAYS  # by code
