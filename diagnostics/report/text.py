"""The report as text for a terminal, and the page of a finding's code.

The order is that of somebody whose trading has stopped: the verdict, which route got how far, what to do about it, and
the facts only when asked for. Commands stand alone on their lines and are never broken, so that they can be copied.
"""

from __future__ import annotations

import re

from diagnostics.evidence import Evidence, HostView, Outcome, Probe, Route, plain
from diagnostics.findings.catalogue import CATALOGUE, Entry
from diagnostics.place.routes import label
from diagnostics.report.table import MAX_ROWS, Row, clean, overview, route_name, several, silent_sibling
from diagnostics.rules.candidates import meaning
from diagnostics.rules.diagnosis import Diagnosis, Finding, exit_code

NARROWEST = 30  # columns; below, lines may be longer than the terminal
HEADINGS = ("RESOLVE", "CONNECT", "QUIET", "HELLO", "START_API", "SYNC")
GAP = "  "  # between columns

RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"
VERDICT_COLOURS = {"good": GREEN, "warning": YELLOW, "bad": RED}
SEVERITY_COLOURS = {"error": RED, "warning": YELLOW, "info": DIM}


def text(
    evidence: Evidence, diagnosis: Diagnosis, *, width: int = 80, colour: bool = False, verbose: bool = False
) -> str:
    """The whole report for a terminal of `width` columns, ending with a newline."""
    page = _Page(max(width, NARROWEST), colour)
    page.wrapped(clean(diagnosis.verdict.line), style=f"{BOLD};{VERDICT_COLOURS[tone(diagnosis)]}")
    _table(page, evidence, diagnosis, verbose)
    for finding in diagnosis.findings:
        _finding(page, finding)
    if diagnosis.findings:
        page.blank()
        page.wrapped(stands_for(line for one in diagnosis.findings for line in one.commands), style=DIM)
        page.blank()
        page.wrapped("More about a code, what it means and what else to look at:")
        page.blank()
        page.commands((f"ib-diagnose explain {diagnosis.findings[0].code}",))
    if verbose:
        _routes_in_detail(page, evidence)
        _facts(page, evidence)
    return page.text()


def tone(diagnosis: Diagnosis) -> str:
    """good: it works. warning: it works, and something has to be looked at. bad: it does not work."""
    if exit_code(diagnosis, False):
        return "bad"
    return "warning" if exit_code(diagnosis, True) else "good"


class _Page:
    """Lines of a bounded width."""

    def __init__(self, width: int, colour: bool):
        self._lines: list[str] = []
        self._colour = colour
        self.width = width

    def text(self) -> str:
        return "\n".join(self._lines).rstrip("\n") + "\n"

    def blank(self):
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def painted(self, words: str, style: str | None) -> str:
        return f"\x1b[{style}m{words}\x1b[0m" if self._colour and style else words

    def line(self, line: str):
        self._lines.append(line.rstrip())

    def wrapped(self, words: str, first: str = "", rest: str = "", style: str | None = None):
        """A paragraph: `first` in front of its first line, `rest` in front of the others. Nothing for no words."""
        if not words:
            return
        for number, line in enumerate(wrap(words, self.width - max(len(first), len(rest)))):
            self.line((rest if number else first) + self.painted(line, style))

    def commands(self, lines: tuple[str, ...]):
        """To be copied: apart from what is around them, and never wrapped."""
        for line in lines:
            self.line(f"    {clean(line)}")


def wrap(words: str, width: int) -> list[str]:
    """Lines of at most `width` characters; a word that is longer has a line of its own, whole."""
    lines, now = [], ""
    for word in words.split():
        if now and len(now) + 1 + len(word) > width:
            lines.append(now)
            now = word
        else:
            now = f"{now} {word}" if now else word
    return [*lines, now]


# The table


def _table(page: _Page, evidence: Evidence, diagnosis: Diagnosis, verbose: bool):
    seen = overview(evidence, diagnosis.verdict.route, verbose)
    page.blank()
    if seen.rows:
        head = "route" if seen.port is None else f"route (port {seen.port})"
        _rows(page, head, seen.rows)
    for note in seen.notes:
        page.wrapped(note, "  ", "    ", DIM)


def _rows(page: _Page, head: str, rows: tuple[Row, ...]):
    """Columns where they fit, otherwise each route with its stages below it."""
    widths = _widths(rows)
    room = page.width - sum(widths) - len(GAP) * len(widths)
    room = min(room, *(page.width - _used(row, widths) for row in rows))
    if room < len("255.255.255.255"):
        page.line(page.painted(f"{head}, stage by stage", DIM))
        for row in rows:
            page.line(page.painted(row.name, BOLD if row.chosen else None))
            page.wrapped(", ".join(_said(row)) or "nothing was done", "  ", "  ")
        return
    first = min(room, max(len(head), *(len(row.name) for row in rows)))
    names = "".join(GAP + name.ljust(width) for name, width in zip(HEADINGS, widths, strict=True))
    page.line(page.painted((head.ljust(first) + names).rstrip(), DIM))
    for row in rows:
        name = page.painted(row.name, BOLD if row.chosen else None)
        if len(row.name) > first:
            page.line(name)
            name = " " * first
        else:
            name += " " * (first - len(row.name))
        page.line(name + _stages(page, row, widths))


def _widths(rows: tuple[Row, ...]) -> list[int]:
    """Of the stages. A failure ends its row and may run on over the empty rest of it, so it asks for no width."""
    return [
        max(len(name), *(len(row.cells[at].text) for row in rows if not row.cells[at].failed), 0)
        for at, name in enumerate(HEADINGS)
    ]


def end_of(row: Row) -> int:
    """Of a row's cells, how many are shown: none behind a failure."""
    return next((at + 1 for at, cell in enumerate(row.cells) if cell.failed), len(row.cells))


def _used(row: Row, widths: list[int]) -> int:
    """Columns that the stages of a row take."""
    end = end_of(row)
    return sum(widths[: end - 1]) + len(GAP) * end + len(row.cells[end - 1].text)


def _stages(page: _Page, row: Row, widths: list[int]) -> str:
    shown = ""
    for at, cell in enumerate(row.cells[: end_of(row)]):
        style = RED if cell.failed else GREEN if cell.outcome is Outcome.OK else DIM
        shown += GAP + page.painted(cell.text, style) + " " * (widths[at] - len(cell.text))
    return shown


def _said(row: Row) -> list[str]:
    cells = zip(HEADINGS, row.cells[: end_of(row)], strict=False)
    return [f"{name} {cell.text}" for name, cell in cells if cell.outcome is not None]


# The findings


def _finding(page: _Page, finding: Finding):
    entry = CATALOGUE[finding.code]
    page.blank()
    tag = f"{entry.severity} {finding.code}"
    page.wrapped(f"{tag}: {entry.title}", "", "  ", f"{BOLD};{SEVERITY_COLOURS[entry.severity]}")
    _field(page, "seen", clean(finding.message))
    if finding.candidates:
        _field(page, "why", "one of these, the likeliest first; what decides is below each")
        for number, candidate in enumerate(finding.candidates, 1):
            page.wrapped(f"{candidate.code} {meaning(finding.code, candidate.code)}", f"{number:9}. ", " " * 11)
            page.wrapped(clean(candidate.check), " " * 11, " " * 11)
    elif entry.check:
        _field(page, "check", entry.check)
    _field(page, "fix", entry.fix)
    if finding.commands:
        page.blank()
        page.commands(finding.commands)


def _field(page: _Page, name: str, words: str):
    if words:
        page.wrapped(words, f"  {name:6}", " " * 8)


# Words in capitals in a command, and what a user puts there. HOST and PORT are left only where no route is known.
PLACEHOLDERS = {
    "HOST": "the host that is dialled",
    "PORT": "the port that is dialled",
    "GATEWAY": "the name of the gateway's container",
    "CLIENT": "the name of this container",
    "NETWORK": "the name of the Docker network",
}


def stands_for(lines) -> str:
    """A sentence about the placeholders that are in these commands; "" when there are none."""
    words = {word for line in lines for word in re.findall(r"\b[A-Z]+\b", line)}
    meant = [f"{name} is {meaning}" for name, meaning in PLACEHOLDERS.items() if name in words]
    return f"In the commands {', '.join(meant)}." if meant else ""


# On request


def _routes_in_detail(page: _Page, evidence: Evidence):
    page.blank()
    page.line(page.painted("The routes in detail", BOLD))
    for told in details(evidence):
        page.wrapped(told[0], "  ", "    ")
        for line in told[1:]:
            page.wrapped(line, "    ", "      ")


def details(evidence: Evidence) -> list[list[str]]:
    """For every route a line with its why, then lines with what else is known of it."""
    return [
        [f"{route_name(label(probe.route))}: {clean(probe.route.why)}", *_detail(probe)]
        for probe in evidence.probes[:MAX_ROWS]
        if not silent_sibling(probe)
    ]


def _detail(probe: Probe) -> list[str]:
    told = [
        [f"{one.stage.value}: {one.outcome.value}", one.error and clean(one.error, 40), clean(one.detail)]
        for one in probe.stages
        if one.outcome is not Outcome.SKIPPED and (one.error or one.detail)
    ]
    kernel = probe.kernel and plain(probe.kernel)
    known = {
        "same address as": probe.same_as and route_name(probe.same_as),
        "addresses": "" if probe.route.host in probe.addresses else several(clean(one, 60) for one in probe.addresses),
        "our address": probe.source and clean(probe.source, 60),
        "first bytes": probe.first_bytes and clean(probe.first_bytes, 40),
        "redirect to": probe.redirect and clean(probe.redirect, 100),
        "codes": several(map(str, probe.codes), 16),
        "our kernel": kernel and several(f"{name} {value}" for name, value in kernel.items() if value is not None),
        "handshakes tried": str(probe.attempts) if probe.attempts != 1 else "",
    }
    return [", ".join(filter(None, parts)) for parts in told] + [
        f"{name}: {value}" for name, value in known.items() if value
    ]


def _facts(page: _Page, evidence: Evidence):
    page.blank()
    page.line(page.painted("What is known about where this ran", BOLD))
    for name, value, source in facts(evidence):
        page.wrapped(f"{name}: {value} ({source})", "  ", "    ")


def facts(evidence: Evidence) -> list[tuple[str, str, str]]:
    """(name, value, where it is from) of every fact, of the sockets that could be seen and of the gateway's log."""
    told = [
        (
            clean(one.name, 60),
            "unknown" if one.value is None else clean(one.value) or "none",
            clean(one.source, 100) + ("" if one.confidence == "certain" else f", {clean(one.confidence, 20)}"),
        )
        for one in evidence.facts
    ]
    if evidence.host is not None:
        told += [(name, value, "the sockets of this machine") for name, value in _sockets(evidence.host)]
    if evidence.log_states:
        states = several((clean(one, 40) for one in evidence.log_states), 16)
        told.append(("gateway log", states, "--gateway-log, since its last start"))
    return told


def _sockets(host: HostView) -> list[tuple[str, str]]:
    listening = [
        label(Route(clean(one.address, 60), one.port, "", "")) + (f" ({one.queue} waiting)" if one.queue else "")
        for one in host.listeners or ()
    ]
    counts = {"ESTABLISHED": host.established, "CLOSE_WAIT": host.close_wait, "SYN_SENT": host.syn_sent}
    return [
        ("listening", "unknown" if host.listeners is None else several(listening) or "nothing on these ports"),
        *((name, "unknown" if count is None else str(count)) for name, count in counts.items()),
    ]


# The page of a code, and the list of all


def list_text(*, width: int = 80) -> str:
    """Every code with its slug and title."""
    page = _Page(max(width, NARROWEST), False)
    widest = max(len(entry.slug) for entry in CATALOGUE.values())
    for entry in CATALOGUE.values():
        start = f"{entry.code}  {entry.slug:<{widest}}  "
        page.wrapped(entry.title, start, " " * len(start))
    return page.text()


def explain_text(code: str, *, width: int = 80) -> str:
    """The page of a code of the catalogue."""
    found = CATALOGUE[code]
    page = _Page(max(width, NARROWEST), False)
    page.wrapped(f"{found.code} {found.slug}: {found.title} ({found.severity})", "", "  ")
    page.blank()
    page.wrapped(found.docs)
    _causes(page, found)
    for heading, words in (("How to tell", found.check), ("What to do", found.fix)):
        if words:
            page.blank()
            page.line(heading)
            page.wrapped(words, "  ", "  ")
    if found.commands:
        page.blank()
        page.commands(found.commands)
        page.blank()
        page.wrapped(stands_for(found.commands))
    if found.silenced_by:
        page.blank()
        page.wrapped(f"Not reported beside {several(found.silenced_by, 12)}, which would be the cause of it.")
    return page.text()


def _causes(page: _Page, entry: Entry):
    if not entry.causes:
        return
    page.blank()
    page.line("Causes, the likeliest first")
    for number, cause in enumerate(entry.causes, 1):
        page.wrapped(str(cause), f"{number:3}. ", " " * 5)
