"""The report as one HTML page to send to a colleague: nothing is loaded from elsewhere, no script runs in it.

Everything goes through `tag`, which escapes what is not HTML already; there is no other way into the page.
"""

from __future__ import annotations

from diagnostics.evidence import Evidence
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.report.details import details, facts, moment
from diagnostics.report.legend import legend
from diagnostics.report.table import HEADINGS, Cell, RouteRow, overview
from diagnostics.rules.candidates import meaning
from diagnostics.rules.diagnosis import Diagnosis, Finding, exit_code, tone
from relay.printable import printable

ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
# Belt and braces for a page made from other people's strings: a browser that obeys this loads and runs nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2330; --dim: #5d6675; --line: #dde1e8;
  --good: #14713a; --good-back: #e4f4ea; --bad: #b3261e; --bad-back: #fdeceb; --warn: #8a5300; --warn-back: #fdf1dc;
  --code: #f0f2f5; --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (prefers-color-scheme: dark) { :root { --page: #12151b; --card: #1b2028; --text: #e4e8ee; --dim: #9aa4b2;
  --line: #313947; --good: #6fd394; --good-back: #17301f; --bad: #ff938b; --bad-back: #3a1d1c; --warn: #f2bd6a;
  --warn-back: #362813; --code: #12161d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
.name { color: var(--dim); font-size: .875rem; margin: 0 0 .5rem; }
.verdict { margin: 0; padding: 1rem 1.25rem; border-radius: .5rem; border-left: .4rem solid; font-size: 1.2rem;
  line-height: 1.4; font-weight: 600; }
.verdict.good { color: var(--good); background: var(--good-back); }
.verdict.warning { color: var(--warn); background: var(--warn-back); }
.verdict.bad { color: var(--bad); background: var(--bad-back); }
.card, .panel { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .5rem .75rem; vertical-align: top; }
thead th { color: var(--dim); font-weight: 600; font-size: .75rem; letter-spacing: .03em; }
tbody tr { border-top: 1px solid var(--line); }
.routes td { white-space: nowrap; }
.routes tbody th { font-family: var(--mono); font-weight: 400; }
.routes tr.chosen th { font-weight: 700; }
.ok { color: var(--good); } .failed { color: var(--bad); font-weight: 600; } .nothing { color: var(--dim); }
.notes, .legend { color: var(--dim); font-size: .875rem; }
.notes { margin: .6rem 0 0; padding: 0 .25rem; list-style: none; }
.card { padding: 1rem 1.25rem; margin: 0 0 1rem; border-left: .4rem solid var(--line); }
.card.error { border-left-color: var(--bad); } .card.warning { border-left-color: var(--warn); }
.card h3 { margin: 0; font-size: 1.05rem; line-height: 1.35; }
.code { font: 600 .75rem/1 var(--mono); padding: .2rem .4rem; border-radius: .25rem; margin-right: .5rem;
  background: var(--code); color: var(--dim); white-space: nowrap; vertical-align: .1em; }
.error > h3 .code { background: var(--bad-back); color: var(--bad); }
.warning > h3 .code { background: var(--warn-back); color: var(--warn); }
.card h4 { margin: .9rem 0 .15rem; font-size: .75rem; color: var(--dim); text-transform: uppercase;
  letter-spacing: .05em; }
.card p { margin: 0; }
.notes li { margin: 0 0 .1rem; }
ol { margin: .25rem 0 0; padding-left: 1.5rem; } ol li { margin-bottom: .5rem; }
li strong { font-weight: 600; }
pre { margin: .6rem 0 0; padding: .7rem .9rem; border-radius: .375rem; background: var(--code); overflow-x: auto;
  overflow-wrap: normal; font: .85rem/1.5 var(--mono); border: 1px solid var(--line); }
details { margin-top: 1rem; } summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
details .panel { margin-top: .5rem; font-size: .875rem; }
.facts td:first-child { white-space: nowrap; } .facts td:last-child { color: var(--dim); width: 40%; }
.facts tr:first-child { border-top: 0; }
.detail { padding: .6rem .9rem; border-top: 1px solid var(--line); } .detail:first-child { border-top: 0; }
.detail p { margin: 0; }
.detail p:first-child { font-weight: 600; } .detail p + p { color: var(--dim); }
footer { margin-top: 2.5rem; color: var(--dim); font-size: .8125rem; }
@media (max-width: 46rem) {
  main { padding: 1rem .75rem 2rem; } .verdict { font-size: 1.05rem; padding: .8rem 1rem; }
  .card { padding: .8rem 1rem; }
  table, tbody, tr, th, td { display: block; } thead { display: none; }
  tbody tr { padding: .6rem .9rem; } tbody tr:first-child { border-top: 0; } tbody th, tbody td { padding: 0; }
  tbody th { margin-bottom: .25rem; }
  .facts td:first-child { font-weight: 600; white-space: normal; } .facts td:last-child { width: auto; }
  .routes td { display: grid; grid-template-columns: 7rem 1fr; white-space: normal; }
  .routes td.nothing { display: none; }
  .routes td::before { content: attr(data-stage); color: var(--dim); font-weight: 400; font-size: .75rem;
    line-height: 1.75; }
}
@media print { body { background: none; } .card, pre { break-inside: avoid; } }
"""


class Html(str):
    """HTML; any other string is text and gets escaped."""

    __slots__ = ()


def escaped(inside: str) -> Html:
    """Text of any origin as HTML, cleaned as in the other reports."""
    return inside if isinstance(inside, Html) else Html(printable(inside, 2000).translate(ESCAPES))


def tag(name: str, *inside: str, **attributes: str) -> Html:
    """An element; `class_` is its class, data_x is data-x."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"' for key, value in attributes.items() if value
    )
    return Html(f"<{name}{written}>{''.join(map(escaped, inside))}</{name}>")


def lines(*parts: str) -> Html:
    """Parts of the page below each other in its source."""
    return Html("\n".join(map(escaped, parts)))


def html_report(evidence: Evidence, diagnosis: Diagnosis) -> str:
    """The whole page, ending with a newline."""
    head = lines(
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="referrer" content="no-referrer">'),
        tag("title", "ib-diagnose: " + printable(diagnosis.verdict.line, 120)),
        Html(f"<style>{STYLE}</style>"),
    )
    body = lines(
        tag("p", "ib-diagnose, ", moment(evidence.created), class_="name"),
        tag("h1", diagnosis.verdict.line, class_=f"verdict {tone(diagnosis).value}"),
        _table(evidence, diagnosis),
        *_findings(diagnosis),
        tag("h2", "Everything that was seen"),
        _fold("The routes in detail", _details(evidence)),
        _fold("Where this ran", _facts(evidence)),
        tag("footer", _footer(evidence, exit_code(diagnosis, False))),
    )
    page = f"<head>\n{head}\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>"
    return f'<!doctype html>\n<html lang="en">\n{page}\n</html>\n'


def _footer(evidence: Evidence, code: int) -> str:
    return (
        f"Made by ib-diagnose {evidence.tool_version}, exit code {code}. Account numbers are masked. Host names and "
        "addresses are not: look before you publish it."
    )


def _table(evidence: Evidence, diagnosis: Diagnosis) -> Html:
    table = overview(evidence, diagnosis.verdict.route)
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in ("Route", *HEADINGS))))
    rows = tag("tbody", Html("\n"), *(_row(row) for row in table.rows))
    notes = tag("ul", *(tag("li", note) for note in table.notes), class_="notes")
    return lines(
        tag("h2", "Which route gets how far" + ("" if table.port is None else f", port {table.port}")),
        tag("div", tag("table", head, rows), class_="panel routes") if table.rows else Html(""),
        notes if table.notes else Html(""),
    )


def _row(row: RouteRow) -> Html:
    cells = [_cell(cell, stage) for cell, stage in zip(row.shown, HEADINGS, strict=False)]
    cells += [_cell(None, "")] * (len(row.cells) - len(row.shown))
    return Html(tag("tr", tag("th", row.name, scope="row"), *cells, class_="chosen" if row.chosen else "") + "\n")


def _cell(cell: Cell | None, stage: str) -> Html:
    if cell is None or cell.outcome is None:
        return tag("td", cell.text if cell else "", class_="nothing")
    return tag("td", cell.text, class_="failed" if cell.failed else "ok", data_stage=stage)


def _findings(diagnosis: Diagnosis) -> list[Html]:
    if not diagnosis.findings:
        return []
    placeholders = legend(command for finding in diagnosis.findings for command in finding.commands)
    return [
        tag("h2", "What is wrong, and what to do"),
        *map(_finding, diagnosis.findings),
        tag("p", placeholders, class_="legend") if placeholders else Html(""),
    ]


def _finding(finding: Finding) -> Html:
    entry = CATALOGUE[finding.code]
    title = entry.title[:1].upper() + entry.title[1:]
    parts = [tag("h3", tag("span", finding.code, class_="code"), title), *_field("Seen", finding.message)]
    parts += _field("Between", finding.between)
    if finding.candidates:
        causes = [
            tag("li", tag("strong", f"{cause.code} {meaning(finding.code, cause.code)}"), Html("<br>"), cause.check)
            for cause in finding.candidates
        ]
        parts += [tag("h4", "One of these, the likeliest first; what decides is below each"), tag("ol", *causes)]
    else:
        parts += _field("How to tell", finding.check)
    parts += _field("Fix", finding.fix)
    if finding.commands:
        parts.append(tag("pre", lines(*finding.commands)))
    return tag("section", lines(*parts), class_=f"card {entry.severity}")


def _field(name: str, text: str) -> list[Html]:
    return [tag("h4", name), tag("p", text)] if text else []


def _fold(summary: str, inside: Html) -> Html:
    return tag("details", tag("summary", summary), inside) if inside else Html("")


def _details(evidence: Evidence) -> Html:
    routes = [tag("div", *(tag("p", line) for line in route), class_="detail") for route in details(evidence)]
    return tag("div", lines(*routes), class_="panel") if routes else Html("")


def _facts(evidence: Evidence) -> Html:
    rows = [tag("tr", *(tag("td", column) for column in fact)) for fact in facts(evidence)]
    return tag("div", tag("table", tag("tbody", lines(*rows))), class_="panel facts") if rows else Html("")
