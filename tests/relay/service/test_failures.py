"""relay/service/failures.py: a start that fails is explained by its exit code, and a given-up one as such."""

import pytest

from relay.service.failures import why_it_does_not_run

SAID = [
    # ActiveState, ExecMainStatus, what is in it, what is not
    ("active", "0", "", "gave up"),
    ("activating", "202", "LimitNOFILE= is too small", "gave up"),
    ("activating", "203", "interpreter", "gave up"),
    ("activating", "1", "", "gave up"),
    ("failed", "202", "LimitNOFILE= is too small", "the log says why"),
    ("failed", "202", "systemd gave up", "the log says why"),
    ("failed", "1", "the log says why", "LimitNOFILE"),
    ("failed", "78", "", "gave up"),
]


@pytest.mark.parametrize("state, status, said, unsaid", SAID)
def test_why_it_does_not_run(state, status, said, unsaid):
    why = why_it_does_not_run(state, status)
    assert said in why and unsaid not in why and bool(why) == bool(said)
