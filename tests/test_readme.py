"""The README says what the code says: the two commands, every reason word, every finding code."""

from pathlib import Path

from diagnostics.findings.catalogue import CATALOGUE
from relay.logs.record import RESERVED_REASONS, Reason

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_are_single_lines():
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert [line.rpartition(" && ")[2] for line in lines] == [
        ".venv/bin/ib-relay demo",
        ".venv/bin/python -X dev -W error -m pytest",
    ]


def test_every_end_reason_is_explained():
    words = {f"`{reason.value}`" for reason in Reason} | {f"`{word}`" for word in RESERVED_REASONS}
    assert {word for word in words if word not in README} == set()


def test_every_finding_code_is_listed_with_its_name_and_title():
    rows = [f"| {entry.code} | {entry.slug} | {entry.title} |" for entry in CATALOGUE.values()]
    assert [row for row in rows if row not in README.splitlines()] == []
