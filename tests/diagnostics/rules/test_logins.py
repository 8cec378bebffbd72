"""Recorded runs about what only the gateway's log knows: each gives its findings, in order, and no others."""

from dataclasses import replace

import pytest

from diagnostics.host.gateway_log import STATES
from diagnostics.rules.diagnose import diagnose
from diagnostics.rules.logins import TABLE, state_holds
from tests.diagnostics.recorded import LOGINS, WAYS, check


@pytest.mark.parametrize("case", LOGINS, ids=lambda case: case.name)
def test_a_recorded_run_gives_its_findings_and_no_others(case):
    check(case)


HOLDS = [
    ("nothing in the log", (), None),
    ("it began", ("started", "twofa_pending"), "twofa_pending"),
    ("it began and something else came", ("twofa_pending", "logging_in"), "twofa_pending"),
    ("it ended", ("twofa_pending", "logged_in"), None),
    ("it ended and began again", ("logged_in", "twofa_pending"), "twofa_pending"),
]


@pytest.mark.parametrize(("name", "states", "held"), HOLDS, ids=[row[0] for row in HOLDS])
def test_a_state_holds_until_one_that_ends_it(name, states, held):
    assert state_holds(states, ("twofa_pending",), ("logged_in",)) == held


def test_the_states_of_the_rules_are_those_of_the_log():
    named = {state for row in TABLE for state in (*row.begins, *row.ends)}
    assert named <= set(STATES)


def test_a_state_nobody_knows_is_no_error():
    case = next(one for one in LOGINS if one.name == "twofa-pending")
    states = ("a state of a later version", *case.evidence.log_states, "\x1b[31m")
    assert [one.code for one in diagnose(replace(case.evidence, log_states=states)).findings] == ["IBD602"]


def test_a_route_that_is_dead_is_not_explained_by_a_login():
    """Packets that are dropped say nothing about a login; the log may be of a gateway that is reached another way."""
    case = next(one for one in WAYS if one.name == "filtered")
    found = diagnose(replace(case.evidence, log_states=("started", "twofa_pending"))).findings
    assert [one.code for one in found] == ["IBD205"]
