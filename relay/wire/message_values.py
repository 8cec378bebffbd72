"""The messages the relay understands, as values. Each class says which way it travels and under which id.

All ids are normalised: 200 is already subtracted from a protobuf id. What a message looks like in bytes is the business
of text_form.py and protobuf_form.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from relay.wire import peer_text
from relay.wire.direction import Direction
from relay.wire.framing import WireError

UP = Direction.CLIENT_TO_GATEWAY
DOWN = Direction.GATEWAY_TO_CLIENT

NO_REQUEST = -1  # request id of an ERR_MSG that is about the connection


@dataclass(frozen=True, slots=True)
class StartApi:
    """The client's id. The client sends it after it has read the server hello."""

    direction: ClassVar[Direction] = UP
    id: ClassVar[int] = 71

    client_id: int
    capabilities: str = ""


@dataclass(frozen=True, slots=True)
class NextValidId:
    """The next order id; one of the two messages that make a session usable."""

    direction: ClassVar[Direction] = DOWN
    id: ClassVar[int] = 9

    order_id: int


@dataclass(frozen=True, slots=True)
class ManagedAccounts:
    """The accounts of the session; the other of the two."""

    direction: ClassVar[Direction] = DOWN
    id: ClassVar[int] = 15

    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    r"""ERR_MSG: faults, warnings and greetings alike; codes.py tells them apart.

    `text` is printable, and else as sent: from server version 153 to 202 what is not ASCII is escaped as \uXXXX.
    """

    direction: ClassVar[Direction] = DOWN
    id: ClassVar[int] = 4

    request_id: int
    code: int
    text: str
    advanced_reject: str = ""
    time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CurrentTimeRequest:
    """Asks for the gateway's clock. A gateway answers at most one a second and drops the others (ib_insync#604)."""

    direction: ClassVar[Direction] = UP
    id: ClassVar[int] = 49


@dataclass(frozen=True, slots=True)
class CurrentTime:
    """The gateway's clock, in seconds since 1970."""

    direction: ClassVar[Direction] = DOWN
    id: ClassVar[int] = 49

    seconds: int


@dataclass(frozen=True, slots=True)
class MarketDataRequest:
    """Asks for streaming prices of one stock by its symbol. The relay writes this message and never reads it."""

    direction: ClassVar[Direction] = UP
    id: ClassVar[int] = 1

    request_id: int
    symbol: str
    exchange: str = "SMART"
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class TickPrice:
    """One price of a MarketDataRequest; tick type 1 is bid, 2 ask, 4 last, 9 previous close."""

    direction: ClassVar[Direction] = DOWN
    id: ClassVar[int] = 1

    request_id: int
    tick_type: int
    price: float


Message = (
    StartApi
    | NextValidId
    | ManagedAccounts
    | ErrorMessage
    | CurrentTimeRequest
    | CurrentTime
    | MarketDataRequest
    | TickPrice
)


# The messages that are read, by the names other people know them under.
NAMES = {
    (UP, StartApi.id): "START_API",
    (UP, CurrentTimeRequest.id): "REQ_CURRENT_TIME",
    (DOWN, TickPrice.id): "TICK_PRICE",
    (DOWN, ErrorMessage.id): "ERR_MSG",
    (DOWN, NextValidId.id): "NEXT_VALID_ID",
    (DOWN, ManagedAccounts.id): "MANAGED_ACCTS",
    (DOWN, CurrentTime.id): "CURRENT_TIME",
}

MAX_ACCOUNT = 64  # characters; a number has nine, an alias some more


def account_names(joined: bytes) -> tuple[str, ...]:
    """The accounts of a list with commas; an empty list is no account at all."""
    return tuple(peer_text.text(account, MAX_ACCOUNT) for account in joined.split(b",") if account)


def finite(price: float) -> float:
    """The price; WireError for NaN, which is not even equal to itself and must not get into an event."""
    if not isfinite(price):
        raise WireError(f"{price} is no price")
    return price
