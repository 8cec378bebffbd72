"""What every report shows of the probes: the rows of the table, and what is folded into one line.

Evidence is made of what peers, name servers and files said: all that is shown of it goes through `printable`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from diagnostics.evidence import Asked, Evidence, Outcome, Probe, ProbeStage, Route
from diagnostics.place.addresses import label
from relay.printable import printable
from relay.wire.events import accounts_said

MAX_NAME = 80  # characters of a host name that are shown; DNS would allow 253
MAX_ROWS = 40  # rows of the table; a run has some ten routes, a made-up file may have a thousand
MAX_ADDRESSES = 4  # of a name
MAX_LISTED = 8  # things in one "a, b, c and 4 more"


def duration(seconds: float) -> str:
    """1 ms, 150 ms, 3.5 s, 12 s."""
    if seconds < 0.9995:
        return f"{max(1, round(seconds * 1000))} ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def several(items: Iterable[str], most: int = MAX_LISTED) -> str:
    """a, b, c and 4 more."""
    listed = list(items)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


@dataclass(frozen=True, slots=True)
class Cell:
    """One stage of one route. `outcome` None: nothing was done, and the text says so in one character."""

    outcome: Outcome | None
    text: str

    @property
    def failed(self) -> bool:
        """Whether the stage was tried and did not go well."""
        return self.outcome not in (None, Outcome.OK)


NOTHING = Cell(None, "-")
HEADINGS = tuple(stage.name for stage in ProbeStage)


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One dialled route: a cell for every ProbeStage, in order."""

    name: str
    cells: tuple[Cell, ...]
    chosen: bool = False  # the route the verdict is about

    @property
    def shown(self) -> tuple[Cell, ...]:
        """The cells up to the first failure: there is nothing behind it."""
        end = next((at + 1 for at, cell in enumerate(self.cells) if cell.failed), len(self.cells))
        return self.cells[:end]


@dataclass(frozen=True, slots=True)
class Overview:
    """The table and the lines below it. `port`: the one all rows have in common, then their names are without it."""

    port: int | None
    rows: tuple[RouteRow, ...]
    notes: tuple[str, ...]


def overview(evidence: Evidence, chosen: str | None = None, verbose: bool = False) -> Overview:
    """Rows for the routes that tell something; the others in few lines. Verbose: a row for all that was tried."""
    probes = evidence.probes
    shown = [probe for probe in probes if not _folds(probe, verbose)]
    folded = [probe for probe in probes if _folds(probe, verbose)]
    ports = {probe.route.port for probe in shown}
    port = ports.pop() if len(ports) == 1 else None
    rows = tuple(
        RouteRow(_name(probe.route, port), cells(probe), label(probe.route) == chosen) for probe in shown[:MAX_ROWS]
    )
    notes = [f"and {len(shown) - MAX_ROWS} more routes"] if len(shown) > MAX_ROWS else []
    notes += [*_skipped(shown[:MAX_ROWS]), *_peers(probes, evidence.asked), *_names(shown)]
    notes += [*_same_addresses(folded, port), *_siblings(folded), *_unknown_names(folded)]
    return Overview(port, rows, tuple(notes))


def _name(route: Route, port: int | None) -> str:
    host = printable(route.host, MAX_NAME)
    return host if port is not None else label(Route(host, route.port, route.kind, route.why))


def route_name(name: str) -> str:
    """A "host:port" of the evidence, to be shown."""
    return printable(name, MAX_NAME + 8)


def cells(probe: Probe) -> tuple[Cell, ...]:
    """One for every ProbeStage."""
    return tuple(_cell(probe, stage) for stage in ProbeStage)


def _cell(probe: Probe, stage: ProbeStage) -> Cell:
    result = probe.result(stage)
    if result.outcome is Outcome.SKIPPED:
        return NOTHING
    if stage is ProbeStage.RESOLVE and probe.route.host in (*probe.addresses, probe.address):
        return NOTHING  # an address: there was nothing to look up
    if result.seconds is None or (stage is ProbeStage.QUIET and result.outcome is Outcome.OK):
        return Cell(result.outcome, result.outcome.value)  # a quiet time that went well always took as long
    return Cell(result.outcome, f"{result.outcome.value} {duration(result.seconds)}")


# What has no row of its own


def _failed_at(probe: Probe, stage: ProbeStage) -> bool:
    return probe.result(stage).outcome not in (Outcome.OK, Outcome.SKIPPED)


def _is_unknown_name(probe: Probe) -> bool:
    return probe.route.kind != "configured" and _failed_at(probe, ProbeStage.RESOLVE)


def silent_sibling(probe: Probe) -> bool:
    """One of the other ports that are tried when all refuse, and nothing is there either."""
    return probe.route.kind == "sibling" and _failed_at(probe, ProbeStage.CONNECT)


def _folds(probe: Probe, verbose: bool) -> bool:
    return probe.same_as is not None or silent_sibling(probe) or (not verbose and _is_unknown_name(probe))


def _same_addresses(folded: list[Probe], port: int | None) -> list[str]:
    by_first: dict[str, list[str]] = {}
    for probe in folded:
        if probe.same_as is not None:
            by_first.setdefault(probe.same_as, []).append(_name(probe.route, probe.route.port))
    return [
        f"same address as {route_name(first.removesuffix(f':{port}'))}: {several(dict.fromkeys(names))}"
        for first, names in list(by_first.items())[:MAX_LISTED]
    ]


def _siblings(folded: list[Probe]) -> list[str]:
    """Mostly every host fails in the same way on the same ports, and that is one line."""
    ports: dict[tuple[str, str], list[int]] = {}
    for probe in folded:
        if probe.same_as is None and silent_sibling(probe):
            outcome = probe.result(ProbeStage.CONNECT).outcome.value
            ports.setdefault((probe.route.host, outcome), []).append(probe.route.port)
    hosts: dict[tuple[str, str], list[str]] = {}
    for (host, outcome), tried in ports.items():
        hosts.setdefault((outcome, several(map(str, tried), 12)), []).append(printable(host, MAX_NAME))
    return [
        f"{outcome} on the other usual ports too ({tried}): {several(names)}"
        for (outcome, tried), names in list(hosts.items())[:MAX_LISTED]
    ]


def _unknown_names(folded: list[Probe]) -> list[str]:
    unknown = [probe.route for probe in folded if probe.same_as is None and _is_unknown_name(probe)]
    names = [_name(route, route.port) for route in unknown]
    return [f"names that do not resolve here: {several(dict.fromkeys(names), 12)}"] if names else []


def _names(shown: list[Probe]) -> list[str]:
    """Which address the names stand for."""
    addresses = {
        printable(probe.route.host, MAX_NAME): [
            printable(address, MAX_NAME) for address in probe.addresses or (probe.address,)
        ]
        for probe in shown
        if probe.address is not None and probe.address != probe.route.host
    }
    named = (f"{name} is {' and '.join(found[:MAX_ADDRESSES])}" for name, found in addresses.items())
    return [several(named)] if addresses else []


def _peers(probes: tuple[Probe, ...], asked: Asked) -> list[str]:
    """What the gateways said of themselves."""
    answering = [(probe, probe.server_version) for probe in probes if probe.server_version is not None]
    return [
        f"{route_name(label(probe.route))} speaks {asked.server_version(version, explained=True)}{_accounts(probe)}"
        for probe, version in answering[:MAX_LISTED]
    ]


def _accounts(probe: Probe) -> str:
    if not probe.accounts:
        return ""
    named = [printable(account, 20) for account in probe.accounts]
    return f", accounts {accounts_said(named, probe.number_of_accounts, most=MAX_LISTED)}"


def _skipped(shown: list[Probe]) -> list[str]:
    """Why a row ends in "-" although nothing failed."""
    reasons = []
    for probe in shown:
        before = Outcome.OK
        for result in probe.stages:
            if result.outcome is Outcome.SKIPPED and before is Outcome.OK and result.detail:
                reasons.append(f"{result.stage.name}: {printable(result.detail)}")
            before = result.outcome
    return list(dict.fromkeys(reasons))[:3]
