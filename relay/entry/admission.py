"""Who may come in: the access list, the limits, and the decision over one new connection. Pure: values in, values out.

A decision about a peer seen before costs a dictionary look-up and two comparisons, because a storm of reconnecting
clients is when the accept loop has the least time to spare. IPv4 peers of a dual-stack socket (::ffff:172.17.0.2) are
the IPv4 peers they are.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from relay.config.addresses import Allow, Network, collapsed
from relay.logs.record import Reason
from relay.net.tcp import KeepAlive

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
MEMO = 1024  # peers remembered: far more than clients there are, and a scan from a whole /64 cannot make it grow


class Admit(NamedTuple):
    """Come in. `source` is the peer's one spelling, to be counted in `Sources`."""

    source: str


class Refuse(NamedTuple):
    """Stay out. `detail` says what was seen and what is allowed, for the record."""

    reason: Reason
    detail: str


class Limits(NamedTuple):
    """How many connections at once, of the whole relay and of one source in one map; 0 = no limit."""

    total: int = 0
    per_source: int = 0


class AccessList:
    """The networks peers may come from. A new one is made when the configuration or the host's bridges change."""

    __slots__ = ("_memo", "networks")

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks: tuple[Network, ...] = tuple(collapsed(networks))
        self._memo: dict[str, tuple[str, bool]] = {}

    def look_up(self, peer: str) -> tuple[str, bool]:
        """The peer's one spelling and whether it may come in; `peer` is the first item of its socket address."""
        known = self._memo.get(peer)
        if known is None:
            if len(self._memo) >= MEMO:
                self._memo.clear()
            known = self._memo[peer] = self._judge(peer)
        return known

    def _judge(self, peer: str) -> tuple[str, bool]:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])  # without the zone: networks have none
        except ValueError:
            return peer, False
        address = getattr(address, "ipv4_mapped", None) or address
        return str(address), any(address in network for network in self.networks)

    def __str__(self) -> str:
        return ", ".join(map(str, self.networks))


class Sources:
    """Live connections of one map by source. Remembers nobody who has left."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def opened(self, source: str) -> None:
        self.counts[source] = self.counts.get(source, 0) + 1

    def closed(self, source: str) -> None:
        """Give back what `opened` took; KeyError for a source that has nothing open."""
        left = self.counts[source] - 1
        if left:
            self.counts[source] = left
        else:
            del self.counts[source]


class MapAdmission(NamedTuple):
    """Everything that is decided by for one map, made anew when the configuration or the bridges change."""

    access: AccessList
    limits: Limits
    inside: Sources  # carried over
    keep_alive: KeepAlive


def decide(
    peer: str,
    access: AccessList,
    limits: Limits,
    total: int,
    by_source: Mapping[str, int],
    of_this_machine: Callable[[str], bool] = lambda source: False,
) -> Admit | Refuse:
    """Whether a peer may come in, with `total` connections of the relay and `by_source` of its map live now.

    A peer that no network has is let in if it is a program of this machine all the same; asked only then.
    """
    source, allowed = access.look_up(peer)
    if not allowed and not of_this_machine(source):
        return Refuse(Reason.ACL_DENIED, f"{source} is in none of the allowed networks ({access})")
    if limits.total and total >= limits.total:
        return Refuse(Reason.CONNECTION_LIMIT, f"{total} connections are open, max_connections = {limits.total}")
    if limits.per_source and (count := by_source.get(source, 0)) >= limits.per_source:
        return Refuse(
            Reason.CONNECTION_LIMIT, f"{source} has {count} connections open, max_per_source = {limits.per_source}"
        )
    return Admit(source)


def access_list(allow: Allow, bridges: Iterable[Network]) -> AccessList:
    """What `allow` means on a host with these bridge subnets."""
    return AccessList((*allow.networks, *LOOPBACK, *bridges) if allow.auto else allow.networks)
