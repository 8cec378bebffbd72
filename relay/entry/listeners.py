"""The relay's listening sockets: which there are, and how they change with the configuration and the bridges.

Sockets a service manager has bound (activation.py) are listened on, but never closed before the end: they are the
manager's. It cannot know the bridges that come later: those are followed here (`follow_bridges`).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from relay.config.addresses import Listen, Network, within
from relay.config.load import PortMap
from relay.entry.listen_address import (
    BindError,
    ListenAddress,
    Names,
    bind,
    bridge_addresses,
    listen_addresses,
    why_not_bound,
)
from relay.entry.own_network import is_container, said_of_loopback_only
from relay.manager.activation import Activation, ActivationError, Given
from relay.net import tcp
from relay.net.poller import READ

if TYPE_CHECKING:
    from relay.entry.bridges import Bridge
    from relay.logs.events import EventName
    from relay.logs.sink import EventLog
    from relay.net.poller import Poller

NO_NAMES: Names = {}
NAMED = 3  # addresses of one map in the status line

_Wanted = dict[tuple[str, int], tuple[ListenAddress, PortMap]]  # by address and port


class NotGiven(BindError):
    """What the configuration asks of the service manager is not what it gave; trying again changes nothing."""


@dataclass(slots=True)
class Listener:
    """A bound socket and the port map it serves; the map changes on reload, the socket does not."""

    place: ListenAddress
    sock: socket.socket
    map: PortMap
    handed_over: bool = False


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A socket that was handed over and is no map's: its clients are to be turned away."""

    place: ListenAddress
    sock: socket.socket
    handed_over: ClassVar[bool] = True


class Listeners:
    """The set of listening sockets. `accept(listener)` is called when one has clients waiting.

    `change` makes the set what a configuration and the bridges of the moment ask for, or leaves it as it was.
    """

    def __init__(
        self,
        poller: Poller,
        log: EventLog,
        accept: Callable[[Listener | Unclaimed], bool],
        activation: Activation | None = None,
    ) -> None:
        self._poller = poller
        self._log = log
        self._accept = accept
        self._activation = activation or Activation()
        self._unused: dict[Given, Unclaimed] = {}  # handed over, and no map's
        self._inherited: dict[tuple[str, int], int] = {}  # bound by the program this process was before
        self._said: dict[str, str] = {}  # about what -> what was said of it last
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._paused = False
        self.bridge_missing = False  # a bridge's address could not be bound yet (IPv6 still being checked): try again

    def __contains__(self, fd: int) -> bool:
        return any(listener.sock.fileno() == fd for listener in self._all())

    def bound(self) -> list[tuple[str, int]]:
        """Address and port of every socket."""
        return [listener.sock.getsockname()[:2] for listener in self._listeners.values()]

    def summary(self) -> str:
        """Who listens where and dials what, in one line for people."""
        by_map: dict[str, list[Listener]] = {}
        for listener in self._listeners.values():
            by_map.setdefault(listener.map.name, []).append(listener)
        return "; ".join(f"{_several(group)} -> {group[0].map.upstream}" for group in by_map.values())

    def named(self, maps: Sequence[PortMap]) -> list[Listen]:
        """What `change` has to know of these maps: the values of `listen` that are names, and that are bound here."""
        try:
            given = self._activation.assign(maps)
        except ActivationError:
            return []  # `change` will say so
        bound_here = (one for one in maps if one.name not in given or any(listen.handed_over for listen in one.listen))
        return [listen for one in bound_here for listen in one.listen if listen.named]

    def change(
        self,
        maps: Iterable[PortMap],
        bridges: Iterable[Bridge],
        follow_bridges: Iterable[Network] = (),
        names: Names = NO_NAMES,
    ) -> None:
        """Bind what is new, close what is gone, keep what stays. BindError when something new cannot be bound.

        `follow_bridges` are the networks whose bridges are listened on beside what a manager has bound; `names` says
        where the names lead that `named` asks for.
        """
        maps, bridges, follow = tuple(maps), tuple(bridges), tuple(follow_bridges)
        try:
            given = self._activation.assign(maps)
        except ActivationError as error:
            raise NotGiven(str(error)) from None
        wanted: _Wanted = {}
        for port_map in maps:
            for place in self._places(port_map, given.get(port_map.name, ()), bridges, follow, names):
                wanted.setdefault((place.host, place.port), (place, port_map))
        gone = {key: listener for key, listener in self._listeners.items() if key not in wanted}
        new = {key: where for key, where in wanted.items() if key not in self._listeners}
        opened = self._exchange(
            new, gone, {(handed.host, handed.port): handed for group in given.values() for handed in group}
        )
        for key, listener in gone.items():
            del self._listeners[key]
            self._release(listener)
            self._log.event(
                "listener.closed", f"{listener.map.name}: {listener.place}", **{"ib_relay.map": listener.map.name}
            )
        for key, listener in self._listeners.items():
            listener.map = wanted[key][1]
            tcp.set_options(listener.sock, tcp.keep_alive_of(listener.map))
        self._turn_away(set(self._activation.all()) - {handed for group in given.values() for handed in group})
        for listener in opened:
            self._add(listener)
        own = [one for one in maps if one.name not in given]
        if alone := said_of_loopback_only(own, bool(bridges), is_container()):
            self._say_once("container", alone, "warning")

    def inherit(self, listening: Iterable[tuple[str, int, int]]) -> None:
        """Sockets (address, port, descriptor) the next `change` takes instead of binding; it closes the rest."""
        self._inherited = {(host, port): fd for host, port, fd in listening}

    def leave_behind(self) -> tuple[tuple[tuple[str, int, int], ...], tuple[tuple[str, str, int], ...]]:
        """Our listening sockets as (address, port, descriptor), and the manager's as (manager, name, descriptor)."""
        own = tuple(
            (*key, listener.sock.fileno()) for key, listener in self._listeners.items() if not listener.handed_over
        )
        return own, tuple((given.manager, given.name, given.sock.fileno()) for given in self._activation.all())

    def pause(self) -> None:
        """Accept nobody for now; clients wait in the kernel's queue."""
        self._watch_all(0)

    def resume(self) -> None:
        """Accept again, if it was paused."""
        if self._paused:
            self._watch_all(READ)

    def close(self) -> None:
        """Close every socket: new clients are refused from now on, or wait for the next relay if a manager listens."""
        for listener in self._listeners.values():
            self._release(listener)
        self._listeners.clear()
        self._turn_away(set())
        self._activation.close()

    def _places(
        self,
        port_map: PortMap,
        given: Iterable[Given],
        bridges: Iterable[Bridge],
        follow: tuple[Network, ...],
        names: Names,
    ) -> list[ListenAddress]:
        """What this map listens on: what was handed over, and its own addresses unless that takes their place."""
        found = [_place(handed) for handed in given]
        own = [listen for listen in port_map.listen if not listen.handed_over]
        if not found or len(own) < len(port_map.listen):
            return found + [place for listen in own for place in listen_addresses(listen, bridges, names)]
        self._say_replaced(port_map, found)
        return found + self._followed(port_map, own, bridges, follow) if follow else found

    def _followed(
        self, port_map: PortMap, own: list[Listen], bridges: Iterable[Bridge], follow: tuple[Network, ...]
    ) -> list[ListenAddress]:
        """The bridges' addresses that no manager has bound. Others than `follow` its filter would not let in."""
        ports = [listen.port for listen in own if listen.auto]
        found = []
        for bridge in bridges if ports else ():
            network = bridge.interface.network
            if within(network, follow):
                found += [replace(place, followed=True) for port in ports for place in bridge_addresses([bridge], port)]
            else:
                lets_in = ", ".join(map(str, follow))
                message = f"{bridge.name} ({network}) is not listened on: this service lets only {lets_in} in; "
                self._say_once(bridge.name, f"{message}`ib-relay service install` adds it", "bridge")
        return found

    def _say_replaced(self, port_map: PortMap, found: list[ListenAddress]) -> None:
        """Once, where somebody wrote another port than the one that is listened on."""
        if port_map.listen == PortMap().listen or {place.port for place in found} & {
            place.port for place in port_map.listen
        }:
            return
        instead, written = ", ".join(map(str, found)), ", ".join(map(str, port_map.listen))
        message = f"map {port_map.name}: the service manager's socket ({instead}) takes the place of listen {written}"
        self._say_once(f"map {port_map.name}", message, "warning")

    def _say_once(self, about: str, message: str, event: EventName) -> None:
        """A warning, unless the last one about this was the same."""
        if self._said.get(about) != message:
            self._said[about] = message
            self._log.event(event, message, "WARN")

    def _turn_away(self, unused: set[Given]) -> None:
        """`accept` clients of these, too, but for no map; else they would be connected and never answered."""
        for given in self._unused.keys() - unused:
            self._release(self._unused.pop(given))
        for given in unused - self._unused.keys():
            message = f"{given} was handed over, but no map takes it: its clients are turned away"
            self._log.event("listener.unused", message, "WARN")
            self._unused[given] = Unclaimed(_place(given), given.sock)
            self._watch(self._unused[given])

    def _exchange(
        self, new: _Wanted, gone: dict[tuple[str, int], Listener], given: dict[tuple[str, int], Given]
    ) -> list[Listener]:
        """Open what is new, where what goes may stand in the way: from auto:4003 to 0.0.0.0:4003, or back."""
        ports = {port for _, port in new}
        in_the_way = [
            listener for listener in gone.values() if listener.place.port in ports and not listener.handed_over
        ]
        for listener in in_the_way:
            self._release(listener)
        try:
            return self._open(new, given)
        except BindError:
            self._reopen(in_the_way)
            raise

    def _open(self, new: _Wanted, given: dict[tuple[str, int], Given]) -> list[Listener]:
        opened: list[Listener] = []
        missing = False
        try:
            for key, (place, port_map) in new.items():
                if key in given:
                    tcp.set_options(given[key].sock, tcp.keep_alive_of(port_map))
                    tcp.bound_buffers(given[key].sock)
                    opened.append(Listener(place, given[key].sock, port_map, handed_over=True))
                    continue
                listener = self._inherit(key, place, port_map) or self._bound(place, port_map)
                if listener is not None:
                    opened.append(listener)
                elif place.of_bridge:
                    missing = True
        except BindError:
            for listener in opened:
                if not listener.handed_over:
                    listener.sock.close()
            raise
        self.bridge_missing = missing
        for fd in self._inherited.values():
            os.close(fd)
        self._inherited = {}
        return opened

    def _bound(self, place: ListenAddress, port_map: PortMap) -> Listener | None:
        """As bind_or_explain; what cannot be had of a bridge that is followed is said, and tried again later."""
        try:
            return bind_or_explain(place, port_map)
        except BindError as error:
            if not place.followed:
                raise
            self._say_once(str(place), f"{error}; trying again", "bridge")
            return None

    def _inherit(self, key: tuple[str, int], place: ListenAddress, port_map: PortMap) -> Listener | None:
        fd = self._inherited.pop(key, None)
        if fd is None:
            return None
        sock = socket.socket(fileno=fd)
        tcp.set_options(sock, tcp.keep_alive_of(port_map))
        tcp.bound_buffers(sock)
        return Listener(place, sock, port_map)

    def _reopen(self, listeners: list[Listener]) -> None:
        """The new addresses could not be had: listen again where we did, and say so if somebody was faster."""
        for listener in listeners:
            del self._listeners[listener.place.host, listener.place.port]
            try:
                again = bind_or_explain(listener.place, listener.map)
            except BindError as error:
                again = None
                self._log.event("listener.lost", str(error), "ERROR")
            if again is not None:
                self._add(again)

    def _add(self, listener: Listener) -> None:
        place, port_map = listener.place, listener.map
        self._listeners[place.host, place.port] = listener
        self._watch(listener)
        why = f" ({place.why})" if place.why not in ("listen", "loopback") else ""
        message = f"{port_map.name}: {place}{why} -> {port_map.upstream}, {port_map.protocol}"
        local = {"network.local.address": place.host, "network.local.port": place.port}
        self._log.event("listening", message, "INFO", **{"ib_relay.map": port_map.name}, **local)

    def _watch_all(self, events: int) -> None:
        self._paused = not events
        for listener in self._all():
            self._poller.change(listener.sock.fileno(), events)

    def _watch(self, listener: Listener | Unclaimed) -> None:
        self._poller.watch(listener.sock.fileno(), 0 if self._paused else READ, lambda events: self._accept(listener))

    def _all(self) -> list[Listener | Unclaimed]:
        return [*self._listeners.values(), *self._unused.values()]

    def _release(self, listener: Listener | Unclaimed) -> None:
        if listener.sock.fileno() >= 0:
            self._poller.unwatch(listener.sock.fileno())
            if not listener.handed_over:
                listener.sock.close()


def bind_or_explain(place: ListenAddress, port_map: PortMap) -> Listener | None:
    """A Listener; None for an optional place this host does not have; BindError for everything else."""
    try:
        return Listener(place, bind(place, tcp.keep_alive_of(port_map)), port_map)
    except OSError as error:
        if place.optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        failed = BindError(f"map {port_map.name}: cannot listen on {place}: {why_not_bound(error)}")
        failed.taken = place.port if error.errno == errno.EADDRINUSE else None
        raise failed from None


def _several(listeners: list[Listener]) -> str:
    """Their addresses, the first few in full."""
    shown = [str(listener.place) for listener in listeners[:NAMED]]
    more = len(listeners) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _place(given: Given) -> ListenAddress:
    return ListenAddress(given.sock.family, given.host, given.port, f"{given.manager}:{given.name}")
