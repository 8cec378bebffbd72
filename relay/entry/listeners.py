"""The relay's listening sockets: where `listen` leads on this host, binding them, and the bridges that come and go.

Sockets a service manager has bound (activation.py) are listened on, but never closed before the end: they are the
manager's.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from relay.config.addresses import Listen, host_port
from relay.config.load import PortMap
from relay.manager.activation import Activation, ActivationError, Given
from relay.net import tcp
from relay.net.poller import READ

if TYPE_CHECKING:
    from relay.entry.bridges import Bridge
    from relay.logs.sink import EventLog
    from relay.net.poller import Poller

NAMED = 3  # addresses of one map in the status line
BACKLOG = 128  # a burst of 64 clients must not be sent into SYN retries, as socat's 5 does


class BindError(Exception):
    """A port that cannot be listened on: one line naming address, port and the reason."""


class NotGiven(BindError):
    """What the configuration asks of the service manager is not what it gave; trying again changes nothing."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One address to listen on; an optional one may be missing (no IPv6 on this host, a bridge that is not up yet)."""

    family: int
    host: str
    port: int
    why: str  # how it came up: "listen", "loopback", a bridge's name, or "systemd:NAME" for one that was handed over
    optional: bool = False
    scope: int = 0  # of a link-local IPv6 address

    def __str__(self) -> str:
        return host_port(self.host, self.port)


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
        self._replaced: dict[str, str] = {}  # map name -> what was said about its `listen`
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

    def change(self, maps: Iterable[PortMap], bridges: Iterable[Bridge]) -> None:
        """Bind what is new, close what is gone, keep what stays. BindError when something new cannot be bound."""
        maps = tuple(maps)
        try:
            given = self._activation.assign(maps)
        except ActivationError as error:
            raise NotGiven(str(error)) from None
        wanted: dict[tuple[str, int], tuple[ListenAddress, PortMap]] = {}
        for port_map in maps:
            for place in self._places(port_map, given.get(port_map.name, ()), bridges):
                wanted.setdefault((place.host, place.port), (place, port_map))
        gone = {key: listener for key, listener in self._listeners.items() if key not in wanted}
        new = {key: where for key, where in wanted.items() if key not in self._listeners}
        # From auto:4003 to 0.0.0.0:4003 or back: the old sockets stand in the way of the new ones.
        ports = {port for _, port in new}
        in_the_way = [
            listener for listener in gone.values() if listener.place.port in ports and not listener.handed_over
        ]
        for listener in in_the_way:
            self._release(listener)
        try:
            opened = self._open(
                new, {(handed.host, handed.port): handed for group in given.values() for handed in group}
            )
        except BindError:
            self._reopen(in_the_way)
            raise
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

    def _places(self, port_map: PortMap, given: Iterable[Given], bridges: Iterable[Bridge]) -> list[ListenAddress]:
        """What this map listens on: what was handed over, and its own addresses unless that takes their place."""
        found = [_place(handed) for handed in given]
        own = [listen for listen in port_map.listen if not listen.handed_over]
        if not found or len(own) < len(port_map.listen):
            return found + [place for listen in own for place in listen_addresses(listen, bridges)]
        self._say_replaced(port_map, found)
        return found

    def _say_replaced(self, port_map: PortMap, found: list[ListenAddress]) -> None:
        """Once, where somebody wrote another port than the one that is listened on."""
        if port_map.listen == PortMap().listen or {place.port for place in found} & {
            place.port for place in port_map.listen
        }:
            return
        instead, written = ", ".join(map(str, found)), ", ".join(map(str, port_map.listen))
        message = f"map {port_map.name}: the service manager's socket ({instead}) takes the place of listen {written}"
        if self._replaced.get(port_map.name) != message:
            self._replaced[port_map.name] = message
            self._log.event("warning", message, "WARN")

    def _turn_away(self, unused: set[Given]) -> None:
        """`accept` clients of these, too, but for no map; else they would be connected and never answered."""
        for given in self._unused.keys() - unused:
            self._release(self._unused.pop(given))
        for given in unused - self._unused.keys():
            message = f"{given} was handed over, but no map takes it: its clients are turned away"
            self._log.event("listener.unused", message, "WARN")
            self._unused[given] = Unclaimed(_place(given), given.sock)
            self._watch(self._unused[given])

    def _open(
        self, new: dict[tuple[str, int], tuple[ListenAddress, PortMap]], given: dict[tuple[str, int], Given]
    ) -> list[Listener]:
        opened: list[Listener] = []
        missing = False
        try:
            for key, (place, port_map) in new.items():
                if key in given:
                    tcp.set_options(given[key].sock, tcp.keep_alive_of(port_map))
                    opened.append(Listener(place, given[key].sock, port_map, handed_over=True))
                    continue
                listener = self._inherit(key, place, port_map) or bind_or_explain(place, port_map)
                if listener is not None:
                    opened.append(listener)
                elif place.why != "loopback":
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

    def _inherit(self, key: tuple[str, int], place: ListenAddress, port_map: PortMap) -> Listener | None:
        fd = self._inherited.pop(key, None)
        if fd is None:
            return None
        sock = socket.socket(fileno=fd)
        tcp.set_options(sock, tcp.keep_alive_of(port_map))
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
        fields = {"ib_relay.map": port_map.name, "server.address": place.host, "server.port": place.port}
        self._log.event("listening", message, "INFO", **fields)

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


def listen_addresses(listen: Listen, bridges: Iterable[Bridge]) -> list[ListenAddress]:
    """Every address one `listen` value stands for; BindError when its name cannot be looked up."""
    if listen.auto:
        found = _loopbacks(listen.port)
        for bridge in bridges:
            family = socket.AF_INET if bridge.interface.version == 4 else socket.AF_INET6
            found.append(ListenAddress(family, str(bridge.interface.ip), listen.port, bridge.name, optional=True))
        return found
    if listen.host == "localhost":
        return _loopbacks(listen.port)
    try:
        answers = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BindError(
            f"cannot listen on {listen}: the name cannot be looked up ({error.strerror or error})"
        ) from None
    return [
        ListenAddress(family, str(address[0]), listen.port, "listen", scope=address[3] if len(address) == 4 else 0)
        for family, _, _, _, address in answers
    ]


def bind(place: ListenAddress, keep_alive: tcp.KeepAlive) -> socket.socket:
    """A non-blocking listening socket; accepted sockets inherit its options on Linux. OSError as from bind(2)."""
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # never SO_REUSEPORT: two relays would share silently
        if place.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tcp.set_options(sock, keep_alive)
        sock.bind((place.host, place.port, 0, place.scope) if place.scope else (place.host, place.port))
        if sys.platform == "darwin" and _answers(place):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))  # BSD lets a wildcard be covered
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_or_explain(place: ListenAddress, port_map: PortMap) -> Listener | None:
    """A Listener; None for an optional place this host does not have; BindError for everything else."""
    try:
        return Listener(place, bind(place, tcp.keep_alive_of(port_map)), port_map)
    except OSError as error:
        if place.optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise BindError(f"map {port_map.name}: cannot listen on {place}: {_reason(error)}") from None


def _loopbacks(port: int) -> list[ListenAddress]:
    return [
        ListenAddress(socket.AF_INET, "127.0.0.1", port, "loopback"),
        ListenAddress(socket.AF_INET6, "::1", port, "loopback", optional=True),
    ]


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is taken (another relay, socat or the gateway itself listens there)"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host does not have that address"
    return error.strerror or str(error)


def _several(listeners: list[Listener]) -> str:
    """Their addresses, the first few in full."""
    shown = [str(listener.place) for listener in listeners[:NAMED]]
    more = len(listeners) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _place(given: Given) -> ListenAddress:
    return ListenAddress(given.sock.family, given.host, given.port, f"{given.manager}:{given.name}")


def _answers(place: ListenAddress) -> bool:
    with socket.socket(place.family, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((place.host, place.port)) == 0
