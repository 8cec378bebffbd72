"""The report as text for a terminal.

The order is that of somebody whose trading has stopped: the verdict, which route got how far, what to do about it, and
the facts only when asked for. Commands stand alone on their lines and are never broken, so that they can be copied.
"""

from __future__ import annotations

from diagnostics.evidence import Evidence, Outcome
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.place.setting import setting_of
from diagnostics.report.details import details, facts, moment
from diagnostics.report.legend import legend
from diagnostics.report.page import BOLD, DIM, GREEN, RED, YELLOW, Page
from diagnostics.report.table import HEADINGS, RouteRow, overview
from diagnostics.rules.candidates import meaning
from diagnostics.rules.diagnosis import Diagnosis, Finding, Tone, tone
from relay.printable import printable

GAP = "  "  # between columns
NARROWEST_NAMES = len("255.255.255.255")  # columns; with less for the names of the routes there is no table

VERDICT_COLOURS = {Tone.GOOD: GREEN, Tone.WARNING: YELLOW, Tone.BAD: RED}
SEVERITY_COLOURS = {"error": RED, "warning": YELLOW, "info": DIM}


def text_report(
    evidence: Evidence, diagnosis: Diagnosis, *, width: int = 80, colour: bool = False, verbose: bool = False
) -> str:
    """The whole report for a terminal of `width` columns, ending with a newline."""
    page = Page(width, colour)
    page.wrapped(printable(diagnosis.verdict.line), style=f"{BOLD};{VERDICT_COLOURS[tone(diagnosis)]}")
    _table(page, evidence, diagnosis, verbose)
    for finding in diagnosis.findings:
        _finding(page, finding)
    if diagnosis.findings:
        page.blank()
        page.wrapped(legend(command for finding in diagnosis.findings for command in finding.commands), style=DIM)
        page.blank()
        page.wrapped("More about a code, what it means and what else to look at:")
        page.blank()
        page.commands((f"ib-diagnose explain {diagnosis.findings[0].code}",))
    if verbose:
        _routes_in_detail(page, evidence)
        _facts(page, evidence)
    return page.text()


# The table


def _table(page: Page, evidence: Evidence, diagnosis: Diagnosis, verbose: bool) -> None:
    table = overview(evidence, diagnosis.verdict.route, verbose)
    page.blank()
    if table.rows:
        heading = "route" if table.port is None else f"route (port {table.port})"
        _rows(page, heading, table.rows)
    for note in table.notes:
        page.wrapped(note, "  ", "    ", DIM)
    page.wrapped(f"seen {moment(evidence.created)}, from {setting_of(evidence.fact).value}", "  ", "    ", DIM)


def _rows(page: Page, heading: str, rows: tuple[RouteRow, ...]) -> None:
    """Columns where they fit, otherwise each route with its stages below it."""
    widths = _widths(rows)
    room = page.width - sum(widths) - len(GAP) * len(widths)
    room = min(room, *(page.width - _columns_used(row, widths) for row in rows))
    if room < NARROWEST_NAMES:
        _stage_by_stage(page, heading, rows)
        return
    first = min(room, max(len(heading), *(len(row.name) for row in rows)))
    stages = "".join(GAP + name.ljust(width) for name, width in zip(HEADINGS, widths, strict=True))
    page.line(page.painted((heading.ljust(first) + stages).rstrip(), DIM))
    for row in rows:
        name = _route(page, row)
        if len(row.name) > first:
            page.line(name)
            name = " " * first
        else:
            name += " " * (first - len(row.name))
        page.line(name + _cells(page, row, widths))


def _stage_by_stage(page: Page, heading: str, rows: tuple[RouteRow, ...]) -> None:
    page.line(page.painted(f"{heading}, stage by stage", DIM))
    for row in rows:
        page.line(_route(page, row))
        stages = zip(HEADINGS, row.shown, strict=False)
        results = [f"{name} {cell.text}" for name, cell in stages if cell.outcome is not None]
        page.wrapped(", ".join(results) or "nothing was done", "  ", "  ")


def _route(page: Page, row: RouteRow) -> str:
    return page.painted(row.name, BOLD if row.chosen else None)


def _widths(rows: tuple[RouteRow, ...]) -> list[int]:
    """Of the stages. A failure ends its row and may run on over the empty rest of it, so it asks for no width."""
    return [
        max(len(name), *(len(row.cells[at].text) for row in rows if not row.cells[at].failed), 0)
        for at, name in enumerate(HEADINGS)
    ]


def _columns_used(row: RouteRow, widths: list[int]) -> int:
    """Columns that the stages of a row take."""
    return sum(widths[: len(row.shown) - 1]) + len(GAP) * len(row.shown) + len(row.shown[-1].text)


def _cells(page: Page, row: RouteRow, widths: list[int]) -> str:
    line = ""
    for cell, width in zip(row.shown, widths, strict=False):
        style = RED if cell.failed else GREEN if cell.outcome is Outcome.OK else DIM
        line += GAP + page.painted(cell.text, style) + " " * (width - len(cell.text))
    return line


# The findings


def _finding(page: Page, finding: Finding) -> None:
    entry = CATALOGUE[finding.code]
    page.blank()
    colour = SEVERITY_COLOURS[entry.severity]
    page.wrapped(f"{entry.severity} {finding.code}: {entry.title}", "", "  ", f"{BOLD};{colour}")
    _field(page, "seen", printable(finding.message))
    _field(page, "via", printable(finding.between))
    if finding.candidates:
        _field(page, "why", "one of these, the likeliest first; what decides is below each")
        for number, candidate in enumerate(finding.candidates, 1):
            page.wrapped(f"{candidate.code} {meaning(finding.code, candidate.code)}", f"{number:9}. ", " " * 11)
            page.wrapped(printable(candidate.check), " " * 11, " " * 11)
    elif finding.check:
        _field(page, "check", finding.check)
    _field(page, "fix", finding.fix)
    if finding.commands:
        page.blank()
        page.commands(finding.commands)


def _field(page: Page, name: str, text: str) -> None:
    if text:
        page.wrapped(text, f"  {name:6}", " " * 8)


# On request


def _routes_in_detail(page: Page, evidence: Evidence) -> None:
    page.blank()
    page.line(page.painted("The routes in detail", BOLD))
    for route, *lines in details(evidence):
        page.wrapped(route, "  ", "    ")
        for line in lines:
            page.wrapped(line, "    ", "      ")


def _facts(page: Page, evidence: Evidence) -> None:
    page.blank()
    page.line(page.painted("What is known about where this ran", BOLD))
    for name, value, source in facts(evidence):
        page.wrapped(f"{name}: {value} ({source})", "  ", "    ")
