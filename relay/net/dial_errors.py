"""What the system's error of a dial says: one errno stands for things that need different hands. Pure.

Sources: ip(7), connect(2), tcp(7); the time of a failed ARP is measured (3.06 to 3.08 s on Linux); macOS refuses the
local network to a program without that right with EHOSTUNREACH, at once (Apple, TN3179).
"""

from __future__ import annotations

import errno

AT_ONCE = 0.5  # seconds; an answer from this machine or the next router
ARP_GIVES_UP = 2.0  # seconds; Linux asks three times for the owner of an address, a second apart


def why_unreachable(code: int, where: str, seconds: float, *, macos: bool) -> str:
    """A clause on a dial of `where` (HOST:PORT) that failed with this errno after so many seconds."""
    if code == errno.ENETUNREACH:
        return f"no route to {where}: this machine knows no way to that network"
    if code == errno.EHOSTUNREACH:
        return f"{where} cannot be reached: {_host_unreachable(seconds, macos)}"
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"the dial of {where} is forbidden on this machine: by a firewall, or by IPAddressDeny= of the service's "
            "unit, which `ib-relay service install` writes for the upstream of then"
        )
    if code in (errno.EINVAL, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"{where} cannot be dialled from here: no interface or address of this machine fits it"
    return f"{where} cannot be reached"


def _host_unreachable(seconds: float, macos: bool) -> str:
    if macos and seconds < AT_ONCE:
        return "refused at once, as macOS does without the right to the local network (Privacy & Security)"
    if seconds >= ARP_GIVES_UP:
        return f"no machine answers for that address in its network (ARP), {seconds:.1f} s"
    return "a router or a firewall says so"
