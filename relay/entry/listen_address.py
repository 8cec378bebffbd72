"""Where one `listen` value leads on this host, and a socket that is bound there."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.config.addresses import Listen, host_port
from relay.net import tcp

if TYPE_CHECKING:
    from relay.entry.bridges import Bridge

IPV6_FREEBIND = 78  # linux/in6.h, since 4.15; Python has no name for it
BACKLOG = 128  # a burst of 64 clients must not be sent into SYN retries, as socat's 5 does


class BindError(Exception):
    """A port that cannot be listened on: one line naming address, port and the reason; `taken`: the port, if it is."""

    taken: int | None = None


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One address to listen on; an optional one may be missing (no IPv6 on this host, a bridge that is not up yet)."""

    family: int
    host: str
    port: int
    why: str  # how it came up: "listen", "loopback", a bridge's name, or "systemd:NAME" for one that was handed over
    optional: bool = False
    scope: int = 0  # of a link-local IPv6 address
    followed: bool = False  # beside what was handed over: no reason not to start

    @property
    def of_bridge(self) -> bool:
        return self.optional and self.why != "loopback"

    def __str__(self) -> str:
        return host_port(self.host, self.port)


Names = Mapping[Listen, "tuple[ListenAddress, ...] | BindError"]  # where each leads, or why that is not known


def look_up(listens: Iterable[Listen]) -> Names:
    """Where those of them that are names lead now. Waits for a name server: not for the event loop's thread."""
    found: dict[Listen, tuple[ListenAddress, ...] | BindError] = {}
    for listen in listens:
        if listen.named:
            try:
                found[listen] = _places_of(listen)
            except BindError as error:
                found[listen] = error
    return found


def listen_addresses(listen: Listen, bridges: Iterable[Bridge], names: Names) -> list[ListenAddress]:
    """Every address one `listen` value stands for; BindError when `names` does not say where it leads. Never waits."""
    if listen.auto:
        return _loopbacks(listen.port) + bridge_addresses(bridges, listen.port)
    if listen.host == "localhost":
        return _loopbacks(listen.port)
    found = names[listen] if listen in names else _places_of(listen, socket.AI_NUMERICHOST)
    if isinstance(found, BindError):
        raise found
    return list(found)


def _places_of(listen: Listen, flags: int = 0) -> tuple[ListenAddress, ...]:
    host = listen.host if listen.named else listen.host.encode()  # of text Python makes a name: 3 ms for encodings.idna
    try:
        answers = socket.getaddrinfo(host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | flags)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
        why = getattr(error, "strerror", None) or error
        raise BindError(f"cannot listen on {listen}: the name cannot be looked up ({why})") from None
    return tuple(
        ListenAddress(family, str(address[0]), listen.port, "listen", scope=address[3] if len(address) == 4 else 0)
        for family, _, _, _, address in answers
    )


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
            if place.of_bridge and sys.platform == "linux":
                # Listen while the address is still being checked, for one to two seconds after the first container has
                # come (RFC 4862, 5.4): its client would be refused at the moment the check is over.
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        tcp.set_options(sock, keep_alive)
        tcp.bound_buffers(sock)
        sock.bind((place.host, place.port, 0, place.scope) if place.scope else (place.host, place.port))
        if sys.platform == "darwin" and _answers(place):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))  # BSD lets a wildcard be covered
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _loopbacks(port: int) -> list[ListenAddress]:
    return [
        ListenAddress(socket.AF_INET, "127.0.0.1", port, "loopback"),
        ListenAddress(socket.AF_INET6, "::1", port, "loopback", optional=True),
    ]


def bridge_addresses(bridges: Iterable[Bridge], port: int) -> list[ListenAddress]:
    """One for every bridge."""
    return [
        ListenAddress(
            socket.AF_INET if bridge.interface.version == 4 else socket.AF_INET6,
            str(bridge.interface.ip),
            port,
            bridge.name,
            optional=True,
        )
        for bridge in bridges
    ]


def why_not_bound(error: OSError) -> str:
    """Why `bind` failed, in words for people."""
    if error.errno == errno.EADDRINUSE:
        return "the port is taken (another relay, socat or the gateway itself listens there)"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host does not have that address"
    return error.strerror or str(error)


def _answers(place: ListenAddress) -> bool:
    with socket.socket(place.family, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((place.host, place.port)) == 0
