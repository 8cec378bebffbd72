"""One client's connection, from accept to its end: stages, bounds, and the levers a behaviour can pull.

responder.py has the conversation of a ready session, faults.py has the misbehaviour; this file owns the socket between
them. Everything a client could make grow is bounded: the opening by MAX_HELLO, a frame by MAX_REQUEST, output by
MAX_OUTPUT (beyond it nothing more is read from the client and ticks are dropped), held answers by MAX_LATE.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from relay.practice import faults
from relay.practice.moments import hello_time
from relay.practice.pacing import HistoryPace
from relay.practice.requests import Request
from relay.practice.responder import SYNC_REQUESTS, Responder
from relay.practice.settings import LAST_WORDS, MAX_LATE, MAX_OUTPUT, MAX_REQUEST, OLDEST_SERVER_VERSION, Practice
from relay.practice.variants import of_session
from relay.wire import messages
from relay.wire.direction import Direction
from relay.wire.framing import FrameReader, WireError
from relay.wire.hello import ClientHello, FirstBytes, ServerHello, classify_first_bytes, client_hello_end
from relay.wire.hello_mistakes import told
from relay.wire.messages import NO_REQUEST

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST instead of FIN and drops what is unsent
_BATCH = 0.02  # seconds between two writes of ticks at most, so 1000 ticks a second are 50 writes
_BURST = 1.0  # seconds over which `pacing` counts messages


class SessionStage(Enum):
    """How far a connection came, or the state a behaviour put it into."""

    OPENING = "opening"  # waiting for the client's hello
    HELLO = "hello"  # both hellos sent, waiting for START_API
    READY = "ready"
    MUTE = "mute"  # reads and discards
    STALLED = "stalled"  # does not even read
    ENDED = "ended"


class SessionHost(Protocol):
    """The part of a gateway that its sessions need."""

    settings: Practice
    clock: Callable[[], float]
    pace: HistoryPace

    def admit(self, session: GatewaySession) -> str | None: ...
    def claim(self, client_id: int, session: GatewaySession) -> bool: ...
    def ready(self, session: GatewaySession) -> None: ...
    def left(self, session: GatewaySession) -> None: ...
    def turn(self) -> int: ...
    def note(self, text: str) -> None: ...


class GatewaySession(asyncio.Protocol):
    """asyncio calls the first methods; faults call those from `send` to `after`."""

    def __init__(self, gateway: SessionHost, number: int) -> None:
        self.gateway, self.settings, self.number = gateway, gateway.settings, number
        self.stage = SessionStage.OPENING
        self.server_version = 0
        self.client_id: int | None = None
        self._opening = bytearray()
        self._frames = FrameReader(MAX_REQUEST)
        self._inbox: deque[bytes] = deque()  # frames of one read at most; not refilled while output is stuck
        self._output_stuck = False
        self._waiting = False  # slow: what comes next is still held back
        self._own: Practice | None = None  # the settings as this session is greeted
        self._responder: Responder | None = None
        self._requests: Counter[str] = Counter()
        limit = int(self.settings.number) if self.settings.behaviour == "pacing" else 0
        self._recent: deque[float] = deque(maxlen=limit)  # when the last `limit` messages came
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._late = self._late_ever = 0  # answers that are held back now, and that were so far
        self._end: str | None = None  # the reason, once it has ended
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a stream transport is needed, not {type(transport).__name__}")
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_OUTPUT)
        peer = transport.get_extra_info("peername") or ("?", 0)
        self.note(f"connected from {peer[0]} port {peer[1]}")
        refusal = self.gateway.admit(self)
        if refusal is not None:
            self.finish(refusal)
        else:
            faults.play(faults.AT_ACCEPT, self)

    def data_received(self, data: bytes) -> None:
        if self.stage is SessionStage.OPENING:
            self._read_opening(data)
        elif self.stage in (SessionStage.HELLO, SessionStage.READY):
            self._read_frames(data)

    def eof_received(self) -> bool:
        self._end = self._end or "client closed (FIN)"
        self.stage = SessionStage.ENDED
        self._bound_the_end()
        return False  # asyncio then closes our side too, after it has delivered everything written

    def pause_writing(self) -> None:
        self._output_stuck = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._output_stuck = False
        if self.stage is not SessionStage.STALLED and not self._transport.is_closing():
            self._transport.resume_reading()
            self._work()

    def connection_lost(self, error: Exception | None) -> None:
        self.stage = SessionStage.ENDED
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._end is None:
            self._end = f"client reset ({type(error).__name__})" if error else "gateway stopped"
        asked = ", ".join(f"{name} {count}" for name, count in self._requests.items())
        lasted = self._loop.time() - self._born
        self.note(f"ended after {lasted:.3f} s: {self._end}" + (f"; requests: {asked}" if asked else ""))
        self.gateway.left(self)

    # The levers of a behaviour

    def note(self, text: str) -> None:
        """One line for the log."""
        self.gateway.note(f"client {self.number}: {text}")

    def send(self, data: bytes) -> None:
        """Write now; asyncio keeps the bytes that the socket does not take."""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self, reason: str) -> None:
        """Close with FIN after everything written, then discard input until the client closes or LAST_WORDS is over.

        Closing both ways at once would send RST instead of FIN whenever client bytes are unread, its hello for example.
        """
        self._end = self._end or reason
        self.stage = SessionStage.ENDED
        try:
            self._transport.write_eof()
        except OSError:  # ENOTCONN: the client has reset in the meantime
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._bound_the_end()

    def reset(self, reason: str) -> None:
        """Close with RST. Bytes that the kernel has already put on the wire stay delivered."""
        self._end = self._end or reason
        self.stage = SessionStage.ENDED
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._transport.abort()

    def cut(self, reason: str) -> None:
        """Close as the kernel does for a dead process: at once, with FIN, or with RST if client bytes are unread."""
        self._end = self._end or reason
        self.stage = SessionStage.ENDED
        self._transport.abort()

    def mute(self, reason: str) -> None:
        """From now on read and discard."""
        self.note(reason)
        self.stage = SessionStage.MUTE

    def stall(self, reason: str) -> None:
        """From now on do nothing at all, like a hung process: not even the client's leaving is noticed."""
        self.note(reason)
        self.stage = SessionStage.STALLED
        self._transport.pause_reading()

    def notice(self, code: int, text: str) -> None:
        """Say something about the connection, not about a request."""
        self.send(self.responder.error(NO_REQUEST, code, text))

    def after(self, seconds: float, name: str, action: Callable[[], None]) -> None:
        """Act later unless the connection has ended; a second timer of the same name replaces the first."""
        previous = self._timers.pop(name, None)
        if previous is not None:
            previous.cancel()

        def fire() -> None:
            del self._timers[name]
            if self.stage not in (SessionStage.STALLED, SessionStage.ENDED):
                action()

        self._timers[name] = self._loop.call_later(seconds, fire)

    # Hello

    def _read_opening(self, data: bytes) -> None:
        self._opening += data
        faults.play(faults.AT_FIRST_BYTES, self)
        if self.stage is not SessionStage.OPENING:
            return
        kind = classify_first_bytes(bytes(self._opening))
        if kind is FirstBytes.IB:
            end = client_hello_end(self._opening)
            hello, rest = ClientHello.decode(bytes(self._opening[:end])), bytes(self._opening[end:])
            self._opening.clear()
            self._hello(hello)
            if rest:
                self.data_received(rest)
        elif kind is not FirstBytes.MORE:
            self.finish(f"first bytes are no IB hello but {told(kind, self._opening)}")

    def _hello(self, hello: ClientHello) -> None:
        options = f", options '{hello.options[:80]}'" if hello.options else ""
        self.note(f"hello v{hello.min_version}..{hello.max_version}{options}")
        self.server_version = min(self.settings.server_version, hello.max_version)
        if self.server_version < max(hello.min_version, OLDEST_SERVER_VERSION):
            self.finish(
                f"no server version in common, ours are {OLDEST_SERVER_VERSION} to {self.settings.server_version}"
            )
            return
        self.stage = SessionStage.HELLO
        self._slowly("slow-hello", self._answer_hello)

    def _answer_hello(self) -> None:
        if not faults.play(faults.AT_HELLO, self):
            self.send(self.server_hello())

    def _slowly(self, name: str, then: Callable[[], None]) -> None:
        """At once, or late if that is played; until then nothing is read, so the client may be gone by then."""
        seconds = self.settings.number_of(name)
        if not seconds:
            then()
            return

        def late() -> None:
            self._waiting = False
            self._transport.resume_reading()
            then()
            self._work()

        self._waiting = True
        self._transport.pause_reading()
        self.after(seconds, name, late)

    def server_hello(self) -> bytes:
        """Our hello, with the present time."""
        return ServerHello(self.server_version, hello_time(self.gateway.clock(), self.settings.time_zone)).encode()

    # Frames

    def _read_frames(self, data: bytes) -> None:
        try:
            self._inbox.extend(self._frames.feed(data))
        except WireError as error:
            self.finish(f"unreadable: {error}")
            return
        self._work()

    def _work(self) -> None:
        """Answer the frames that have arrived, as long as the client takes the answers."""
        while (
            self._inbox
            and not (self._output_stuck or self._waiting)
            and self.stage in (SessionStage.HELLO, SessionStage.READY)
        ):
            payload = self._inbox.popleft()
            try:
                self._handle(payload)
            except WireError as error:
                self.note(f"request not understood: {error}")
                if self._responder is not None:
                    self.send(
                        self._responder.error(NO_REQUEST, 320, "Error reading request. Please check the data sent.")
                    )

    def _handle(self, payload: bytes) -> None:
        if self._too_fast():
            return
        request = Request(payload, self.server_version)
        first = request.name not in self._requests
        self._requests[request.name] += 1
        if self.stage is SessionStage.READY:
            if first:
                self.note(request.name)
            self._reply(request)
            return
        start = messages.decode(Direction.CLIENT_TO_GATEWAY, payload, self.server_version)
        if isinstance(start, messages.StartApi):
            self._start_api(start)
        elif first:
            self.note(f"{request.name} before START_API: ignored")

    def _too_fast(self) -> bool:
        if self.settings.behaviour != "pacing":
            return False
        now, limit = self._loop.time(), int(self.settings.number)
        exceeded = len(self._recent) == limit and (not limit or now - self._recent[0] < _BURST)
        self._recent.append(now)
        if exceeded and self._responder is not None:
            text = f"Max rate of messages per second has been exceeded:max={limit} rec={limit + 1} (1)"
            self.send(self._responder.error(NO_REQUEST, 100, text))
        if exceeded:
            self.finish(f"more than {limit} messages within {_BURST:g} s")
        return exceeded

    def _start_api(self, start: messages.StartApi) -> None:
        self.client_id = start.client_id
        self.note(f"START_API with client id {start.client_id}")
        self._slowly("slow-start-api", self._answer_start_api)

    def _answer_start_api(self) -> None:
        farms_ok = self.settings.behaviour not in faults.FARMS_DOWN
        self._responder = Responder(
            self.own, self.server_version, farms_ok=farms_ok, clock=self.gateway.clock, pace=self.gateway.pace
        )
        if faults.play(faults.AT_START_API, self):
            return
        if self.client_id is None or not self.gateway.claim(self.client_id, self):
            self.refuse_client_id()
            return
        if self.settings.behaviour != "hello-glued":  # which has sent it together with the hello
            self.send(self.greeting())
        self.stage = SessionStage.READY
        self.gateway.ready(self)
        faults.play(faults.WHEN_READY, self)

    @property
    def own(self) -> Practice:
        """The settings of this session: its accounts and its first order id are settled when they are first needed."""
        if self._own is None:
            self._own = of_session(self.settings, self.gateway.turn())
        return self._own

    @property
    def responder(self) -> Responder:
        """The responder of a session whose START_API has come."""
        if self._responder is None:
            raise RuntimeError(f"client {self.number} has not sent START_API")
        return self._responder

    def refuse_client_id(self) -> None:
        """Error 326, then the end, as every gateway does it."""
        text = "Unable to connect as the client id is already in use. Retry with a unique client id."
        self.send(self.responder.error(NO_REQUEST, 326, text))
        self.finish(f"client id {self.client_id} is in use")

    def greeting(self) -> bytes:
        """Accounts, next valid id and farm notices: the answer to START_API, in one write (recorded from a gateway)."""
        responder = self._responder or Responder(
            self.settings, self.server_version, farms_ok=True, clock=self.gateway.clock
        )
        name = self.settings.behaviour
        frames: list[bytes] = []
        if name != "no-accounts":
            frames.append(responder.answers.accounts(() if name == "empty-accounts" else self.own.accounts))
        if name != "no-next-id":
            frames.append(responder.answers.next_valid_id(self.own.first_order_id))
        frames += [responder.error(NO_REQUEST, code, text) for code, text in faults.notices(self.settings)]
        return b"".join(frames)

    def _reply(self, request: Request) -> None:
        responder = self.responder
        answer = responder.answer(request, self._loop.time())
        if self.settings.behaviour == "slow-sync" and request.id in SYNC_REQUESTS and self._late < MAX_LATE:
            self._late += 1
            self._late_ever += 1
            self.after(self.settings.number, f"answer {self._late_ever}", lambda: self._send_late(answer))
        else:
            self.send(answer)
        if responder.streams and "streams" not in self._timers:
            self._schedule_streams()

    def _send_late(self, answer: bytes) -> None:
        self._late -= 1
        self.send(answer)

    def _schedule_streams(self) -> None:
        wait = (self.responder.next_due or 0.0) - self._loop.time()
        self.after(max(_BATCH, wait), "streams", self._serve_streams)

    def _serve_streams(self) -> None:
        if not self._output_stuck:
            self.send(self.responder.due(self._loop.time()))
        if self.responder.streams:
            self._schedule_streams()

    def _bound_the_end(self) -> None:
        if "end" not in self._timers:
            self._timers["end"] = self._loop.call_later(LAST_WORDS, self._transport.abort)
