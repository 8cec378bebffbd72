"""The relay's listening sockets: where `listen` leads on this host, binding them, and the bridges that come and go."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from relay import tcp
from relay.addresses import Listen
from relay.config import PortMap

BACKLOG = 128  # a burst of 64 clients must not be sent into SYN retries, as socat's 5 does


class BindError(Exception):
    """A port that cannot be listened on: one line naming address, port and the reason."""


@dataclass(frozen=True, slots=True)
class Place:
    """One address to listen on; an optional one may be missing (no IPv6 on this host, a bridge that is not up yet)."""

    family: int
    host: str
    port: int
    why: str  # how it came up: "listen", "loopback", or a bridge's name
    optional: bool = False
    scope: int = 0  # of a link-local IPv6 address

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Listener:
    """A bound socket and the port map it serves; the map changes on reload, the socket does not."""

    place: Place
    sock: socket.socket
    map: PortMap


def places(listen: Listen, bridges: Iterable) -> list[Place]:
    """Every address one `listen` value stands for; BindError when its name cannot be looked up."""
    if listen.auto:
        found = _loopbacks(listen.port)
        for bridge in bridges:
            family = socket.AF_INET if bridge.interface.version == 4 else socket.AF_INET6
            found.append(Place(family, str(bridge.interface.ip), listen.port, bridge.name, optional=True))
        return found
    if listen.host == "localhost":
        return _loopbacks(listen.port)
    try:
        answers = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BindError(f"cannot listen on {listen}: the name cannot be looked up ({error.strerror or error})") from None
    return [
        Place(family, address[0], listen.port, "listen", scope=address[3] if family == socket.AF_INET6 else 0)
        for family, _, _, _, address in answers
    ]


def bind(place: Place, keep_alive: tcp.KeepAlive) -> socket.socket:
    """A non-blocking listening socket; accepted sockets inherit its options on Linux. OSError as from bind(2)."""
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # never SO_REUSEPORT: two relays would share silently
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


def bind_or_explain(place: Place, port_map: PortMap, keep_alive: tcp.KeepAlive) -> Listener | None:
    """A Listener; None for an optional place this host does not have; BindError for everything else."""
    try:
        return Listener(place, bind(place, keep_alive), port_map)
    except OSError as error:
        if place.optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise BindError(f"map {port_map.name}: cannot listen on {place}: {_reason(error)}") from None


def _loopbacks(port: int) -> list[Place]:
    return [
        Place(socket.AF_INET, "127.0.0.1", port, "loopback"),
        Place(socket.AF_INET6, "::1", port, "loopback", optional=True),
    ]


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is taken (another relay, socat or the gateway itself listens there)"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host does not have that address"
    return error.strerror or str(error)


def _answers(place: Place) -> bool:
    with socket.socket(place.family, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((place.host, place.port)) == 0
