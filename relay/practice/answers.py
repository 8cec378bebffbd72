"""The bytes of every answer, in the form it has at one server version: text, binary id with text, or protobuf.

relay.wire encodes errors, accounts, next id and current time; all other answers are encoded here. Every answer has text
fields and protobuf fields, and the version picks. Layouts: decoders of ibapi 9.81 and 10.51.1 and of ib_async 2.1.0,
protobuf field numbers from the .proto descriptors in ibapi-latest 10.51.1, checked against recorded sessions.
"""

from __future__ import annotations

from collections.abc import Iterable

from relay.practice.history import SessionsFound
from relay.practice.market import MIN_TICK, Bar, Contract, Quote
from relay.wire import messages, protobuf, versions
from relay.wire.direction import Direction
from relay.wire.framing import LENGTH, encode_frame, join_fields

BID, ASK, LAST, CLOSE = 1, 2, 4, 9  # tick types with a price
BID_SIZE, VOLUME, LAST_TIMESTAMP = 0, 8, 45

_MD_SIZE_MULTIPLIER, _UNDERLYING_INFO, _MARKET_RULES, _REAL_EXPIRATION, _STOCK_TYPE = 110, 122, 126, 134, 152
_FRACTIONAL_SIZE, _SIZE_RULES, _BOND_ISSUERID, _LAST_TRADE_DATE, _INELIGIBILITY = 163, 164, 176, 182, 186
_HISTORICAL_DATA_END = 196

_TICK_VERSION = 6  # of TICK_PRICE, TICK_SIZE and TICK_STRING in text form
_BBO_EXCHANGE = "9c0001"  # opaque to clients; the shape is that of real gateways
_FULL_SNAPSHOT = 3

Text = Iterable[int | float | str]
Proto = Iterable[tuple[int, int | float | str | bytes]]


class Answers:
    """Encodes for one session; every method returns whole frames, ready to send."""

    def __init__(self, server_version: int) -> None:
        self.server_version = server_version

    # The connection

    def accounts(self, accounts: tuple[str, ...]) -> bytes:
        return messages.encode(messages.ManagedAccounts(accounts), self.server_version)

    def next_valid_id(self, order_id: int) -> bytes:
        return messages.encode(messages.NextValidId(order_id), self.server_version)

    def error(self, request_id: int, code: int, text: str, now: float) -> bytes:
        """ERR_MSG; `now` is its time, which only newer versions carry."""
        error = messages.ErrorMessage(request_id, code, text, time_ms=int(now * 1000))
        return messages.encode(error, self.server_version)

    def current_time(self, now: float) -> bytes:
        return messages.encode(messages.CurrentTime(int(now)), self.server_version)

    def current_time_in_millis(self, now: float) -> bytes:
        milliseconds = int(now * 1000)
        return self._frame(109, (milliseconds,), ((1, milliseconds),))

    # Account, positions, orders

    def account_value(self, key: str, value: str, currency: str, account: str) -> bytes:
        fields = (key, value, currency, account)
        return self._frame(6, (2, *fields), enumerate(fields, 1))

    def account_update_time(self, clock: str) -> bytes:
        return self._frame(8, (1, clock), ((1, clock),))

    def account_download_end(self, account: str) -> bytes:
        return self._frame(54, (1, account), ((1, account),))

    def account_update_multi(self, request_id: int, account: str, key: str, value: str, currency: str) -> bytes:
        fields = (request_id, account, "", key, value, currency)  # the third is the model code
        return self._frame(73, (1, *fields), enumerate(fields, 1))

    def account_update_multi_end(self, request_id: int) -> bytes:
        return self._end(74, request_id)

    def account_summary(self, request_id: int, account: str, tag: str, value: str, currency: str) -> bytes:
        fields = (request_id, account, tag, value, currency)
        return self._frame(63, (1, *fields), enumerate(fields, 1))

    def account_summary_end(self, request_id: int) -> bytes:
        return self._end(64, request_id)

    def position_end(self) -> bytes:
        return self._frame(62, (1,), ())

    def position_multi_end(self, request_id: int) -> bytes:
        return self._end(72, request_id)

    def open_order_end(self) -> bytes:
        return self._frame(53, (1,), ())

    def completed_orders_end(self) -> bytes:
        return self._frame(102, (), ())

    def execution_end(self, request_id: int) -> bytes:
        return self._end(55, request_id)

    # Market data

    def tick_request_parameters(self, request_id: int) -> bytes:
        fields = (request_id, str(MIN_TICK), _BBO_EXCHANGE, _FULL_SNAPSHOT)
        return self._frame(81, fields, enumerate(fields, 1))

    def market_data_type(self, request_id: int, kind: int) -> bytes:
        return self._frame(58, (1, request_id, kind), ((1, request_id), (2, kind)))

    def tick_price(self, request_id: int, tick_type: int, price: float, size: int) -> bytes:
        can_auto_execute = 1
        return self._frame(
            1,
            (_TICK_VERSION, request_id, tick_type, price, size, can_auto_execute),
            ((1, request_id), (2, tick_type), (3, price), (4, str(size)), (5, can_auto_execute)),
        )

    def tick_size(self, request_id: int, tick_type: int, size: int) -> bytes:
        fields = (request_id, tick_type, str(size))
        return self._frame(2, (_TICK_VERSION, *fields), enumerate(fields, 1))

    def tick_string(self, request_id: int, tick_type: int, value: str) -> bytes:
        fields = (request_id, tick_type, value)
        return self._frame(46, (_TICK_VERSION, *fields), enumerate(fields, 1))

    def tick_snapshot_end(self, request_id: int) -> bytes:
        return self._end(57, request_id)

    def quote(self, request_id: int, quote: Quote, *, rising: bool = False) -> tuple[bytes, bytes, bytes]:
        """Bid, ask and last as three ticks; the ask first when prices rise, so that the two never cross."""
        bid = self.tick_price(request_id, BID, quote.bid, quote.bid_size)
        ask = self.tick_price(request_id, ASK, quote.ask, quote.ask_size)
        last = self.tick_price(request_id, LAST, quote.last, quote.last_size)
        return (ask, bid, last) if rising else (bid, ask, last)

    # Bars. `date` is text because its form depends on the request.

    def historical_data(self, request_id: int, bars: list[tuple[str, Bar]], start: str, end: str) -> bytes:
        """All bars, and the end message if the version has it."""
        span = () if self.server_version >= _HISTORICAL_DATA_END else (start, end)
        text: list[int | float | str] = [request_id, *span, len(bars)]
        proto: list[tuple[int, int | bytes]] = [(1, request_id)]
        for date, bar in bars:
            text += (date, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.average, bar.count)
            proto.append((2, _encode_bar(date, bar)))
        frames = self._frame(17, text, proto)
        if self.server_version >= _HISTORICAL_DATA_END:
            frames += self._frame(108, (request_id, start, end), ((1, request_id), (2, start), (3, end)))
        return frames

    def historical_schedule(self, request_id: int, found: SessionsFound) -> bytes:
        """All its times are in the zone it names, not in UTC."""
        head: tuple[int | str, ...] = (request_id, found.start, found.end, found.zone)
        text: list[int | str] = [*head, len(found.sessions)]
        proto: list[tuple[int, int | str | bytes]] = [*enumerate(head, 1)]
        for session in found.sessions:
            text += session
            proto.append((5, _encode(enumerate(session, 1))))
        return self._frame(106, text, proto)

    def historical_data_update(self, request_id: int, date: str, bar: Bar) -> bytes:
        text = (request_id, bar.count, date, bar.open, bar.close, bar.high, bar.low, bar.average, bar.volume)
        return self._frame(90, text, ((1, request_id), (2, _encode_bar(date, bar))))

    def real_time_bar(self, request_id: int, bar: Bar) -> bytes:
        prices = (bar.open, bar.high, bar.low, bar.close)
        fields = (request_id, bar.start, *prices, str(bar.volume), str(bar.average), bar.count)
        return self._frame(50, (3, *fields), enumerate(fields, 1))

    def head_timestamp(self, request_id: int, date: str) -> bytes:
        return self._frame(88, (request_id, date), ((1, request_id), (2, date)))

    # Contracts

    def symbol_samples(self, request_id: int, contract: Contract, name: str) -> bytes:
        text: list[int | str] = [request_id, 1, contract.con_id, contract.symbol, contract.sec_type]
        text += ["NASDAQ", contract.currency, 0]
        if self.server_version >= _BOND_ISSUERID:
            text += (name, "")
        described = (*_contract_fields(contract), (15, name))
        return self._frame(79, text, ((1, request_id), (2, _encode(((1, _encode(described)),)))))

    def contract_details(self, request_id: int, contract: Contract, name: str) -> bytes:
        """A stock: details and their end."""
        details = self._frame(
            10,
            self._contract_details_text(request_id, contract, name),
            ((1, request_id), (2, _encode(_contract_fields(contract))), (3, _encode(_details_fields(contract, name)))),
        )
        return details + self._end(52, request_id)

    def _contract_details_text(self, request_id: int, contract: Contract, name: str) -> Text:
        """In the order of the text era: every server version has added fields (ibapi processContractDataMsg)."""
        version, symbol = self.server_version, contract.symbol
        text: list[int | float | str] = []
        if version < _SIZE_RULES:
            text.append(8)  # the message's own version
        text += [request_id, symbol, contract.sec_type, ""]
        if version >= _LAST_TRADE_DATE:
            text.append("")
        text += ["0", "", "SMART", contract.currency, symbol, symbol, symbol, contract.con_id, MIN_TICK]
        if _MD_SIZE_MULTIPLIER <= version < _SIZE_RULES:
            text.append(100)
        text += ["", "LMT,MKT", "SMART,NASDAQ", 1, 0, name, "NASDAQ"]
        text += ["", "", "", "", "UTC", "", "", "", ""]  # month, industry, .., zone, hours, EV rule and multiplier
        text.append(0)  # security ids
        text.append(1)  # aggregation group
        if version >= _UNDERLYING_INFO:
            text += ["", ""]
        if version >= _MARKET_RULES:
            text.append("26")
        if version >= _REAL_EXPIRATION:
            text.append("")
        if version >= _STOCK_TYPE:
            text.append("COMMON")
        if _FRACTIONAL_SIZE <= version < _SIZE_RULES:
            text.append(1)
        if version >= _SIZE_RULES:
            text += [1, 1, 100]
        if version >= _INELIGIBILITY:
            text.append(0)
        return text

    def _end(self, message_id: int, request_id: int) -> bytes:
        return self._frame(message_id, (1, request_id), ((1, request_id),))

    def _frame(self, message_id: int, text: Text, proto: Proto) -> bytes:
        if versions.is_protobuf(Direction.GATEWAY_TO_CLIENT, message_id, self.server_version):
            return encode_frame(LENGTH.pack(message_id + versions.PROTOBUF_OFFSET) + _encode(proto))
        if self.server_version >= versions.BINARY_IDS:
            return encode_frame(LENGTH.pack(message_id) + join_fields(*text))
        return encode_frame(join_fields(message_id, *text))


def _encode_bar(date: str, bar: Bar) -> bytes:
    prices = (bar.open, bar.high, bar.low, bar.close)
    return _encode(enumerate((date, *prices, str(bar.volume), str(bar.average), bar.count), 1))


def _contract_fields(contract: Contract) -> Proto:
    return (
        (1, contract.con_id),
        (2, contract.symbol),
        (3, contract.sec_type),
        (8, "SMART"),
        (9, "NASDAQ"),
        (10, contract.currency),
        (11, contract.symbol),
        (12, contract.symbol),
    )


def _details_fields(contract: Contract, name: str) -> Proto:
    return (
        (1, contract.symbol),
        (2, str(MIN_TICK)),
        (3, "LMT,MKT"),
        (4, "SMART,NASDAQ"),
        (5, 1),
        (7, name),
        (12, "UTC"),
        (18, 1),
        (21, "26"),
        (23, "COMMON"),
        (24, "1"),
        (25, "1"),
        (26, "100"),
    )


def _encode(fields: Proto) -> bytes:
    """Protobuf of (number, value) pairs; the Python type decides the wire type."""
    return b"".join(_encode_field(number, value) for number, value in fields)


def _encode_field(number: int, value: int | float | str | bytes) -> bytes:
    match value:
        case int():
            return protobuf.int_field(number, value)
        case float():
            return protobuf.double_field(number, value)
        case str():
            return protobuf.string_field(number, value)
        case bytes():
            return protobuf.message_field(number, value)
