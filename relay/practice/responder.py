"""The responder: which request of a ready session gets which answer. Bytes of a request in, bytes of its answers out.

It knows no socket and no fault: session.py, around it, applies the behaviour. Orders are always refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from zlib import crc32

from relay.practice import requests
from relay.practice.answers import BID_SIZE, CLOSE, LAST_TIMESTAMP, VOLUME, Answers
from relay.practice.market import BAR_SECONDS, DAY, Bar, Contract, Market, parse_end
from relay.practice.requests import Request
from relay.practice.settings import MAX_OUTPUT, MAX_STREAMS, Practice
from relay.practice.subscriptions import Stream, TickTape

_ACCOUNT_VALUES = (
    ("NetLiquidation", "1000000.00", "USD"),
    ("TotalCashValue", "1000000.00", "USD"),
    ("BuyingPower", "4000000.00", "USD"),
)

# Contract ids as IB has them, so that examples copied from elsewhere work; other stocks get invented ids.
_CONTRACT_IDS = {"SPY": 756733, "AAPL": 265598, "MSFT": 272093, "IBM": 8314}
_SYMBOLS = {con_id: symbol for symbol, con_id in _CONTRACT_IDS.items()}

_LIVE_BAR_PERIOD = 1.0  # seconds between updates of a bar kept up to date
_REAL_TIME_BAR = 5  # seconds, the only size of REQ_REAL_TIME_BARS

# Requests that a gateway does not answer: settings, and cancels of things we never started.
_UNANSWERED = frozenset(
    (11, 12, 13, 14, 15, 23, 53, 56, 57, 58, 63, 64, 70, 75, 77, 89, 90, 93, 95, 98, 101, 103, 106, 107)
)

# ib_insync and ib_async wait for the answers to these requests before they log "Synchronization complete".
SYNC_REQUESTS = frozenset((5, 6, 7, 16, 61, 62, 74, 76, 99))


class Responder:
    """Answers one ready session. `farms_ok` False: no market data, no history, no definitions."""

    def __init__(self, settings: Practice, server_version: int, *, farms_ok: bool, clock: Callable[[], float]) -> None:
        self.answers = Answers(server_version)
        self.settings = settings
        self._server_version = server_version
        self._market = Market(settings.seed)
        self._farms_ok = farms_ok
        self._clock = clock
        self._market_data_type = 1
        self._streams: dict[int, Stream] = {}

    def answer(self, request: Request, now: float) -> bytes:
        """All frames this request gets at once; `now` is monotonic and dates the frames that follow through `due`.

        Raises WireError for a request that does not make sense.
        """
        handler = _HANDLERS.get(request.id)
        if handler is not None:
            return handler(self, request, now)
        request_id = request.request_id
        if request.id in _UNANSWERED or request_id is None:
            return b""
        cause = f"the practice gateway has no answer to {request.name}"
        return self.error(request_id, 321, f"Error validating request.-'practice' : cause - {cause}")

    def error(self, request_id: int, code: int, text: str) -> bytes:
        return self.answers.error(request_id, code, text, self._clock())

    def due(self, now: float) -> bytes:
        """The frames that the subscriptions owe by now; those beyond MAX_OUTPUT stay due."""
        batches: list[bytes] = []
        size = 0
        for stream in self._streams.values():
            batches.append(stream.take(now))
            size += len(batches[-1])
            if size > MAX_OUTPUT:
                break
        return b"".join(batches)

    @property
    def next_due(self) -> float | None:
        """Monotonic time at which `due` has frames again; None without subscriptions."""
        return min((stream.due_at for stream in self._streams.values()), default=None)

    @property
    def streams(self) -> int:
        """Live subscriptions."""
        return len(self._streams)

    # Account and orders

    def _accounts(self, request: Request, now: float) -> bytes:
        return self.answers.accounts(self.settings.accounts)

    def _next_id(self, request: Request, now: float) -> bytes:
        return self.answers.next_valid_id(self.settings.first_order_id)

    def _account_data(self, request: Request, now: float) -> bytes:
        wanted = requests.account_data(request)
        if not wanted.subscribe:
            return b""
        account = self._known_account(wanted.account)
        values = [self.answers.account_value(*value, account) for value in _ACCOUNT_VALUES]
        clock = time.strftime("%H:%M", time.gmtime(self._clock()))
        return b"".join((*values, self.answers.account_update_time(clock), self.answers.account_download_end(account)))

    def _account_multi(self, request: Request, now: float) -> bytes:
        wanted = requests.account_multi(request)
        account = self._known_account(wanted.account)
        values = [self.answers.account_update_multi(wanted.request_id, account, *value) for value in _ACCOUNT_VALUES]
        return b"".join((*values, self.answers.account_update_multi_end(wanted.request_id)))

    def _account_summary(self, request: Request, now: float) -> bytes:
        request_id = request.request_id or 0
        rows = [
            self.answers.account_summary(request_id, account, *value)
            for account in self.settings.accounts
            for value in _ACCOUNT_VALUES
        ]
        return b"".join((*rows, self.answers.account_summary_end(request_id)))

    def _known_account(self, account: str) -> str:
        return account if account in self.settings.accounts else self.settings.accounts[0]

    def _positions(self, request: Request, now: float) -> bytes:
        return self.answers.position_end()

    def _positions_multi(self, request: Request, now: float) -> bytes:
        return self.answers.position_multi_end(request.request_id or 0)

    def _open_orders(self, request: Request, now: float) -> bytes:
        return self.answers.open_order_end()

    def _completed_orders(self, request: Request, now: float) -> bytes:
        return self.answers.completed_orders_end()

    def _executions(self, request: Request, now: float) -> bytes:
        return self.answers.execution_end(request.request_id or 0)

    def _refuse_order(self, request: Request, now: float) -> bytes:
        return self.error(request.request_id or 0, 201, "Order rejected - reason:practice gateway does not trade")

    def _refuse_cancel(self, request: Request, now: float) -> bytes:
        order_id = request.request_id or 0
        return self.error(order_id, 10147, f"OrderId {order_id} that needs to be cancelled is not found.")

    # Clock

    def _current_time(self, request: Request, now: float) -> bytes:
        """Always answered, also twice within a second. A real gateway stays silent then (ib_insync#604)."""
        return self.answers.current_time(self._clock())

    def _current_time_in_millis(self, request: Request, now: float) -> bytes:
        return self.answers.current_time_in_millis(self._clock())

    # Market data

    def _set_market_data_type(self, request: Request, now: float) -> bytes:
        kind = str(request.integer(1)) if request.is_protobuf else next(request.arguments(), "")
        self._market_data_type = int(kind) if kind in ("1", "2", "3", "4") else 1
        return b""

    def _market_data(self, request: Request, now: float) -> bytes:
        wanted = requests.market_data(request)
        refused = self._refuse_stream(wanted.request_id)
        if refused or not self._farms_ok:
            return refused
        burst = self._opening_ticks(wanted)
        if wanted.snapshot:
            return burst + self.answers.tick_snapshot_end(wanted.request_id)
        if self.settings.ticks_per_second:
            tape = TickTape(self.answers, wanted.request_id, self._market, wanted.contract, int(self._clock()))
            self._start(wanted.request_id, 1.0 / self.settings.ticks_per_second, now, tape.play)
        return burst

    def _opening_ticks(self, wanted: requests.MarketData) -> bytes:
        """One tick of each kind, as in the first answer to a subscription."""
        answers, request_id, at = self.answers, wanted.request_id, self._clock()
        quote = self._market.quote(wanted.contract, at)
        yesterday = self._market.price(wanted.contract, int(at) // DAY * DAY)
        return b"".join(
            (
                answers.tick_request_parameters(request_id),
                answers.market_data_type(request_id, self._market_data_type),
                *answers.quote(request_id, quote),
                answers.tick_size(request_id, BID_SIZE, quote.bid_size),
                answers.tick_size(request_id, VOLUME, 1000 * quote.bid_size),
                answers.tick_price(request_id, CLOSE, yesterday, 0),
                answers.tick_string(request_id, LAST_TIMESTAMP, str(int(at))),
            )
        )

    def _historical_data(self, request: Request, now: float) -> bytes:
        wanted = requests.historical_data(request)
        request_id, seconds = wanted.request_id, BAR_SECONDS.get(wanted.bar_size)
        if not self._farms_ok:
            return self.error(
                request_id, 162, "Historical Market Data Service error message:HMDS connection attempt failed."
            )
        refused = self._refuse_stream(request_id) if wanted.keep_up_to_date else b""
        if refused:
            return refused
        if seconds is None:
            return self._invalid(request_id, f"bar size {wanted.bar_size[:24]!r}")
        try:
            end = parse_end(wanted.end, self._clock())
            bars = self._market.bars(wanted.contract, end, seconds, wanted.duration)
            dated = [(_date(bar, seconds, wanted.epoch_dates), bar) for bar in bars]
            answer = self.answers.historical_data(request_id, dated, _moment(bars[0].start), _moment(end))
        except (ValueError, OverflowError) as error:  # not a date, not a duration, or before the year 1
            return self._invalid(request_id, str(error)[:120])
        if wanted.keep_up_to_date:
            self._start(request_id, _LIVE_BAR_PERIOD, now, self._live_bar(wanted, seconds))
        return answer

    def _live_bar(self, wanted: requests.HistoricalData, seconds: int) -> Callable[[int], bytes]:
        def produce(_count: int) -> bytes:
            start = int(self._clock()) // min(seconds, DAY) * min(seconds, DAY)
            bar = self._market.bar(wanted.contract, start, seconds)
            return self.answers.historical_data_update(wanted.request_id, _date(bar, seconds, wanted.epoch_dates), bar)

        return produce

    def _real_time_bars(self, request: Request, now: float) -> bytes:
        wanted = requests.for_contract(request)
        refused = self._refuse_stream(wanted.request_id)
        if refused or not self._farms_ok:
            return refused

        def produce(_count: int) -> bytes:
            start = int(self._clock()) // _REAL_TIME_BAR * _REAL_TIME_BAR - _REAL_TIME_BAR
            bar = self._market.bar(wanted.contract, start, _REAL_TIME_BAR)
            return self.answers.real_time_bar(wanted.request_id, bar)

        self._start(wanted.request_id, float(_REAL_TIME_BAR), now, produce)
        return produce(1)

    def _head_timestamp(self, request: Request, now: float) -> bytes:
        return self.answers.head_timestamp(request.request_id or 0, "19930129-14:30:00")

    def _cancel_stream(self, request: Request, now: float) -> bytes:
        self._streams.pop(request.request_id or 0, None)
        return b""

    def _start(self, request_id: int, period: float, now: float, produce: Callable[[int], bytes]) -> None:
        self._streams[request_id] = Stream(period, now + period, produce)

    def _refuse_stream(self, request_id: int) -> bytes:
        if request_id in self._streams:
            return self.error(request_id, 322, "Error processing request.-'practice' : cause - Duplicate ticker id")
        if len(self._streams) >= MAX_STREAMS:
            return self.error(request_id, 101, "Max number of tickers has been reached")
        return b""

    def _invalid(self, request_id: int, what: str) -> bytes:
        return self.error(request_id, 321, f"Error validating request.-'practice' : cause - {what}")

    # Contracts

    def _contract_details(self, request: Request, now: float) -> bytes:
        wanted = requests.for_contract(request)
        contract = _resolve(wanted.contract)
        if contract is None or not self._farms_ok:
            return self.error(wanted.request_id, 200, "No security definition has been found for the request")
        return self.answers.contract_details(wanted.request_id, contract, f"PRACTICE {contract.symbol}")

    def _matching_symbols(self, request: Request, now: float) -> bytes:
        pattern = request.string(2) if request.is_protobuf else "".join([*request.arguments()][1:2])
        contract = _stock(pattern[:64].upper() or "SPY", 0, "USD")
        return self.answers.symbol_samples(request.request_id or 0, contract, f"PRACTICE {contract.symbol}")


def _resolve(contract: Contract) -> Contract | None:
    """The stock a contract names, by symbol or by id; None for anything but a stock."""
    symbol = contract.symbol or _SYMBOLS.get(contract.con_id, "")
    if contract.sec_type != "STK" or not symbol:
        return None
    return _stock(symbol, contract.con_id, contract.currency)


def _stock(symbol: str, con_id: int, currency: str) -> Contract:
    con_id = _CONTRACT_IDS.get(symbol) or con_id or 100_000_000 + crc32(symbol.encode()) % 100_000_000
    return Contract(con_id, symbol, "STK", "SMART", currency)


def _date(bar: Bar, seconds: int, epoch: bool) -> str:
    if seconds >= DAY:
        return datetime.fromtimestamp(bar.start, UTC).strftime("%Y%m%d")
    return str(bar.start) if epoch else _moment(bar.start)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d %H:%M:%S UTC")


_HANDLERS: dict[int, Callable[[Responder, Request, float], bytes]] = {
    1: Responder._market_data,
    2: Responder._cancel_stream,
    3: Responder._refuse_order,
    4: Responder._refuse_cancel,
    5: Responder._open_orders,
    6: Responder._account_data,
    7: Responder._executions,
    8: Responder._next_id,
    9: Responder._contract_details,
    16: Responder._open_orders,
    17: Responder._accounts,
    20: Responder._historical_data,
    21: Responder._refuse_order,
    25: Responder._cancel_stream,
    49: Responder._current_time,
    50: Responder._real_time_bars,
    51: Responder._cancel_stream,
    59: Responder._set_market_data_type,
    61: Responder._positions,
    62: Responder._account_summary,
    74: Responder._positions_multi,
    76: Responder._account_multi,
    81: Responder._matching_symbols,
    87: Responder._head_timestamp,
    99: Responder._completed_orders,
    105: Responder._current_time_in_millis,
}
