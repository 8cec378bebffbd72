"""What can be known about the network we are in: interfaces, our addresses, the default gateway, name servers.

No name is resolved and no packet is sent.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

from diagnostics.place.file_tree import FileTree
from diagnostics.place.host_names import HOST_NAMES
from diagnostics.place.netfiles import (
    default_ipv4,
    default_ipv6,
    host_lines,
    ipv4,
    is_address,
    is_reachable,
    local_ipv4,
    local_ipv6,
    nameservers,
)
from diagnostics.place.reading import Reading, joined, reading
from diagnostics.place.surroundings import HOSTS, RESOLV

MAX_INTERFACES = 512  # asked for their address; a host of that many containers has all that matters in the first ones
SIOCGIFADDR = {"linux": 0x8915, "darwin": 0xC0206921}.get(sys.platform)  # linux/sockios.h; sys/sockio.h, _IOWR('i', 33)
# Connecting a datagram socket chooses our address and sends nothing; these are for documentation (RFC 5737, RFC 3849)
NOWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def network_facts(tree: FileTree) -> dict[str, Reading]:
    """The facts about the network, by name."""
    names, names_source = _interfaces(tree)
    by_interface = _ipv4_by_interface(tree, names or ())
    resolv, hosts = tree.read(RESOLV), tree.read(HOSTS)
    docker0 = None if names is None else joined(by_interface.get("docker0", ()))
    return {
        "interfaces": reading(None if names is None else joined(names), names_source),
        "own_addresses": _own_addresses(tree, names, by_interface),
        "mtu": _mtu(tree, tree.interface),
        "default_gateway": _default_gateway(tree),
        "resolver": reading(None if resolv is None else joined(nameservers(resolv)), RESOLV),
        "hosts_entries": reading(None if hosts is None else joined(_hosts_entries(hosts)), HOSTS),
        "docker0": reading(docker0, "SIOCGIFADDR" if tree.is_this_machine else "/proc/net/fib_trie"),
    }


def is_peered(tree: FileTree) -> bool | None:
    """A veth in a container is linked to another index than its own; a device of the machine to itself."""
    if tree.interface is None:
        return None
    folder = f"/sys/class/net/{tree.interface}"
    index, link = tree.read(f"{folder}/ifindex"), tree.read(f"{folder}/iflink")
    return index != link if index and link else None


def _interfaces(tree: FileTree) -> tuple[tuple[str, ...] | None, str]:
    """/proc/net is of our own namespace; /sys/class/net of the one in which /sys was mounted, which may be another."""
    text = tree.read("/proc/net/dev")
    if text is not None:
        return tuple(line.partition(":")[0].strip() for line in text.splitlines()[2:] if ":" in line), "/proc/net/dev"
    if tree.is_this_machine:
        try:
            return tuple(name for _, name in socket.if_nameindex()), "if_nameindex"
        except (OSError, AttributeError):
            pass
    return tree.names("/sys/class/net"), "/sys/class/net"


def _ipv4_by_interface(tree: FileTree, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """From the kernel one address an interface; from a copy of /proc those that a route of the interface covers."""
    if tree.is_this_machine:
        return _ipv4_from_kernel(names[:MAX_INTERFACES])
    local = local_ipv4(tree.read("/proc/net/fib_trie") or "")
    addresses: dict[str, tuple[str, ...]] = {}
    for route in tree.routes:
        if route.mask and not route.gateway:
            covered = tuple(address for address in local if route.covers(address))
            addresses[route.interface] = addresses.get(route.interface, ()) + covered
    return addresses


def _ipv4_from_kernel(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    try:
        import fcntl
    except ImportError:  # Windows
        return {}
    addresses: dict[str, tuple[str, ...]] = {}
    if SIOCGIFADDR is None:
        return addresses
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for name in names:
                try:  # struct ifreq: 16 bytes of name, then a sockaddr_in with the address at 4
                    answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("16s24x", os.fsencode(name)[:15]))
                except OSError:  # it has none, or is gone
                    continue
                addresses[name] = (socket.inet_ntop(socket.AF_INET, answer[20:24]),)
    except OSError:  # a sandbox without sockets
        pass
    return addresses


def _own_addresses(tree: FileTree, names: tuple[str, ...] | None, by_interface: dict[str, tuple[str, ...]]) -> Reading:
    """Of all interfaces, the default route's first; IPv6 behind IPv4."""
    trie, inet6 = tree.read("/proc/net/fib_trie"), tree.read("/proc/net/if_inet6")
    order = sorted(names or (), key=lambda name: name != tree.interface)
    on_ipv4 = [address for name in order for address in by_interface.get(name, ())] + local_ipv4(trie or "")
    on_ipv6 = sorted(local_ipv6(inet6 or ""), key=lambda pair: pair[0] != tree.interface)
    addresses = joined(filter(is_reachable, (*on_ipv4, *(address for _, address in on_ipv6))))
    if not addresses and trie is None and tree.is_this_machine:
        return _guessed_addresses()
    source = ", ".join(
        name
        for name, used in (
            ("SIOCGIFADDR", tree.is_this_machine and bool(by_interface)),
            ("/proc/net/fib_trie", trie is not None),
            ("/proc/net/if_inet6", inet6 is not None),
        )
        if used
    )
    return reading(addresses if source else None, source or "/proc/net")


def _guessed_addresses() -> Reading:
    """Where the kernel lists nothing: the address it would send from, or else what our own name stands for."""
    addresses = list(filter(is_reachable, _sending_addresses()))
    if addresses:
        return reading(joined(addresses), "getsockname of an unsent datagram", "likely")
    return reading(joined(_named_addresses()) or None, "getaddrinfo of our own name", "hint")


def _sending_addresses() -> Iterator[str]:
    for family, address in NOWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as unsent:
                unsent.connect((address, 9))
                yield unsent.getsockname()[0]
        except OSError:
            pass


def _named_addresses() -> list[str]:
    """Off Linux only, and at most 0.1 s: the resolver may think for seconds about a name it does not know."""
    import threading

    addresses: list[str] = []

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            addresses.extend(str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None))

    thread = threading.Thread(target=ask, name="own name", daemon=True)
    try:
        thread.start()
        thread.join(0.1)
    except RuntimeError:  # no more threads
        pass
    return list(filter(is_reachable, addresses))


def _default_gateway(tree: FileTree) -> Reading:
    inet, inet6 = tree.read("/proc/net/route"), tree.read("/proc/net/ipv6_route")
    if inet is None and inet6 is None:
        return reading(None, "/proc/net/route")
    hops = [ipv4(route.gateway) for route in default_ipv4(tree.routes) if route.gateway]
    hops += [hop for _, hop in default_ipv6(inet6 or "") if is_reachable(hop)]
    return reading(joined(hops), "/proc/net/route" if not inet6 else "/proc/net/route, /proc/net/ipv6_route")


def _mtu(tree: FileTree, interface: str | None) -> Reading:
    source = f"/sys/class/net/{interface}/mtu" if interface else "/proc/net/route"
    text = (tree.read(source) or "").strip() if interface else ""
    return reading(text if re.fullmatch("[0-9]{1,6}", text, re.ASCII) else None, source)


def _hosts_entries(hosts: str) -> Iterable[str]:
    """name=address of the names in HOST_NAMES; of two lines the first counts, as for the resolver."""
    addresses: dict[str, str] = {}
    for address, names in host_lines(hosts):
        for name in map(str.lower, names):
            if name in HOST_NAMES and name not in addresses and is_address(address):
                addresses[name] = address
    return (f"{name}={address}" for name, address in addresses.items())
