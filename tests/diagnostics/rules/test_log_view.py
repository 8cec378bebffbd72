"""What holds now, since when, and whose log it is."""

from dataclasses import replace

import pytest

from diagnostics.evidence import Asked, Evidence, LogView
from diagnostics.host.gateway_log import STATES
from diagnostics.rules.log_view import NOT_LOGGED_IN, is_logged_in, log_name, passed, seen_at, span, state_holds, when
from diagnostics.rules.run_view import look_at

TEN = 1_767_607_200.0  # 2026-01-05 10:00:00 UTC
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


LOGINS = [
    ((), False),
    (("started", "logged_in", "configured"), True),
    (("logged_in", "existing_session", "write_access"), True),
    (("api_listening",), True),
    *((("logged_in", state), False) for state in NOT_LOGGED_IN),
]


@pytest.mark.parametrize(("states", "logged_in"), LOGINS)
def test_a_login_of_before_ends(states, logged_in):
    assert is_logged_in(states) == logged_in and set(NOT_LOGGED_IN) <= set(STATES)


def seen(view, created=TEN + 3600):
    return look_at(Evidence(created, "", Asked(), log_states=("started",), gateway_log=view))


OWN = LogView(state_times=(TEN,), last_time=TEN + 60)
ZONED = replace(OWN, has_zone=True)
TIMES = [
    ("no log", None, TEN + 3600, None, ""),
    ("no time", LogView(state_times=(None,)), TEN + 3600, None, ""),
    ("its own clock", OWN, TEN + 3600, 60.0, " (2026-01-05 10:00:00 by its own clock)"),
    ("a zone", ZONED, TEN + 3600, 3600.0, " (2026-01-05 10:00:00 UTC, 60 min before this run)"),
    ("a run of before", ZONED, TEN - 1, None, " (2026-01-05 10:00:00 UTC)"),
    ("no such time", replace(ZONED, state_times=(-1e11,)), TEN, TEN + 1e11, ""),
]


@pytest.mark.parametrize(("name", "view", "created", "seconds", "told"), TIMES, ids=[row[0] for row in TIMES])
def test_a_time_is_told_as_far_as_the_log_knows_it(name, view, created, seconds, told):
    run = seen(view, created)
    at = seen_at(run, "started")
    assert (passed(run, at), when(run, at)) == (seconds, told)
    assert seen_at(run, "ended") is None


@pytest.mark.parametrize(
    "seconds, told",
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "2 h"), (86400, "24 h"), (200000, "2 days")],
)
def test_spans(seconds, told):
    assert span(seconds) == told


def test_a_log_of_several_services_is_named():
    assert log_name(seen(LogView(service="ib"))) == "the gateway's log (service ib)"
    assert log_name(seen(None)) == "the gateway's log"
