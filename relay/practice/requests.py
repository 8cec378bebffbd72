"""A client's requests: a payload as a Request, and the few requests whose content matters as values.

Layouts of the text requests: ibapi 9.81 and 10.51 client.py, ib_async client.py, checked against recorded frames. A
request is read in the form it has: the message id itself says whether text or protobuf follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from relay.practice.stocks import Named
from relay.wire import peer_text, protobuf
from relay.wire.direction import Direction
from relay.wire.framing import WireError, split_fields
from relay.wire.messages import read_id
from relay.wire.names import message_name

_UNVERSIONED_FROM = 78  # text requests above this id never had a version field (REQ_SEC_DEF_OPT_PARAMS is the first)
_ORDER_CONTAINER = 145  # PLACE_ORDER loses its version field (ibapi MIN_SERVER_VER_ORDER_CONTAINER)
_SCANNER_GENERIC = 143  # REQ_SCANNER_SUBSCRIPTION does (MIN_SERVER_VER_SCANNER_GENERIC_OPTS)
_CME_TAGGING = 192  # CANCEL_ORDER does (MIN_SERVER_VER_CME_TAGGING_FIELDS)
_SYNT_REALTIME_BARS = 124  # REQ_HISTORICAL_DATA does (MIN_SERVER_VER_SYNT_REALTIME_BARS)
_VERSION_DROPPED = {3: _ORDER_CONTAINER, 4: _CME_TAGGING, 20: _SYNT_REALTIME_BARS, 22: _SCANNER_GENERIC}

# Requests with a request (or order) id as first field: an error can be sent to them by that id.
_WITH_ID = frozenset(
    [
        1,
        2,
        3,
        4,
        7,
        9,
        10,
        11,
        *range(20, 24),
        25,
        *range(50, 58),
        62,
        63,
        *range(67, 71),
        *range(74, 80),
        81,
        83,
        84,
        *range(86, 91),
        *range(92, 99),
        *range(100, 105),
        *range(106, 110),
    ]
)


_NO_NUMBER = frozenset(("", "0", "0.0"))  # a strike or multiplier that is not given, as clients write it
_NO_RIGHT = frozenset(("", "0", "?"))


class Request:
    """One payload after START_API. Reading a field that is missing or of another kind raises WireError."""

    def __init__(self, payload: bytes, server_version: int) -> None:
        self.id, self.is_protobuf, start = read_id(payload, server_version)
        self._body = payload[start:]
        self._server_version = server_version

    @property
    def name(self) -> str:
        return message_name(Direction.CLIENT_TO_GATEWAY, self.id)

    @cached_property
    def fields(self) -> list[str]:
        """Text fields after the id."""
        return [peer_text.text(field) for field in split_fields(self._body)]

    @cached_property
    def message(self) -> dict[int, int | bytes]:
        """Protobuf fields by number."""
        return dict(protobuf.read_fields(self._body))

    @property
    def versioned(self) -> bool:
        """Does the text form start with a version field?"""
        dropped = _VERSION_DROPPED.get(self.id)
        if dropped is not None:
            return self._server_version < dropped
        return self.id < _UNVERSIONED_FROM

    def arguments(self) -> Iterator[str]:
        """The text fields after the version field."""
        return iter(self.fields[1:] if self.versioned else self.fields)

    @property
    def request_id(self) -> int | None:
        """The id an answer must carry; None if this kind of request has no id, or the id cannot be read."""
        if self.id not in _WITH_ID:
            return None
        try:
            return self.integer(1) if self.is_protobuf else _integer(next(self.arguments(), ""))
        except WireError:
            return None

    def integer(self, number: int) -> int:
        """A protobuf integer field, 0 if absent."""
        return protobuf.signed(self.message.get(number, 0))

    def string(self, number: int) -> str:
        """A protobuf string field, empty if absent."""
        return protobuf.text(self.message.get(number, b""))


@dataclass(frozen=True, slots=True)
class MarketData:
    """A REQ_MKT_DATA."""

    request_id: int
    contract: Named
    snapshot: bool
    generic_ticks: str = ""
    regulatory_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class HistoricalData:
    """A REQ_HISTORICAL_DATA."""

    request_id: int
    contract: Named
    end: str
    bar_size: str
    duration: str
    regular_hours_only: bool
    what: str
    date_format: int
    keep_up_to_date: bool
    chart_options: bool = False  # there are some


@dataclass(frozen=True, slots=True)
class ForContract:
    """Any other request that starts with request id and contract: 9, 50, 87; each has some of the fields behind it."""

    request_id: int
    contract: Named
    bar_seconds: int = 0
    what: str = ""
    regular_hours_only: bool = False
    date_format: int = 0
    security_id: str = ""


@dataclass(frozen=True, slots=True)
class ForAccount:
    """Requests about one account; an empty `account` means all accounts, or the only one."""

    request_id: int
    account: str
    subscribe: bool = True
    model: str = ""
    ledger_only: bool = False


def market_data(request: Request) -> MarketData:
    if request.is_protobuf:
        return MarketData(
            request.integer(1),
            _contract_message(request, 2),
            bool(request.integer(4)),
            request.string(3),
            bool(request.integer(5)),
        )
    take = _taker(request)
    request_id, contract = _integer(take()), _contract_fields(take)
    # The last fields are always generic ticks, snapshot, regulatory snapshot (from 114) and options; legs precede them.
    generic, snapshot, regulatory, _ = request.fields[-4:]
    return MarketData(request_id, contract, snapshot == "1", generic, regulatory == "1")


def historical_data(request: Request) -> HistoricalData:
    if request.is_protobuf:
        return HistoricalData(
            request.integer(1),
            _contract_message(request, 2),
            request.string(3),
            request.string(4),
            request.string(5),
            bool(request.integer(6)),
            request.string(7),
            request.integer(8),
            bool(request.integer(9)),
            10 in request.message,
        )
    take = _taker(request)
    request_id, contract = _integer(take()), _contract_fields(take)
    take()  # includeExpired
    end, bar_size, duration = take(), take(), take()
    regular, what, date_format = take() == "1", take(), _integer(take())
    keep, options = request.fields[-2] == "1", bool(request.fields[-1])  # the legs of a BAG precede them
    return HistoricalData(request_id, contract, end, bar_size, duration, regular, what, date_format, keep, options)


def contract_details(request: Request) -> ForContract:
    if request.is_protobuf:
        return ForContract(request.integer(1), _contract_message(request, 2))
    take = _taker(request)
    request_id, contract = _integer(take()), _contract_fields(take)
    take(), take()  # includeExpired: a stock does not expire; secIdType
    return ForContract(request_id, contract, security_id=take())


def real_time_bars(request: Request) -> ForContract:
    if request.is_protobuf:
        bar, what, regular = request.integer(3), request.string(4), bool(request.integer(5))
        return ForContract(request.integer(1), _contract_message(request, 2), bar, what, regular)
    take = _taker(request)
    return ForContract(_integer(take()), _contract_fields(take), _integer(take()), take(), take() == "1")


def head_timestamp(request: Request) -> ForContract:
    """Its useRTH is read by nobody: the first trade was in regular hours."""
    if request.is_protobuf:
        what, form = request.string(4), request.integer(5)
        return ForContract(request.integer(1), _contract_message(request, 2), what=what, date_format=form)
    take = _taker(request)
    request_id, contract = _integer(take()), _contract_fields(take)
    take(), take()  # includeExpired, useRTH
    return ForContract(request_id, contract, what=take(), date_format=_integer(take()))


def account_data(request: Request) -> ForAccount:
    """REQ_ACCT_DATA has no request id: subscribe, account."""
    if request.is_protobuf:
        return ForAccount(0, request.string(2), bool(request.integer(1)))
    take = _taker(request)
    subscribe = take() in ("1", "true")
    return ForAccount(0, take(), subscribe)


def account_multi(request: Request) -> ForAccount:
    """REQ_ACCOUNT_UPDATES_MULTI and REQ_POSITIONS_MULTI: request id, account, model."""
    if request.is_protobuf:
        account, model, ledger = request.string(2), request.string(3), bool(request.integer(4))
        return ForAccount(request.integer(1), account, model=model, ledger_only=ledger)
    take = _taker(request)
    request_id, account, model = _integer(take()), take(), take()
    return ForAccount(request_id, account, model=model, ledger_only=next(iter(request.fields[4:]), "") == "1")


def account_summary(request: Request) -> tuple[int, str, frozenset[str]]:
    """Request id, group, tags."""
    if request.is_protobuf:
        request_id, group, tags = request.integer(1), request.string(2), request.string(3)
    else:
        take = _taker(request)
        request_id, group, tags = _integer(take()), take(), take()
    return request_id, group, frozenset(tag.strip() for tag in tags.split(",") if tag.strip())


def _taker(request: Request) -> Callable[[], str]:
    arguments = request.arguments()

    def take() -> str:
        try:
            return next(arguments)
        except StopIteration:
            raise WireError(f"{request.name}: {len(request.fields)} fields are too few") from None

    return take


def _contract_fields(take: Callable[[], str]) -> Named:
    """conId, symbol, secType, expiry, strike, right, multiplier, exchange, primary, currency, local symbol, class."""
    fields = [take() for _ in range(12)]
    other = fields[3] or fields[4] not in _NO_NUMBER or fields[5] not in _NO_RIGHT or fields[6] not in _NO_NUMBER
    return _named(_integer(fields[0]), (*fields[1:3], fields[7], fields[9], fields[8], *fields[10:]), bool(other))


def _contract_message(request: Request, number: int) -> Named:
    raw = request.message.get(number, b"")
    if isinstance(raw, int):
        raise WireError(f"{request.name}: field {number} is no contract")
    fields = dict(protobuf.read_fields(raw))
    texts = tuple(protobuf.text(fields.get(at, b"")) for at in (2, 3, 8, 10, 9, 11, 12))
    right = protobuf.text(fields.get(6, b""))
    other = bool(fields.get(4)) or right not in _NO_RIGHT or any(any(_raw(fields.get(at, b""))) for at in (5, 7))
    return _named(protobuf.signed(fields.get(1, 0)), texts, other)


def _raw(value: int | bytes) -> bytes:
    """A double as its bytes, which are all zero for 0.0."""
    return value if isinstance(value, bytes) else value.to_bytes(8, "little")


def _named(con_id: int, texts: tuple[str, ...], of_no_stock: bool) -> Named:
    """Bounded, because answers repeat its texts; no real symbol or exchange comes near 64 characters."""
    symbol, sec_type, exchange, currency, primary, local, trading_class = (text[:64] for text in texts)
    return Named(con_id, symbol, sec_type, exchange, currency, primary, local, trading_class, of_no_stock)


def _integer(text: str) -> int:
    """An id as text; empty is 0 (@stoqey/ib leaves conId empty)."""
    if not text:
        return 0
    try:
        value = int(text)
    except ValueError:
        raise WireError(f"a number was expected ({peer_text.kind(text.encode())})") from None
    if not -(1 << 31) <= value < 1 << 31:
        raise WireError(f"a number does not fit 32 bits ({peer_text.kind(text.encode())})")
    return value
