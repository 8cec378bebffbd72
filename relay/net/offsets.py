"""How far the kernel is with each side of a TCP connection: what survives the process that moved the bytes.

A byte counter of ours is gone with the process, and one written down anywhere else is one instant too old. The kernel
counts by itself, for as long as the socket lives, and never disagrees with what was really moved (Linux, struct
tcp_info):

    taken    bytes of the peer's stream that were read from a socket:  received and acknowledged, minus still unread
    written  bytes that were written into a socket:                    acknowledged by the peer, plus still queued

Both count from the connection's first byte but for a constant of the handshake, so only differences are to be used.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import termios
from collections.abc import Callable

from relay.net.tcp import SIOCOUTQ, TCP_CLOSE, queued

SUPPORTED = sys.platform == "linux"
_TCP_INQ = 36  # linux/tcp.h, since Linux 4.18
_INFO_SIZE = (
    136  # of struct tcp_info (linux/tcp.h), up to and including the two counters; they are there since Linux 4.1
)
_COUNTERS = struct.Struct("=QQ")
_COUNTERS_AT = 120  # tcpi_bytes_acked, tcpi_bytes_received
_LAST_RECEIVED = struct.Struct("=I")
_LAST_RECEIVED_AT = 8 + 11 * 4  # tcpi_last_data_recv, milliseconds ago
_TRIES = 200  # looks until two counters stand still together; a window fills up long before

# linux/tcp_states.h. A FIN takes a place in the stream like a byte, and is counted like one.
_FIN_RECEIVED = frozenset({6, 8, 9, 11})  # TIME_WAIT, CLOSE_WAIT, LAST_ACK, CLOSING
_FIN_SENT = frozenset({4, 5, 6, 9, 11})  # FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING


class Unreadable(OSError):
    """The kernel does not tell, or not twice the same: the position is unknown."""


def taken(sock: socket.socket) -> int:
    """Bytes of the peer's stream that were read, up to a constant; OSError when it cannot be told.

    One too many for a socket that is dead, has nothing left to read, and had a FIN before its end: nobody knows then.
    """
    state, (_, received), left = _still(sock, _left_and_fin)
    return received - left if left else received - (state in _FIN_RECEIVED)


def written(sock: socket.socket) -> int:
    """Bytes that were written, up to a constant; OSError when it cannot be told."""
    state, (acknowledged, _), left = _still(sock, lambda sock: queued(sock, SIOCOUTQ))
    return acknowledged + left - (state in _FIN_SENT)


def unread(sock: socket.socket) -> int:
    """Bytes that wait to be read."""
    return queued(sock, termios.FIONREAD)


def is_dead(sock: socket.socket) -> bool:
    """Reset, timed out, or closed by both sides: nothing will ever come or go."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE


def end_of(sock: socket.socket) -> str | None:
    """How the peer has ended: "fin" (read or not), "rst" (or given up by the kernel). It takes no error away."""
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    if state == TCP_CLOSE:
        return "rst"
    return "fin" if state in _FIN_RECEIVED else None


def has_finished(sock: socket.socket) -> bool:
    """The peer has said FIN, read or not; OSError for a dead socket, with the reason if nobody has taken it yet."""
    end = end_of(sock)
    if end == "rst":
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
        raise OSError(error, os.strerror(error))
    return end == "fin"


def last_received(sock: socket.socket, now: float) -> float | None:
    """When (monotonic) the last byte came in; None when the kernel does not tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        milliseconds: int = _LAST_RECEIVED.unpack_from(info, _LAST_RECEIVED_AT)[0]
    except (OSError, struct.error):
        return None
    return now - milliseconds / 1000


def _left_and_fin(sock: socket.socket) -> int:
    """What is still to be read, the FIN behind it included (FIONREAD leaves it out); 0 without bytes."""
    if not unread(sock):
        return 0  # and no look at it: where nothing waits, that would take the error of a reset with it
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_INQ, 1)
    try:
        _, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(4), socket.MSG_PEEK)
    finally:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_INQ, 0)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_TCP, _TCP_INQ):
            left: int = struct.unpack("i", data)[0]
            return left
    raise Unreadable("this kernel does not tell what is left of a stream")


def _still(sock: socket.socket, question: Callable[[socket.socket], int]) -> tuple[int, tuple[int, int], int]:
    """State, counters and a queue's length of one moment: the counters are the same before and after the question."""
    before = _info(sock)
    for _ in range(_TRIES):
        left = question(sock)
        after = _info(sock)
        if after == before:
            return *after, left
        before = after
    raise Unreadable("the counters of this connection do not stand still")


def _info(sock: socket.socket) -> tuple[int, tuple[int, int]]:
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    if len(raw) < _INFO_SIZE:
        raise Unreadable("this kernel does not count the bytes of a connection")
    return raw[0], _COUNTERS.unpack_from(raw, _COUNTERS_AT)
