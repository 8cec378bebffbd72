"""Accepts clients and lets them in or not; keeps the set of live connections and where each one is counted.

The accept handler only accepts. A peer that no allowed network has is not turned away at once where the container
bridges decide: a network may have come since the last look at them. It waits for the next look, and that one decides.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple

from relay.config.addresses import Network, host_port
from relay.config.load import PortMap
from relay.connection.connection import Connection
from relay.connection.services import Services
from relay.entry.admission import Admit, Limits, MapAdmission, Refuse, Sources, access_list, decide
from relay.entry.bridges import Bridge
from relay.entry.listeners import Listener, Unclaimed
from relay.logs.record import Cause, EndPhase, Reason, Record
from relay.net import tcp
from relay.net.own_address import is_own_address

if TYPE_CHECKING:
    from relay.logs.sink import RelayLog

ACCEPT_BATCH = 64  # accepts in one go before other descriptors get their turn
ACCEPT_SLICE = 0.001  # seconds; and no longer than that
ACCEPT_PAUSE = 1.0  # seconds without accepting when descriptors have run out; any connection's end cuts it short
MOST_UNDECIDED = 64  # peers that wait for the next look at the bridges; it is at most a tenth of a second away
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class AcceptorHooks(NamedTuple):
    """What accepting asks of its relay."""

    number: Callable[[], str]  # the next connection's id
    look_again: Callable[[], None]  # at the container bridges, soon; `decide_again` follows
    pause: Callable[[], None]  # accept nobody for now
    resume: Callable[[], None]
    fault: Callable[[Connection, Exception], None]  # of ours, which costs this connection
    own_fault: Callable[[Exception], None]
    owner_of: Callable[[int], Connection | None]  # whose descriptor this is


class Peer(NamedTuple):
    """A client that was accepted by the kernel, and by nobody else yet."""

    port_map: PortMap
    sock: socket.socket
    address: tuple[str, int]
    local_port: int

    def of_this_machine(self, source: str) -> bool:
        """Does `auto` let it in as a program of this machine, as it does those that come from loopback?"""
        return self.port_map.allow.auto and is_own_address(source)


class Acceptor:
    """The rules of admission of every map, and who is inside. `live` has every connection there is."""

    def __init__(
        self, services: Services, hooks: AcceptorHooks, log: RelayLog, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._services = services
        self._relay = hooks
        self._log = log
        self._loop = loop
        self._admissions: dict[str, MapAdmission] = {}
        self._undecided: list[Peer] = []
        self._counted: dict[Connection, tuple[Sources, str]] = {}

    def __len__(self) -> int:
        return len(self._counted)

    def live(self) -> list[Connection]:
        """Every connection there is."""
        return list(self._counted)

    # Rules and numbers

    def admit_as(self, maps: Iterable[PortMap], bridges: Iterable[Bridge], max_connections: int) -> None:
        """The rules of admission from now on; who is inside is carried over."""
        subnets = [bridge.interface.network for bridge in bridges]
        self._admissions = {port_map.name: self._admission(port_map, subnets, max_connections) for port_map in maps}

    def _admission(self, port_map: PortMap, subnets: Iterable[Network], max_connections: int) -> MapAdmission:
        limits = Limits(max_connections, port_map.max_per_source)
        before = self._admissions.get(port_map.name)
        inside = before.inside if before is not None else Sources()
        return MapAdmission(access_list(port_map.allow, subnets), limits, inside, tcp.keep_alive_of(port_map))

    def adopt(self, connection: Connection, port_map: PortMap) -> None:
        """Count a connection that began in another process."""
        admission = self._admissions.get(port_map.name) or self._admission(port_map, (), 0)
        self._count(connection, admission.inside, admission.access.look_up(connection.client_address[0])[0])

    def forget(self, connection: Connection) -> None:
        """It has ended, or another process goes on with it."""
        inside, source = self._counted.pop(connection)
        inside.closed(source)

    def _count(self, connection: Connection, inside: Sources, source: str) -> None:
        self._counted[connection] = (inside, source)
        inside.opened(source)

    # Accepting

    def accept(self, listener: Listener | Unclaimed) -> bool:
        """The poller's handler of a listening socket."""
        until = monotonic() + ACCEPT_SLICE
        for done in range(ACCEPT_BATCH):
            if done and monotonic() > until:
                break
            try:
                sock, address = listener.sock.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    self._pause(error)
                    break
                continue  # ECONNABORTED and its kin: that client is gone, the next one may not be
            try:
                if self._is_our_own(sock, address):
                    continue
                if isinstance(listener, Unclaimed):
                    tcp.reset(sock)
                    continue
                sock.setblocking(False)
                self._decide(Peer(listener.map, sock, address, listener.place.port), self._may_wait(listener.map))
            except Exception as error:  # noqa: BLE001 (costs this client, not the relay)
                sock.close()
                self._relay.own_fault(error)
        return True

    def _is_our_own(self, sock: socket.socket, address: tuple[str, int]) -> bool:
        """Did we dial ourselves? Then the connection that did ends here, before it makes another one."""
        dial = self._services.dials.find(sock, address)
        if dial is None:
            return False
        dialler, where = self._relay.owner_of(dial.fileno()), host_port(*sock.getsockname()[:2])
        tcp.reset(sock)
        if dialler is not None:
            detail = f"{dialler.map.upstream} is {where}, where this relay listens itself"
            dialler.end(Cause("relay", "error", Reason.LOOP_DETECTED, detail), True, True)
        return True

    def _may_wait(self, port_map: PortMap) -> bool:
        """Is a look at the bridges worth waiting for, should nobody know the peer?"""
        return port_map.allow.auto and len(self._undecided) < MOST_UNDECIDED

    def decide_again(self) -> None:
        """The bridges were looked at: whoever was waiting for that is let in or turned away."""
        waiting, self._undecided = self._undecided, []
        for peer in waiting:
            try:
                self._decide(peer, may_wait=False)
            except Exception as error:  # noqa: BLE001 (costs this client, not the relay)
                peer.sock.close()
                self._relay.own_fault(error)

    def _decide(self, peer: Peer, may_wait: bool) -> None:
        admission = self._admissions.get(peer.port_map.name)
        if admission is None:  # its map went while it waited
            tcp.reset(peer.sock)
            return
        access, limits, inside, _ = admission
        decision = decide(peer.address[0], access, limits, len(self), inside.counts, peer.of_this_machine)
        if isinstance(decision, Admit):
            self._begin(peer, admission, decision.source)
        elif may_wait and decision.reason is Reason.ACL_DENIED:
            self._undecided.append(peer)
            self._relay.look_again()
        else:
            self._refuse(peer, decision)

    def _begin(self, peer: Peer, admission: MapAdmission, source: str) -> None:
        port_map, sock, address, local_port = peer
        if not tcp.LINUX:
            tcp.set_options(sock, admission.keep_alive)
        number = self._relay.number()
        connection = Connection(self._services, port_map, admission.keep_alive, number, sock, address, local_port)
        self._count(connection, admission.inside, source)
        try:
            connection.start()
        except Exception as error:  # noqa: BLE001 (costs this connection, not the relay)
            self._relay.fault(connection, error)

    def _refuse(self, peer: Peer, refusal: Refuse) -> None:
        """Not admitted: one record, and a reset, so that it looks like a refusal and not like a short session."""
        port_map, sock, address, local_port = peer
        tcp.reset(sock)
        self._services.log.write(
            Record(
                event="close",
                at=time(),
                connection_id=self._relay.number(),
                map_name=port_map.name,
                client_address=address[0],
                client_port=address[1],
                local_port=local_port,
                server_address=port_map.upstream.host,
                server_port=port_map.upstream.port,
                cause=Cause("relay", "policy", refusal.reason, refusal.detail),
                phase=EndPhase.HANDSHAKE,
                active=len(self),
            )
        )

    def _pause(self, error: OSError) -> None:
        self._relay.pause()
        message = f"no descriptors left ({error.strerror}), {len(self)} connections live; new clients wait"
        self._log.event("accept.paused", message, "WARN")
        self._loop.call_later(ACCEPT_PAUSE, self._relay.resume)
