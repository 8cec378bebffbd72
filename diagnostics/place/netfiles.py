"""What the kernel and /etc write about the network: routes, addresses, name servers, host lines; text in, values out.

Lines of another shape are skipped: these files are somebody else's, and some sandboxes write their own idea of them.
"""

from __future__ import annotations

import ipaddress
import re
import sys

RTF_GATEWAY, RTF_REJECT = 0x2, 0x200  # linux/route.h


def ipv4_routes(text: str) -> list[tuple[str, int, int, int, int]]:
    """(interface, destination, gateway, mask, metric) of /proc/net/route, which is in the host's byte order."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            name, target, gateway, flags, _, _, metric, mask = fields[:8]
            if not int(flags, 16) & RTF_REJECT:
                found.append((name, *(_swapped(one) for one in (target, gateway, mask)), int(metric)))
        except ValueError:
            continue
    return found


def _swapped(digits: str) -> int:
    raw = bytes.fromhex(digits)
    if len(raw) != 4:
        raise ValueError(digits)
    return int.from_bytes(raw, sys.byteorder)


def ipv4(number: int) -> str:
    return str(ipaddress.IPv4Address(number))


def covers(target: int, mask: int, address: str) -> bool:
    """Whether a route to `target` with this mask is that of the network `address` is in."""
    return int(ipaddress.IPv4Address(address)) & mask == target


def default_ipv6(text: str) -> list[tuple[str, str]]:
    """(interface, next hop) of the default routes of /proc/net/ipv6_route, best metric first."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        try:
            target, length, _, _, hop, metric, _, _, flags, name = fields
            if (
                int(target, 16) == int(length, 16) == 0
                and int(flags, 16) & RTF_GATEWAY
                and not int(flags, 16) & RTF_REJECT
            ):
                found.append((int(metric, 16), name, str(ipaddress.IPv6Address(bytes.fromhex(hop)))))
        except ValueError:
            continue
    return [(name, hop) for _, name, hop in sorted(found)]


def local_ipv4(text: str) -> list[str]:
    """Our addresses in /proc/net/fib_trie: a leaf "|-- address" followed by "/32 host LOCAL"."""
    found = re.findall(r"\|-- ([0-9.]{7,15})\n\s+/32 host LOCAL", text)
    return [one for one in dict.fromkeys(found) if is_address(one)]


def local_ipv6(text: str) -> list[tuple[str, str]]:
    """(interface, address) of /proc/net/if_inet6: "address index prefix-length scope flags name", in hex."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        try:
            digits, _, _, _, _, name = fields
            found.append((name, str(ipaddress.IPv6Address(bytes.fromhex(digits)))))
        except ValueError:
            continue
    return found


def is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_reachable(address: str) -> bool:
    """Others could dial it: neither loopback nor link-local."""
    if not is_address(address):
        return False
    one = ipaddress.ip_address(address)
    return not (one.is_loopback or one.is_link_local or one.is_unspecified or one.is_multicast)


def nameservers(text: str) -> tuple[str, ...]:
    """The addresses of resolv.conf, in order."""
    servers = (line.split()[1:2] for line in text.splitlines() if line.startswith("nameserver"))
    return tuple(one[0] for one in servers if one and is_address(one[0]))


def host_lines(text: str):
    """(address, names) of every line of /etc/hosts that has both."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1:
            yield words[0], words[1:]
