"""The README says what the code says: the two commands, the tables, every reason word; its links lead somewhere."""

import re

import pytest

from relay.logs.record import RESERVED_REASONS, Reason
from tests import readme_tables

README = readme_tables.README.read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
MOST_WORDS = 35  # in a sentence: people under stress read this


def test_the_two_commands_are_single_lines():
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert [line.rpartition(" && ")[2] for line in lines] == [
        ".venv/bin/ib-relay demo",
        ".venv/bin/python -X dev -W error -m pytest",
    ]


def test_every_end_reason_is_explained():
    words = {f"`{reason.value}`" for reason in Reason} | {f"`{word}`" for word in RESERVED_REASONS}
    assert {word for word in words if word not in README} == set()


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
    assert links and all((readme_tables.README.parent / link).is_file() for link in links)


def test_no_sentence_is_long():
    text = "\n".join("" if re.match(r"[|#!]|<!--", line) else line for line in PROSE.splitlines())
    paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n|\n- ", text)]
    sentences = [part for paragraph in paragraphs for part in re.split(r"(?<=[.!?:;])\s+", paragraph)]
    assert [sentence for sentence in sentences if len(sentence.split()) > MOST_WORDS] == []
