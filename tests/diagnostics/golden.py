"""The golden reports: what is said about files of tests/data/evidence, as text, JSON and HTML.

    python -m tests.diagnostics.golden      writes tests/data/reports anew; look at what git shows as changed

Look at every changed text at 80 columns as somebody would whose trading has stopped, and at the page in a browser.
"""

from dataclasses import replace
from pathlib import Path

from diagnostics.evidence import Asked, Evidence, Fact, KernelView, Outcome, Probe, Route, Stage, StageResult, load
from diagnostics.findings.entry import Side
from diagnostics.report.html import html
from diagnostics.report.json_report import json_text
from diagnostics.report.text import text
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.diagnosis import Candidate, Diagnosis, Finding, Level, Verdict

DATA = Path(__file__).resolve().parents[1] / "data"
EVIDENCE, REPORTS = DATA / "evidence", DATA / "reports"
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
)
VERBOSE = NAMES[:2]  # of these the long text is kept too


def evidence_of(name: str) -> Evidence:
    return load((EVIDENCE / f"{name}.json").read_text(encoding="utf-8"))


def reports(name: str) -> dict[str, str]:
    """File name and content of all that is kept for an evidence file."""
    evidence = evidence_of(name)
    diagnosis = diagnose(evidence)
    kept = {
        f"{name}.txt": text(evidence, diagnosis),
        f"{name}.json": json_text(evidence, diagnosis),
        f"{name}.html": html(evidence, diagnosis),
    }
    return kept | ({f"{name}-verbose.txt": text(evidence, diagnosis, verbose=True)} if name in VERBOSE else {})


def hostile(words: str):
    """Evidence and a diagnosis with the words wherever a string can come from outside."""
    outcomes = (Outcome.OK, Outcome.OK, Outcome.OK, Outcome.TIMED_OUT, Outcome.SKIPPED, Outcome.SKIPPED)
    stages = tuple(StageResult(*one, 1.0, words, words) for one in zip(Stage, outcomes, strict=True))
    seen = (KernelView(1, 2, 3), words, True, 17, 178, words, (words,), (326,))
    first = Probe(Route(words, 4003, words, words), stages, (words,), words, words, None, *seen)
    second = replace(first, route=Route("b", 4001, "name", words), same_as=words)
    unknown = (replace(stages[0], outcome=Outcome.UNREACHABLE),)
    third = replace(first, route=Route(f"{words}c", 4001, "name", words), stages=unknown)
    fourth = replace(first, stages=tuple(replace(one, outcome=Outcome.SKIPPED) for one in stages))
    facts = (Fact(words, words, words, words),)
    evidence = Evidence(0.0, words, Asked(), facts, (first, second, third, fourth), log_states=(words,))
    finding = Finding("IBD303", words, (f"{words}:4003",), (Candidate("IBD305", words),), (words,))
    return evidence, Diagnosis(Verdict(Level.NO_HANDSHAKE, words, f"{words}:4003", Side.GATEWAY), (finding,))


def main() -> None:
    REPORTS.mkdir(exist_ok=True)
    for name in NAMES:
        for file, content in reports(name).items():
            (REPORTS / file).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
