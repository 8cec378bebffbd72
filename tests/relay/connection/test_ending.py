"""relay/connection/ending.py: why a connection ends, by its first end (test_ends.py has the sockets)."""

import pytest

from relay.connection.ending import cause_of
from relay.logs.ends import FirstEnd
from relay.logs.record import Cause, Reason

LEFT = Reason.CLIENT_LEFT_IN_HANDSHAKE

CAUSES = [
    # who, how, is it in its handshake, the reason
    ("client", "fin", False, Reason.CLIENT_CLOSED),
    ("client", "fin", True, LEFT),
    ("client", "rst", False, Reason.CLIENT_RESET),
    ("client", "rst", True, LEFT),
    ("client", "timeout", False, Reason.CLIENT_DEAD),
    ("client", "timeout", True, Reason.CLIENT_DEAD),
    ("upstream", "fin", False, Reason.UPSTREAM_CLOSED),
    ("upstream", "fin", True, Reason.UPSTREAM_CLOSED),
    ("upstream", "rst", False, Reason.UPSTREAM_RESET),
    ("upstream", "rst", True, Reason.UPSTREAM_RESET),
    ("upstream", "timeout", False, Reason.UPSTREAM_DEAD),
    ("upstream", "timeout", True, Reason.UPSTREAM_DEAD),
]


@pytest.mark.parametrize("by, how, in_handshake, reason", CAUSES)
def test_the_first_end_is_the_cause(by, how, in_handshake, reason):
    first = FirstEnd(by, how, 1.0, "ready", in_handshake, None if how == "fin" else "ETIMEDOUT")
    assert cause_of(first) == Cause(by, how, reason, None, None if how == "fin" else "ETIMEDOUT")
