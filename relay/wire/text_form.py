"""Messages as text fields: the body behind the message id, read and written as one server version has it.

The first field of a body is the message's own version, in messages that have such a field. Fields beyond those known
are ignored, as every client does.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from relay.wire import peer_text, versions
from relay.wire.direction import Direction
from relay.wire.framing import WireError, join_fields
from relay.wire.message_values import (
    CurrentTime,
    CurrentTimeRequest,
    ErrorMessage,
    ManagedAccounts,
    MarketDataRequest,
    Message,
    NextValidId,
    StartApi,
    TickPrice,
    account_names,
    finite,
)

Fields = list[bytes]
Reader = Callable[[Fields, int], Message]  # the fields and the server version; IndexError when fields are missing

_INTEGER = re.compile(rb"-?\d{1,19}")
_NUMBER = re.compile(rb"-?\d{0,30}(\.\d{0,30})?([eE][-+]?\d{1,3})?")


def write(message: Message, server_version: int) -> bytes:
    """The body of a message."""
    match message:
        case StartApi():
            return _write_start_api(message, server_version)
        case CurrentTimeRequest():
            return join_fields(1)
        case MarketDataRequest():
            return _write_market_data_request(message, server_version)
        case TickPrice():
            return join_fields(6, message.request_id, message.tick_type, message.price, 0, 0)
        case ErrorMessage():
            return _write_error(message, server_version)
        case NextValidId():
            return join_fields(1, message.order_id)
        case ManagedAccounts():
            return join_fields(1, ",".join(message.accounts))
        case CurrentTime():
            return join_fields(1, message.seconds)


def _write_start_api(message: StartApi, server_version: int) -> bytes:
    body = join_fields(2, message.client_id)
    return body + join_fields(message.capabilities) if server_version >= versions.OPTIONAL_CAPABILITIES else body


def _write_market_data_request(message: MarketDataRequest, server_version: int) -> bytes:
    """As ibapi 9.81 writes it for a stock (recorded): everything not asked for is empty or 0."""
    contract = join_fields(0, message.symbol, "STK", "", "0.0", "", "", message.exchange, "", message.currency, "", "")
    no_delta_neutral, ticks, snapshot, options = 0, "", 0, ""
    body = join_fields(11, message.request_id) + contract + join_fields(no_delta_neutral, ticks, snapshot)
    if server_version >= versions.REGULATORY_SNAPSHOT:
        body += join_fields(0)
    return body + join_fields(options)


def _write_error(message: ErrorMessage, server_version: int) -> bytes:
    text = _ascii7(message.text) if server_version >= versions.ASCII7 else message.text
    body = join_fields(message.request_id, message.code, text)
    if server_version < versions.ERROR_TIME:
        body = join_fields(2) + body
    if server_version >= versions.ADVANCED_ORDER_REJECT:
        body += join_fields(message.advanced_reject)
    if server_version >= versions.ERROR_TIME:
        body += join_fields("" if message.time_ms is None else message.time_ms)
    return body


def _ascii7(text: str) -> str:
    return re.sub(r"[^\x00-\x7f]", _escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "replace")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))


def _read_start_api(fields: Fields, _server_version: int) -> StartApi:
    return StartApi(_integer(fields[1], "client id"), _string(_optional(fields, 2)))


def _read_current_time_request(_fields: Fields, _server_version: int) -> CurrentTimeRequest:
    return CurrentTimeRequest()


def _read_tick_price(fields: Fields, _server_version: int) -> TickPrice:
    return TickPrice(_integer(fields[1], "request id"), _integer(fields[2], "tick type"), _price(fields[3]))


def _read_error(fields: Fields, server_version: int) -> ErrorMessage:
    if server_version < versions.ERROR_TIME:
        fields = fields[1:]
    time = _optional(fields, 4) if server_version >= versions.ERROR_TIME else b""
    reject = _optional(fields, 3) if server_version >= versions.ADVANCED_ORDER_REJECT else b""
    time_ms = _integer(time, "time") if time else None
    request_id, code = _integer(fields[0], "request id"), _integer(fields[1], "code")
    return ErrorMessage(request_id, code, _string(fields[2]), _string(reject), time_ms)


def _read_next_valid_id(fields: Fields, _server_version: int) -> NextValidId:
    return NextValidId(_integer(fields[1], "order id"))


def _read_managed_accounts(fields: Fields, _server_version: int) -> ManagedAccounts:
    return ManagedAccounts(account_names(fields[1]))


def _read_current_time(fields: Fields, _server_version: int) -> CurrentTime:
    return CurrentTime(_integer(fields[1], "time"))


READERS: dict[tuple[Direction, int], Reader] = {
    (StartApi.direction, StartApi.id): _read_start_api,
    (CurrentTimeRequest.direction, CurrentTimeRequest.id): _read_current_time_request,
    (TickPrice.direction, TickPrice.id): _read_tick_price,
    (ErrorMessage.direction, ErrorMessage.id): _read_error,
    (NextValidId.direction, NextValidId.id): _read_next_valid_id,
    (ManagedAccounts.direction, ManagedAccounts.id): _read_managed_accounts,
    (CurrentTime.direction, CurrentTime.id): _read_current_time,
}


def _integer(field: bytes, name: str) -> int:
    if _INTEGER.fullmatch(field) is None:
        raise WireError(f"the {name} is no integer ({peer_text.kind(field)})")
    return int(field)


def _price(field: bytes) -> float:
    try:
        if _NUMBER.fullmatch(field):
            return finite(float(field))
    except ValueError:
        pass
    raise WireError(f"the price is no number ({peer_text.kind(field)})")


def _string(field: bytes) -> str:
    return peer_text.text(field)


def _optional(fields: Fields, index: int) -> bytes:
    return fields[index] if index < len(fields) else b""
