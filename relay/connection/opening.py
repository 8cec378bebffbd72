r"""From accept to an open connection: what the client says first, and the dial of the gateway.

In ib mode nothing is dialled before the client has sent a whole, valid IB hello: port scans, TCP health checks, TLS and
stray HTTP never reach the gateway. In raw mode the dial starts at once, because a server may speak first.

The client is watched and read during all of this, into a buffer that is ours and is never cancelled or thrown away:
bytes lost here would swallow `API\0` and look exactly like a gateway that does not answer. A FIN during the dial may
be a half-close, so the dial goes on for a short grace; a reset ends it at once.

Where sessions outlive this process (fdstore.py) the client is only looked at, and its bytes stay in the kernel: with a
copy of its socket alone, whoever comes after us can begin again.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from time import monotonic

from relay.connection.peek_flow import drop
from relay.logs.record import Cause, Reason
from relay.net import offsets
from relay.net.dial import Dial, DialFailed, Reached
from relay.net.poller import READ
from relay.wire.hello import FirstBytes as Bytes
from relay.wire.hello import classify_first_bytes

EARLY_LIMIT = 64 * 1024  # bytes a client may send before the gateway answers the dial; then it must wait
LEFT_GRACE = 2.0  # seconds a dial goes on after the client's FIN, which may be a half-close


class Opening:
    """The first part of a Connection's life; gone once the connection is open.

    Ends in exactly one of `connection.opened(reached, early, client_finished, watched)` and `connection.end(cause,
    ...)`.
    """

    __slots__ = ("connection", "client", "peeks", "early", "finished", "dial", "dialled_at", "watched")

    def __init__(self, connection) -> None:
        self.connection = connection
        self.client: socket.socket = connection.client
        self.peeks = connection.services.keeper is not None
        self.early = b""  # what the client has said
        self.finished = False  # the client has said FIN
        self.dial: Dial | None = None
        self.dialled_at: float | None = None
        self.watched: int | None = None  # what the poller watches on the client; None = not registered

    def start(self, now: float) -> None:
        """Watch the client, and look at once: an IB client has usually spoken by the time it is accepted."""
        connection = self.connection
        if connection.observer is None:
            # Looked at before the dial: a client that was reset before it was accepted costs the gateway nothing.
            if self._receive():
                self._start_dial(now)
        else:
            connection.deadlines.set(connection, now + connection.map.first_bytes_timeout)
            self.first_bytes(READ)
        if connection.opening is self and not connection.closed and self.watched is None:
            handler = self.first_bytes if self.dial is None else self.while_dialling
            self.watched = 0 if self.finished else READ
            connection.poller.watch(self.client.fileno(), self.watched, handler)

    def go_on(self, now: float, early: bytes, finished: bool) -> None:
        """Begin where another process left off; what it dialled is dialled again."""
        self.early, self.finished = early, finished
        if self.peeks:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            self.peeks = not early  # what another process has read can only be copied
        if self.peeks:
            self.connection.services.keeper.opening(self.connection)
        if early and self.connection.observer is not None and not finished:
            kind = classify_first_bytes(early)
            if kind is Bytes.IB or kind is Bytes.LEGACY:
                self._start_dial(now)
        elif finished:
            self._start_dial(now)
        if self.dial is None and self.connection.opening is self and not self.connection.closed:
            self.start(now)
        elif self.connection.opening is self and not self.connection.closed:
            self.watched = 0 if finished else READ
            self.connection.poller.watch(self.client.fileno(), self.watched, self.while_dialling)

    def first_bytes(self, _events: int) -> bool:
        """Ib mode: collect the client's first bytes until they are a hello or cannot be one."""
        connection = self.connection
        if not self._receive():
            return True
        if self.finished:
            connection.end(Cause("client", "fin", Reason.CLIENT_LEFT_IN_HANDSHAKE))
            return True
        if not self.early:
            return False
        kind = classify_first_bytes(self.early)
        if kind is Bytes.IB or kind is Bytes.LEGACY:
            if self.watched is not None:
                connection.poller.rewatch(self.client.fileno(), self.while_dialling)
            self._start_dial(monotonic())
        elif kind is not Bytes.MORE:
            connection.end(Cause("relay", "policy", Reason.NOT_IB, kind.value))
        return True

    def while_dialling(self, events: int) -> bool:
        """The gateway is being dialled: keep what the client sends, notice when it leaves."""
        connection = self.connection
        if len(self.early) >= EARLY_LIMIT or self.finished:
            if events & ~READ:  # reported unasked: the connection broke
                connection.end(Cause("client", "rst", Reason.CLIENT_LEFT_WHILE_CONNECTING))
            elif self.watched:
                self._stop_reading()
            return True
        if not self._receive():
            return True
        if self.finished:
            bound = self.dialled_at + connection.map.connect_timeout
            connection.deadlines.set(connection, min(monotonic() + LEFT_GRACE, bound))
        if self.finished or len(self.early) >= EARLY_LIMIT:
            self._stop_reading()
        return True

    def expired(self, now: float) -> None:
        """The deadline of the first bytes, of the dial, or of a client that said FIN, has passed."""
        connection = self.connection
        if self.dial is None:
            seconds = connection.map.first_bytes_timeout
            seen = f"{len(self.early)} bytes of a hello" if self.early else "nothing"
            detail = f"{seen} in {seconds:g} s"
            connection.end(Cause("relay", "timeout", Reason.HANDSHAKE_TIMEOUT, detail))
        elif self.finished:
            connection.end(Cause("client", "fin", Reason.CLIENT_LEFT_WHILE_CONNECTING))
        elif now < self.dialled_at + connection.map.connect_timeout - 0.01 and self.dial.next_address():
            if not connection.closed and connection.opening is self:
                connection.deadlines.set(connection, self.dialled_at + connection.map.connect_timeout)
        elif now < self.dialled_at + connection.map.connect_timeout - 0.01:
            connection.deadlines.set(connection, self.dialled_at + connection.map.connect_timeout)
        else:
            failed = self.dial.too_long(connection.map.connect_timeout)
            self._dialled(failed)

    def cancel(self) -> None:
        """No dial goes on behind this."""
        if self.dial is not None:
            self.dial.cancel()

    def end(self) -> None:
        """The connection ends: what the client has said is read, or close() would be a reset."""
        self.cancel()
        if self.peeks and self.early:
            with contextlib.suppress(OSError):
                drop(self.client, self.connection.services.scratch, len(self.early))

    def _stop_reading(self) -> None:
        self.watched = 0
        self.connection.poller.change(self.client.fileno(), 0)

    def _receive(self) -> bool:
        """Read what the client has sent; False when that ended the connection."""
        if len(self.early) >= EARLY_LIMIT:
            return True
        try:
            chunk = self._look() if self.peeks else self.client.recv(EARLY_LIMIT - len(self.early))
        except BlockingIOError:
            return True
        except OSError as error:
            speaking = self.dial is None and self.connection.observer is not None
            reason = Reason.CLIENT_LEFT_IN_HANDSHAKE if speaking else Reason.CLIENT_LEFT_WHILE_CONNECTING
            self.connection.end(Cause("client", "rst", reason, error_type=error_name(error)))
            return False
        if chunk:
            self.early += chunk
        else:
            self.finished = True
        return True

    def _look(self) -> bytes:
        """What is new since the last look; it stays where it is. The kernel calls when there is more, or an end."""
        new = self.client.recv(EARLY_LIMIT, socket.MSG_PEEK)[len(self.early) :]
        if new:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(self.early) + len(new) + 1)
        elif not offsets.has_finished(self.client):  # called without reason: as much is there as the kernel takes
            self._stop_reading()
            raise BlockingIOError
        return new

    def _start_dial(self, now: float) -> None:
        connection = self.connection
        upstream = connection.map.upstream
        known = connection.services.literal(upstream)
        self.dialled_at = now
        bound = connection.map.connect_timeout
        if self.finished:
            bound = min(bound, LEFT_GRACE)
        elif not known:
            bound /= 2  # a name may have a second address: leave time for it
        connection.deadlines.set(connection, now + bound)
        services = connection.services
        self.dial = Dial(
            services.poller, services.resolver, upstream.host, upstream.port, connection.keep_alive, self._dialled
        )
        self.dial.start(known)

    def _dialled(self, result: Reached | DialFailed) -> None:
        connection = self.connection
        if isinstance(result, DialFailed):
            reason = Reason(result.reason)
            by = "relay" if reason in (Reason.DNS_ERROR, Reason.RESOURCE_EXHAUSTED) else "upstream"
            how = {Reason.CONNECTION_REFUSED: "rst", Reason.CONNECT_TIMEOUT: "timeout"}.get(reason, "error")
            connection.end(Cause(by, how, reason, result.detail, result.error_type), reset_client=True)
            return
        connection.deadlines.drop(connection)
        connection.peer = result.address[:2]
        connection.connect_seconds = monotonic() - self.dialled_at
        self.dial = None  # it refers back to us
        if not self.peeks:
            connection.opened(result, self.early, self.finished, self.watched)
            return
        with contextlib.suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        connection.opened(result, b"", False, self.watched)


def error_name(error: OSError) -> str:
    """ECONNRESET rather than 104."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
