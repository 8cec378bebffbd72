"""Recorded runs about the session and what IB says in it: each gives its findings, in order, and no others."""

import pytest

from tests.diagnostics.recorded import SESSIONS, check


@pytest.mark.parametrize("case", SESSIONS, ids=lambda case: case.name)
def test_a_recorded_run_gives_its_findings_and_no_others(case):
    check(case)
