"""Listening sockets that a service manager has bound: which there are, and which map takes which.

A socket belongs to the map that asks for it (`listen = "systemd:NAME"`, `"launchd:NAME"`). Without such an entry a map
takes the sockets of its own name, and the only map of a relay takes all that systemd gave. They then stand *instead of*
its `listen`: what the manager's unit says about addresses is the whole truth, and a filter there cannot be walked
around.

The sockets are the manager's: they outlive this process and are never shut down, only let go. One that no map takes
would leave its clients in the kernel's queue, connected and unanswered, so it is named and its clients are turned away.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from relay.config.addresses import Listen, reaches
from relay.config.load import PortMap

SYSTEMD, LAUNCHD = "systemd", "launchd"


class ActivationError(Exception):
    """The configuration and the sockets handed over do not go together: one line that says how."""


@dataclass(frozen=True, slots=True)
class Given:
    """One socket handed over."""

    manager: str
    name: str
    sock: socket.socket
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.manager}:{self.name}, {Listen(self.host, self.port)}"


class Activation:
    """Everything handed over to this process. `close` lets go of it.

    `from_systemd` is all there is, by name. launchd has to be asked name by name (`ask_launchd`, OSError when there is
    none), and answers each once; `guess` is whether it may be asked for the names of maps, too.
    """

    def __init__(
        self,
        from_systemd: Mapping[str, Iterable[int]] | None = None,
        ask_launchd: Callable[[str], list[int]] | None = None,
        guess: bool = False,
    ) -> None:
        self._given: dict[tuple[str, str], list[Given]] = {}
        self._ask_launchd = ask_launchd
        self._guess = guess
        for name, fds in (from_systemd or {}).items():
            self.adopt(SYSTEMD, name, fds)

    def all(self) -> list[Given]:
        """Every socket handed over so far."""
        return [given for group in self._given.values() for given in group]

    def assign(self, maps: Sequence[PortMap]) -> dict[str, list[Given]]:
        """Map name -> the sockets it takes; a map without any is missing. ActivationError when something cannot be."""
        taken = {port_map.name: self._of(port_map, len(maps) == 1) for port_map in maps}
        owners: dict[int, str] = {}
        for name, group in taken.items():
            for given in group:
                if owners.setdefault(id(given), name) != name:
                    raise ActivationError(f"map {name}: {given} is taken by map {owners[id(given)]} already")
                for port_map in maps:
                    if reaches(port_map.upstream, Listen(given.host, given.port)):
                        raise ActivationError(
                            f"map {port_map.name}: upstream {port_map.upstream} is where this relay listens ({given})"
                        )
        return {name: group for name, group in taken.items() if group}

    def adopt(self, manager: str, name: str, fds: Iterable[int]) -> list[Given]:
        """Own these from now on; also what the program this process was before has left open.

        ActivationError as above.
        """
        group = self._given.setdefault((manager, name), [])
        for fd in fds:
            group.append(_given(manager, name, fd))
        return group

    def close(self) -> None:
        """Close our copies; the manager goes on listening."""
        for given in self.all():
            given.sock.close()
        self._given.clear()

    def _of(self, port_map: PortMap, alone: bool) -> list[Given]:
        asked = [listen.handed_over for listen in port_map.listen if listen.handed_over]
        if asked:
            return [given for manager, name in asked for given in self._named(manager, name, port_map)]
        if alone:
            found = [given for given in self.all() if given.manager == SYSTEMD]
        else:
            found = self._given.get((SYSTEMD, port_map.name), [])
        if not found and self._guess:
            with contextlib.suppress(OSError):  # the plist has no such key: this map binds its own addresses
                found = self._from_launchd(port_map.name)
        return found

    def _named(self, manager: str, name: str, port_map: PortMap) -> list[Given]:
        where = f'map {port_map.name}: listen "{manager}:{name}"'
        if manager == LAUNCHD:
            try:
                found = self._from_launchd(name)
            except OSError as error:
                raise ActivationError(f"{where}: launchd gave no such socket: {error.strerror}") from None
            if not found:
                raise ActivationError(f"{where}: launchd gave no socket")
            return found
        given = self._given.get((SYSTEMD, name))
        if not given:
            names = ", ".join(sorted({other.name for other in self.all() if other.manager == SYSTEMD}))
            seen = f"it gave {names}" if names else "it gave none: was the service started without its .socket unit?"
            raise ActivationError(f"{where}: systemd gave no such socket (FileDescriptorName=); {seen}")
        return given

    def _from_launchd(self, name: str) -> list[Given]:
        known = self._given.get((LAUNCHD, name))
        if known is None and self._ask_launchd is not None:
            known = self.adopt(LAUNCHD, name, self._ask_launchd(name))
        return known or []


def _given(manager: str, name: str, fd: int) -> Given:
    sock = socket.socket(fileno=fd)
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        sock.close()
        raise ActivationError(f"{manager}:{name}: seen a socket that is not TCP; allowed: ListenStream= with a port")
    sock.setblocking(False)
    host, port = sock.getsockname()[:2]
    return Given(manager, name, sock, host, port)
