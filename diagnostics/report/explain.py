"""The page of a finding's code, that of an error code of IB, and the list of all."""

from __future__ import annotations

from diagnostics.findings.catalogue import CATALOGUE, ELSEWHERE
from diagnostics.findings.entry import FindingEntry
from diagnostics.findings.error_codes import ERROR_CODES
from diagnostics.report.legend import legend
from diagnostics.report.page import Page
from relay.wire.codes import CODES, Kind, classify

WIDTH = 80  # columns

_IN_ITS_TEXT = "The gateway's own text says more. It is in the message that the client got."
_IN_THE_LOG = "The text that the client library wrote with it says more."

_KINDS = {
    Kind.OK: "A notice, not a fault: a part of IB's service works.",
    Kind.INFORMATIONAL: "A notice, not a fault.",
    Kind.DEGRADED: "The connection to the gateway stays. What is behind it does not work until it is reported as back.",
    Kind.RECOVERED: "A notice: what was lost is back.",
    Kind.FATAL: "The gateway ends the connection after it, or may do so.",
    Kind.CLIENT_MADE: "Made by the client library itself: it is in the client's log, and no gateway sends it.",
    Kind.REQUEST: "About one request; the connection itself is fine.",
    Kind.UNKNOWN: "",
}


def list_text(width: int = WIDTH) -> str:
    """Every finding with its slug and title, then every error code of IB with its meaning."""
    page = Page(width)
    widest = max(len(entry.slug) for entry in CATALOGUE.values())
    for entry in CATALOGUE.values():
        start = f"{entry.code}  {entry.slug:<{widest}}  "
        page.wrapped(entry.title, start, " " * len(start))
    page.blank()
    page.line("Error codes of IB")
    for row in CODES.values():
        page.wrapped(row.meaning, f"{row.code:>7}  ", " " * 9)
    return page.text()


def page_text(entry: FindingEntry, width: int = WIDTH) -> str:
    """The page of a code of the catalogue."""
    page = Page(width)
    page.wrapped(f"{entry.code} {entry.slug}: {entry.title} ({entry.severity})", "", "  ")
    page.blank()
    page.wrapped(entry.docs)
    _causes(page, entry)
    for heading, text in (("How to tell", entry.check), ("What to do", entry.fix)):
        if text:
            page.blank()
            page.line(heading)
            page.wrapped(text, "  ", "  ")
    if entry.commands:
        page.blank()
        page.commands(entry.commands)
        page.blank()
        page.wrapped(legend(entry.commands))
    if entry.code in ELSEWHERE:
        page.blank()
        page.wrapped("That is for Docker on Linux. In other places a run of ib-diagnose has the words for them.")
    return page.text()


def error_code_text(code: int, width: int = WIDTH) -> str:
    """The page of an error code of IB that has a row in the table."""
    row, known = CODES[code], ERROR_CODES.get(code)
    page = Page(width)
    page.wrapped(f"{code}, an error code of IB: {row.meaning}", "", "  ")
    page.blank()
    page.wrapped(_KINDS[row.kind])
    page.blank()
    page.line("What it means for you")
    unsaid = _IN_THE_LOG if row.kind is Kind.CLIENT_MADE else _IN_ITS_TEXT
    page.wrapped(known.means if known else unsaid, "  ", "  ")
    page.blank()
    entry = CATALOGUE.get(known.finding) if known else None
    page.line("The finding about it" if entry else "No finding is about it")
    if entry:
        page.wrapped(f"{entry.code} {entry.slug}: {entry.title}", "  ", "  ")
    return page.text()


def unknown_text(code: int) -> str:
    """What can be said of a code that is not in the list: a sentence."""
    sentence = _KINDS[classify(code)]
    about = f" (by its number: {sentence[0].lower()}{sentence[1:-1]})" if sentence else ""
    return (
        f"error code {code} is not in the list of IB's codes here{about}; "
        "the gateway's own text is in the message that the client got"
    )


def _causes(page: Page, entry: FindingEntry) -> None:
    if not entry.causes:
        return
    page.blank()
    page.line("Causes, the likeliest first")
    for number, cause in enumerate(entry.causes, 1):
        page.wrapped(cause, f"{number:3}. ", " " * 5)
