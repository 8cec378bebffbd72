"""The sockets this relay dials with, by their two addresses: so that a client that is the relay itself is known.

A name, an alias or an address of the host can lead an upstream back to a listener of ours, and then every connection
makes another one. Both ends are in this process, and the kernel gives both the same pair of addresses, whatever the
upstream was called. The pair is needed: two connections to two places may share a port of ours.
"""

from __future__ import annotations

import socket
from typing import Any
from weakref import WeakValueDictionary

_ANY = ("0.0.0.0", "::")  # dialled, each is the host itself

Place = tuple[str, int]  # host and port


class OwnDials:
    """Remembers a socket until it is closed."""

    __slots__ = ("_by_pair",)

    def __init__(self) -> None:
        self._by_pair: WeakValueDictionary[tuple[Place, Place], socket.socket] = WeakValueDictionary()

    def add(self, sock: socket.socket, dialled: tuple[Any, ...]) -> None:
        """It is connected or being connected to that socket address."""
        try:
            own = place(sock.getsockname())
        except OSError:
            return  # macOS, of a socket that was refused
        host, port = place(dialled)
        self._by_pair[own, (own[0] if host in _ANY else host, port)] = sock

    def find(self, accepted: socket.socket, peer: tuple[Any, ...]) -> socket.socket | None:
        """The socket of ours at the other end of an accepted connection; None if that is somebody else's."""
        try:
            found = self._by_pair.get((place(peer), place(accepted.getsockname())))
        except OSError:
            return None
        return found if found is not None and found.fileno() >= 0 else None


def place(address: tuple[Any, ...]) -> Place:
    """Host and port of a socket address; an IPv4 host in IPv6 form as what it is, no zone."""
    host = address[0].partition("%")[0]
    return (host.removeprefix("::ffff:") if "." in host else host), address[1]
