"""The relay as a whole: accepts, admits, keeps the set of live connections, reloads, drains and stops.

The accept handlers only accept. Everything else has one owner: a Connection its two sockets, the Relay its listeners,
its set of connections and its timers. `serve` runs until the relay is told to stop and returns when nothing is left.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING

from relay.config.load import ConfigError, Loaded, PortMap
from relay.connection.connection import Connection
from relay.connection.flow import SCRATCH_SIZE, Flow
from relay.connection.opening import Opening
from relay.connection.services import Services
from relay.entry.admission import Admit, Limits, MapAdmission, Refuse, Sources, access_list, decide
from relay.entry.descriptors import descriptor_budget
from relay.entry.listeners import BindError, Listener, Listeners, Unclaimed
from relay.logs.logfile import log_file_of, same_log_file
from relay.logs.record import Cause, EndPhase, Reason, Record
from relay.manager.activation import Activation
from relay.manager.notifier import Notifier
from relay.net import tcp
from relay.net.deadlines import Deadlines, Expires
from relay.net.poller import poller_of
from relay.net.resolver import Resolver
from relay.survival.handover import Handover
from relay.survival.survival import RelayHooks, Survival, hand_to
from relay.upkeep import Upkeep, UpkeepHooks

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

ACCEPT_BATCH = 64  # accepts in one go before other descriptors get their turn
ACCEPT_PAUSE = 1.0  # seconds without accepting when descriptors have run out; any connection's end cuts it short
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Relay:
    """One process' worth of port maps. Create it on its event loop (relay.net.poller.new_event_loop)."""

    def __init__(
        self,
        loaded: Loaded,
        log: RelayLog,
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
        self._stopped = asyncio.Event()
        self._announced = False  # by SIGUSR1: the SIGTERM that follows is not the second
        self._drained = asyncio.Event()
        self.services = Services(
            self._poller,
            Deadlines(self._loop, self._deadline_failed),
            Resolver(self._loop),
            memoryview(bytearray(SCRATCH_SIZE)),
            log,
            self._ended,
            self._connections.__len__,
        )
        self._survival = Survival(self._survival_hooks(), log, self._loop, loaded, handed)
        if handed is not None:
            activation = activation or Activation()
            hand_to(activation, handed)
        self._listeners = Listeners(self._poller, log, self._accept, activation)
        self._listeners.inherit(self._survival.handed.listeners)
        self.upkeep = Upkeep(self._upkeep_hooks(), log, self._loop)
        self._notifier = Notifier(self._loop, self._status)
        self._admissions: dict[str, MapAdmission] = {}
        self.max_connections = 0

    def _survival_hooks(self) -> RelayHooks:
        return RelayHooks(
            services=self.services,
            connections=self.connections,
            adopt=self.adopt,
            given_away=self.given_away,
            fault=self.fault,
            leave_behind=lambda: self._listeners.leave_behind(),  # noqa: PLW0108 (it comes later)
            stopping=self._stopped.is_set,
            upgrade_refused=self.upgrade_refused,
        )

    def _upkeep_hooks(self) -> UpkeepHooks:
        return UpkeepHooks(
            loaded=lambda: self.loaded,
            connections=self.connections,
            snapshot=self.snapshot,
            fault=self.fault,
            listen=lambda: self._listen(self.loaded),
            missing=lambda: self._listeners.bridge_missing,
            stopped=self._stopped.is_set,
        )

    # Life

    def start(self) -> None:
        """Bind every listener, or raise BindError with none left bound."""
        self.max_connections = descriptor_budget(self.loaded.config.max_connections)
        self.upkeep.look_at_bridges()
        try:
            self._listen(self.loaded)
        except BindError:
            self._listeners.close()
            raise
        self._survival.begin()
        self._survival.take_up(self.loaded.config.maps)
        for warning in self.loaded.warnings:
            self.log.event("warning", warning, "WARN")
        self.upkeep.start()
        self._notifier.ready()

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
        self._notifier.stopping(f"stopping: {sessions}")
        if not live:
            self._drained.set()
        self._stopped.set()

    def _shut_down(self) -> None:
        for connection in list(self._connections):
            connection.end(Cause("relay", "policy", Reason.SHUTDOWN))
        self.services.deadlines.close()
        self._notifier.close()
        self._survival.close()
        self.log.event("stopped", "every connection has ended or was left to the service manager")

    def bound(self) -> list[tuple[str, int]]:
        """Address and port of every listening socket."""
        return self._listeners.bound()

    def snapshot(self) -> list[Record]:
        """What is known now of every connection that has reached its gateway."""
        return [connection.record("progress") for connection in self._connections if connection.up is not None]

    def reload(self) -> None:
        """Read the configuration again; keep the old one, and say so, when anything in it is wrong."""
        if self._reload is None or self._stopped.is_set():
            return
        self._notifier.reloading()
        trouble = "reload failed, the log says why"
        try:
            trouble = self._reloaded(self._reload)
        finally:
            self._notifier.ready(trouble)  # whatever comes of it: `systemctl reload` waits for the answer

    def _reloaded(self, read: Callable[[], Loaded]) -> str:
        """What kept the new configuration from coming into force; "" when nothing did."""
        before, file = self.max_connections, None
        try:
            loaded = read()
            self.max_connections = descriptor_budget(loaded.config.max_connections)
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

    def _status(self) -> str:
        """What the service manager is told: where it listens, what it dials, how many sessions there are."""
        live = len(self._connections)
        return f"listening on {self._listeners.summary()}, {live} live session{'s' * (live != 1)}"

    # From one process to the next: what survival asks for

    def connections(self) -> list[Connection]:
        """Every connection there is."""
        return list(self._connections)

    def adopt(self, connection: Connection, port_map: PortMap) -> None:
        """Count a connection that began in another process."""
        admission = self._admissions.get(port_map.name) or self._admission(port_map)
        source, _ = admission.access.look_up(connection.client_address[0])
        self._connections[connection] = (admission.inside, source)
        admission.inside.opened(source)

    def given_away(self, connection: Connection) -> None:
        """Another process goes on with it: it has not ended, and there is no record."""
        inside, source = self._connections.pop(connection)
        inside.closed(source)

    def upgrade(self) -> None:
        """Become the program that is installed now, if that one can go on."""
        if not self._stopped.is_set():
            self._survival.upgrade()

    def upgrade_refused(self, trouble: str) -> None:
        """The old program goes on: tell the manager why."""
        self._notifier.ready(f"upgrade refused: {trouble}")

    # Listening and admission

    def _listen(self, loaded: Loaded) -> None:
        """Listen where `loaded` says and admit as it says; BindError leaves both as they were."""
        self._listeners.change(loaded.config.maps, self.upkeep.bridges)
        self._admissions = {port_map.name: self._admission(port_map) for port_map in loaded.config.maps}

    def _admission(self, port_map: PortMap) -> MapAdmission:
        """The map's rules of admission as of now; who is inside is carried over."""
        subnets = (bridge.interface.network for bridge in self.upkeep.bridges)
        limits = Limits(self.max_connections, port_map.max_per_source)
        before = self._admissions.get(port_map.name)
        inside = before.inside if before is not None else Sources()
        return MapAdmission(access_list(port_map.allow, subnets), limits, inside, tcp.keep_alive_of(port_map))

    # Accepting

    def _accept(self, listener: Listener | Unclaimed) -> bool:
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
                if isinstance(listener, Unclaimed):
                    tcp.reset(sock)
                    continue
                sock.setblocking(False)
                self._admit(listener.map, sock, address, listener.place.port)
            except Exception as error:  # noqa: BLE001 (costs this client, not the relay)
                sock.close()
                self._own_fault(error)
        return True

    def _admit(self, port_map: PortMap, sock: socket.socket, address: tuple[str, int], local_port: int) -> None:
        admission = self._admissions[port_map.name]
        live = len(self._connections)
        decision = decide(address[0], admission.access, admission.limits, live, admission.inside.counts)
        connection_id = next(self._survival.numbers)
        if not isinstance(decision, Admit):
            self._refuse(port_map, sock, address, local_port, connection_id, decision)
            return
        if not tcp.LINUX:
            tcp.set_options(sock, admission.keep_alive)
        connection = Connection(self.services, port_map, admission.keep_alive, connection_id, sock, address, local_port)
        self._connections[connection] = (admission.inside, decision.source)
        admission.inside.opened(decision.source)
        try:
            connection.start()
        except Exception as error:  # noqa: BLE001 (costs this connection, not the relay)
            self.fault(connection, error)

    def _refuse(
        self,
        port_map: PortMap,
        sock: socket.socket,
        address: tuple[str, int],
        local_port: int,
        connection_id: str,
        refusal: Refuse,
    ) -> None:
        """Not admitted: one record, and a reset, so that it looks like a refusal and not like a short session."""
        tcp.reset(sock)
        self.log.write(
            Record(
                event="close",
                at=time(),
                connection_id=connection_id,
                map_name=port_map.name,
                client_address=address[0],
                client_port=address[1],
                local_port=local_port,
                server_address=port_map.upstream.host,
                server_port=port_map.upstream.port,
                cause=Cause("relay", "policy", refusal.reason, refusal.detail),
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
        message = f"no descriptors left ({error.strerror}), {live} connections live; new clients wait"
        self.log.event("accept.paused", message, "WARN")
        self._loop.call_later(ACCEPT_PAUSE, self._listeners.resume)

    # Faults of ours

    def _handler_failed(self, fd: int, error: Exception) -> None:
        """A fault of ours in a data-path handler costs the connection it belongs to, never the relay."""
        culprit = next((connection for connection in self._connections if fd in _descriptors(connection)), None)
        if culprit is not None:
            self.fault(culprit, error)
            return
        self._own_fault(error)
        if fd not in self._listeners:
            self._poller.unwatch(fd)  # nobody's: it would be reported for ever

    def _deadline_failed(self, who: Expires, error: Exception) -> None:
        owner = who.owner if isinstance(who, Flow) else who
        if isinstance(owner, Connection):
            self.fault(owner, error)
        else:
            self._own_fault(error)

    def _own_fault(self, error: Exception) -> None:
        self.log.event("fault", f"{type(error).__name__}: {error}", "ERROR", where=_last_line(error))

    def fault(self, connection: Connection, error: Exception) -> None:
        """A fault of ours costs the connection it belongs to."""
        where = _last_line(error)
        message = f"{type(error).__name__} in connection {connection.connection_id} at {where}: {error}"
        self.log.event("fault", message, "ERROR", where=where)
        connection.end(Cause("relay", "error", Reason.INTERNAL_ERROR, f"{type(error).__name__} at {where}"), True, True)


def _descriptors(connection: Connection) -> tuple[int, ...]:
    """All that may have a handler of this connection."""
    opening = connection.phase if isinstance(connection.phase, Opening) else None
    dialled = opening.dial.sock if opening is not None and opening.dial is not None else None
    return tuple(sock.fileno() for sock in (connection.client, connection.upstream, dialled) if sock is not None)


def _last_line(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}" if frame else ""
