"""Dials the upstream: every address of its name in turn, under one deadline, without ever blocking the loop."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from relay.net import tcp
from relay.net.dial_errors import why_unreachable
from relay.net.own_dials import OwnDials
from relay.net.poller import BROKEN, READ, WRITE, Poller
from relay.net.resolver import Resolver

_PENDING = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)
_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)  # not on macOS
_EPHEMERAL = 10_000  # well below any system's range of ports given to outgoing connections
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


SocketAddress = tuple[Any, ...]  # host, port, and for IPv6 flow and scope
Address = tuple[int, SocketAddress]  # with its family


class DialFailed(NamedTuple):
    """Why no address answered: a word of the closed set of end reasons, the last errno's name, and what was tried."""

    reason: str
    error_type: str | None
    detail: str


class Reached(NamedTuple):
    """A connected non-blocking socket; `reset`: the upstream has reset it already (the kernel tells that only once)."""

    sock: socket.socket
    address: SocketAddress
    reset: bool = False


def literal_address(host: str, port: int) -> list[Address]:
    """The one address of an IP literal; empty for a name, which must be looked up."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return []
    if ip.version == 4:
        return [(socket.AF_INET, (host, port))]
    if "%" in host:  # only the resolver knows what a zone id is
        return []
    return [(socket.AF_INET6, (host, port, 0, 0))]


class Dial:
    """One attempt to reach the upstream.

    `done(result)` is called exactly once, with a Reached or a DialFailed, and never after
    `cancel()`. It may be called before `start()` returns. The caller bounds the whole, and records `too_long`.
    """

    __slots__ = (
        "poller",
        "resolver",
        "own",
        "host",
        "port",
        "keep_alive",
        "done",
        "addresses",
        "address",
        "began",
        "sock",
        "stop_looking",
        "last_error",
    )

    def __init__(
        self,
        poller: Poller,
        resolver: Resolver,
        own: OwnDials,
        host: str,
        port: int,
        keep_alive: tcp.KeepAlive,
        done: Callable[[Reached | DialFailed], None],
    ) -> None:
        self.poller = poller
        self.resolver = resolver
        self.own = own
        self.host = host
        self.port = port
        self.keep_alive = keep_alive
        self.done = done
        self.addresses: list[Address] = []
        self.address: SocketAddress = ()  # the one that is being tried
        self.began = 0.0  # with that one; monotonic
        self.sock: socket.socket | None = None
        self.stop_looking: Callable[[], None] | None = None  # while the name is being looked up
        self.last_error: int | None = None

    def start(self, known: list[Address]) -> None:
        """Begin with addresses already known, or look the name up first."""
        if known:
            self.addresses = list(known)
            self._next()
        else:
            self.stop_looking = self.resolver.look_up(self.host, self.port, self._resolved)

    def next_address(self) -> bool:
        """Give the current address up in favour of the next one; False when there is none."""
        if not self.addresses:
            return False
        self.last_error = errno.ETIMEDOUT
        self._drop()
        self._next()
        return True

    def cancel(self) -> None:
        """Stop at once and forget the socket; `done` will not be called."""
        self.done = _ignore
        if self.stop_looking is not None:
            self.stop_looking()
            self.stop_looking = None
        self._drop()

    def too_long(self, seconds: float) -> DialFailed:
        """What to record when the caller's deadline passed."""
        where = "looking the name up" if self.stop_looking is not None else "no answer"
        return DialFailed("connect_timeout", "ETIMEDOUT", f"{where} in {seconds:g} s ({self.host}:{self.port})")

    def _resolved(self, found: list[Address] | Exception) -> None:
        self.stop_looking = None
        if isinstance(found, Exception):
            detail = getattr(found, "strerror", None) or str(found)
            self.done(DialFailed("dns_error", _gai_name(found), f"{self.host}: {detail}"))
            return
        self.addresses = list(found)
        self._next()

    def _next(self) -> None:
        while self.addresses:
            family, self.address = self.addresses.pop(0)
            self.began = monotonic()
            try:
                sock = self.sock = socket.socket(family, socket.SOCK_STREAM | _NONBLOCK)
            except OSError as error:
                self.last_error = error.errno or errno.EIO
                continue
            code = self._connect(sock)
            if code in (0, errno.ECONNRESET):
                self._succeed(sock, code != 0)
                return
            if code in _PENDING:
                self.poller.watch(sock.fileno(), WRITE, self._ready)
                return
            self.last_error = code
            self._drop()
        self.done(self._failure())

    def _connect(self, sock: socket.socket) -> int:
        if not _NONBLOCK:
            sock.setblocking(False)
        tcp.set_options(sock, self.keep_alive)
        tcp.bound_buffers(sock)
        code = sock.connect_ex(self.address)
        if code == errno.EINPROGRESS:
            # On loopback the handshake is over by now: asking again saves a turn of the loop.
            code = sock.connect_ex(self.address)
            if code == errno.EISCONN:
                code = 0
        if code == 0 or code in _PENDING:
            self.own.add(sock, self.address)
        return code

    def _ready(self, events: int) -> bool:
        sock = self.sock
        if sock is None or not events & (WRITE | READ | BROKEN):
            return False
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0 and events & BROKEN:
            code = errno.ECONNRESET
        self.poller.unwatch(sock.fileno())
        if code in (0, errno.ECONNRESET):
            self._succeed(sock, code != 0)
        else:
            self.last_error = code
            self._drop()
            self._next()
        return True

    def _succeed(self, sock: socket.socket, reset: bool) -> None:
        """Connected; also when it was reset right after: a refused dial is ECONNREFUSED, never ECONNRESET."""
        self.sock = None
        if self.port >= _EPHEMERAL and _is_connected_to_itself(sock):
            tcp.reset(sock)
            self.last_error = errno.ECONNREFUSED
            self._next()
            return
        self.done(Reached(sock, self.address, reset))

    def _drop(self) -> None:
        if self.sock is not None:
            self.poller.unwatch(self.sock.fileno())
            self.sock.close()
            self.sock = None

    def _failure(self) -> DialFailed:
        code = self.last_error or errno.ECONNREFUSED
        name = errno.errorcode.get(code, str(code))
        where = f"{self.host}:{self.port}"
        if code == errno.ECONNREFUSED:
            return DialFailed("connection_refused", name, f"{where} refuses")
        if code == errno.ETIMEDOUT:
            return DialFailed("connect_timeout", name, f"no answer from {where}")
        if code in _OUT_OF_RESOURCES:
            return DialFailed("resource_exhausted", name, f"no socket left to dial {where}")
        why = why_unreachable(code, where, monotonic() - self.began, macos=sys.platform == "darwin")
        return DialFailed("unreachable", name, why)


def _is_connected_to_itself(sock: socket.socket) -> bool:
    """A loopback dial to a free port of the ephemeral range can meet its own SYN (simultaneous open)."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False  # reset already: the flow will see it


def _gai_name(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        for name in ("EAI_NONAME", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA"):
            if getattr(socket, name, None) == error.errno:
                return name
    return type(error).__name__


def _ignore(_result: Reached | DialFailed) -> None:
    pass
