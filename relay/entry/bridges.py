"""The container bridges of this host: where Docker's and Podman's containers knock, and from which subnets.

A bridge of an engine's own naming is known by its name. One that somebody named (Docker's option
com.docker.network.bridge.name) is known by what is plugged into it, see plugs.py, while a container is.

Read from /sys/class/net, two ioctls a bridge, and the process' own if_inet6 (ProcSubset=pid hides /proc/net, which is
a link to the same folder): nothing to install, and cheap enough to be asked every few seconds (a few dozen microseconds
without bridges). Where it cannot look (macOS, Windows) the answer is short or empty and says why; that is not an error:
containers of Docker Desktop arrive on the loopback address.
"""

import errno
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Mapping
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # not on Unix
    fcntl = None  # type: ignore[assignment]  # None where there is none: _ipv4_of asks

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

SYS = "/sys/class/net"
IF_INET6 = "/proc/self/net/if_inet6"
SIOCGIFADDR = 0x8915  # linux/sockios.h; the primary IPv4 address of an interface
SIOCGIFNETMASK = 0x891B
HAS_NONE = (errno.EADDRNOTAVAIL, errno.ENODEV)  # no IPv4 address on it; the interface has gone meanwhile
WIDEST = {4: 8, 6: 32}  # prefix lengths; an interface wider than that would turn the access list into no list
# docker0, docker_gwbridge (swarm) and br-<12 hex digits of the network id> are Docker's; podmanN is netavark's and
# cni-podmanN its predecessor's.
NAMES = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}|podman[0-9]+|cni-podman[0-9]+")


class Bridge(NamedTuple):
    """One address of one bridge: `interface.ip` to listen on, `interface.network` to allow."""

    name: str
    interface: Interface


class Survey(NamedTuple):
    """What was found, ordered by name; `why` has a line for everything that could not be looked at."""

    bridges: tuple[Bridge, ...] = ()
    why: tuple[str, ...] = ()


def find_bridges(sys_folder: str = SYS, if_inet6: str = IF_INET6) -> Survey:
    """Look now. Never raises."""
    try:
        there = sorted(os.listdir(sys_folder))
    except OSError as error:
        return Survey(why=(f"{sys_folder}: {error.strerror}",))
    bridges = [name for name in there if os.path.isdir(f"{sys_folder}/{name}/bridge")]
    names = [name for name in bridges if NAMES.fullmatch(name)]
    if len(names) < len(bridges):  # seldom, so that seldom its file is loaded
        from relay.entry.plugs import has_containers_only

        names = [name for name in bridges if name in names or has_containers_only(sys_folder, name)]
    if not names:
        return Survey()
    v4, v4_why = _ipv4_of(names)
    v6, v6_why = _ipv6_of(if_inet6)
    every = [
        Bridge(name, interface)
        for name in names
        for interface in (*v4.get(name, ()), *v6.get(name, ()))
        if NAMES.fullmatch(name) or interface.is_private
    ]
    narrow = tuple(bridge for bridge in every if bridge.interface.network.prefixlen >= WIDEST[bridge.interface.version])
    wide = [f"{bridge.name}: {bridge.interface} is too wide to be trusted" for bridge in every if bridge not in narrow]
    return Survey(narrow, (*v4_why, *v6_why, *wide))


def parse_if_inet6(text: str) -> Mapping[str, tuple[Interface, ...]]:
    """Addresses by interface name. Link-local ones are left out: they need a zone, and no container dials one.

    A line is "address index prefix-length scope flags name", all but the name in hexadecimal (net/ipv6/addrconf.c,
    if6_seq_show). Lines of another shape are skipped.
    """
    found: dict[str, tuple[Interface, ...]] = {}
    for line in text.splitlines():
        try:
            digits, _, length, _, _, name = line.split()
            interface = ipaddress.IPv6Interface((bytes.fromhex(digits), int(length, 16)))
        except ValueError:
            continue
        if not interface.is_link_local:
            found[name] = (*found.get(name, ()), interface)
    return found


def _ipv6_of(path: str) -> tuple[Mapping[str, tuple[Interface, ...]], list[str]]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return parse_if_inet6(file.read()), []
    except FileNotFoundError:
        return {}, []  # a kernel without IPv6
    except OSError as error:
        return {}, [f"IPv6 addresses: {path}: {error.strerror}"]


def _ipv4_of(names: list[str]) -> tuple[Mapping[str, tuple[Interface, ...]], list[str]]:
    found: dict[str, tuple[Interface, ...]] = {}
    why = []
    if fcntl is None:
        return found, ["IPv4 addresses: no ioctl on this system"]
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for name in names:
                try:
                    address, mask = (_ask(sock, question, name) for question in (SIOCGIFADDR, SIOCGIFNETMASK))
                    found[name] = (ipaddress.IPv4Interface(f"{address}/{mask}"),)
                except (OSError, ValueError) as error:  # ValueError: a mask with holes
                    if getattr(error, "errno", None) not in HAS_NONE:
                        why.append(f"IPv4 address of {name}: {getattr(error, 'strerror', None) or error}")
    except OSError as error:
        why.append(f"IPv4 addresses: {error.strerror}")
    return found, why


def _ask(sock: socket.socket, question: int, name: str) -> str:
    """One field of struct ifreq: 16 bytes of name, then a sockaddr_in whose address is 4 bytes in."""
    request = struct.pack("16s24x", name.encode())
    return socket.inet_ntoa(fcntl.ioctl(sock, question, request)[20:24])
