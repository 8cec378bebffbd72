"""Which process has taken a connection: what proves a program behind a port that systemd holds open for it.

The kernel completes a handshake for a listening socket whether anybody accepts or not, so a connection that can be made
proves nothing. Until somebody has accepted, the other end has no file and /proc/net/tcp shows inode 0 for it; then it
is a descriptor of a process. Linux; elsewhere nothing can be looked up.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from pathlib import Path

PROC = Path("/proc")
LOOK = 0.01  # seconds between two looks
CAN_LOOK = sys.platform == "linux"


def wait_until_taken(sock: socket.socket, within: float) -> tuple[str, int]:
    """Wait until somebody has taken this connection of ours: what was seen instead, or "", and the other end's inode.

    The inode is 0 where it cannot be known: the other end is gone already, or nothing can be looked up.
    """
    if not CAN_LOOK:
        return "", 0
    until = time.monotonic() + within
    try:
        ports = sock.getsockname()[1], sock.getpeername()[1]
    except OSError:  # reset by whoever has taken it
        return "", 0
    while time.monotonic() < until:
        inode = _inode_of(sock.family, *ports)
        if inode or ended(sock):
            return "", inode
        time.sleep(LOOK)
    return f"no process has accepted the connection within {within:g} s", 0


def _inode_of(family: int, ours: int, theirs: int) -> int:
    """Of the other end, on this machine; 0 when nobody has accepted yet, and when it cannot be found."""
    table = PROC / "net" / ("tcp6" if family == socket.AF_INET6 else "tcp")
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return 0
    for fields in map(str.split, lines):
        if fields[1].endswith(f":{theirs:04X}") and fields[2].endswith(f":{ours:04X}"):
            return int(fields[9])
    return 0


def has_descriptor(pid: int, inode: int) -> bool | None:
    """Has that process this socket open? None when it is not for our eyes."""
    try:
        names = os.listdir(PROC / str(pid) / "fd")
    except OSError:
        return None
    for name in names:
        try:
            if os.readlink(PROC / str(pid) / "fd" / name) == f"socket:[{inode}]":
                return True
        except OSError:  # closed meanwhile
            continue
    return False


def command_line(pid: int) -> tuple[str, ...] | None:
    """What it was started with; None when it is not there or not for our eyes."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    return tuple(words[:-1]) or None


def ended(sock: socket.socket, within: float = 0.0) -> bool:
    """Readable, or gone, within so many seconds: a queue that nobody serves says nothing and ends nothing."""
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(within * 1000))
