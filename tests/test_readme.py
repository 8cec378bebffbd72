"""The README says what the code says: the two commands, the tables, every reason word; its links lead somewhere."""

import re

import pytest

from relay.logs.record import RESERVED_REASONS, Reason
from tests import readme_tables

README = readme_tables.README.read_text(encoding="utf-8")
ROOT = readme_tables.README.parent
HOUSES = ("relay", "diagnostics")
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
MOST_WORDS = 35  # in a sentence: people under stress read this


def test_the_two_commands_are_single_lines():
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert [line.rpartition(" && ")[2] for line in lines] == [
        ".venv/bin/ib-relay demo",
        ".venv/bin/python -X dev -W error -m pytest",
    ]


def test_every_end_reason_has_a_row_and_those_to_come_are_named():
    table = README[README.index("| reason |") :].partition("\n\n")[0]
    explained = {word for row in table.splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert explained == set(Reason)
    kept_free = README[README.index("Words kept free") :].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", kept_free)) == RESERVED_REASONS


def test_the_table_of_coverage_has_every_package():
    rows = README[README.index("<!-- coverage -->") :].partition("\n\n")[0]
    ours = {str(path.parent.relative_to(ROOT)) for folder in HOUSES for path in (ROOT / folder).rglob("*.py")}
    shown = set(re.findall(r"^\| `(.*)` \| [0-9]+ % \|$", rows, flags=re.MULTILINE))
    assert shown == ours


@pytest.mark.parametrize("name", readme_tables.tables())
def test_a_table_is_what_the_code_says(name):
    """If not: `python -m tests.readme_tables`."""
    assert f"<!-- table: {name} -->\n{readme_tables.tables()[name]}\n" in README


def test_the_tables_can_be_written_again():
    assert readme_tables.filled(README) == README


def test_every_link_within_the_page_leads_to_a_heading():
    headings = re.findall(r"^#+ (.*)$", PROSE, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]*)\)", PROSE))
    assert links and not links - anchors


def test_every_link_to_a_file_leads_to_one():
    links = re.findall(r"\]\((?!#|https?:)([^)]*)\)", PROSE)
    assert links and all((ROOT / link).is_file() for link in links)


def test_no_sentence_is_long():
    text = "\n".join("" if re.match(r"[|#!]|<!--", line) else line for line in PROSE.splitlines())
    paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n|\n- ", text)]
    sentences = [part for paragraph in paragraphs for part in re.split(r"(?<=[.!?:;])\s+", paragraph)]
    assert [sentence for sentence in sentences if len(sentence.split()) > MOST_WORDS] == []


def test_a_health_check_that_it_tells_to_write_ends_with_0_or_1():
    """Docker defines 0 and 1 and reserves 2."""
    told = [line.replace("\\|", "|") for line in README.splitlines() if "ib-diagnose check" in line]
    told = [line for line in told if "HEALTHCHECK" in line or "CMD-SHELL" in line]
    assert len(told) == 2 and all("ib-diagnose check || exit 1" in line for line in told)
