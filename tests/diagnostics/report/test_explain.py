"""The page of a code."""

import re

import pytest

from diagnostics.findings.catalogue import CATALOGUE, ELSEWHERE
from diagnostics.findings.error_codes import ERROR_CODES, ErrorCode
from diagnostics.report.explain import error_code_text, list_text, page_text, unknown_text
from relay.wire.codes import CODES


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_has_a_page_that_fits(code):
    entry = CATALOGUE[code]
    page = page_text(entry)
    assert page.startswith(f"{code} {entry.slug}: ")
    assert max(map(len, page.splitlines())) <= 80
    for text in (entry.docs, entry.fix, entry.check, *entry.causes):
        assert " ".join(text.split()) in " ".join(page.split())
    for line in entry.commands:
        assert f"\n    {line}\n" in page


def test_a_page_names_no_codes_that_its_text_does_not():
    entry = CATALOGUE["IBD303"]
    said = " ".join((entry.code, entry.docs, entry.fix, entry.check, *entry.causes))
    assert set(re.findall(r"IBD\d+", page_text(entry))) == set(re.findall(r"IBD\d+", said))


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_has_a_page_that_fits(code):
    page = error_code_text(code)
    assert page.startswith(f"{code}, an error code of IB: ")
    assert max(map(len, page.splitlines())) <= 80
    known = ERROR_CODES.get(code, ErrorCode(code, "says more."))
    for text in (CODES[code].meaning, known.means):
        assert " ".join(text.split()) in " ".join(page.split())
    finding = known.finding
    assert (f"\n  {finding} {CATALOGUE[finding].slug}: " if finding else "\nNo finding is about it\n") in page


def test_a_page_says_where_its_words_are_not_the_only_ones():
    said = [code for code, entry in CATALOGUE.items() if "That is for Docker on Linux." in page_text(entry)]
    assert said == list(ELSEWHERE)


def test_a_page_of_an_error_code():
    assert error_code_text(326) == (
        "326, an error code of IB: client id already in use by another session\n"
        "\n"
        "The gateway ends the connection after it, or may do so.\n"
        "\n"
        "What it means for you\n"
        "  Use another client id, or end the program that has this one. After a crash the\n"
        "  gateway may hold on to it.\n"
        "\n"
        "The finding about it\n"
        "  IBD501 client-id-in-use: this client id is taken\n"
    )


def test_the_list_has_every_error_code():
    lines = list_text().partition("\nError codes of IB\n")[2].splitlines()
    assert [int(line[:7]) for line in lines if line[:7].strip()] == list(CODES)


@pytest.mark.parametrize(
    "code, about",
    [(499, " (by its number: about one request; the connection itself is fine)"), (77777, "")],
)
def test_of_a_code_that_is_not_in_the_list_it_is_said_where_its_text_is(code, about):
    assert unknown_text(code) == (
        f"error code {code} is not in the list of IB's codes here{about}; "
        "the gateway's own text is in the message that the client got"
    )
