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

from diagnostics.evidence import Asked, KernelView, Outcome, ProbeStage, StageResult
from diagnostics.place.addresses import host_and_port
from diagnostics.probing import kernel
from diagnostics.probing.connection import GOODBYE, MAX_FIRST_BYTES, leave, wait_readable
from diagnostics.probing.errors import error_name, outcome_of
from diagnostics.probing.strangers import stranger
from relay.wire import events
from relay.wire.hello import name_is_final
from relay.wire.session import ClientSession, SessionOutcome
from relay.wire.stage import Stage

LEAST_SYNC = 1.0  # seconds for the answer to a request, however late the session became ready
# A gateway greets with notices of its farms, and of IB itself, in its own time: listen on until none has come for CALM
# seconds, at least SETTLE after the session became ready.
SETTLE = 0.5
CALM = 0.2
LEAST_GOODBYE = 0.05  # seconds
NAMING = 0.25  # seconds for the rest of a stranger's first word
MAX_RECEIVED = 16 << 20  # bytes of one session; nothing we ask for is answered in more than some hundred
MAX_CODES = 64


@dataclass(frozen=True, slots=True)
class TalkResult:
    """What the conversation gave: the stages walked, the last of them perhaps a failure, and the rest of a Probe."""

    results: tuple[StageResult, ...]
    kernel: KernelView | None
    first_bytes: str | None
    bytes_received: int
    server_version: int | None
    redirect: str | None
    accounts: tuple[str, ...]
    account_count: int | None
    codes: tuple[int, ...]
    farms: tuple[str, ...]  # of each code
    hello_length: int | None = None  # bytes of the gateway's hello, where it did not come whole


def talk(
    sock: socket.socket,
    asked: Asked,
    hello_timeout: float,
    *,
    reset: bool = False,
    settle: bool = True,
    until: float = float("inf"),
    on_silence: Callable[[], None] | None = None,
) -> TalkResult:
    """The whole conversation; the socket is closed afterwards, politely.

    `settle`: hear the notices of a session out, which takes SETTLE seconds or more, within `asked.timeout`. `until`
    (monotonic): also the goodbye keeps to that, but for LEAST_GOODBYE.
    `reset`: the connection is known to be reset already, the kernel does not tell it twice. `on_silence` is called when
    a stage timed out, while the connection is still there.
    """
    client_id = own_client_id() if asked.client_id is None else asked.client_id
    session = ClientSession(
        client_id,
        min_version=asked.min_version,
        max_version=asked.max_version,
        want_session=asked.session,
        hello_timeout=hello_timeout,
        start_timeout=asked.timeout,
    )
    conversation = _Conversation(sock, session, asked, reset, on_silence)
    try:
        conversation.run()
        if settle:
            conversation.hear_notices()
    finally:
        leave(sock, conversation.overhear, max(LEAST_GOODBYE, min(GOODBYE, until - monotonic())))
    return conversation.result()


def own_client_id() -> int:
    """A client id nobody has: high, and new each time, since a gateway may hold on to the last one for a while."""
    return 1_000_000_000 + int.from_bytes(os.urandom(4), "big") % 1_000_000_000


_OUTCOMES = {
    SessionOutcome.REFUSED_ID: Outcome.REFUSED,
    SessionOutcome.REDIRECTED: Outcome.BAD_PEER,
    SessionOutcome.CLOSED: Outcome.CLOSED,
    SessionOutcome.RESET: Outcome.RESET,
    SessionOutcome.TIMED_OUT: Outcome.TIMED_OUT,
    SessionOutcome.OTHER_VERSION: Outcome.BAD_PEER,
    SessionOutcome.BAD_PEER: Outcome.BAD_PEER,
}
_LAST_SENT = {
    ProbeStage.HELLO: "our hello",
    ProbeStage.START_API: "START_API",
    ProbeStage.SYNC: "the request for the current time",
}
_STAGES = (
    # stage of a probe, begins when the session reaches, is complete when it reaches
    (ProbeStage.HELLO, Stage.CLIENT_HELLO, Stage.SERVER_HELLO),
    (ProbeStage.START_API, Stage.START_API, Stage.READY),
)


class _Conversation:
    def __init__(
        self,
        sock: socket.socket,
        session: ClientSession,
        asked: Asked,
        reset: bool,
        on_silence: Callable[[], None] | None,
    ) -> None:
        self._sock, self._session, self._asked, self._on_silence = sock, session, asked, on_silence
        self._first_bytes = bytearray()  # what the peer says as long as it is not known to be a gateway
        self._broken = reset  # a send, or SO_ERROR, has told of a reset; the next read says "end" then
        self._error: int | None = None  # errno that ended it
        self._sync_until = float("inf")  # until the session is ready
        self._sync: Outcome | None = None  # how SYNC went, unless the session ended before
        self._ended = 0.0  # monotonic
        self._noticed = 0.0  # when the last notice came
        self._kernel: KernelView | None = None
        self._redirect: str | None = None
        self._codes: list[int] = []
        self._farms: list[str] = []

    def run(self) -> None:
        """Until the request is answered, or the first failure."""
        session = self._session
        self._send(session.start(monotonic()))
        while session.alive and self._sync is None:
            now = monotonic()
            if self._expired(now):
                self._fall_silent()
            elif wait_readable(self._sock, (session.next_deadline() or self._sync_until) - now):
                self._receive(monotonic())
        self._ended = monotonic()
        if self._is_foreign:
            self._hear_the_stranger_out()

    def hear_notices(self) -> None:
        """On a session that works: until the gateway has said what it has to say of itself."""
        ready = self._session.times.get(Stage.READY)
        if ready is None or self._sync is not Outcome.OK:
            return
        while self._session.alive:
            now = monotonic()
            until = min(max(ready + SETTLE, self._noticed + CALM), self._sync_until)
            if now >= until:
                return
            if wait_readable(self._sock, until - now):
                self._receive(monotonic())
        self._sync, self._ended = None, monotonic()  # it was ended meanwhile

    def overhear(self, data: bytes) -> None:
        """What comes after our goodbye: notices of farms may, and count."""
        if self._session.alive:
            self._take(data, monotonic())

    @property
    def _is_foreign(self) -> bool:
        """What answered is no gateway."""
        return self._session.outcome is SessionOutcome.BAD_PEER and self._session.server_version is None

    # The clock.

    def _expired(self, now: float) -> bool:
        if now >= self._sync_until:
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
            self._first_bytes += data[: MAX_FIRST_BYTES - len(self._first_bytes)]
        for event in session.receive(data, now):
            self._note(event)
        if session.bytes_received > MAX_RECEIVED and session.alive:
            self._sync = Outcome.BAD_PEER

    def _hear_the_stranger_out(self) -> None:
        """One letter is enough to know that it is not a gateway, and not enough to name it."""
        until = self._ended + NAMING
        while not name_is_final(bytes(self._first_bytes)) and wait_readable(self._sock, until - monotonic()):
            try:
                data = self._sock.recv(MAX_FIRST_BYTES - len(self._first_bytes))
            except OSError:
                return
            if not data:
                return
            self._first_bytes += data

    def _note(self, event: events.Event) -> None:
        if isinstance(event, events.Notice):
            if len(self._codes) < MAX_CODES:
                self._codes.append(event.code)
                self._farms.append(" ".join(event.farms))
            self._noticed = event.at
        elif isinstance(event, events.Redirected):
            self._redirect = host_and_port(event.host.strip("[]"), event.port)  # which a peer writes with and without
        elif isinstance(event, events.Ready):
            started = self._session.times[Stage.START_API]
            self._sync_until = max(started + self._asked.timeout, event.at + LEAST_SYNC)
            self._session.request_current_time()
        elif isinstance(event, events.CurrentTimeSeen):
            self._sync = self._sync or Outcome.OK

    # The end.

    def result(self) -> TalkResult:
        """What it gave; after `run`."""
        session, first_bytes = self._session, bytes(self._first_bytes)
        return TalkResult(
            tuple(self._results()),
            self._kernel,
            stranger(first_bytes) if self._is_foreign else None,
            max(session.bytes_received, len(first_bytes)),
            session.server_version,
            self._redirect,
            session.accounts,
            session.account_count,
            tuple(self._codes),
            tuple(self._farms) if any(self._farms) else (),
            session.hello_length if session.part_of_hello else None,
        )

    def _results(self) -> list[StageResult]:
        """The stages that were completed, and the one that was not."""
        times = self._session.times
        results: list[StageResult] = []
        for stage, begins, completes in _STAGES:
            if begins not in times:
                return results  # a hello was all that was wanted
            if completes not in times:
                return [*results, self._failure(stage, times[begins])]
            version = self._session.server_version
            detail = ""
            if stage is ProbeStage.HELLO and version is not None:
                detail = self._asked.server_version(version)
            results.append(StageResult(stage, Outcome.OK, times[completes] - times[begins], detail))
        if self._sync is Outcome.OK:
            return [*results, StageResult(ProbeStage.SYNC, Outcome.OK, self._ended - times[Stage.READY])]
        return [*results, self._failure(ProbeStage.SYNC, times[Stage.READY])]

    def _failure(self, stage: ProbeStage, since: float) -> StageResult:
        seconds = self._ended - since
        outcome = self._outcome()
        error = None
        if outcome is Outcome.RESET or self._error is not None:
            error = error_name(self._error) if self._error is not None else "ECONNRESET"
        return StageResult(stage, outcome, seconds, self._detail(stage, outcome, seconds), error)

    def _outcome(self) -> Outcome:
        if self._error is not None:
            return outcome_of(self._error)
        # What the session does not know as a failure is ours: it ended with SYNC.
        return _OUTCOMES.get(self._session.outcome) or self._sync or Outcome.TIMED_OUT

    def _detail(self, stage: ProbeStage, outcome: Outcome, seconds: float) -> str:
        session, sent = self._session, _LAST_SENT[stage]
        if outcome is Outcome.TIMED_OUT:
            return f"{self._missing(stage)} in {seconds:.1f} s{_fate(self._kernel)}"
        if outcome in (Outcome.CLOSED, Outcome.RESET, Outcome.UNREACHABLE):
            how = {Outcome.CLOSED: "closed", Outcome.RESET: "reset"}.get(outcome, "lost")
            last = f" and error {session.fatal_code}" if session.fatal_code is not None else ""
            came = session.part_of_hello or f"{session.bytes_received} bytes received"
            return f"{how} {seconds * 1000:.0f} ms after {sent}{last}, {came}"
        if self._sync is Outcome.BAD_PEER:
            return f"more than {MAX_RECEIVED >> 20} MiB came, and no answer among them"
        return session.detail

    def _missing(self, stage: ProbeStage) -> str:
        """What did not come."""
        session = self._session
        if stage is ProbeStage.SYNC:
            return "the request for the current time was not answered"
        if stage is ProbeStage.HELLO:
            part = session.part_of_hello
            return f"only {part}" if part else "no hello from the gateway"
        accounts = "an empty account list" if session.account_count == 0 else "accounts" if session.accounts else None
        came = list(filter(None, ("the order id" if session.order_id is not None else None, accounts)))
        return f"only {' and '.join(came)} came" if came else "neither order id nor accounts came"


def _fate(view: KernelView | None) -> str:
    """Where our bytes are, as far as our kernel knows."""
    if view is None or view.unacknowledged is None:
        return ""
    if view.unacknowledged or view.unsent:
        return "; our bytes were sent again and again, and not acknowledged"
    return "; our bytes were acknowledged"
