"""Errors of sockets: their names, and the outcome of a step that ended with one."""

from __future__ import annotations

import errno

from diagnostics.evidence import Outcome

RESETS = frozenset((errno.ECONNRESET, errno.EPIPE))  # after the handshake; EPIPE when a FIN had come before
_OUTCOMES = {errno.ECONNREFUSED: Outcome.REFUSED, errno.ETIMEDOUT: Outcome.TIMED_OUT}


def error_name(number: int | None) -> str:
    """ECONNREFUSED for its number."""
    return errno.errorcode.get(number or 0, f"errno {number}")


def outcome_of(number: int | None) -> Outcome:
    """The outcome for an errno that ends a connection or an attempt at one."""
    return Outcome.RESET if number in RESETS else _OUTCOMES.get(number or 0, Outcome.UNREACHABLE)
