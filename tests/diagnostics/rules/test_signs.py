"""Every sign has its predicate, and none is taken for shown where nothing is known."""

from dataclasses import replace

import pytest

from diagnostics.evidence import Asked, Evidence, Outcome, ProbeStage
from diagnostics.findings.entry import Sign
from diagnostics.rules.run_view import look_at
from diagnostics.rules.signs import PREDICATES, closed_by_hello, is_shown
from tests.diagnostics.recorded import CLOSED, DOCKER0, REFUSED_BEHIND, SILENT, probe

# True of anything: these say that something is not known, or that a name or a place is not at hand.
ABOUT_ABSENCE = {
    *(Sign.ALWAYS, Sign.LOGIN_NOT_KNOWN, Sign.NO_HOST_NAME, Sign.NO_LEFTOVERS_KNOWN, Sign.NO_NAME_OF_A_VM_HOST),
    *(Sign.OWN_LOOPBACK_KNOWN, Sign.NOT_ONLY_LOOPBACK),
}


def test_every_sign_has_a_predicate():
    assert set(PREDICATES) == set(Sign)


@pytest.mark.parametrize("sign", Sign, ids=lambda sign: sign.name)
def test_nothing_is_shown_by_a_run_of_which_nothing_is_known(sign):
    blind = look_at(Evidence(0.0, "0", Asked()))
    assert is_shown(sign, blind, ()) is (sign in ABOUT_ABSENCE)


def test_an_end_is_a_refusals_or_a_dials_by_its_time_or_neither():
    def shown(seconds):
        ended = probe(DOCKER0, "configured", replace(REFUSED_BEHIND, seconds=seconds))
        run = look_at(Evidence(0.0, "0", Asked(), probes=(ended,)))
        return [
            sign
            for sign in (Sign.RESET_AT_ONCE, Sign.ENDED_LIKE_A_DIAL, Sign.NOBODY_DIALS)
            if is_shown(sign, run, (ended,))
        ]

    assert [shown(seconds) for seconds in (None, 0.001, 1.02, 2.0, 3.06, 4.0, 5.0, 5.9)] == [
        *([Sign.RESET_AT_ONCE, Sign.NOBODY_DIALS] for _ in range(3)),
        [],
        [Sign.ENDED_LIKE_A_DIAL],
        [],
        [Sign.ENDED_LIKE_A_DIAL],
        [],
    ]


def test_only_an_end_with_fin_in_answer_to_the_hello_is_one():
    assert closed_by_hello((probe("a", "configured", CLOSED),))
    for end in (
        SILENT,
        REFUSED_BEHIND,
        replace(CLOSED, stage=ProbeStage.QUIET),
        replace(CLOSED, outcome=Outcome.BAD_PEER),
    ):
        assert not closed_by_hello((probe("a", "configured", CLOSED), probe("b", "configured", end)))
    assert not closed_by_hello(())


LOGS = [
    (("logged_in",), [Sign.LOGGED_IN, Sign.LOGGED_IN_ALONE]),
    (("logged_in", "ended"), [Sign.LOGIN_NOT_KNOWN]),
    (("logged_in", "existing_session"), [Sign.LOGGED_IN, Sign.SESSION_ELSEWHERE]),
    (("existing_session", "session_kept", "logged_in"), [Sign.LOGGED_IN, Sign.LOGGED_IN_ALONE]),
]


@pytest.mark.parametrize(("states", "signs"), LOGS)
def test_what_a_log_says_of_before_is_no_sign_of_now(states, signs):
    run = look_at(Evidence(0.0, "0", Asked(), log_states=states))
    about_logs = (Sign.LOGGED_IN, Sign.LOGGED_IN_ALONE, Sign.LOGIN_NOT_KNOWN, Sign.SESSION_ELSEWHERE)
    assert [sign for sign in about_logs if is_shown(sign, run, ())] == signs
