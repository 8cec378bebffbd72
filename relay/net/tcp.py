"""What we ask of the kernel for one TCP socket: its options, its unsent bytes, a reset instead of a FIN.

Two timers guard against a peer that vanished without a word, because either alone misses half of the cases: keep-alive
probes only an idle connection, TCP_USER_TIMEOUT only one with unacknowledged data.

One trap is dealt with here. Linux also applies TCP_USER_TIMEOUT to a peer that is alive and acknowledges our window
probes but does not read (net/ipv4/tcp_timer.c, tcp_probe_timer): a client stopped in a debugger for 31 seconds would
lose its session. `is_not_reading` tells that case from a silent network, and `be_patient` lifts the time-out for as
long as it lasts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import struct
import sys
from dataclasses import dataclass
from typing import NamedTuple, Protocol

LINUX = sys.platform == "linux"
# What one leg may hold in the kernel, bytes. Left to itself the kernel lets a receive buffer grow to 6 MiB (32 on newer
# ones) and a send buffer to 4, and a cgroup's memory limit counts both: a session whose client does not read held 6 to
# 21 MiB. With these two, a session that reads on neither side holds 1.2 MiB, and bulk over loopback costs what it did
# (0.49 s/GiB). A fixed send buffer (SO_SNDBUF) instead halves bulk: it counts what is on its way, too. The first is
# what may be asked for where net.core.rmem_max is at its default; the kernel takes twice that, for its bookkeeping.
RECEIVE_BUFFER = 212_992
MOST_UNSENT = 131_072
SIOCOUTQ = 0x5411  # linux/sockios.h: bytes written and not yet acknowledged by the peer
_SO_NWRITE = 0x1024  # macOS sys/socket.h: bytes in the send buffer
_TCP_RTO_MAX_MS = 44  # linux/tcp.h, since Linux 6.15
_TCP_CONNECTION_TIMEOUT = 0x80  # macOS netinet/tcp.h: TCP_RXT_CONNDROPTIME, seconds
TCP_CLOSE = 7  # the first byte of struct tcp_info (linux/tcp_states.h)
_SENDING = struct.Struct("=B23xI16xI")  # its beginning: state, segments in flight, milliseconds since data was sent
_FIN_IN_QUEUE = frozenset({4, 9, 11})  # FIN_WAIT1, LAST_ACK, CLOSING: our FIN is not acknowledged; it counts as a byte
_TCP_KEEPIDLE: int = getattr(socket, "TCP_KEEPIDLE", 0x10)  # macOS netinet/tcp.h: TCP_KEEPALIVE
_LINGER_RESET = struct.pack("ii", 1, 0)
_PATIENT_RTO_MAX_MS = 10_000  # so that three unanswered window probes fit into 40 s


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """When a silent peer counts as vanished: seconds of silence, between probes, probes, and of unacknowledged data.

    `idle` 0 turns keep-alive off, `user_timeout` 0 leaves unacknowledged data to the kernel (a quarter of an hour).
    """

    idle: int = 15
    interval: int = 5
    count: int = 4  # 15 + 4 * 5 = 35 s, inside the 45 s we promise
    user_timeout: float = 30.0


class _Timers(Protocol):
    @property
    def keepalive_idle(self) -> int: ...
    @property
    def keepalive_interval(self) -> int: ...
    @property
    def keepalive_count(self) -> int: ...
    @property
    def user_timeout(self) -> float: ...


def keep_alive_of(port_map: _Timers) -> KeepAlive:
    """The dead-peer timers of a map (relay.config.load.PortMap) as one value."""
    return KeepAlive(
        port_map.keepalive_idle, port_map.keepalive_interval, port_map.keepalive_count, port_map.user_timeout
    )


def set_options(sock: socket.socket, keep_alive: KeepAlive) -> None:
    """Send small writes at once, notice a vanished peer. On Linux an accepted socket inherits it from its listener."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _set_user_timeout(sock, keep_alive.user_timeout)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1 if keep_alive.idle else 0)
    if not keep_alive.idle:
        return
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_KEEPIDLE, keep_alive.idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keep_alive.interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, keep_alive.count)


def bound_buffers(sock: socket.socket) -> None:
    """Before it connects or listens: a buffer must not shrink below what its peer was told to send."""
    if LINUX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT)


def reset(sock: socket.socket) -> None:
    """Close with RST: the peer sees an abort, and whatever the kernel still had to send is gone."""
    try:  # noqa: SIM105 (every refusal passes here)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    except OSError:
        pass  # already reset by the peer (macOS says EINVAL)
    sock.close()


def finish(sock: socket.socket) -> None:
    """Close with FIN, also while somebody else has a copy of the descriptor: close() alone would say nothing."""
    with contextlib.suppress(OSError):  # its peer is gone already
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def queued(sock: socket.socket, question: int) -> int:
    """What an ioctl about a socket's queue answers, bytes."""
    count: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), question, b"\0\0\0\0"))[0]
    return count


def unsent(sock: socket.socket) -> int | None:
    """Bytes the peer has not acknowledged yet; 0 for a dead socket, None where the system cannot say."""
    try:
        if LINUX:
            if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE:
                return 0  # reset: the kernel goes on counting what nobody will acknowledge
            return queued(sock, SIOCOUTQ)
        return sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
    except ValueError:
        return 0  # closed by us
    except OSError as error:
        return 0 if error.errno in (errno.EINVAL, errno.ENOTCONN, errno.EBADF) else None


class SendQueue(NamedTuple):
    """What one socket has of us that its peer has not acknowledged; None: the kernel does not tell."""

    unacknowledged: int | None = None  # bytes, a FIN excepted
    shut: bool | None = None  # bytes wait, and none is in flight: the peer's window is shut, it does not read
    still: float | None = None  # seconds since a byte last went out to the peer; window probes carry none


def send_queue(sock: socket.socket, finished: bool) -> SendQueue:
    """As of now; `finished`: a FIN was sent, or is about to be. A dead socket still knows what was acknowledged."""
    try:
        if LINUX:
            return _send_queue(sock, finished)
        sock.getpeername()  # the buffer of a connection that is gone was emptied, and not by its peer
        return SendQueue(sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE))
    except (OSError, ValueError, struct.error):
        return SendQueue()


def _send_queue(sock: socket.socket, finished: bool) -> SendQueue:
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SENDING.size)
    state, in_flight, last_sent_ms = _SENDING.unpack(raw)
    count: int | None = queued(sock, SIOCOUTQ)
    if count and state == TCP_CLOSE and finished:
        count = None  # with a FIN in it, or without
    elif count and state in _FIN_IN_QUEUE:
        count -= 1  # it is the last to be acknowledged
    shut = bool(count) and state != TCP_CLOSE and not in_flight
    return SendQueue(count, shut, last_sent_ms / 1000)


def is_not_reading(sock: socket.socket) -> bool:
    """True when bytes wait, none is in flight and so the peer's window is shut: it is the reader that holds us up."""
    if not unsent(sock):
        return False
    info = _tcp_info(sock)
    return info is not None and info.unacknowledged == 0


def has_left_probes_unanswered(sock: socket.socket) -> bool:
    """True when a peer with a shut window has also stopped to answer probes: it is gone, not slow."""
    info = _tcp_info(sock)
    return info is not None and info.probes >= 3 and info.last_ack_ms >= 30_000


def be_patient(sock: socket.socket) -> None:
    """Wait for a reader that does not read; where the kernel can, keep its window probes 10 s apart at most."""
    _set_user_timeout(sock, 0)
    if LINUX:
        with contextlib.suppress(
            OSError
        ):  # older kernel: probes back off to 120 s, a peer that vanishes while not reading is noticed later
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, _PATIENT_RTO_MAX_MS)


def be_strict(sock: socket.socket, keep_alive: KeepAlive) -> None:
    """The peer reads again: back to the usual bound for unacknowledged data."""
    _set_user_timeout(sock, keep_alive.user_timeout)


@dataclass(frozen=True, slots=True)
class _TcpInfo:
    probes: int  # window probes without an answer
    unacknowledged: int  # segments in flight
    last_ack_ms: int  # since the last acknowledgement came in


def _tcp_info(sock: socket.socket) -> _TcpInfo | None:
    """The three fields we need of struct tcp_info (linux/tcp.h); None elsewhere or on a dead socket."""
    if not LINUX:
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except OSError:
        return None
    if len(raw) < 60:
        return None
    fields = struct.unpack_from("=8B13I", raw)
    return _TcpInfo(probes=fields[3], unacknowledged=fields[8 + 4], last_ack_ms=fields[8 + 12])


def _set_user_timeout(sock: socket.socket, seconds: float) -> None:
    if LINUX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
    elif sys.platform == "darwin":
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_CONNECTION_TIMEOUT, int(seconds))
