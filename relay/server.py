"""The relay as a whole: accepts, admits, keeps the set of live connections, reloads, drains and stops.

The accept handlers only accept. Everything else has one owner: a Connection its two sockets, the Relay its listeners,
its set of connections and its timers. `serve` runs until the relay is told to stop and returns when nothing is left.

Some lines beyond 400: what survival.py and the signals ask of the relay is a few lines each, and belongs to what it
changes.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time

from relay.config.load import ConfigError, Loaded, PortMap
from relay.connection.connection import Connection, Services
from relay.connection.flow import SCRATCH_SIZE
from relay.entry.admission import AccessList, Admit, Limits, Refuse, Sources, access_list, decide, most_connections
from relay.entry.bridges import Bridge, find_bridges
from relay.entry.listeners import BindError, Listener, Listeners
from relay.logs.log import Log
from relay.logs.logfile import log_file_of, same_log_file
from relay.logs.record import Cause, EndPhase, Reason, Record
from relay.manager.activation import Activation
from relay.manager.notifier import Notifier
from relay.net import tcp
from relay.net.deadlines import Deadlines
from relay.net.poller import poller_of
from relay.net.resolver import Resolver
from relay.survival.handover import Handover
from relay.survival.survival import Survival, hand_to

ACCEPT_BATCH = 64  # accepts in one go before other descriptors get their turn
ACCEPT_PAUSE = 1.0  # seconds without accepting when descriptors have run out; any connection's end cuts it short
HOUSEKEEPING = 5.0  # seconds between two looks at bridges, stalled readers and idle connections
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Door:
    """What admission to one map is decided by."""

    access: AccessList
    limits: Limits
    inside: Sources
    keep_alive: tcp.KeepAlive


class Relay:
    """One process' worth of port maps. Create it on its event loop (relay.net.poller.new_event_loop)."""

    def __init__(
        self,
        loaded: Loaded,
        log: Log,
        reload: Callable[[], Loaded] | None = None,
        activation: Activation | None = None,
        handed: Handover | None = None,
    ) -> None:
        self.loaded = loaded
        self.log = log
        self._reload = reload
        self._loop = asyncio.get_running_loop()
        self._poller = poller_of(self._loop)
        self._poller.on_error = self._handler_failed
        self._connections: dict[Connection, tuple[Sources, str]] = {}  # and where each is counted
        self._survival = Survival(self, log, self._loop, loaded, handed)
        if handed is not None:
            activation = activation or Activation()
            hand_to(activation, handed)
        self._listeners = Listeners(self._poller, log, self._accept, activation)
        self._listeners.inherit(self._survival.handed.listeners)
        self._manager = Notifier(self._loop, self._words)
        self._doors: dict[str, Door] = {}
        self._bridges: tuple[Bridge, ...] = ()
        self._stopped = asyncio.Event()
        self._announced = False  # by SIGUSR1: the SIGTERM that follows is not the second
        self._drained = asyncio.Event()
        self._bridge_trouble = ""
        self._unseen: tuple[str, ...] = ()  # what the last look at the bridges could not see, and why
        scratch = memoryview(bytearray(SCRATCH_SIZE))
        deadlines = Deadlines(self._loop, self.fault)
        self.services = Services(
            self._poller,
            deadlines,
            Resolver(self._loop),
            scratch,
            log,
            self._ended,
            self._connections.__len__,
        )
        self.max_connections = 0

    # Life

    def start(self) -> None:
        """Bind every listener, or raise BindError with none left bound."""
        self.max_connections = _descriptor_budget(self.loaded.config.max_connections)
        self._bridges = self._find_bridges()
        try:
            self._listen(self.loaded)
        except BindError:
            self._listeners.close()
            raise
        self._survival.begin()
        self._survival.take_up(self.loaded.config.maps)
        for warning in self.loaded.warnings:
            self.log.event("warning", warning, "WARN")
        self._every(_housekeeping_interval(self.loaded), self._housekeeping)
        self._report_progress()
        self._manager.ready()

    async def serve(self) -> None:
        """Until `stop`; then drains for `drain_timeout` seconds and ends what is left."""
        await self._stopped.wait()
        try:
            async with asyncio.timeout(self.loaded.config.drain_timeout):
                await self._drained.wait()
        except TimeoutError:
            pass
        self._shut_down()

    def drain(self, signal_name: str) -> None:
        """The service is stopped, not restarted: nobody will go on with its sessions. The manager's SIGTERM follows."""
        if not self._stopped.is_set():
            self._announced = True
            self._stop(signal_name, leave=False)

    def stop(self, signal_name: str, at_once: bool = False) -> None:
        """Close the listeners; leave the sessions to the manager or drain.

        A second call, or `at_once`, ends them now.
        """
        announced, self._announced = self._announced, False
        if at_once or (self._stopped.is_set() and not announced):
            self._drained.set()
        if not self._stopped.is_set():
            self._stop(signal_name, leave=not at_once)

    def _stop(self, signal_name: str, leave: bool) -> None:
        self.services.draining = True
        self._listeners.close()
        left = self._survival.leave() if leave else 0
        live = len(self._connections)
        grace = "now" if self._drained.is_set() else f"within {self.loaded.config.drain_timeout:g} s"
        sessions = f"{live} live connection{'s' * (live != 1)} to end {grace}" if live else "no live connections"
        if left:
            sessions += f", {left} left to the service manager: a restart goes on with them, a stop ends them"
        self.log.event("stopping", f"{signal_name}: no new clients, {sessions}", live=live)
        self._manager.stopping(f"stopping: {sessions}")
        if not live:
            self._drained.set()
        self._stopped.set()

    def _shut_down(self) -> None:
        for connection in list(self._connections):
            connection.end(Cause("relay", "policy", Reason.SHUTDOWN))
        self.services.deadlines.close()
        self._manager.close()
        self._survival.close()
        self.log.event("stopped", "every connection has ended or was left to the service manager")

    def bound(self) -> list[tuple[str, int]]:
        """Address and port of every listening socket."""
        return self._listeners.bound()

    def snapshot(self) -> list[Record]:
        """What is known of every live connection now."""
        return [connection.record("progress") for connection in self._connections if connection.up is not None]

    def reload(self) -> None:
        """Read the configuration again; keep the old one, and say so, when anything in it is wrong."""
        if self._reload is None or self._stopped.is_set():
            return
        self._manager.reloading()
        trouble = "reload failed, the log says why"
        try:
            trouble = self._reloaded()
        finally:
            self._manager.ready(trouble)  # whatever comes of it: `systemctl reload` waits for the answer

    def _reloaded(self) -> str:
        """What kept the new configuration from coming into force; "" when nothing did."""
        before, file = self.max_connections, None
        try:
            loaded = self._reload()
            self.max_connections = _descriptor_budget(loaded.config.max_connections)
            if new_file := not same_log_file(loaded.config, self.loaded.config):
                file = log_file_of(loaded.config)
            self._listen(loaded)
        except (ConfigError, BindError) as error:
            self.max_connections = before
            if file is not None:
                file.close()
            trouble = f"refused, the old configuration stays: {error}"
            self.log.event("reload", trouble, "ERROR", ok=False)
            return f"reload {trouble}"
        self.loaded = loaded
        self.log.set_format(loaded.config.log_format)
        if new_file:
            self.log.set_file(file)
        self.log.event("reload", "the new configuration is in force; live sessions are untouched", ok=True)
        for warning in loaded.warnings:
            self.log.event("warning", warning, "WARN")
        return ""

    def _words(self) -> str:
        """What the service manager is told: where it listens, what it dials, how many sessions there are."""
        live = len(self._connections)
        return f"listening on {self._listeners.words()}, {live} live session{'s' * (live != 1)}"

    # From one process to the next: what survival.py asks for

    def living(self) -> list[Connection]:
        """Every connection there is."""
        return list(self._connections)

    def leave_behind(self):
        """The listening sockets, for another program."""
        return self._listeners.leave_behind()

    def adopt(self, connection: Connection, port_map: PortMap) -> None:
        """Count a connection that began in another process."""
        door = self._doors.get(port_map.name) or self._door(port_map)
        source, _ = door.access.look_up(connection.client_address[0])
        self._connections[connection] = (door.inside, source)
        door.inside.opened(source)

    @property
    def stopping(self) -> bool:
        """It was told to go: no time for a new program."""
        return self._stopped.is_set()

    def given_away(self, connection: Connection) -> None:
        """Another process goes on with it: it has not ended, and there is no record."""
        inside, source = self._connections.pop(connection)
        inside.closed(source)

    def upgrade(self) -> None:
        """Become the program that is installed now, if that one can go on."""
        if not self._stopped.is_set():
            self._survival.upgrade()

    def before_exec(self) -> None:
        """A signal between two programs would end the process: it waits until the new one can take it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def exec_failed(self, trouble: str) -> None:
        """There is no new program."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._manager.ready(f"upgrade refused: {trouble}")

    # Listening and admission

    def _listen(self, loaded: Loaded) -> None:
        """Listen where `loaded` says and admit as it says; BindError leaves both as they were."""
        self._listeners.change(loaded.config.maps, self._bridges)
        self._doors = {port_map.name: self._door(port_map) for port_map in loaded.config.maps}

    def _door(self, port_map: PortMap) -> Door:
        """The map's rules of admission as of now; who is inside is carried over."""
        subnets = (bridge.interface.network for bridge in self._bridges)
        limits = Limits(self.max_connections, port_map.max_per_source)
        before = self._doors.get(port_map.name)
        inside = before.inside if before is not None else Sources()
        return Door(access_list(port_map.allow, subnets), limits, inside, tcp.keep_alive_of(port_map))

    # Accepting

    def _accept(self, listener: Listener) -> bool:
        """The poller's handler of a listening socket."""
        for _ in range(ACCEPT_BATCH):
            try:
                sock, address = listener.sock.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    self._pause_accepting(error)
                    break
                continue  # ECONNABORTED and its kin: that client is gone, the next one may not be
            try:
                if listener.map is None:
                    tcp.reset(sock)
                    continue
                sock.setblocking(False)
                self._admit(listener, sock, address)
            except Exception as error:  # noqa: BLE001 (costs this client, not the relay)
                sock.close()
                self._own_fault(error)
        return True

    def _admit(self, listener: Listener, sock: socket.socket, address: tuple) -> None:
        port_map = listener.map
        door = self._doors[port_map.name]
        decision = decide(address[0], door.access, door.limits, len(self._connections), door.inside.counts)
        connection_id = next(self._survival.numbers)
        if not isinstance(decision, Admit):
            self._refuse(port_map, sock, address, listener.place.port, connection_id, decision)
            return
        if not tcp.LINUX:
            tcp.set_options(sock, door.keep_alive)
        connection = Connection(
            self.services, port_map, door.keep_alive, connection_id, sock, address, listener.place.port
        )
        self._connections[connection] = (door.inside, decision.source)
        door.inside.opened(decision.source)
        try:
            connection.start()
        except Exception as error:  # noqa: BLE001 (costs this connection, not the relay)
            self.fault(connection, error)

    def _refuse(self, port_map: PortMap, sock, address, local_port: int, connection_id: str, refusal: Refuse) -> None:
        """Not admitted: one record, and a reset, so that it looks like a refusal and not like a short session."""
        tcp.reset(sock)
        cause = Cause("relay", "policy", Reason(refusal.reason), refusal.detail)
        self.log.write(
            Record(
                "close",
                time(),
                connection_id,
                port_map.name,
                address[0],
                address[1],
                local_port,
                port_map.upstream.host,
                port_map.upstream.port,
                cause=cause,
                phase=EndPhase.HANDSHAKE,
                active=len(self._connections),
            )
        )

    def _ended(self, connection: Connection) -> None:
        inside, source = self._connections.pop(connection)
        inside.closed(source)
        if self._stopped.is_set():
            if not self._connections:
                self._drained.set()
        else:
            self._listeners.resume()

    def _pause_accepting(self, error: OSError) -> None:
        self._listeners.pause()
        live = len(self._connections)
        words = f"no descriptors left ({error.strerror}), {live} connections live; new clients wait"
        self.log.event("accept.paused", words, "WARN")
        self._loop.call_later(ACCEPT_PAUSE, self._listeners.resume)

    # Timers

    def _every(self, seconds: float, what: Callable[[], None]) -> None:
        def tick() -> None:
            if self._stopped.is_set():
                return
            try:
                what()
            finally:
                self._loop.call_later(seconds, tick)

        self._loop.call_later(seconds, tick)

    def _housekeeping(self) -> None:
        now = monotonic()
        for connection in list(self._connections):
            try:
                connection.housekeeping(now)
            except Exception as error:  # noqa: BLE001 (costs this connection, not the relay)
                self.fault(connection, error)
        before, self._bridges = self._bridges, self._find_bridges()
        if self._bridges == before and not self._listeners.bridge_missing:
            return
        try:
            self._listen(self.loaded)
            self._bridge_trouble = ""
        except BindError as error:
            self._bridges = before  # so that the next round tries again
            if str(error) != self._bridge_trouble:
                self._bridge_trouble = str(error)
                self.log.event("bridge", f"a container bridge has changed, but {error}; trying again", "WARN")

    def _find_bridges(self) -> tuple[Bridge, ...]:
        """The container bridges of now. A look that failed in part is no news of what it did not see: that stays."""
        survey = find_bridges()
        if survey.why != self._unseen:
            self._unseen = survey.why
            if survey.why:
                self.log.event("bridge", "not all container bridges can be seen: " + "; ".join(survey.why))
        if not survey.why:
            return survey.bridges
        return tuple(dict.fromkeys((*self._bridges, *survey.bridges)))

    def _report_progress(self) -> None:
        interval = self.loaded.config.log_interval

        def tick() -> None:
            if self._stopped.is_set():
                return
            for record in self.snapshot():
                self.log.write(record)
            self._report_progress()

        self._loop.call_later(interval or HOUSEKEEPING, tick if interval else self._report_progress)

    def _handler_failed(self, fd: int, error: Exception) -> None:
        """A fault of ours in a data-path handler costs the connection it belongs to, never the relay."""
        culprit = next((one for one in self._connections if fd in _descriptors(one)), None)
        if culprit is not None:
            self.fault(culprit, error)
            return
        self._own_fault(error)
        if fd not in self._listeners:
            self._poller.unwatch(fd)  # nobody's: it would be reported for ever

    def _own_fault(self, error: Exception) -> None:
        self.log.event("fault", f"{type(error).__name__}: {error}", "ERROR", where=_last_line(error))

    def fault(self, connection: Connection, error: Exception) -> None:
        """A fault of ours costs the connection it belongs to."""
        where = _last_line(error)
        words = f"{type(error).__name__} in connection {connection.connection_id} at {where}: {error}"
        self.log.event("fault", words, "ERROR", where=where)
        connection.end(Cause("relay", "error", Reason.INTERNAL_ERROR, f"{type(error).__name__} at {where}"), True, True)


async def run_relay(
    loaded: Loaded,
    log: Log,
    reload: Callable[[], Loaded] | None,
    activation: Activation | None = None,
    handed: Handover | None = None,
) -> None:
    """Start, serve until SIGTERM, SIGINT or a second signal, and return; BindError when it cannot listen."""
    relay = Relay(loaded, log, reload, activation, handed)
    loop = asyncio.get_running_loop()
    # A turn later: where both wait for a busy process, the kernel runs the handler of the SIGUSR1 that came before it
    # last.
    loop.add_signal_handler(signal.SIGTERM, loop.call_soon, relay.stop, "SIGTERM")
    loop.add_signal_handler(signal.SIGINT, relay.stop, "SIGINT", True)
    loop.add_signal_handler(signal.SIGHUP, relay.reload)
    loop.add_signal_handler(signal.SIGUSR1, relay.drain, "SIGUSR1")
    loop.add_signal_handler(signal.SIGUSR2, relay.upgrade)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    relay.start()
    await relay.serve()


def _housekeeping_interval(loaded: Loaded) -> float:
    """Three looks within the shortest user time-out: a reader that does not read must be spared in time."""
    bounds = [port_map.user_timeout for port_map in loaded.config.maps if port_map.user_timeout]
    return min([HOUSEKEEPING, *(bound / 3 for bound in bounds)])


def _descriptor_budget(wanted: int) -> int:
    """Connections the open-files limit allows; raises the soft limit to the hard one first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if sys.platform == "darwin":
        hard = min(hard, 10_240) if hard != resource.RLIM_INFINITY else 10_240  # OPEN_MAX: setrlimit refuses more
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    return most_connections(wanted, soft if soft != resource.RLIM_INFINITY else 1 << 20)


def _descriptors(connection: Connection) -> tuple[int, ...]:
    sockets = (
        connection.client,
        connection.upstream,
        getattr(connection.opening and connection.opening.dial, "sock", None),
    )
    return tuple(sock.fileno() for sock in sockets if sock is not None)


def _last_line(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}" if frame else ""
