"""Messages as protobuf: the body behind a message id above 200. A missing field is 0 or "", as proto3 has it."""

from __future__ import annotations

from collections.abc import Callable

from relay.wire import protobuf
from relay.wire.direction import Direction
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
from relay.wire.protobuf import Fields, double_field, int_field, message_field, string_field

Reader = Callable[[Fields], Message]


def write(message: Message) -> bytes:
    """The body of a message."""
    match message:
        case StartApi():
            capabilities = string_field(2, message.capabilities) if message.capabilities else b""
            return int_field(1, message.client_id) + capabilities
        case CurrentTimeRequest():
            return b""
        case MarketDataRequest():
            return _write_market_data_request(message)
        case TickPrice():
            ids = int_field(1, message.request_id) + int_field(2, message.tick_type)
            return ids + double_field(3, message.price)
        case ErrorMessage():
            return _write_error(message)
        case NextValidId():
            return int_field(1, message.order_id)
        case ManagedAccounts():
            return string_field(1, ",".join(message.accounts))
        case CurrentTime():
            return int_field(1, message.seconds)


def _write_market_data_request(message: MarketDataRequest) -> bytes:
    """TickerRequest{1 reqId, 2 Contract{1 conId, 2 symbol, 3 secType, 8 exchange, 10 currency}} (recorded at 207)."""
    contract = int_field(1, 0) + string_field(2, message.symbol) + string_field(3, "STK")
    contract += string_field(8, message.exchange) + string_field(10, message.currency)
    return int_field(1, message.request_id) + message_field(2, contract)


def _write_error(message: ErrorMessage) -> bytes:
    time = int_field(2, message.time_ms) if message.time_ms is not None else b""
    reject = string_field(5, message.advanced_reject) if message.advanced_reject else b""
    head = int_field(1, message.request_id) + time
    return head + int_field(3, message.code) + string_field(4, message.text) + reject


def _read_start_api(fields: Fields) -> StartApi:
    return StartApi(_integer(fields, 1), _text(fields, 2))


def _read_current_time_request(_fields: Fields) -> CurrentTimeRequest:
    return CurrentTimeRequest()


def _read_tick_price(fields: Fields) -> TickPrice:
    price = protobuf.double(_last(fields, 3, bytes(8)))
    return TickPrice(_integer(fields, 1), _integer(fields, 2), finite(price))


def _read_error(fields: Fields) -> ErrorMessage:
    time = _integer(fields, 2)
    return ErrorMessage(_integer(fields, 1), _integer(fields, 3), _text(fields, 4), _text(fields, 5), time or None)


def _read_next_valid_id(fields: Fields) -> NextValidId:
    return NextValidId(_integer(fields, 1))


def _read_managed_accounts(fields: Fields) -> ManagedAccounts:
    return ManagedAccounts(account_names(protobuf.raw(_last(fields, 1, b""))))


def _read_current_time(fields: Fields) -> CurrentTime:
    return CurrentTime(_integer(fields, 1))


READERS: dict[tuple[Direction, int], Reader] = {
    (StartApi.direction, StartApi.id): _read_start_api,
    (CurrentTimeRequest.direction, CurrentTimeRequest.id): _read_current_time_request,
    (TickPrice.direction, TickPrice.id): _read_tick_price,
    (ErrorMessage.direction, ErrorMessage.id): _read_error,
    (NextValidId.direction, NextValidId.id): _read_next_valid_id,
    (ManagedAccounts.direction, ManagedAccounts.id): _read_managed_accounts,
    (CurrentTime.direction, CurrentTime.id): _read_current_time,
}


def _last(fields: Fields, number: int, default: int | bytes) -> int | bytes:
    """The value of a field. Of several with the same number the last counts."""
    return next((value for field, value in reversed(fields) if field == number), default)


def _integer(fields: Fields, number: int) -> int:
    return protobuf.signed(_last(fields, number, 0))


def _text(fields: Fields, number: int) -> str:
    return protobuf.text(_last(fields, number, b""))
