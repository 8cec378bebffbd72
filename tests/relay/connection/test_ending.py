"""relay/connection/ending.py: why a connection ends, by who is gone and how (test_connection.py has the sockets)."""

import errno

import pytest

from relay.connection.ending import error_name, failure_cause, finished_cause
from relay.logs.record import Cause, Reason

CLOSED, RESET, DEAD = Reason.CLIENT_CLOSED, Reason.CLIENT_RESET, Reason.CLIENT_DEAD
LEFT = Reason.CLIENT_LEFT_IN_HANDSHAKE

FINISHED = [
    # who said FIN first, is it in its handshake, the cause
    ("client", False, Cause("client", "fin", CLOSED)),
    ("client", True, Cause("client", "fin", LEFT)),
    ("upstream", False, Cause("upstream", "fin", Reason.UPSTREAM_CLOSED)),
    ("upstream", True, Cause("upstream", "fin", Reason.UPSTREAM_CLOSED)),
]


@pytest.mark.parametrize("first_fin, in_handshake, cause", FINISHED)
def test_two_fins_are_a_close_by_whoever_was_first(first_fin, in_handshake, cause):
    assert finished_cause(first_fin, in_handshake) == cause


FAILED = [
    # side, errno, who said FIN first, is it in its handshake, the cause
    ("client", errno.ECONNRESET, None, False, Cause("client", "rst", RESET, None, "ECONNRESET")),
    ("client", errno.ECONNRESET, None, True, Cause("client", "rst", LEFT, None, "ECONNRESET")),
    ("client", errno.EPIPE, None, False, Cause("client", "rst", RESET, None, "ECONNRESET")),
    ("client", errno.ENOTCONN, None, False, Cause("client", "rst", RESET, None, "ECONNRESET")),
    ("client", errno.ECONNRESET, "client", False, Cause("client", "fin", CLOSED)),
    ("client", errno.ECONNRESET, "client", True, Cause("client", "fin", LEFT)),
    ("client", errno.ECONNRESET, "upstream", False, Cause("client", "rst", RESET, None, "ECONNRESET")),
    ("client", errno.ETIMEDOUT, None, False, Cause("client", "timeout", DEAD, None, "ETIMEDOUT")),
    ("client", errno.ETIMEDOUT, "client", True, Cause("client", "timeout", DEAD, None, "ETIMEDOUT")),
    ("client", errno.EHOSTUNREACH, None, True, Cause("client", "timeout", DEAD, None, "EHOSTUNREACH")),
    ("upstream", errno.ECONNRESET, None, False, Cause("upstream", "rst", Reason.UPSTREAM_RESET, None, "ECONNRESET")),
    ("upstream", errno.ECONNRESET, None, True, Cause("upstream", "rst", Reason.UPSTREAM_RESET, None, "ECONNRESET")),
    ("upstream", errno.ECONNRESET, "upstream", True, Cause("upstream", "fin", Reason.UPSTREAM_CLOSED)),
    ("upstream", errno.ETIMEDOUT, None, False, Cause("upstream", "timeout", Reason.UPSTREAM_DEAD, None, "ETIMEDOUT")),
]


@pytest.mark.parametrize("side, number, first_fin, in_handshake, cause", FAILED)
def test_a_failure_is_a_reset_a_close_or_a_death_of_that_side(side, number, first_fin, in_handshake, cause):
    assert failure_cause(side, OSError(number, "as the kernel has it"), first_fin, in_handshake) == cause


def test_an_error_has_the_name_of_its_errno_or_else_its_own():
    given = (ConnectionResetError(errno.ECONNRESET, "x"), OSError("no number"), TimeoutError())
    assert [error_name(error) for error in given] == ["ECONNRESET", "OSError", "TimeoutError"]
