"""How far an IB session has come: the same scale for a watched session and for our own."""

from enum import IntEnum


class Stage(IntEnum):
    """How far the connection has come, in order."""

    NOTHING = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    START_API = 3
    READY = 4  # NEXT_VALID_ID and a MANAGED_ACCTS that is not empty: ib_insync's "API connection ready"
