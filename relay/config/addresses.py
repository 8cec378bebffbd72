"""Addresses as people write them: where to listen, what to dial, who may connect; and whether two addresses meet.

Pure text work: no name is resolved here, so a name only ever equals itself (and "localhost" both loopbacks).
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACKS = frozenset({"127.0.0.1", "::1"})
MANAGERS = ("systemd:", "launchd:")
HANDED_OVER = r"(?:systemd|launchd):[A-Za-z0-9_.@-]{1,200}"  # compiled where there is such a value
WILDCARDS = frozenset({"0.0.0.0", "::"})


class InvalidValue(Exception):
    """A value that is not allowed: the value as seen, and a hint at what is wrong or was meant, or ""."""

    def __init__(self, seen: object, hint: str = "") -> None:
        super().__init__(seen, hint)
        self.seen = seen
        self.hint = hint or (_wrong_with(seen) if isinstance(seen, str) else "")


def _wrong_with(value: str) -> str:
    from relay.repair import repaired  # for mistakes only: an upgrade's pause is the start of an interpreter

    return ", ".join(repaired(value, of_service=False).wrong)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to accept.

    `host` is an address, a name, "auto" (both loopbacks and the container bridges of this host), or "systemd:NAME" or
    "launchd:NAME" (a socket that the service manager has bound; its port is 0 here).
    """

    host: str
    port: int

    @property
    def handed_over(self) -> tuple[str, str] | None:
        """The manager and its name for the socket; None for an address of our own."""
        if not self.host.startswith(MANAGERS):
            return None
        manager, _, name = self.host.partition(":")
        return manager, name

    @property
    def auto(self) -> bool:
        return self.host == "auto"

    @property
    def named(self) -> bool:
        """Is the host a name that has to be looked up?"""
        return not (self.handed_over or self.auto or self.host == "localhost" or _is_literal(self.host))

    @property
    def wildcard(self) -> bool:
        return self.host in WILDCARDS

    def __str__(self) -> str:
        return self.host if self.handed_over else host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the gateway listens: an address or a name."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Allow:
    """Who may connect: with `auto` both loopbacks and the bridge subnets of this host, besides the networks."""

    auto: bool = True
    networks: tuple[Network, ...] = ()

    def __str__(self) -> str:
        networks = [str(network) for network in self.networks]
        return ", ".join(["auto", *networks] if self.auto else networks)


def read_listen(value: object) -> Listen:
    """An entry of `listen`; raises InvalidValue."""
    if isinstance(value, str) and value.startswith(MANAGERS):
        if not re.fullmatch(HANDED_OVER, value, re.ASCII):
            raise InvalidValue(value, "a name of letters, digits and _.@- follows the colon")
        return Listen(value, 0)
    return Listen(*_split_address(value))


def read_upstream(value: object) -> Upstream:
    """The value of `upstream`; raises InvalidValue."""
    host, port = _split_address(value)
    if host == "auto" or host in WILDCARDS:
        raise InvalidValue(value, f"{host} is for listen, it cannot be dialled")
    return Upstream(host, port)


def read_allow(value: object) -> Network | None:
    """An entry of `allow`, None for "auto"; raises InvalidValue."""
    return None if value == "auto" else read_network(value)


def read_network(value: object) -> Network:
    """An address or a network; raises InvalidValue."""
    if not isinstance(value, str):
        raise InvalidValue(value)
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise InvalidValue(value, _network_hint(value)) from error
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))  # as peers are compared


def build_allow(entries: tuple[Network | None, ...]) -> Allow:
    return Allow(None in entries, tuple(entry for entry in entries if entry is not None))


def collapsed(networks: Iterable[Network]) -> list[Network]:
    """The same addresses in as few networks as there can be: two halves are a whole."""
    networks = tuple(networks)
    v4 = (network for network in networks if isinstance(network, ipaddress.IPv4Network))
    v6 = (network for network in networks if isinstance(network, ipaddress.IPv6Network))
    return [*ipaddress.collapse_addresses(v4), *ipaddress.collapse_addresses(v6)]


def within(network: Network, others: Iterable[Network]) -> bool:
    """Whether one of the others has all of this network."""
    return any(
        network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]  # of one version
        for other in others
    )


def overlap(first: Listen, second: Listen) -> bool:
    """Whether both cannot be bound together. 0.0.0.0 and :: can: an IPv6 listener of ours takes only IPv6."""
    if first.port != second.port:
        return False
    hosts, others = _literals(first.host), _literals(second.host)
    return bool(hosts & others) or bool(_widened(hosts) & others) or bool(hosts & _widened(others))


def reaches(upstream: Upstream, listen: Listen) -> bool:
    """Whether dialling this upstream ends at this listener, as far as the text alone can show.

    A wildcard counts for both families: ":: port 4002, dial 127.0.0.1 port 4002" is a slip, not a plan.
    """
    if upstream.port != listen.port:
        return False
    if listen.wildcard:
        return any(_is_loopback(host) for host in _literals(upstream.host))
    return bool(_literals(upstream.host) & _literals(listen.host))


def _literals(host: str) -> frozenset[str]:
    """The addresses that a host certainly means."""
    return LOOPBACKS if host in ("auto", "localhost") else frozenset({host})


def _widened(hosts: frozenset[str]) -> frozenset[str]:
    """The wildcards that would cover any of these hosts."""
    return frozenset("::" if ":" in host else "0.0.0.0" for host in hosts if _is_literal(host))


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _is_loopback(host: str) -> bool:
    return _is_literal(host) and ipaddress.ip_address(host).is_loopback


IN_BRACKETS = r"\[(?P<v6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]"
ADDRESS = re.compile(rf"(?:{IN_BRACKETS}|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{{1,5}})", re.ASCII)
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # RFC 1123, and "_" because compose services have it
HOST_NAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(?:\.{LABEL})*\.?", re.ASCII)


def _split_address(value: object) -> tuple[str, int]:
    """Host and port; addresses in their canonical spelling, names in lower case."""
    if not isinstance(value, str):
        raise InvalidValue(value, ALONE if type(value) is int else "")
    match = ADDRESS.fullmatch(value)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise InvalidValue(value, _address_hint(value))
    port, name = int(match["port"]), (match["host"] or "").lower()
    if re.search(r"[^0-9.]", name):
        if not HOST_NAME.fullmatch(name):
            raise InvalidValue(value, _address_hint(value))
        return name, port
    try:
        address = ipaddress.ip_address(match["v6"] or name)  # digits and dots: no 127.1 or 0177.0.0.1
    except ValueError as error:
        raise InvalidValue(value, "not an IP address") from error
    if match["v6"] and address.version == 4:
        raise InvalidValue(value, "brackets are for IPv6")
    return str(getattr(address, "ipv4_mapped", None) or address), port


ALONE = "a port alone does not say which addresses"


def _address_hint(value: str) -> str:
    """The probable intention of the writer of a refused address."""
    if re.fullmatch(r":?[0-9]+", value):
        return ALONE
    if value.startswith("*:"):
        return "for all interfaces write 0.0.0.0:PORT or [::]:PORT"
    if re.fullmatch(r"[0-9A-Fa-f.:]*:[0-9A-Fa-f.]*:[0-9]+", value):
        return "an IPv6 address stands in brackets"
    return ""


def _network_hint(value: str) -> str:
    """The probable intention of the writer of a refused network: ip_network also refuses set host bits."""
    try:
        return f"host bits are set; {ipaddress.ip_network(value, strict=False)} is the network"
    except ValueError:
        return ""


def host_port(host: str, port: int) -> str:
    """HOST:PORT, with brackets where the host has colons."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
