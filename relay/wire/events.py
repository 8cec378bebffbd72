"""What can be learnt from an IB connection, as values. Our own session and a watched connection both report them.

`at` is the monotonic `now` that came with the bytes. No event carries a payload or a whole account number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay.printable import printable
from relay.wire.codes import Kind


@dataclass(frozen=True, slots=True)
class ClientHelloSeen:
    """The client announced which server versions it speaks."""

    at: float
    min_version: int
    max_version: int
    options: str = ""


@dataclass(frozen=True, slots=True)
class LegacyHelloSeen:
    """The client speaks the protocol from before v100, which has no frames: nothing more can be learnt."""

    at: float


@dataclass(frozen=True, slots=True)
class ServerHelloSeen:
    """The gateway answered."""

    at: float
    server_version: int
    connection_time: str


@dataclass(frozen=True, slots=True)
class Redirected:
    """The gateway redirected the client to another host."""

    at: float
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class StartApiSeen:
    """The client sent its client id; None: in a message that was too long to be read."""

    at: float
    client_id: int | None
    capabilities: str = ""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The gateway named the accounts: the first of them, masked, and their number; () and None: too many to be read."""

    at: float
    accounts: tuple[str, ...]
    count: int | None


@dataclass(frozen=True, slots=True)
class NextValidIdSeen:
    """The gateway gave the next order id."""

    at: float
    order_id: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Both the order id and at least one account have come: what clients call "API connection ready"."""

    at: float


@dataclass(frozen=True, slots=True)
class Notice:
    """An ERR_MSG: greeting, warning or error; request id -1 is about the connection."""

    at: float
    code: int
    kind: Kind
    request_id: int
    farms: tuple[str, ...] = ()  # IB's data farms that its text names (heard.farms_named)


@dataclass(frozen=True, slots=True)
class CurrentTimeSeen:
    """The gateway's clock, seconds since 1970."""

    at: float
    seconds: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A price of a market data request; type 1 is bid, 2 ask, 4 last, 9 previous close."""

    at: float
    request_id: int
    tick_type: int
    price: float


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A message could not be read; the session is understood all the same. The reason says what was seen."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """The bytes are not understood any more; the reason says what was seen. No event follows this event."""

    at: float
    reason: str


Event = (
    ClientHelloSeen
    | LegacyHelloSeen
    | ServerHelloSeen
    | Redirected
    | StartApiSeen
    | Accounts
    | NextValidIdSeen
    | Ready
    | Notice
    | CurrentTimeSeen
    | Tick
    | NotUnderstood
    | Opaque
)

MAX_ACCOUNTS_SHOWN = 16  # of an advisor's thousands; the count is kept

# From how many characters on how many of the first and of the last are shown: four stay hidden at least, which are
# digits, as numbers begin with one or two letters. DU1234567 is paper's usual form, U1234567 and U123456 are live's.
_SHOWN_OF_ACCOUNT = ((9, 2, 3), (7, 1, 2), (5, 1, 0), (0, 0, 0))


def accounts_said(
    accounts: Sequence[str], count: int | None, between: str = ", ", most: int = MAX_ACCOUNTS_SHOWN
) -> str:
    """For people: "DU***567, U***56 and 24 more"; all there are is `count`, None where that is not known."""
    shown = between.join(accounts[:most])
    if count is None:
        return f"{shown} and perhaps more" if shown else "more accounts than the relay reads"
    left = count - len(accounts[:most])
    return f"{shown} and {left} more" if left > 0 else shown


def mask_accounts(accounts: tuple[str, ...]) -> tuple[str, ...]:
    """The first accounts, each as in DU***567 or U***56: enough for an owner to recognise it, not enough to use it."""
    return tuple(_mask(account) for account in accounts[:MAX_ACCOUNTS_SHOWN])


def _mask(account: str) -> str:
    length = len(account)
    first, last = next((first, last) for least, first, last in _SHOWN_OF_ACCOUNT if length >= least)
    return printable(f"{account[:first]}***{account[length - last :]}").replace(",", "?")
