"""Has the service manager keep the listening sockets that the relay has bound itself, so that its ports outlive a kill.

The sockets of .socket units are the manager's anyway. Those of bridges that came later (entry/listeners.py) would be
gone with the process, and clients refused until the next one is there; kept, they wait in the kernel's queue.

    bound HEX PORT    the socket bound to this address, in hexadecimal digits
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from relay.config.limits import KEPT_LISTENERS
from relay.manager import systemd

Bound = tuple[str, int, int]  # address, port, descriptor


class KeptListeners:
    """What the manager has of ours, by name."""

    def __init__(self) -> None:
        self._kept: set[str] = set()

    def take(self, stored: dict[str, int]) -> tuple[Bound, ...]:
        """Take what an earlier process has left of its own out of `stored`."""
        found = []
        for name in [name for name in stored if name.startswith(systemd.BOUND)]:
            where = parse_name(name)
            if where is None:
                continue  # is closed and given back with all else that nobody knows
            self._kept.add(name)
            found.append((*where, stored.pop(name)))
        return tuple(found)

    def keep(self, listening: Iterable[Bound]) -> bool:
        """The relay listens on these now: give the manager what is new, ask back what is gone.

        False when it had no time for all of it: call again soon.
        """
        wanted = {name_of(host, port): fd for host, port, fd in listening if fd >= 0}
        gone = sorted(self._kept - set(wanted))
        self._kept -= systemd.unstore(gone)
        room = max(0, KEPT_LISTENERS - len(self._kept))
        new = dict([(name, fd) for name, fd in wanted.items() if name not in self._kept][:room])
        for name, fd in new.items():
            # Asked back first: the program before an upgrade in place has stored it, too, perhaps another one.
            if not systemd.unstore([name]) or not systemd.store({name: fd}):
                return False
            self._kept.add(name)
        return self._kept <= set(wanted)


def name_of(host: str, port: int) -> str:
    """The name in the store; a name there must not have a colon."""
    return f"{systemd.BOUND}{ipaddress.ip_address(host).packed.hex()} {port}"


def parse_name(name: str) -> tuple[str, int] | None:
    """Address and port; None for what `name_of` did not make."""
    try:
        address, port = name.removeprefix(systemd.BOUND).split(" ")
        return str(ipaddress.ip_address(bytes.fromhex(address))), int(port)
    except ValueError:
        return None
