"""What the kernel and /etc write about the network: routes, addresses, name servers, host lines; text in, values out.

Lines of another shape are skipped: these files are somebody else's, and some sandboxes write their own idea of them.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

RTF_GATEWAY, RTF_REJECT = 0x2, 0x200  # linux/route.h


class Ipv4Route(NamedTuple):
    """A line of /proc/net/route, its addresses as numbers."""

    interface: str
    destination: int
    gateway: int
    mask: int
    metric: int

    @property
    def is_default(self) -> bool:
        """Whether it is a route to everywhere."""
        return self.destination == 0 and self.mask == 0

    def covers(self, address: str) -> bool:
        """Whether it is the route of the network that the address is in."""
        return int(ipaddress.IPv4Address(address)) & self.mask == self.destination


def ipv4_routes(text: str) -> list[Ipv4Route]:
    """The routes of /proc/net/route, which is in the host's byte order."""
    routes = []
    for line in text.splitlines()[1:]:
        try:
            interface, destination, gateway, flags, _, _, metric, mask = line.split()[:8]
            if not int(flags, 16) & RTF_REJECT:
                hop, network, bits = _ipv4_number(gateway), _ipv4_number(destination), _ipv4_number(mask)
                routes.append(Ipv4Route(interface, network, hop, bits, int(metric)))
        except ValueError:
            continue
    return routes


def default_ipv4(routes: list[Ipv4Route]) -> list[Ipv4Route]:
    """The default routes of these, best metric first."""
    return sorted((route for route in routes if route.is_default), key=lambda route: route.metric)


def _ipv4_number(digits: str) -> int:
    raw = bytes.fromhex(digits)
    if len(raw) != 4:
        raise ValueError(digits)
    return int.from_bytes(raw, sys.byteorder)


def ipv4(number: int) -> str:
    """A number as an address."""
    return str(ipaddress.IPv4Address(number))


def default_ipv6(text: str) -> list[tuple[str, str]]:
    """(interface, next hop) of the default routes of /proc/net/ipv6_route, best metric first."""
    routes = []
    for line in text.splitlines():
        try:
            destination, length, _, _, hop, metric, _, _, flag_digits, interface = line.split()
            flags = int(flag_digits, 16)
            is_default = int(destination, 16) == int(length, 16) == 0
            if is_default and flags & RTF_GATEWAY and not flags & RTF_REJECT:
                routes.append((int(metric, 16), interface, _ipv6(hop)))
        except ValueError:
            continue
    return [(interface, hop) for _, interface, hop in sorted(routes)]


def _ipv6(digits: str) -> str:
    return str(ipaddress.IPv6Address(bytes.fromhex(digits)))


def local_ipv4(text: str) -> list[str]:
    """Our addresses in /proc/net/fib_trie: a leaf "|-- address" followed by "/32 host LOCAL"."""
    leaves = re.findall(r"\|-- ([0-9.]{7,15})\n\s+/32 host LOCAL", text)
    return [address for address in dict.fromkeys(leaves) if is_address(address)]


def local_ipv6(text: str) -> list[tuple[str, str]]:
    """(interface, address) of /proc/net/if_inet6: "address index prefix-length scope flags name", in hex."""
    addresses = []
    for line in text.splitlines():
        try:
            digits, _, _, _, _, interface = line.split()
            addresses.append((interface, _ipv6(digits)))
        except ValueError:
            continue
    return addresses


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_reachable(text: str) -> bool:
    """Whether it is an address that others could dial: neither loopback nor link-local."""
    if not is_address(text):
        return False
    address = ipaddress.ip_address(text)
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)


def nameservers(text: str) -> tuple[str, ...]:
    """The addresses of resolv.conf, in order."""
    lines = [line.split() for line in text.splitlines() if line.startswith("nameserver")]
    return tuple(columns[1] for columns in lines if len(columns) > 1 and is_address(columns[1]))


def host_lines(text: str) -> Iterator[tuple[str, list[str]]]:
    """(address, names) of every line of /etc/hosts that has both."""
    for line in text.splitlines():
        columns = line.partition("#")[0].split()
        if len(columns) > 1:
            yield columns[0], columns[1:]
