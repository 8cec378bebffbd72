"""Our own IB session as a state machine, sans-IO: the driver only moves bytes and watches the clock.

    start(now) ->             CLIENT_HELLO   hello to send; the gateway has `hello_timeout` to answer
    server hello              SERVER_HELLO   with want_session=False this is the end: outcome ANSWERED
                              START_API      sent now and never earlier: a gateway drops a client that does
                                             not read the hello first (gofinance/ib#9)
    order id and accounts     READY          within `start_timeout`, in any order, anything else between them

`stage` is how far it came, `outcome` is how it ended; together they are the finding. The default version range is
v100..176: it has text ids, one layout of every message read here, and an answer from every gateway ever reported.
"""

from __future__ import annotations

from enum import Enum

from relay.wire import events, messages, versions
from relay.wire.codes import Kind, classify
from relay.wire.events import Event
from relay.wire.framing import Bytes, FrameReader, WireError
from relay.wire.heard import farms_named
from relay.wire.hello import (
    LARGEST_SERVER_HELLO,
    ClientHello,
    Redirect,
    decode_server_hello,
    hello_part,
    no_hello,
    server_hello_end,
    server_hello_length,
)
from relay.wire.stage import Stage

# Seconds. A gateway answered either step within 70 ms in every public log that has times; ib_insync and ib_async give
# up after 4 s. We wait longer than they do, to tell a slow gateway from a mute one.
HELLO_TIMEOUT = 10.0
START_TIMEOUT = 10.0

ID_IN_USE = 326

_AWAITED_IDS = frozenset({messages.NextValidId.id, messages.ManagedAccounts.id})  # of the answer to START_API

# Bytes. None of our requests has large answers; 1 MiB leaves room for the frames that a master client id receives.
LARGEST_FRAME = 1 << 20


class SessionOutcome(Enum):
    """How the session ended; the stage says where."""

    PENDING = "pending"
    ANSWERED = "answered"  # server hello read, and no session was wanted
    USABLE = "usable"
    REFUSED_ID = "refused_id"  # error 326: another session has this client id
    REDIRECTED = "redirected"
    CLOSED = "closed"  # by the gateway, in an orderly way
    RESET = "reset"
    TIMED_OUT = "timed_out"
    OTHER_VERSION = "other_version"  # a gateway's hello, with a server version that ours did not ask for
    BAD_PEER = "bad_peer"  # what came is not the IB protocol


_ALIVE = frozenset({SessionOutcome.PENDING, SessionOutcome.USABLE})


class ClientSession:
    """One connection of ours. `detail` describes the outcome, `fatal_code` is the last code that announces the end."""

    def __init__(
        self,
        client_id: int,
        *,
        min_version: int = 100,
        max_version: int = 176,
        options: str = "",
        want_session: bool = True,
        hello_timeout: float = HELLO_TIMEOUT,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        self.client_id = client_id
        self.stage = Stage.NOTHING
        self.outcome = SessionOutcome.PENDING
        self.detail = ""
        self.fatal_code: int | None = None
        self.server_version: int | None = None
        self.accounts: tuple[str, ...] = ()  # the first, masked
        self.account_count: int | None = None  # of the list, once it came
        self.order_id: int | None = None
        self.times: dict[Stage, float] = {}  # when each stage was reached
        self.bytes_received = 0
        self._hello = ClientHello(min_version, max_version, options)
        self._want_session = want_session
        self._timeouts = {Stage.CLIENT_HELLO: hello_timeout, Stage.START_API: start_timeout}
        self._first = bytearray()  # the server hello until it is whole
        self._reader = FrameReader(LARGEST_FRAME)
        self._out = bytearray()

    # For the driver.

    def start(self, now: float) -> bytes:
        """The connection is open; the bytes to send first."""
        self._reach(Stage.CLIENT_HELLO, now)
        return self._hello.encode()

    def receive(self, data: Bytes, now: float) -> list[Event]:
        """Takes bytes from the gateway; what they mean. Afterwards `to_send` may have something."""
        found: list[Event] = []
        self.bytes_received += len(data)
        try:
            if self.alive and self.server_version is None:
                data = self._server_hello(bytes(data), now, found)
            version = self.server_version
            while version is not None and self.alive and (payloads := self._reader.feed(data)):
                data = b""  # once more without data: the reader reports a bad length behind good frames then
                for payload in payloads:
                    self._frame(payload, version, now, found)
        except WireError as doubt:
            self._end(SessionOutcome.BAD_PEER, str(doubt))
            found.append(events.Opaque(now, str(doubt)))
        return found

    def to_send(self) -> bytes:
        """Bytes to send now; they are returned only once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def peer_closed(self, now: float, reset: bool = False) -> None:
        """The gateway ended the connection. An earlier refusal remains the outcome."""
        where = f"{self.stage.name.lower()}, {self.part_of_hello or f'{self.bytes_received} bytes received'}"
        how = "reset" if reset else "closed"
        self._end(SessionOutcome.RESET if reset else SessionOutcome.CLOSED, f"{how} by the gateway after {where}")

    def next_deadline(self) -> float | None:
        """The latest time for a call of `expire`; None while the session waits for nothing."""
        if self.outcome is not SessionOutcome.PENDING or self.stage not in self._timeouts:
            return None
        return self.times[self.stage] + self._timeouts[self.stage]

    def expire(self, now: float) -> bool:
        """Ends the session if its deadline has passed; returns whether it has."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return False
        waited, part = self._timeouts[self.stage], self.part_of_hello
        came = f", {part}" if part else ""
        self._end(SessionOutcome.TIMED_OUT, f"{_AWAITED[self.stage]} not received in {waited:.1f} s{came}")
        return True

    @property
    def alive(self) -> bool:
        """Can anything still happen in this session?"""
        return self.outcome in _ALIVE

    @property
    def version_said(self) -> str:
        """What the server hello shows of the gateway, for people; "" before it."""
        version, most = self.server_version, self._hello.max_version
        return "" if version is None else versions.version_said(version, most, explained=True)

    @property
    def hello_length(self) -> int | None:
        """Bytes of the whole server hello, as its first ones say; None before these came, or if they are no hello's."""
        return server_hello_length(self._first)

    @property
    def part_of_hello(self) -> str:
        """How much of a server hello came that is not whole, for people; "" where none of one, or a whole one came."""
        waiting = self.stage is Stage.CLIENT_HELLO and self.server_version is None
        return hello_part(len(self._first), self.hello_length) if waiting and self._first else ""

    # Requests, for a session that is ready.

    def request_current_time(self) -> None:
        """Asks for the gateway's clock; a gateway answers at most one such request a second."""
        self._request(messages.CurrentTimeRequest())

    def request_market_data(self, request_id: int, symbol: str, exchange: str = "SMART", currency: str = "USD") -> None:
        """Asks for streaming prices of a stock; they come as Tick events."""
        self._request(messages.MarketDataRequest(request_id, symbol, exchange, currency))

    def _request(self, message: messages.Message) -> None:
        if self.outcome is not SessionOutcome.USABLE or self.server_version is None:
            raise RuntimeError(f"session is {self.outcome.value} at {self.stage.name}, not ready for requests")
        self._out += messages.encode(message, self.server_version)

    # State.

    def _reach(self, stage: Stage, now: float) -> None:
        self.stage = stage
        self.times[stage] = now

    def _end(self, outcome: SessionOutcome, detail: str) -> None:
        if self.alive:
            self.outcome, self.detail = outcome, detail

    # Bytes.

    def _server_hello(self, data: bytes, now: float, found: list[Event]) -> bytes:
        """Continues the server hello; the bytes behind it."""
        before = len(self._first)
        self._first += data[: LARGEST_SERVER_HELLO - before]
        end = server_hello_end(self._first)
        if end < 0:
            raise WireError(f"server hello: {no_hello(self._first)}")
        if end == 0:
            return b""
        hello = decode_server_hello(self._first[:end])
        if isinstance(hello, Redirect):
            found.append(events.Redirected(now, hello.host, hello.port))
            self._end(SessionOutcome.REDIRECTED, f"redirected to {hello.target}")
            return b""
        version, low, high = hello.server_version, self._hello.min_version, self._hello.max_version
        self.server_version = version
        if not low <= version <= high:
            self._end(SessionOutcome.OTHER_VERSION, f"server version {version}, {low}..{high} was asked for")
            return b""
        self._reach(Stage.SERVER_HELLO, now)
        found.append(events.ServerHelloSeen(now, version, hello.connection_time))
        self._start_api(version, now)
        return data[end - before :]

    def _start_api(self, server_version: int, now: float) -> None:
        if not self._want_session:
            self._end(SessionOutcome.ANSWERED, self.version_said)
            return
        self._out += messages.encode(messages.StartApi(self.client_id), server_version)
        self._reach(Stage.START_API, now)

    def _frame(self, payload: bytes, server_version: int, now: float, found: list[Event]) -> None:
        if not payload or not self.alive:  # ibapi swallows empty frames too
            return
        try:
            message = messages.decode(messages.DOWN, payload, server_version)
        except messages.BodyError as doubt:
            if doubt.id in _AWAITED_IDS and self.stage < Stage.READY:
                raise
            found.append(events.NotUnderstood(now, str(doubt)))
            return
        match message:
            case messages.NextValidId():
                self._next_valid_id(message, now, found)
            case messages.ManagedAccounts():
                self._managed_accounts(message, now, found)
            case messages.ErrorMessage():
                self._error(message, now, found)
            case messages.CurrentTime():
                found.append(events.CurrentTimeSeen(now, message.seconds))
            case messages.TickPrice():
                found.append(events.Tick(now, message.request_id, message.tick_type, message.price))

    def _next_valid_id(self, message: messages.NextValidId, now: float, found: list[Event]) -> None:
        self.order_id = message.order_id
        found.append(events.NextValidIdSeen(now, message.order_id))
        self._maybe_ready(now, found)

    def _managed_accounts(self, message: messages.ManagedAccounts, now: float, found: list[Event]) -> None:
        self.accounts = events.mask_accounts(message.accounts)
        self.account_count = len(message.accounts)
        found.append(events.Accounts(now, self.accounts, self.account_count))
        self._maybe_ready(now, found)

    def _error(self, message: messages.ErrorMessage, now: float, found: list[Event]) -> None:
        kind = classify(message.code)
        farms = farms_named(message.code, message.text)
        found.append(events.Notice(now, message.code, kind, message.request_id, farms))
        if kind is Kind.FATAL:
            self.fatal_code = message.code
        if message.code == ID_IN_USE:
            self._end(
                SessionOutcome.REFUSED_ID, f"client id {self.client_id} is in use by another session ({ID_IN_USE})"
            )

    def _maybe_ready(self, now: float, found: list[Event]) -> None:
        if self.stage == Stage.START_API and self.order_id is not None and self.accounts:
            self._reach(Stage.READY, now)
            self.outcome = SessionOutcome.USABLE
            found.append(events.Ready(now))


_AWAITED = {
    Stage.CLIENT_HELLO: "hello: server hello",
    Stage.START_API: "start: order id and accounts",
}
