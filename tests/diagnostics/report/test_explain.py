"""The page of a code."""

import pytest

from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.report.explain import page_text


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
