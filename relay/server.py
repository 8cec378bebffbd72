"""The relay as a whole: ties its parts together, reloads, drains and stops.

Everything has one owner: a Connection its two sockets, the Acceptor the set of connections, the Relay its listeners and
its timers. `serve` runs until the relay is told to stop and returns when nothing is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from relay.acceptor import Acceptor, AcceptorHooks
from relay.config.limits import admitted
from relay.config.load import ConfigError, Loaded
from relay.connection.connection import Connection
from relay.connection.flow import SCRATCH_SIZE, Flow
from relay.connection.opening import Opening
from relay.connection.services import Services
from relay.entry.descriptors import open_files_at_start, raised_open_files
from relay.entry.listen_address import BindError, Names, look_up
from relay.entry.listeners import Listeners
from relay.latency import LatencyInForce
from relay.logs.brake import Brake
from relay.logs.logfile import LogFile, log_file_of, same_log_file
from relay.logs.record import Cause, Reason, Record
from relay.manager import systemd
from relay.manager.activation import Activation
from relay.manager.notifier import Notifier
from relay.net.aside import aside
from relay.net.deadlines import Deadlines, Expires
from relay.net.poller import poller_of
from relay.net.resolver import Resolver
from relay.survival.handover import Handover
from relay.survival.survival import RelayHooks, Survival, hand_to
from relay.upkeep import Upkeep, UpkeepHooks

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

RELOAD_WAIT = 60.0  # seconds; a name server that does not answer is given up by glibc after 10 to 30


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
        self._loop.set_exception_handler(self._loop_failed)
        self._stopped, self._drained = asyncio.Event(), asyncio.Event()
        self._asked: list[Callable[[], object]] | None = []  # while it starts or reloads: what is to be done afterwards
        self._reloading: asyncio.Task[None] | None = None
        self._names: Names = {}  # where the names in `listen` lead
        self._announced = False  # by SIGUSR1: the SIGTERM that follows is not the second
        self._brake = Brake(log)
        self.services = self._services()
        self._acceptor = Acceptor(self.services, self._acceptor_hooks(), log, self._loop)
        start_files = open_files_at_start(handed is not None)
        self._survival = Survival(self._survival_hooks(), log, self._loop, loaded, handed, start_files)
        if handed is not None:
            activation = activation or Activation()
            hand_to(activation, handed)
        self._listeners = Listeners(self._poller, log, self._acceptor.accept, activation)
        self._listeners.inherit((*self._survival.handed.listeners, *self._survival.kept_listening))
        self.upkeep = Upkeep(self._upkeep_hooks(), log, self._loop)
        self._notifier = Notifier(self._loop, self._status)
        self._latency = LatencyInForce(self._poller, log, self._loop)
        self.max_connections = 0

    def _services(self) -> Services:
        return Services(
            self._poller,
            Deadlines(self._loop, self._deadline_failed),
            Resolver(self._loop),
            memoryview(bytearray(SCRATCH_SIZE)),
            self._brake,
            self._ended,
            lambda: len(self._acceptor),
        )

    def _acceptor_hooks(self) -> AcceptorHooks:
        return AcceptorHooks(
            number=lambda: next(self._survival.numbers),
            look_again=lambda: self.upkeep.look_soon(),  # noqa: PLW0108 (it comes later)
            pause=lambda: self._listeners.pause(),  # noqa: PLW0108 (they come later)
            resume=lambda: self._listeners.resume(),  # noqa: PLW0108
            fault=self.fault,
            own_fault=self._own_fault,
            owner_of=self._owner_of,
        )

    def _survival_hooks(self) -> RelayHooks:
        return RelayHooks(
            services=self.services,
            connections=self._acceptor.live,
            adopt=self._acceptor.adopt,
            given_away=self._acceptor.forget,
            fault=self.fault,
            leave_behind=lambda: self._listeners.leave_behind(),  # noqa: PLW0108 (it comes later)
            reloaded=self._reloaded,
            stopping=self._stopped.is_set,
            upgrade_refused=self.upgrade_refused,
        )

    def _upkeep_hooks(self) -> UpkeepHooks:
        return UpkeepHooks(
            loaded=lambda: self.loaded,
            connections=self._acceptor.live,
            snapshot=self.snapshot,
            write=self._brake.write,
            settle=self._brake.settle,
            fault=self.fault,
            listen=self._follow_bridges,
            missing=lambda: self._listeners.bridge_missing,
            looked=self._acceptor.decide_again,
            stopped=self._stopped.is_set,
        )

    # Life

    async def start(self) -> None:
        """Go on with the sessions there are, then bind every listener, or raise BindError with none left bound."""
        self._survival.begin()
        self.max_connections = self._budget(self.loaded)
        self.upkeep.look_at_bridges()
        self._admit(self.loaded)
        self._survival.take_up(self.loaded.config.maps)
        self._names = await self._look_up(self.loaded)
        if self._stopped.is_set():
            return
        try:
            self._change_listeners(self.loaded, self._names)
        except BindError:
            self._listeners.close()
            raise
        self._warn()
        self._latency.put(self.loaded.config.latency)
        self.upkeep.start(self._poller)
        self._notifier.ready()
        self._do_what_was_asked()

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
        self.upkeep.close()
        self._listeners.close()
        left = self._survival.leave() if leave else 0
        live = len(self._acceptor)
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
        for connection in self._acceptor.live():
            connection.end(Cause("relay", "policy", Reason.SHUTDOWN))
        self.services.deadlines.close()
        self._latency.close()
        self._notifier.close()
        self._survival.close()
        self._brake.settle(at_once=True)
        self.log.event("stopped", "every connection has ended or was left to the service manager")

    def bound(self) -> list[tuple[str, int]]:
        """Address and port of every listening socket."""
        return self._listeners.bound()

    def snapshot(self) -> list[Record]:
        """What is known now of every connection that has reached its gateway."""
        return [connection.record("progress") for connection in self._acceptor.live() if connection.up is not None]

    def reload(self) -> asyncio.Task[None] | None:
        """Read the configuration again; keep the old one, and say so, when anything in it is wrong.

        Disks and name servers are waited for beside the loop; the task is over when the new one is in force, or not.
        """
        if self._reload is None or self._stopped.is_set() or self._is_later(self.reload):
            return None
        self._asked = []
        self._notifier.reloading()
        self._reloading = self._loop.create_task(self._reload_with(self._reload), name="reload")
        return self._reloading

    async def _reload_with(self, read: Callable[[], Loaded]) -> None:
        trouble = "reload failed, the log says why"
        try:
            async with asyncio.timeout(RELOAD_WAIT):
                loaded, file = await aside(lambda: self._read(read), "reload")
                names = await self._look_up(loaded)
            if not self._stopped.is_set():
                trouble = self._in_force(loaded, file, names)
            elif file is not None:
                file.close()
        except TimeoutError:
            trouble = self._refused(f"no disk or name server answered in {RELOAD_WAIT:g} s")
        except ConfigError as error:
            trouble = self._refused(str(error))
        except Exception as error:  # noqa: BLE001 (a fault of ours costs this reload)
            self._own_fault(error)
        if not self._stopped.is_set():
            self._notifier.ready(trouble)  # whatever comes of it: `systemctl reload` waits for the answer
            self._do_what_was_asked()

    async def _reloaded(self) -> None:
        while self._reloading is not None and not self._reloading.done():
            await asyncio.wait([self._reloading])

    def _read(self, read: Callable[[], Loaded]) -> tuple[Loaded, LogFile | None]:
        """The configuration as it is now, and its log file if that is another one. Waits for disks."""
        loaded = read()
        return loaded, None if same_log_file(loaded.config, self.loaded.config) else log_file_of(loaded.config)

    async def _look_up(self, loaded: Loaded) -> Names:
        named = self._listeners.named(loaded.config.maps)
        return await aside(lambda: look_up(named), "look-up") if named else {}

    def _is_later(self, what: Callable[[], object]) -> bool:
        """Is this to wait until what is under way is over? Once is enough."""
        if self._asked is None:
            return False
        if what not in self._asked:
            self._asked.append(what)
        return True

    def _do_what_was_asked(self) -> None:
        asked, self._asked = self._asked or (), None
        for what in asked:
            what()

    def _refused(self, why: str) -> str:
        trouble = f"refused, the old configuration stays: {why}"
        self.log.event("reload", trouble, "ERROR", ok=False)
        return f"reload {trouble}"

    def _in_force(self, loaded: Loaded, file: LogFile | None, names: Names) -> str:
        """What kept the new configuration from coming into force; "" when nothing did."""
        before, new_file = self.max_connections, not same_log_file(loaded.config, self.loaded.config)
        try:
            self.max_connections = self._budget(loaded)
            self._change_listeners(loaded, names)
        except BindError as error:
            self.max_connections = before
            if file is not None:
                file.close()
            return self._refused(str(error))
        self._admit(loaded)
        self.loaded, self._names = loaded, names
        self._latency.put(loaded.config.latency)
        self.log.set_format(loaded.config.log_format)
        if new_file:
            self.log.set_file(file)
        self.log.event("reload", "the new configuration is in force; live sessions are untouched", ok=True)
        self._warn()
        return ""

    def _warn(self) -> None:
        """Of what is allowed by the configuration in force and probably not what was meant."""
        for warning in (*self.loaded.warnings, *self._survival.shortage_ahead(self.max_connections)):
            self.log.event("warning", warning, "WARN")

    def _status(self) -> str:
        """What the service manager is told: where it listens, what it dials, how many sessions there are."""
        live, outside = len(self._acceptor), self._survival.shortage.count
        sessions = f"{live} live session{'s' * (live != 1)}"
        if outside:
            sessions += f", {outside} of them not kept: they end at a restart"
        return f"listening on {self._listeners.summary()}, {sessions}"

    # From one process to the next: what survival asks for

    def upgrade(self) -> None:
        """Become the program that is installed now, if that one can go on."""
        if not self._stopped.is_set() and not self._is_later(self.upgrade):
            self._brake.settle(at_once=True)
            self._survival.upgrade()

    def upgrade_refused(self, trouble: str) -> None:
        """The old program goes on: tell the manager why."""
        self._notifier.ready(f"upgrade refused: {trouble}")

    def _ended(self, connection: Connection) -> None:
        self._acceptor.forget(connection)
        if self._stopped.is_set():
            if not len(self._acceptor):
                self._drained.set()
        else:
            self._listeners.resume()

    # Listening and admission

    def _budget(self, loaded: Loaded) -> int:
        wanted, keeps = loaded.config.max_connections, self._survival.keeper is not None
        return admitted(wanted, raised_open_files(), systemd.managed(), keeps)

    def _admit(self, loaded: Loaded) -> None:
        self._acceptor.admit_as(loaded.config.maps, self.upkeep.bridges, self.max_connections)

    def _follow_bridges(self) -> None:
        """Admit from the bridges of now, whether they can be listened on or not: there are other ways in."""
        self._admit(self.loaded)
        self._change_listeners(self.loaded, self._names)

    def _change_listeners(self, loaded: Loaded, names: Names) -> None:
        """Listen where `loaded` says; BindError leaves all as it was."""
        self._listeners.change(loaded.config.maps, self.upkeep.bridges, loaded.config.follow_bridges, names)
        self._survival.keep_listeners(self._listeners.leave_behind()[0])

    # Faults of ours

    def _handler_failed(self, fd: int, error: Exception) -> None:
        """A fault of ours in a data-path handler costs the connection it belongs to, never the relay."""
        culprit = self._owner_of(fd)
        if culprit is not None:
            self.fault(culprit, error)
            return
        self._own_fault(error)
        if fd not in self._listeners:
            self._poller.unwatch(fd)  # nobody's: it would be reported for ever

    def _owner_of(self, fd: int) -> Connection | None:
        return next((connection for connection in self._acceptor.live() if fd in _descriptors(connection)), None)

    def _deadline_failed(self, who: Expires, error: Exception) -> None:
        owner = who.owner if isinstance(who, Flow) else who
        if isinstance(owner, Connection):
            self.fault(owner, error)
        else:
            self._own_fault(error)

    def _loop_failed(self, _loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Of a timer or a task. asyncio itself would write it to standard error, where a full pipe stops everything."""
        error = context.get("exception")
        self._own_fault(error if isinstance(error, Exception) else RuntimeError(context["message"]))

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
