"""The golden reports: what is said about some of the recorded runs, as text, JSON and HTML.

    python -m tests.diagnostics.golden      writes tests/data/reports anew; look at what git shows as changed

Look at every changed text at 80 columns as somebody would whose trading has stopped, and at the page in a browser.
"""

from dataclasses import replace
from pathlib import Path

from diagnostics.evidence import (
    Asked,
    Evidence,
    Fact,
    KernelView,
    LogView,
    Outcome,
    Probe,
    ProbeStage,
    Route,
    StageResult,
)
from diagnostics.findings.entry import Side
from diagnostics.report.html import html_report
from diagnostics.report.json_report import json_report
from diagnostics.report.text import text_report
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.diagnosis import Candidate, Diagnosis, Finding, Level, Verdict
from tests.diagnostics.recorded import BY_NAME

REPORTS = Path(__file__).resolve().parents[1] / "data" / "reports"
# Every kind of verdict, and every part a report can have.
NAMES = (
    "healthy-docker-desktop",
    "seed-accept-then-silence",
    "closed-at-once",
    "nothing-behind-the-relay",
    "no-answer-behind-the-relay",
    "refused-everywhere",
    "another-port-answers",
    "hostname-is-vm",
    "name-unknown-everywhere",
    "id-in-use-by-a-ghost",
    "twofa-pending",
    "maintenance",
    "name-held-up",
)
VERBOSE = NAMES[:2]  # of these the long text is kept too


def evidence_of(name: str) -> Evidence:
    return BY_NAME[name].evidence


def reports(name: str) -> dict[str, str]:
    """File name and content of all that is kept for a run."""
    evidence = evidence_of(name)
    diagnosis = diagnose(evidence)
    kept = {
        f"{name}.txt": text_report(evidence, diagnosis),
        f"{name}.json": json_report(evidence, diagnosis),
        f"{name}.html": html_report(evidence, diagnosis),
    }
    return kept | ({f"{name}-verbose.txt": text_report(evidence, diagnosis, verbose=True)} if name in VERBOSE else {})


def hostile(text: str):
    """Evidence and a diagnosis with the text wherever a string can come from outside."""
    outcomes = (Outcome.OK, Outcome.OK, Outcome.OK, Outcome.TIMED_OUT, Outcome.SKIPPED, Outcome.SKIPPED)
    stages = tuple(StageResult(*step, 1.0, text, text) for step in zip(ProbeStage, outcomes, strict=True))
    rest = (KernelView(1, 2, 3), text, True, 17, 178, text, (text,), (326,))
    first = Probe(Route(text, 4003, text, text), stages, (text,), text, text, None, *rest)
    second = replace(first, route=Route("b", 4001, "name", text), same_as=text)
    unknown = (replace(stages[0], outcome=Outcome.UNREACHABLE),)
    third = replace(first, route=Route(f"{text}c", 4001, "name", text), stages=unknown)
    fourth = replace(first, stages=tuple(replace(result, outcome=Outcome.SKIPPED) for result in stages))
    facts = (Fact(text, text, text, text),)
    evidence = Evidence(
        0.0,
        text,
        Asked(),
        facts,
        (first, second, third, fourth),
        log_states=(text,),
        gateway_log=LogView(1, 1, text, ended_by=text, dialogs=(text,)),
    )
    finding = Finding("IBD303", text, (f"{text}:4003",), (Candidate("IBD305", text),), (text,))
    return evidence, Diagnosis(Verdict(Level.NO_HANDSHAKE, text, f"{text}:4003", Side.GATEWAY), (finding,))


def main() -> None:
    REPORTS.mkdir(exist_ok=True)
    for name in NAMES:
        for file, content in reports(name).items():
            (REPORTS / file).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
