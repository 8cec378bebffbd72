"""Which way a message travels: the two directions have message tables of their own."""

from __future__ import annotations

from enum import Enum


class Direction(Enum):
    """Id 4 is CANCEL_ORDER one way and ERR_MSG the other: an id means nothing without this."""

    CLIENT_TO_GATEWAY = "client_to_gateway"
    GATEWAY_TO_CLIENT = "gateway_to_client"
