"""Hears from the kernel when a network interface, or an address of one, comes or goes: rtnetlink(7).

What the messages say is not read: they are the sign that it is time to look (bridges.py). Where there is no netlink
(other systems, a unit without AF_NETLINK) nothing is heard, and looking every few seconds has to do.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable

from relay.net.poller import READ, Poller

# linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
GROUPS = 0x1 | 0x10 | 0x100
BATCH = 64  # messages dropped in one go before other descriptors get their turn


class LinkEvents:
    """Calls `heard` when something has changed; OSError from the constructor where the kernel does not tell."""

    def __init__(self, poller: Poller, heard: Callable[[], None]) -> None:
        if not hasattr(socket, "AF_NETLINK"):
            raise OSError(errno.EAFNOSUPPORT, "no netlink on this system")
        self._poller = poller
        self._heard = heard
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        try:
            self._sock.bind((0, GROUPS))
            poller.watch(self._sock.fileno(), READ, self._ready)
        except BaseException:
            self._sock.close()
            raise

    def close(self) -> None:
        """Hear no more; may be called twice."""
        if self._sock.fileno() >= 0:
            self._poller.unwatch(self._sock.fileno())
            self._sock.close()

    def _ready(self, _events: int) -> bool:
        with contextlib.suppress(BlockingIOError):
            for _ in range(BATCH):
                try:
                    self._sock.recv(1)  # the rest of a message goes with it
                except OSError as error:
                    if error.errno != errno.ENOBUFS:  # there was more than the kernel has room for: all the more news
                        raise
        self._heard()
        return True
