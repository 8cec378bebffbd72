"""How the sessions of a relay outlive it: taking them up at the start, leaving them at the end, upgrading in place.

Three roads lead from one process to the next, and all end in `take_up`:

    the service manager's store   after a kill, a crash or a restart; what is kept there, and when: keep.py
    execve                        an upgrade in place, with or without a manager: handover.py
    nothing                       a first start

Where a manager keeps descriptors, bytes are moved by PeekFlows, which never hold a byte; elsewhere by Flows, for which
execve carries over the few that wait for a slow reader. Without a manager that keeps descriptors, nothing is paid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from time import gmtime, monotonic, strftime
from typing import TYPE_CHECKING, NamedTuple

from relay.config.addresses import Upstream
from relay.config.keys import Protocol
from relay.config.load import Loaded, PortMap
from relay.connection.connection import Connection
from relay.connection.flow import Flow
from relay.connection.peek_flow import PeekFlow
from relay.connection.services import Services
from relay.entry.listen_address import listen_addresses, look_up
from relay.entry.listeners import bind_or_explain
from relay.manager import systemd
from relay.manager.activation import Activation
from relay.net import offsets, tcp
from relay.net.aside import aside
from relay.net.signals import hold_signals, let_signals_in
from relay.survival import fdstore, handover, inflight
from relay.survival.checkpoint import Checkpoint
from relay.survival.fdstore import StoreKeeper
from relay.survival.handover import Handover, SavedSession
from relay.survival.inflight import Entry, InFlight
from relay.survival.kept import PARTS, kept_of
from relay.survival.kept_listeners import Bound, KeptListeners
from relay.survival.numbers import Numbers
from relay.survival.resume import go_on, restore
from relay.survival.shortage import Shortage, outlived, shortage_ahead
from relay.survival.state import ConnectionState, InvalidState, from_json, state_of

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

RETRY = 0.25  # seconds until a manager that had no time is asked again
LEAVE_WAIT = 1.0  # seconds for one message to the manager on the way out; then the rest is given up
FLUSH_WAIT = 0.1  # seconds the last log lines may hold up an upgrade
TURNS_TO_HEAR = 6  # of the loop: asyncio needs two from a signal to its handler, and SIGTERM's takes one more
BARRIER_WAIT = 10.0  # seconds the manager may take to work off its queue before this process is gone


HandedOver = tuple[tuple[str, str, int], ...]  # manager, its name for it, descriptor


class RelayHooks(NamedTuple):
    """What survival asks of the relay whose sessions are to outlive it."""

    services: Services
    connections: Callable[[], list[Connection]]
    adopt: Callable[[Connection, PortMap], None]  # count a connection that began in another process
    given_away: Callable[[Connection], None]  # another process goes on with it: it has not ended, there is no record
    fault: Callable[[Connection, Exception], None]  # of ours, which costs this connection
    leave_behind: Callable[[], tuple[tuple[Bound, ...], HandedOver]]  # the listening sockets, for another program
    reloaded: Callable[[], Awaitable[None]]  # waits for a reload that is under way
    stopping: Callable[[], bool]  # it was told to go: no time for a new program
    upgrade_refused: Callable[[str], None]  # and why


class Survival:
    """One relay's past and future."""

    def __init__(
        self,
        relay: RelayHooks,
        log: RelayLog,
        loop: asyncio.AbstractEventLoop,
        loaded: Loaded,
        handed: Handover | None,
        open_files: int,
    ) -> None:
        """`open_files` is the limit this process was started with."""
        self._relay = relay
        self._log = log
        self._loop = loop
        self._upgrading: asyncio.Task[None] | None = None
        self._stored = systemd.take_stored()
        self._kept_listeners = KeptListeners()
        self.kept_listening = self._kept_listeners.take(self._stored)  # by an earlier process
        self._ends = inflight.take_ends(self._stored)  # an earlier process' own
        self._inflight = InFlight(self._ends) if self._ends else None
        self.handed = handed if handed is not None else Handover()
        self._upgraded = handed is not None
        self._wanted = loaded.config.survive and offsets.SUPPORTED
        self.keeper: StoreKeeper | None = None
        self._open_files = open_files
        self.shortage = Shortage(log, lambda count: self.numbers.note_not_kept(count))  # noqa: PLW0108 (they change)
        self._begun = False
        self._listening: tuple[Bound, ...] = ()
        self._owes_listeners: asyncio.TimerHandle | None = None
        self.numbers = Numbers("")

    # The start

    def begin(self) -> None:
        """Before the first connection: find out whether sessions can be kept, and so how their bytes are moved."""
        if self._wanted and fdstore.manager_keeps():
            room = fdstore.room(self._open_files, len(self._relay.leave_behind()[1]))
            self.keeper = StoreKeeper(self._loop, room, self.shortage.changed, inflight=self._inflight)
            self._give_queues(self._ends)
        self._begun = True
        services = self._relay.services
        services.keeper, services.flow = self.keeper, Flow if self.keeper is None else PeekFlow
        self.numbers = self._numbers()

    def _give_queues(self, has: Iterable[str]) -> None:
        """What is put into them outlives us only if the manager has both ends of each."""
        if self.keeper is not None:
            files = {name: fd for name, fd in self.keeper.inflight.files.items() if name not in has}
            systemd.unstore(files, LEAVE_WAIT)
            systemd.store(files, LEAVE_WAIT)

    def shortage_ahead(self, max_connections: int) -> tuple[str, ...]:
        """What is to be said where more are let in than can be kept."""
        return () if self.keeper is None else shortage_ahead(max_connections, self.keeper.room)

    def keep_listeners(self, listening: Iterable[Bound]) -> None:
        """These are the sockets the relay has bound itself; they outlive it if sessions do."""
        self._listening = tuple(listening)
        if self._begun and self._owes_listeners is None:
            self._give_listeners()

    def _give_listeners(self) -> None:
        self._owes_listeners = None
        if not self._kept_listeners.keep(self._listening if self.keeper is not None else ()):
            self._owes_listeners = self._loop.call_later(RETRY, self._give_listeners)

    def _numbers(self) -> Numbers:
        boot = strftime("%Y%m%dT%H%M%S", gmtime())
        kept = self._stored.pop(fdstore.NUMBERS, None) if self.handed.numbers is None else self.handed.numbers
        if kept is not None:
            with contextlib.suppress(OSError, ValueError):
                return Numbers(boot, fd=kept)
        numbers = Numbers(self.handed.boot or boot, self.handed.following, shared=self.keeper is not None)
        if numbers.fd is not None:
            systemd.unstore([fdstore.NUMBERS], LEAVE_WAIT)
            systemd.store({fdstore.NUMBERS: numbers.fd}, LEAVE_WAIT)
        return numbers

    def take_up(self, maps: tuple[PortMap, ...]) -> None:
        """Go on with every session that was left to us; what cannot go on ends, and the log says why."""
        sessions = list(self.handed.sessions) + self._from_store()
        live = sum(self._take_up(session, maps) for session in sessions)
        unkept = 0 if self._upgraded else self.numbers.ended_unkept
        if sessions or unkept:
            how = "the upgrade" if self._upgraded else "a restart"
            since = self.handed.since
            pause = "" if since is None else f", after a pause of {(monotonic() - since) * 1000:.0f} ms"
            lost = len(sessions) - live
            message = outlived(live, lost, unkept, how, pause)
            self._log.event("resumed", message, "WARN" if lost or unkept else "INFO", live=live, lost=lost + unkept)
        self.handed = Handover()
        if self._inflight is not None and self.keeper is None:
            systemd.unstore(inflight.NAMES, LEAVE_WAIT)
            self._inflight.close()

    def _from_store(self) -> list[SavedSession]:
        """What the manager kept and what was in flight, put together; incomplete sessions are closed and named."""
        found, others = fdstore.sort(self._stored)
        self._stored = {}
        sessions = self._from_flight(found)
        for connection_id, parts in sorted(found.items()):
            try:
                checkpoint = Checkpoint(parts.pop("slate"))
                state = from_json(checkpoint.read()[0])
                if "client" not in parts or (state.up is not None and "upstream" not in parts):
                    raise InvalidState(f"only {', '.join(sorted(parts)) or 'nothing'} of it was kept")
                sessions.append(SavedSession(state, parts["client"], parts.get("upstream"), checkpoint))
            except (KeyError, OSError, ValueError) as error:
                self._lost(connection_id, error, [fd for part, fd in parts.items() if part != "slate"])
        for fd in others.values():
            os.close(fd)
        if others:
            systemd.unstore(others)
        return sessions

    def _from_flight(self, stored: dict[str, dict[str, int]]) -> list[SavedSession]:
        """The young ones. Those that were about to be stored are still young; what `stored` has of them is dropped."""
        if self._inflight is None:
            return []
        sessions = []
        for connection_id, young in self._inflight.look().items():
            if twice := stored.pop(connection_id, {}):
                for fd in twice.values():
                    os.close(fd)
                systemd.unstore([f"{connection_id}.{part}" for part in twice])
            try:
                sessions.append(_in_flight(young))
            except (OSError, ValueError) as error:
                self._lost(connection_id, error, young.fds[-2:])
        return sessions

    def _take_up(self, session: SavedSession, maps: tuple[PortMap, ...]) -> bool:
        """Go on with this one; False when it cannot."""
        state, checkpoint = session.state, session.checkpoint
        client = socket.socket(fileno=session.client)
        upstream = socket.socket(fileno=session.upstream) if session.upstream is not None else None
        port_map = _map_of(state, maps)
        try:
            progress = checkpoint.read()[1] if checkpoint is not None and not self._upgraded else None
            connection = restore(self._relay.services, port_map, state, progress, client, upstream)
            self._relay.adopt(connection, port_map)
        except (OSError, InvalidState, ValueError) as error:
            for sock in (client, upstream):
                if sock is not None:
                    tcp.reset(sock)
            self._lost(state.connection_id, error, ())
            return False
        try:
            self._keep_on(connection, session)
            go_on(connection, state)
        except Exception as error:  # noqa: BLE001 (costs this session, not the others)
            self._relay.fault(connection, error)
        return True

    def _keep_on(self, connection: Connection, session: SavedSession) -> None:
        """Who has copies has them still; without an upstream, or without a need, they are asked back."""
        if session.checkpoint is None:
            return
        if self.keeper is not None and connection.up is not None:
            self.keeper.adopt(connection, session.checkpoint, session.stored)
            return
        session.checkpoint.close()
        if self.keeper is not None:
            self.keeper.forget(connection.connection_id)
        else:
            systemd.unstore([f"{connection.connection_id}.{part}" for part in PARTS])

    def _lost(self, connection_id: str, error: Exception, files: Iterable[int]) -> None:
        for fd in files:
            with contextlib.suppress(OSError):
                tcp.reset(socket.socket(fileno=fd))
        systemd.unstore([f"{connection_id}.{part}" for part in PARTS])
        if self._inflight is not None:
            self._inflight.remove(connection_id)
        message = f"connection {connection_id} could not go on and was reset: {error}"
        self._log.event("resume.failed", message, "ERROR", connection=connection_id)

    # The end

    def close(self) -> None:
        """Stop the timers and give our ends back."""
        if self._owes_listeners is not None:
            self._owes_listeners.cancel()
        if self.keeper is not None:
            self.keeper.close()
            self.keeper.inflight.close()

    def leave(self) -> int:
        """Give every session to the manager and let go of it; how many it took. The others are as they were."""
        if self.keeper is None:
            return 0
        self.keeper.close()
        left = [
            connection
            for connection in self._relay.connections()
            if self.keeper.keep(connection, LEAVE_WAIT, last=True)
        ]
        systemd.barrier(BARRIER_WAIT)
        for connection in left:
            connection.leave()
            self._relay.given_away(connection)
        return len(left)

    # The upgrade

    def upgrade(self) -> None:
        """Rehearse the new program and, if it can go on, become it; else stay and say why."""
        if self._upgrading is not None and not self._upgrading.done():
            return
        self._upgrading = self._loop.create_task(self._upgrade(), name="upgrade")

    async def _upgrade(self) -> None:
        try:
            handed = replace(self._handover(), numbers=None)
            await aside(lambda: handover.rehearse(handed), "rehearsal")
            self._log.event("upgrade", "the new program can go on; taking its place")
            await aside(self._log.flush, "last lines")
            await self._hold_signals()
            await self._relay.reloaded()
            if not self._relay.stopping():
                if self.keeper is not None:
                    self.keeper.settle(LEAVE_WAIT)
                self._log.flush(FLUSH_WAIT)
                handover.become(replace(self._handover(), since=monotonic()))
            let_signals_in()
        except handover.UpgradeRefused as error:
            self._refused(f"refused, the old program goes on: {error}", str(error))
        except Exception as error:  # noqa: BLE001 (a fault of ours must not end what works)
            self._refused(f"failed, the old program goes on: {error!r}", repr(error))

    async def _hold_signals(self) -> None:
        """A signal between two programs would end the process: it waits until the new one can take it.

        One that Python has caught and the loop has not heard yet would be lost with this program: it is heard here.
        """
        hold_signals()
        for _ in range(TURNS_TO_HEAR):
            await asyncio.sleep(0)

    def _refused(self, message: str, why: str) -> None:
        let_signals_in()
        if self.keeper is not None:
            systemd.store(self.keeper.inflight.files)  # those that were asked back already
        self._log.event("upgrade", message, "ERROR", ok=False)
        self._relay.upgrade_refused(why)

    def _handover(self) -> Handover:
        """Everything as of now; nothing is changed by asking."""
        listeners, given = self._relay.leave_behind()
        sessions = tuple(_session(connection) for connection in self._relay.connections())
        return Handover(
            sessions, listeners, given, self.numbers.boot, self.numbers.following, self.numbers.fd, self._log.dropped
        )


def rehearse(document: int, loaded: Loaded) -> str:
    """The new program's part of a rehearsal; InvalidState or BindError when it could not go on."""
    handed = handover.read(document, rehearsal=True)
    bound = {(host, port) for host, port, _ in handed.listeners}
    for port_map in loaded.config.maps if not handed.given else ():
        for listen in port_map.listen:
            for place in listen_addresses(listen, (), look_up([listen])) if not listen.handed_over else ():
                if (place.host, place.port) not in bound and (listener := bind_or_explain(place, port_map)) is not None:
                    listener.sock.close()
    for session in handed.sessions:
        _map_of(session.state, loaded.config.maps)
    return f"{handover.CAN_GO_ON} with {len(handed.sessions)} sessions"


def hand_to(activation: Activation, handed: Handover) -> None:
    """What a service manager had bound for the program before is still bound for this one."""
    for manager, name, fd in handed.given:
        activation.adopt(manager, name, [fd])


def _in_flight(young: Entry) -> SavedSession:
    """A session of which the messages in flight have the client, or its checkpoint and both sockets."""
    if len(young.fds) == 1:
        return SavedSession(from_json(young.text), young.fds[0], stored=False)
    if len(young.fds) != len(PARTS):
        raise InvalidState(f"{len(young.fds)} of {len(PARTS)} descriptors were kept")
    checkpoint = Checkpoint(young.fds[0])
    return SavedSession(from_json(checkpoint.read()[0]), young.fds[1], young.fds[2], checkpoint, stored=False)


def _session(connection: Connection) -> SavedSession:
    upstream = connection.upstream.fileno() if connection.upstream is not None else None
    kept = kept_of(connection)
    checkpoint = kept.checkpoint if kept is not None and kept.stored else None  # what is in flight stays so
    return SavedSession(state_of(connection), connection.client.fileno(), upstream, checkpoint)


def _map_of(state: ConnectionState, maps: tuple[PortMap, ...]) -> PortMap:
    """The map of that name as it is today, towards the upstream the session has; or the defaults, if it is gone."""
    found = next((port_map for port_map in maps if port_map.name == state.map_name), PortMap(name=state.map_name))
    return replace(found, upstream=Upstream(*state.upstream), protocol=Protocol(state.protocol))
