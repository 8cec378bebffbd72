"""Recorded runs about the session and what IB says in it: each gives its findings, in order, and no others."""

import pytest

from diagnostics.evidence import Asked
from diagnostics.rules.diagnose import diagnose
from tests.diagnostics.recorded import BRIDGE, DOCKER0, FINE, SESSIONS, TAKEN, check, probe, run


@pytest.mark.parametrize("case", SESSIONS, ids=lambda case: case.name)
def test_a_recorded_run_gives_its_findings_and_no_others(case):
    check(case)


IN_USE = [
    (TAKEN, "the gateway answered START_API with error 326: client id 7 is in use"),
    (FINE, "the session was ready, then came error 326: client id 7 is in use"),
]


@pytest.mark.parametrize("how, said", IN_USE, ids=["as the answer", "after the answer"])
def test_what_error_326_came_in_answer_to(how, said):
    one = probe(DOCKER0, "configured", how, codes=(326,))
    found = {one.code: one.message for one in diagnose(run(BRIDGE, one, asked=Asked(client_id=7))).findings}
    assert found["IBD501"] == f"{DOCKER0}:4003: {said}"
