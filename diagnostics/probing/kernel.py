"""What our kernel knows of one connection: what is not acknowledged, what was sent again, what is still queued.

This is what separates two kinds of silence without any privilege. After an unanswered hello, 0 unacknowledged and 0
unsent mean that the other kernel has our bytes and its program says nothing; anything else means that the bytes get
nowhere.
"""

from __future__ import annotations

import socket
import struct
import sys

from diagnostics.evidence import KernelView

_SIOCOUTQ = 0x5411  # linux/sockios.h, on every architecture CPython has a port for but MIPS, SPARC and PowerPC
_TCP_INFO_SIZE = 104  # bytes: 8 of flags, 24 words of 4; the part every kernel since 2.6 has (linux/tcp.h)
_FIELDS = struct.Struct("=8x24I")
_UNACKED, _TOTAL_RETRANS = 4, 23  # word of tcpi_unacked, tcpi_total_retrans
_CLOSED = 7  # tcpi_state, the first byte: TCP_CLOSE (linux/tcp_states.h)

_LINUX = sys.platform == "linux"


def view(sock: socket.socket) -> KernelView:
    """The three numbers of a connected socket; None each where the system does not tell. Never raises."""
    info = _tcp_info(sock)
    if info is None:
        return KernelView()
    fields = _FIELDS.unpack_from(info)
    return KernelView(fields[_UNACKED], fields[_TOTAL_RETRANS], _unsent(sock))


def _tcp_info(sock: socket.socket) -> bytes | None:
    """Struct tcp_info; None elsewhere, and for a connection that is over: its counters stop meaning anything."""
    if not _LINUX:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except (OSError, ValueError):  # not TCP, not a socket any more; a sandbox that does not have it
        return None
    return info if len(info) >= _TCP_INFO_SIZE and info[0] != _CLOSED else None


def _unsent(sock: socket.socket) -> int | None:
    try:
        import fcntl
    except ImportError:  # not on this system
        return None
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQ, b"\0\0\0\0"))
    except (OSError, ValueError):
        return None
    return int(count)
