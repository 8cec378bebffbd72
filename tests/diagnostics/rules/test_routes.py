"""Recorded runs about names and the way to the gateway: each gives its findings, in order, and no others."""

import pytest

from tests.diagnostics.recorded import NAMES, WAYS, check


@pytest.mark.parametrize("case", NAMES + WAYS, ids=lambda case: case.name)
def test_a_recorded_run_gives_its_findings_and_no_others(case):
    check(case)
