"""What is known beside the table, as lines: of every route, of the place, its sockets and the gateway's log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from diagnostics.evidence import Evidence, Fact, HostView, KernelView, ListeningSocket, Outcome, Probe
from diagnostics.place.addresses import host_and_port, label
from diagnostics.report.table import MAX_ROWS, route_name, several, silent_sibling
from relay.printable import printable


def moment(created: float) -> str:
    """UTC, to the second."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=created)).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError):
        return "at an impossible time"


def details(evidence: Evidence) -> list[list[str]]:
    """For every route a line with its why, then lines with what else is known of it."""
    return [
        [f"{route_name(label(probe.route))}: {printable(probe.route.why)}", *_stages(probe), *_fields(probe)]
        for probe in evidence.probes[:MAX_ROWS]
        if not silent_sibling(probe)
    ]


def _stages(probe: Probe) -> list[str]:
    return [
        ", ".join(
            filter(
                None,
                (
                    f"{result.stage.value}: {result.outcome.value}",
                    printable(result.error or "", 40),
                    printable(result.detail),
                ),
            )
        )
        for result in probe.stages
        if result.outcome is not Outcome.SKIPPED and (result.error or result.detail)
    ]


def _fields(probe: Probe) -> list[str]:
    is_address = probe.route.host in probe.addresses
    known = {
        "same address as": route_name(probe.same_as or ""),
        "addresses": "" if is_address else several(printable(address, 60) for address in probe.addresses),
        "our address": printable(probe.source or "", 60),
        "first bytes": printable(probe.first_bytes or "", 40),
        "redirect to": printable(probe.redirect or "", 100),
        "codes": several(_codes(probe), 16),
        "our kernel": _kernel(probe.kernel),
        "handshakes tried": str(probe.attempts) if probe.attempts != 1 else "",
    }
    return [f"{name}: {value}" for name, value in known.items() if value]


def _codes(probe: Probe) -> Iterator[str]:
    for at, code in enumerate(probe.codes):
        farms = printable(probe.farms[at], 60) if at < len(probe.farms) else ""
        yield f"{code} {farms}" if farms else str(code)


def _kernel(view: KernelView | None) -> str:
    values = [] if view is None else [(field.name, getattr(view, field.name)) for field in fields(view)]
    return several(f"{name} {value}" for name, value in values if value is not None)


def facts(evidence: Evidence) -> list[tuple[str, str, str]]:
    """(name, value, where it is from) of every fact, of the sockets that could be seen and of the gateway's log."""
    rows = [_fact(fact) for fact in evidence.facts]
    if evidence.host is not None:
        rows += [(name, value, "the sockets seen here") for name, value in _sockets(evidence.host)]
    if evidence.log_states:
        states = several((printable(state, 40) for state in evidence.log_states), 16)
        rows.append(("gateway log", states, "--gateway-log, since its last start"))
    if evidence.gateway_log is not None:
        view = evidence.gateway_log
        rows.append(("lines of the log", f"{view.known_lines} of {view.lines} known", "--gateway-log"))
    return rows


def _fact(fact: Fact) -> tuple[str, str, str]:
    value = "unknown" if fact.value is None else printable(fact.value) or "none"
    confidence = "" if fact.confidence == "certain" else f", {printable(fact.confidence, 20)}"
    return printable(fact.name, 60), value, printable(fact.source, 100) + confidence


def _sockets(host: HostView) -> list[tuple[str, str]]:
    listening = "unknown"
    if host.listeners is not None:
        listening = several(map(_listener, host.listeners)) or "nothing on these ports"
    counts = {"ESTABLISHED": host.established, "CLOSE_WAIT": host.close_wait, "SYN_SENT": host.syn_sent}
    return [
        ("listening", listening),
        *((name, "unknown" if count is None else str(count)) for name, count in counts.items()),
    ]


def _listener(listener: ListeningSocket) -> str:
    waiting = f" ({listener.queue} waiting)" if listener.queue else ""
    return host_and_port(printable(listener.address, 60), listener.port) + waiting
