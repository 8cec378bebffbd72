"""The page of a finding's code, and the list of all."""

from __future__ import annotations

from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import FindingEntry
from diagnostics.report.legend import legend
from diagnostics.report.page import Page
from diagnostics.report.table import several

WIDTH = 80  # columns


def list_text(width: int = WIDTH) -> str:
    """Every code with its slug and title."""
    page = Page(width)
    widest = max(len(entry.slug) for entry in CATALOGUE.values())
    for entry in CATALOGUE.values():
        start = f"{entry.code}  {entry.slug:<{widest}}  "
        page.wrapped(entry.title, start, " " * len(start))
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
    if entry.silenced_by:
        page.blank()
        page.wrapped(f"Not reported beside {several(entry.silenced_by, 12)}, which would be the cause of it.")
    return page.text()


def _causes(page: Page, entry: FindingEntry) -> None:
    if not entry.causes:
        return
    page.blank()
    page.line("Causes, the likeliest first")
    for number, cause in enumerate(entry.causes, 1):
        page.wrapped(cause, f"{number:3}. ", " " * 5)
