"""The practice gateway: its listening port, its sessions, and the behaviours that concern several sessions."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from relay.practice.pacing import HistoryPace
from relay.practice.session import GatewaySession, SessionStage
from relay.practice.settings import Practice

_BACKLOG = 128  # connections the kernel completes before we accept them
_WEDGED_BACKLOG = 2  # small, so that a wedged gateway's queue is full after three clients (Linux admits one more)
_RESTART_AFTER = 1.0  # seconds from the first ready session to the restart: time to have synchronised
# Of the loop: asyncio needs up to three from accept() to connection_made(), and one from abort() to connection_lost().
_ROUNDS = 4
_REBIND_PAUSE = 0.5  # seconds until the next attempt when somebody else took the port during a restart


class PracticeGateway:
    """A gateway to practise with. `log` gets one line of text per event; `clock` is wall time.

    async with PracticeGateway(Practice.named("slow-sync=3")) as gateway:
        ... connect to 127.0.0.1:gateway.port ...
    """

    def __init__(
        self,
        settings: Practice = Practice(),
        log: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings, self.clock, self.pace = settings, clock, HistoryPace()
        self.host, self.port = "127.0.0.1", 0
        self.accepted = 0  # connections so far
        self._log = log
        self._sessions: set[GatewaySession] = set()
        self._holders: dict[int, GatewaySession] = {}  # client id -> its live session
        self._closing_ids: dict[int, float] = {}  # client id -> loop time until which it stays taken
        self._greeted = 0  # sessions so far whose greeting was made
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._restarted = False
        self._closing = False

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free port, which `port` then has. OSError if it cannot be bound."""
        if self._listener is not None:
            raise RuntimeError("practice gateway: already started")
        self.host, self.port = host, port
        await self._listen()
        behaviour = " + ".join(self.settings.played)
        self.note(f"practice gateway listens on {self.host} port {self.port}, behaviour {behaviour}")

    async def close(self) -> None:
        """Stop listening, cut every session, wait until their sockets are closed."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stop_listening()
        quiet = 0
        while quiet < _ROUNDS:
            quiet = 0 if self._sessions else quiet + 1
            for session in list(self._sessions):
                session.cut("gateway stopped")
            await asyncio.sleep(0)

    async def __aenter__(self) -> PracticeGateway:
        if self._listener is None:
            await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    @property
    def sessions(self) -> int:
        """Connections that are open now."""
        return len(self._sessions)

    @property
    def ready_sessions(self) -> int:
        """Connections whose START_API was answered and that were not ended or stalled since."""
        return sum(session.stage is SessionStage.READY for session in self._sessions)

    def restart(self, seconds: float) -> None:
        """Cut all sessions, refuse connections for a while, then listen on the same port again."""
        self.note(f"restart: down for {seconds:g} s")
        self._restarted = True
        self._stop_listening()
        for session in list(self._sessions):
            session.cut("gateway restarts")
        self._timer = asyncio.get_running_loop().call_later(seconds, self._return)

    # What sessions ask (session.House)

    def admit(self, session: GatewaySession) -> str | None:
        """Take a new connection; the reason if it must be closed at once."""
        self.accepted += 1
        self._sessions.add(session)
        settings = self.settings
        if self._closing:
            return "gateway stopped"
        if settings.behaviour == "fail-first" and self.accepted <= settings.number:
            return f"connection {self.accepted} of the {settings.number:g} that fail"
        if settings.behaviour == "client-limit" and self._open() > settings.number:
            return f"more than {settings.number:g} clients"
        if len(self._sessions) > settings.max_sessions:
            return f"more than {settings.max_sessions} connections"
        return None

    def claim(self, client_id: int, session: GatewaySession) -> bool:
        """Give the client id to the session unless another live session has it."""
        if asyncio.get_running_loop().time() < self._closing_ids.get(client_id, 0.0):
            return False
        holder = self._holders.get(client_id)
        if holder is not None and holder.stage is not SessionStage.ENDED:
            return False
        self._holders[client_id] = session
        return True

    def ready(self, session: GatewaySession) -> None:
        """A session became usable."""
        if self.settings.behaviour == "restart" and not self._restarted:
            self._restarted = True
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_RESTART_AFTER, self.restart, self.settings.number)

    def left(self, session: GatewaySession) -> None:
        """A connection is gone."""
        self._sessions.discard(session)
        if session.client_id is not None and self._holders.get(session.client_id) is session:
            del self._holders[session.client_id]
            self._keep_closing(session.client_id)

    def turn(self) -> int:
        """Which session is greeted now, counted from 0."""
        self._greeted += 1
        return self._greeted - 1

    def note(self, text: str) -> None:
        """One line for the log."""
        if self._log is not None:
            self._log(text)

    def _keep_closing(self, client_id: int) -> None:
        seconds = self.settings.number_of("id-closing")
        if not seconds:
            return
        now = asyncio.get_running_loop().time()
        kept = [(one, until) for one, until in self._closing_ids.items() if until > now and one != client_id]
        self._closing_ids = dict([*kept, (client_id, now + seconds)][-self.settings.max_sessions :])

    # The port

    def _open(self) -> int:
        return sum(session.stage is not SessionStage.ENDED for session in self._sessions)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        wedged = self.settings.behaviour == "wedged"
        self._listener = socket.create_server(
            (self.host, self.port), family=family, backlog=_WEDGED_BACKLOG if wedged else _BACKLOG
        )
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        if not wedged:
            self._server = await loop.create_server(self._new_session, sock=self._listener, backlog=_BACKLOG)

    def _new_session(self) -> GatewaySession:
        return GatewaySession(self, self.accepted + 1)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()
        self._server = self._listener = None

    def _return(self) -> None:
        task = asyncio.get_running_loop().create_task(self._listen_again(), name="practice restart")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen_again(self) -> None:
        while True:
            try:
                await self._listen()
            except OSError as error:
                self.note(f"restart: cannot listen on port {self.port}: {error.strerror}")
                await asyncio.sleep(_REBIND_PAUSE)
            else:
                self.note(f"restart: back on port {self.port}")
                return
