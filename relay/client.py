"""Drives our own IB session (wire/session.py) over TCP: dial, move bytes, watch the clock, leave politely."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic

from relay.wire.events import Event
from relay.wire.session import ClientSession

CONNECT_TIMEOUT = 5.0  # seconds; above the 3.1 s the kernel takes to give up on an address nobody has (ARP)
GOODBYE = 1.0  # seconds the gateway has to say FIN after ours


class Client:
    """One connection of ours. `connect`, then `next_events` until `session.alive` is False, then `close`.

    It never leaves a half-done handshake behind: what the gateway sends is read to the end, FIN first, close last.
    """

    def __init__(self, host: str, port: int, session: ClientSession, connect_timeout: float = CONNECT_TIMEOUT) -> None:
        self.host = host
        self.port = port
        self.session = session
        self.connect_timeout = connect_timeout
        self.connected_at: float | None = None  # monotonic
        self._sock: socket.socket | None = None
        self._readable = asyncio.Event()
        self._broken = False  # the connection was found to be reset; the kernel tells that only once

    async def connect(self) -> None:
        """TCP, and the hello on its way. OSError as from connect(2) and getaddrinfo(3); TimeoutError past the bound."""
        async with asyncio.timeout(self.connect_timeout):
            self._sock, self._broken = await _connect(self.host, self.port)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable.set)
        self.connected_at = monotonic()
        self._send(self.session.start(self.connected_at))

    async def next_events(self, until: float) -> list[Event]:
        """What the next bytes say; empty when it ended, or `until` (monotonic) or the session's deadline came first."""
        session = self.session
        while session.alive:
            now = monotonic()
            if session.expire(now) or now >= until:
                return []
            deadline = session.next_deadline()
            if not await self._wait(min(until, deadline if deadline is not None else until) - now):
                continue
            found = self._receive()
            self.flush()
            if found:
                return found
        return []

    def flush(self) -> None:
        """Send what the session wants sent (a request just made, START_API)."""
        self._send(self.session.to_send())

    async def close(self) -> None:
        """FIN, read what still comes for a moment, close. Safe to call twice and before `connect`."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        try:
            sock.shutdown(socket.SHUT_WR)
            until = monotonic() + GOODBYE
            while (left := until - monotonic()) > 0 and await self._wait(left):
                if not sock.recv(65536):
                    break
        except OSError:
            pass  # the other side was faster
        finally:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()

    async def __aenter__(self) -> Client:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _wait(self, seconds: float) -> bool:
        """Until the socket is readable. The receive itself is never cancelled: that could lose bytes."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._readable.wait()
        except TimeoutError:
            return False
        self._readable.clear()
        return True

    def _connected(self) -> socket.socket:
        """The socket; RuntimeError before `connect` and after `close`."""
        if self._sock is None:
            raise RuntimeError("not connected")
        return self._sock

    def _receive(self) -> list[Event]:
        now = monotonic()
        try:
            data = self._connected().recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            self.session.peer_closed(now, reset=True)
            return []
        if not data:
            self.session.peer_closed(now, reset=self._broken)
            return []
        return self.session.receive(data, now)

    def _send(self, data: bytes) -> None:
        """A few dozen bytes into an empty send buffer: taken whole, or the connection is gone and the read tells."""
        if data:
            try:
                self._connected().send(data)
            except OSError:
                self._broken = True


async def _connect(host: str, port: int) -> tuple[socket.socket, bool]:
    """The first address of the name that answers, and whether it reset at once; the last error when none does."""
    loop = asyncio.get_running_loop()
    error: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
            return sock, False
        except ConnectionResetError:  # after the handshake: a refused dial is ECONNREFUSED
            return sock, True
        except OSError as refused:
            sock.close()
            error = refused
        except BaseException:
            sock.close()
            raise
    raise error or OSError(f"{host} has no address")
