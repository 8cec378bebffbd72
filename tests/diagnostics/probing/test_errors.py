"""Errors of sockets: their class and their name."""

import errno

import pytest

from diagnostics.evidence import Outcome
from diagnostics.probing.errors import error_name, outcome_of

CLASSES = (
    (errno.ECONNREFUSED, Outcome.REFUSED),
    (errno.ETIMEDOUT, Outcome.TIMED_OUT),
    (errno.EHOSTUNREACH, Outcome.UNREACHABLE),
    (errno.ENETUNREACH, Outcome.UNREACHABLE),
    (errno.EACCES, Outcome.UNREACHABLE),
    (errno.EPERM, Outcome.UNREACHABLE),
    (errno.ECONNRESET, Outcome.RESET),
    (errno.EPIPE, Outcome.RESET),
    (None, Outcome.UNREACHABLE),
)


@pytest.mark.parametrize("number, outcome", CLASSES)
def test_every_errno_has_a_class(number, outcome):
    assert outcome_of(number) is outcome


def test_errors_are_called_by_name():
    assert [error_name(number) for number in (errno.ECONNREFUSED, 9999, None)] == [
        "ECONNREFUSED",
        "errno 9999",
        "errno None",
    ]
