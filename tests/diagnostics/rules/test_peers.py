"""Recorded runs about what answers behind an accepted connection: each gives its findings, in order, and no others."""

import pytest

from tests.diagnostics.recorded import PEERS, check


@pytest.mark.parametrize("case", PEERS, ids=lambda case: case.name)
def test_a_recorded_run_gives_its_findings_and_no_others(case):
    check(case)
