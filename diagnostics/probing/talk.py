"""One IB session over one connected socket, from our hello to our goodbye, as a caller of blocking calls sees it.

The protocol is relay.wire.session's; this file moves the bytes, watches the clock and remembers what a Probe wants to
know. SYNC is one request, the current time, asked once and awaited: a gateway answers it once a second at most, and it
touches neither accounts nor orders.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from diagnostics.evidence import Asked, KernelView, Outcome, Stage, StageResult
from diagnostics.probing import dial, kernel
from relay.wire import events
from relay.wire.framing import WireError
from relay.wire.hello import FirstBytes, ServerHello, decode_server_hello, name_is_final, recognise, server_hello_end
from relay.wire.observer import Stage as Reached
from relay.wire.session import ClientSession
from relay.wire.session import SessionOutcome as Ended

LEAST_SYNC = 1.0  # seconds for the answer to a request, however late the session became ready
NAMING = 0.25  # seconds for the rest of a stranger's first word
MAX_RECEIVED = 16 << 20  # bytes of one session; nothing we ask for is answered in more than some hundred
MAX_CODES = 64

# The same as relay.wire.hello names them, in words. What a load balancer would say to us has no name of its own.
STRANGERS = {
    "http": "HTTP",
    "tls": "TLS",
    "ssh": "SSH",
    "vnc": "VNC",
    "text": "the text of some other service",
    "garbage": "no protocol we know",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the conversation gave: the stages walked, the last of them perhaps a failure, and the rest of a Probe."""

    results: tuple[StageResult, ...]
    kernel: KernelView | None
    first_bytes: str | None
    bytes_received: int
    server_version: int | None
    redirect: str | None
    accounts: tuple[str, ...]
    codes: tuple[int, ...]


def talk(
    sock: socket.socket,
    asked: Asked,
    hello_timeout: float,
    *,
    reset: bool = False,
    on_silence: Callable[[], None] | None = None,
) -> Told:
    """The whole conversation; the socket is closed afterwards, politely.

    `reset`: the connection is known to be reset already, the kernel does not tell it twice. `on_silence` is called when
    a stage timed out, while the connection is still there.
    """
    client_id = own_client_id() if asked.client_id is None else asked.client_id
    session = ClientSession(
        client_id, want_session=asked.session, hello_timeout=hello_timeout, start_timeout=asked.timeout
    )
    conversation = _Conversation(sock, session, asked.timeout, reset, on_silence)
    try:
        conversation.run()
    finally:
        dial.leave(sock, conversation.overhear)
    return conversation.told()


def own_client_id() -> int:
    """A client id nobody has: high, and new each time, since a gateway may hold on to the last one for a while."""
    return 1_000_000_000 + int.from_bytes(os.urandom(4), "big") % 1_000_000_000


def stranger(data: bytes) -> str:
    """The key of STRANGERS for the first bytes of a peer that is no gateway."""
    name = recognise(data).value
    return name if name in STRANGERS else FirstBytes.GARBAGE.value


_OUTCOMES = {
    Ended.REFUSED_ID: Outcome.REFUSED,
    Ended.REDIRECTED: Outcome.BAD_PEER,
    Ended.CLOSED: Outcome.CLOSED,
    Ended.TIMED_OUT: Outcome.TIMED_OUT,
    Ended.BAD_PEER: Outcome.BAD_PEER,
}
_LAST_SENT = {Stage.HELLO: "our hello", Stage.START_API: "START_API", Stage.SYNC: "the request for the current time"}
_STAGES = (
    # stage of a probe, reached with, completed with
    (Stage.HELLO, Reached.CLIENT_HELLO, Reached.SERVER_HELLO),
    (Stage.START_API, Reached.START_API, Reached.READY),
)


class _Conversation:
    def __init__(
        self,
        sock: socket.socket,
        session: ClientSession,
        timeout: float,
        reset: bool,
        on_silence: Callable[[], None] | None,
    ) -> None:
        self._sock, self._session, self._timeout, self._on_silence = sock, session, timeout, on_silence
        self._first = bytearray()  # what the peer says as long as it is not known to be a gateway
        self._broken = reset  # a send, or SO_ERROR, has told of a reset; the next read says "end" then
        self._error: int | None = None  # errno that ended it
        self._sync_until: float | None = None
        self._sync: Outcome | None = None  # how SYNC went, unless the session ended before
        self._ended = 0.0  # monotonic
        self._kernel: KernelView | None = None
        self._redirect: str | None = None
        self._no_accounts = False  # the list came, and is empty
        self._codes: list[int] = []

    def run(self) -> None:
        """Until the request is answered, or the first failure."""
        session = self._session
        self._send(session.start(monotonic()))
        while session.alive and self._sync is None:
            now = monotonic()
            if self._expired(now):
                self._fall_silent()
            elif dial.wait_readable(self._sock, self._deadline() - now):
                self._receive(now)
        self._ended = monotonic()
        if session.outcome is Ended.BAD_PEER and session.server_version is None:
            self._hear_the_stranger_out()

    def overhear(self, data: bytes) -> None:
        """What comes after our goodbye: notices of farms may, and count."""
        if self._session.alive:
            self._take(data, monotonic())

    # The clock.

    def _deadline(self) -> float:
        return self._session.next_deadline() or self._sync_until

    def _expired(self, now: float) -> bool:
        if self._sync_until is not None and now >= self._sync_until:
            self._sync = Outcome.TIMED_OUT
            return True
        return self._session.expire(now)

    def _fall_silent(self) -> None:
        self._kernel = kernel.view(self._sock)
        if self._on_silence is not None:
            self._on_silence()

    # Bytes.

    def _send(self, data: bytes) -> None:
        """A few dozen bytes into an empty send buffer: taken whole, or the connection is gone and the read tells."""
        if data:
            try:
                self._sock.send(data)
            except OSError:
                self._broken = True

    def _receive(self, now: float) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            self._error = error.errno
            self._session.peer_closed(now, reset=True)
            return
        if not data:
            self._session.peer_closed(now, reset=self._broken)
            return
        self._take(data, now)
        self._send(self._session.to_send())

    def _take(self, data: bytes, now: float) -> None:
        session = self._session
        if session.server_version is None:
            self._first += data[: dial.MAX_SAID - len(self._first)]
        for event in session.receive(data, now):
            reader = _READERS.get(type(event))
            if reader is not None:
                reader(self, event)
        if session.bytes_received > MAX_RECEIVED and session.alive:
            self._sync = Outcome.BAD_PEER

    def _hear_the_stranger_out(self) -> None:
        """One letter is enough to know that it is not a gateway, and not enough to name it."""
        until = self._ended + NAMING
        while not name_is_final(self._first) and dial.wait_readable(self._sock, until - monotonic()):
            try:
                data = self._sock.recv(dial.MAX_SAID - len(self._first))
            except OSError:
                return
            if not data:
                return
            self._first += data

    # Events.

    def _notice(self, event: events.Notice) -> None:
        if len(self._codes) < MAX_CODES:
            self._codes.append(event.code)

    def _redirected(self, event: events.Redirected) -> None:
        host = f"[{event.host}]" if ":" in event.host else event.host
        self._redirect = host if event.port is None else f"{host}:{event.port}"

    def _accounts(self, event: events.Accounts) -> None:
        self._no_accounts = event.count == 0

    def _ready(self, event: events.Ready) -> None:
        started = self._session.times[Reached.START_API]
        self._sync_until = max(started + self._timeout, event.at + LEAST_SYNC)
        self._session.request_current_time()

    def _current_time(self, event: events.CurrentTimeSeen) -> None:
        if self._sync is None:
            self._sync = Outcome.OK

    # The end.

    def told(self) -> Told:
        session = self._session
        foreign = session.outcome is Ended.BAD_PEER and session.server_version is None
        version = _version(bytes(self._first)) if foreign else session.server_version
        return Told(
            tuple(self._results()),
            self._kernel,
            stranger(bytes(self._first)) if foreign and version is None else None,
            max(session.bytes_received, len(self._first)),
            version,
            self._redirect,
            session.accounts,
            tuple(self._codes),
        )

    def _results(self) -> list[StageResult]:
        """The stages that were completed, and the one that was not."""
        times, results = self._session.times, []
        for stage, reached, completed in _STAGES:
            if reached not in times:
                return results  # a hello was all that was wanted
            if completed not in times:
                return [*results, self._failure(stage, times[reached])]
            detail = f"server version {self._session.server_version}" if stage is Stage.HELLO else ""
            results.append(StageResult(stage, Outcome.OK, times[completed] - times[reached], detail))
        if self._sync is Outcome.OK:
            return [*results, StageResult(Stage.SYNC, Outcome.OK, self._ended - times[Reached.READY])]
        return [*results, self._failure(Stage.SYNC, times[Reached.READY])]

    def _failure(self, stage: Stage, since: float) -> StageResult:
        seconds = self._ended - since
        outcome = self._outcome()
        error = None
        if outcome is Outcome.RESET or self._error is not None:
            error = dial.error_name(self._error) if self._error is not None else "ECONNRESET"
        return StageResult(stage, outcome, seconds, self._detail(stage, outcome, seconds), error)

    def _outcome(self) -> Outcome:
        if self._error is not None:
            return dial.outcome_of(self._error)
        if self._session.outcome is Ended.RESET:
            return Outcome.RESET
        return _OUTCOMES.get(self._session.outcome) or self._sync

    def _detail(self, stage: Stage, outcome: Outcome, seconds: float) -> str:
        session, sent = self._session, _LAST_SENT[stage]
        if outcome is Outcome.TIMED_OUT:
            return f"{self._missing(stage)} in {seconds:.1f} s{_fate(self._kernel)}"
        if outcome in (Outcome.CLOSED, Outcome.RESET, Outcome.UNREACHABLE):
            how = {Outcome.CLOSED: "closed", Outcome.RESET: "reset"}.get(outcome, "lost")
            last = f" and error {session.fatal_code}" if session.fatal_code is not None else ""
            return f"{how} {seconds * 1000:.0f} ms after {sent}{last}, {session.bytes_received} bytes received"
        if self._sync is Outcome.BAD_PEER:
            return f"more than {MAX_RECEIVED >> 20} MiB came, and no answer among them"
        return session.detail

    def _missing(self, stage: Stage) -> str:
        session = self._session
        if stage is Stage.SYNC:
            return "the request for the current time was not answered"
        if stage is Stage.HELLO:
            some = f"; {session.bytes_received} bytes came, not a whole one" if session.bytes_received else ""
            return f"no hello from the gateway{some}"
        accounts = "an empty account list" if self._no_accounts else "accounts" if session.accounts else None
        came = [one for one in ("the order id" if session.order_id is not None else None, accounts) if one]
        return f"only {' and '.join(came)} came" if came else "neither order id nor accounts came"


_READERS = {
    events.Notice: _Conversation._notice,
    events.Redirected: _Conversation._redirected,
    events.Accounts: _Conversation._accounts,
    events.Ready: _Conversation._ready,
    events.CurrentTimeSeen: _Conversation._current_time,
}


def _fate(view: KernelView | None) -> str:
    """Where our bytes are, as far as our kernel knows."""
    if view is None or view.unacknowledged is None:
        return ""
    if view.unacknowledged or view.unsent:
        return "; our bytes were sent again and again, and not acknowledged"
    return "; our bytes were acknowledged"


def _version(first: bytes) -> int | None:
    """Of a server hello that is well formed and of a version we did not ask for."""
    try:
        hello = decode_server_hello(first[: max(0, server_hello_end(first))])
    except WireError:
        return None
    return hello.server_version if isinstance(hello, ServerHello) else None
