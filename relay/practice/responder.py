"""The responder: which request of a ready session gets which answer. Bytes of a request in, bytes of its answers out.

It knows no socket and no fault: session.py, around it, applies the behaviour. Orders are always refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from relay.practice import history, requests
from relay.practice.answers import BID_SIZE, CLOSE, LAST_TIMESTAMP, VOLUME, Answers
from relay.practice.history import BarsFound, RequestRefused, invalid
from relay.practice.market import BAR_SECONDS, DAY, PRICES, Contract, Market
from relay.practice.moments import is_regular
from relay.practice.pacing import SMALL_BAR, HistoryPace, HistoryQuery
from relay.practice.requests import Request
from relay.practice.settings import MAX_OUTPUT, MAX_STREAMS, Practice
from relay.practice.stocks import Named, contract_id, resolve
from relay.practice.subscriptions import Stream, TickTape
from relay.practice.variants import ENTITLEMENT, localised
from relay.wire.messages import NO_REQUEST

_ACCOUNT_VALUES = (
    ("NetLiquidation", "1000000.00", "USD"),
    ("TotalCashValue", "1000000.00", "USD"),
    ("BuyingPower", "4000000.00", "USD"),
)

_LIVE_BAR_PERIOD = 1.0  # seconds between updates of a bar kept up to date
_REAL_TIME_BAR = 5  # seconds, the only size of REQ_REAL_TIME_BARS

_LEDGER_AND_NLV = 2  # of the account values: those that a request for the ledger alone gets

# Requests that a gateway does not answer: settings, and cancels of things we never started.
_UNANSWERED = frozenset(
    (11, 12, 13, 14, 15, 23, 53, 56, 57, 58, 63, 64, 70, 75, 77, 89, 90, 93, 95, 98, 101, 103, 106, 107)
)

# ib_insync and ib_async wait for the answers to these requests before they log "Synchronization complete".
SYNC_REQUESTS = frozenset((5, 6, 7, 16, 61, 62, 74, 76, 99))


class Responder:
    """Answers one ready session. `farms_ok` False: no market data, no history, no definitions."""

    def __init__(
        self,
        settings: Practice,
        server_version: int,
        *,
        farms_ok: bool,
        clock: Callable[[], float],
        pace: HistoryPace | None = None,
    ) -> None:
        self.answers = Answers(server_version)
        self.settings = settings
        self._server_version = server_version
        self._market = Market(settings.seed)
        self._farms_ok = farms_ok
        self._clock = clock
        self._pace = pace or HistoryPace()  # the gateway's, which all its sessions share
        self._market_data_type = 1
        self._streams: dict[int, Stream] = {}

    def answer(self, request: Request, now: float) -> bytes:
        """All frames this request gets at once; `now` is monotonic and dates the frames that follow through `due`.

        Raises WireError for a request that does not make sense.
        """
        handler = _HANDLERS.get(request.id)
        request_id = request.request_id
        if handler is not None:
            try:
                return handler(self, request, now)
            except RequestRefused as refused:
                return self.error(NO_REQUEST if request_id is None else request_id, refused.code, refused.text)
        if request.id in _UNANSWERED or request_id is None:
            return b""
        unanswered = invalid(request.name, "the practice gateway has no answer to it")
        return self.error(request_id, unanswered.code, unanswered.text)

    def error(self, request_id: int, code: int, text: str) -> bytes:
        words = localised(text, self.settings.played.get("localised"))
        return self.answers.error(request_id, code, words, self._clock())

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
        if wanted.model:
            raise invalid("modelCode", "this account has no models")
        rows = _ACCOUNT_VALUES[:_LEDGER_AND_NLV] if wanted.ledger_only else _ACCOUNT_VALUES
        values = [self.answers.account_update_multi(wanted.request_id, account, *value) for value in rows]
        return b"".join((*values, self.answers.account_update_multi_end(wanted.request_id)))

    def _account_summary(self, request: Request, now: float) -> bytes:
        request_id, group, tags = requests.account_summary(request)
        if group != "All":
            raise invalid("group", f"{group[:32]!r} is no group of accounts, All is")
        rows = [
            self.answers.account_summary(request_id, account, *value)
            for account in self.settings.accounts
            for value in _ACCOUNT_VALUES
            if value[0] in tags
        ]
        return b"".join((*rows, self.answers.account_summary_end(request_id)))

    def _known_account(self, account: str) -> str:
        """The account that is named, the first one if none is; RequestRefused if there is no such account."""
        if account and account not in self.settings.accounts:
            raise invalid("account", "it is none of this login")
        return account or self.settings.accounts[0]

    def _positions(self, request: Request, now: float) -> bytes:
        return self.answers.position_end()

    def _positions_multi(self, request: Request, now: float) -> bytes:
        wanted = requests.account_multi(request)
        self._known_account(wanted.account)
        if wanted.model:
            raise invalid("modelCode", "this account has no models")
        return self.answers.position_multi_end(wanted.request_id)

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
        if kind not in ("1", "2", "3", "4"):
            raise invalid("marketDataType", "it is none of 1, 2, 3, 4")
        self._market_data_type = int(kind)
        return b""

    def _market_data(self, request: Request, now: float) -> bytes:
        wanted = requests.market_data(request)
        self._check_stream(wanted.request_id)
        if wanted.generic_ticks:
            raise invalid("genericTickList", "the practice gateway has no generic ticks")
        if wanted.regulatory_snapshot:
            raise invalid("regulatorySnapshot", "the practice gateway has none")
        contract = _known(wanted.contract)
        if not self._farms_ok:
            return b""
        if self.settings.plays("not-entitled"):
            code = int(self.settings.played["not-entitled"] or 0)
            raise RequestRefused(code, ENTITLEMENT[code])
        burst = self._opening_ticks(wanted.request_id, contract)
        if wanted.snapshot:
            return burst + self.answers.tick_snapshot_end(wanted.request_id)
        if self.settings.ticks_per_second:
            tape = TickTape(self.answers, wanted.request_id, self._market, contract, int(self._clock()))
            self._start(wanted.request_id, 1.0 / self.settings.ticks_per_second, now, tape.play)
        return burst

    def _opening_ticks(self, request_id: int, contract: Contract) -> bytes:
        """One tick of each kind, as in the first answer to a subscription."""
        answers, at = self.answers, self._clock()
        quote = self._market.quote(contract, at)
        yesterday = self._market.price(contract, int(at) // DAY * DAY)
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
        history.check(wanted, self._server_version)
        contract = self._with_history(wanted.contract)
        seconds = BAR_SECONDS[wanted.bar_size]
        if wanted.keep_up_to_date:
            self._check_stream(wanted.request_id)
        if seconds <= SMALL_BAR:
            identity = (contract, wanted.end, seconds, wanted.duration, wanted.regular_hours_only, wanted.what)
            self._check_pace(HistoryQuery(identity, (contract, wanted.what), 2 if wanted.what == "BID_ASK" else 1), now)
        found = history.find(wanted, contract, self._market, self._clock(), self.settings.time_zone)
        if not isinstance(found, BarsFound):
            return self.answers.historical_schedule(wanted.request_id, found)
        if wanted.keep_up_to_date:
            self._start(wanted.request_id, _LIVE_BAR_PERIOD, now, self._live_bar(wanted, contract, seconds))
        return self.answers.historical_data(wanted.request_id, found.bars, found.start, found.end)

    def _live_bar(self, wanted: requests.HistoricalData, contract: Contract, seconds: int) -> Callable[[int], bytes]:
        def produce(_count: int) -> bytes:
            if wanted.regular_hours_only and not is_regular(self._clock()):
                return b""
            start = int(self._clock()) // min(seconds, DAY) * min(seconds, DAY)
            bar = self._market.bar_of(wanted.what, contract, start, seconds)
            date = history.date_of(bar, seconds, wanted.date_format == 2, self.settings.time_zone)
            return self.answers.historical_data_update(wanted.request_id, date, bar)

        return produce

    def _real_time_bars(self, request: Request, now: float) -> bytes:
        wanted = requests.real_time_bars(request)
        self._check_stream(wanted.request_id)
        if wanted.bar_seconds != _REAL_TIME_BAR:
            raise invalid("barSize", f"{wanted.bar_seconds} is not {_REAL_TIME_BAR}")
        history.check_kind(wanted.what, ("TRADES", "MIDPOINT", "BID", "ASK"))
        contract = _known(wanted.contract)
        if not self._farms_ok:
            return b""

        def produce(_count: int) -> bytes:
            start = int(self._clock()) // _REAL_TIME_BAR * _REAL_TIME_BAR - _REAL_TIME_BAR
            if wanted.regular_hours_only and not is_regular(start):
                return b""
            bar = self._market.bar_of(wanted.what, contract, start, _REAL_TIME_BAR)
            return self.answers.real_time_bar(wanted.request_id, bar)

        self._start(wanted.request_id, float(_REAL_TIME_BAR), now, produce)
        return produce(1)

    def _head_timestamp(self, request: Request, now: float) -> bytes:
        wanted = requests.head_timestamp(request)
        history.check_kind(wanted.what, PRICES)
        history.check_format(wanted.date_format)
        contract = self._with_history(wanted.contract)
        self._check_pace(HistoryQuery(("head", contract, wanted.what), (contract, wanted.what)), now)
        return self.answers.head_timestamp(wanted.request_id, history.head_of(wanted.date_format))

    def _with_history(self, named: Named) -> Contract:
        if not self._farms_ok:
            raise history.service_error("HMDS connection attempt failed.")
        return _known(named)

    def _check_pace(self, asked: HistoryQuery, now: float) -> None:
        limit = self._pace.too_fast(asked, now)
        if limit is not None:
            raise history.service_error(f"Historical data request pacing violation: {limit}")

    def _cancel_stream(self, request: Request, now: float) -> bytes:
        self._streams.pop(request.request_id or 0, None)
        return b""

    def _cancel_history(self, request: Request, now: float) -> bytes:
        request_id = request.request_id or 0
        if self._streams.pop(request_id, None) is None:
            raise RequestRefused(366, f"No historical data query found for ticker id:{request_id}")
        raise history.service_error(f"API historical data query cancelled: {request_id}")

    def _start(self, request_id: int, period: float, now: float, produce: Callable[[int], bytes]) -> None:
        self._streams[request_id] = Stream(period, now + period, produce)

    def _check_stream(self, request_id: int) -> None:
        if request_id in self._streams:
            raise RequestRefused(322, "Error processing request.-'practice' : cause - Duplicate ticker id")
        if len(self._streams) >= MAX_STREAMS:
            raise RequestRefused(101, "Max number of tickers has been reached")

    # Contracts

    def _contract_details(self, request: Request, now: float) -> bytes:
        wanted = requests.contract_details(request)
        if wanted.security_id:
            raise invalid("secId", "the practice gateway knows stocks by symbol or conId")
        if not self._farms_ok:
            raise _no_definition()
        contract = _known(wanted.contract)
        return self.answers.contract_details(wanted.request_id, contract, f"PRACTICE {contract.symbol}")

    def _matching_symbols(self, request: Request, now: float) -> bytes:
        """The stock of that ticker, or SPY if the pattern is none."""
        pattern = request.string(2) if request.is_protobuf else "".join([*request.arguments()][1:2])
        contract = resolve(Named(symbol=pattern.upper())) or Contract(contract_id("SPY"), "SPY")
        return self.answers.symbol_samples(request.request_id or 0, contract, f"PRACTICE {contract.symbol}")


def _no_definition() -> RequestRefused:
    return RequestRefused(200, "No security definition has been found for the request")


def _known(named: Named) -> Contract:
    contract = resolve(named)
    if contract is None:
        raise _no_definition()
    return contract


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
    25: Responder._cancel_history,
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
