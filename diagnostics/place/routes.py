"""Facts and wishes to candidate routes: which addresses could lead to the gateway from here, in which order, and why.

What the user configured comes first, then what fits this place, then names that belong to other runtimes: those cost
one look-up each and are of kind "name", so that a report can leave them out when nobody here knows them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from diagnostics.evidence import Fact, Route

DEFAULT_PORT = 4003  # where our relay listens
MAX_OWN = 4  # own addresses tried: they all end at the same sockets, unless something is bound to one of them
DOCKER0 = "172.17.0.1"  # docker0's address unless the engine was told another one (moby, default address pool)

SIBLINGS = (  # (port, whose it usually is): the image's README, or IBKR's default
    (4001, "IB Gateway, live; with the gnzsnz image the published live port"),
    (4002, "IB Gateway, paper; with the gnzsnz image the published paper port"),
    (4003, "ib-relay; inside the gnzsnz image the live port"),
    (4004, "inside the gnzsnz image the paper port"),
    (7496, "TWS, live"),
    (7497, "TWS, paper"),
    (4000, "the ibga image; inside the UnusualAlpha image the gateway itself"),
    (8888, "the extrange image"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """What the user wants probed; without a port the one of the run is meant."""

    host: str
    port: int | None = None
    origin: str = "--target"  # or IB_HOST


@dataclass(frozen=True, slots=True)
class HostName:
    """A name by which some runtime lets containers find their host."""

    whose: str
    known_to: frozenset[str]  # flavours and runtimes that define it, or commonly have it


def _known(whose: str, *known_to: str) -> HostName:
    return HostName(whose, frozenset(known_to))


HOST_NAMES = {
    "host.docker.internal": _known(
        "Docker's name for its host",
        "docker",
        "podman",
        "docker desktop",
        "orbstack",
        "colima",
        "rancher",
        "podman machine",
    ),
    "gateway.docker.internal": _known("Docker Desktop's name for its gateway", "docker desktop"),
    "host.containers.internal": _known("Podman's name for its host", "podman", "podman machine"),
    "host.lima.internal": _known("Lima's and Colima's name for the Mac", "lima", "colima", "rancher"),
    "host.orb.internal": _known("OrbStack's name for the Mac", "orbstack"),
    "host.k3d.internal": _known("k3d's name for its host", "k3d", "k3s", "kubernetes"),
    "host.minikube.internal": _known("minikube's name for its host", "minikube", "kubernetes"),
    "host.rancher-desktop.internal": _known("Rancher Desktop's name for its host", "rancher"),
}
# Flavours whose containers run in a virtual machine: its bridge and gateway are the machine's, not the Mac's or
# Windows'.
VM_FLAVOURS = frozenset({"docker desktop", "orbstack", "lima", "colima", "rancher", "podman machine"})
# The host's address where a flavour or network always uses the same one; it helps where the name is overridden or lost.
FIXED = {
    "docker desktop": ("192.168.65.254", "the address Docker Desktop gives the host"),
    "orbstack": ("0.250.250.254", "the address OrbStack gives the Mac"),
    "colima": ("192.168.5.2", "the address Lima gives the Mac"),
    "lima": ("192.168.5.2", "the address Lima gives the Mac"),
    "podman machine": ("192.168.127.254", "the address a Podman machine gives its host"),
    "pasta": ("169.254.1.2", "the address Podman gives the host with pasta"),
}


def candidates(facts: tuple[Fact, ...], targets: tuple[Target, ...], port: int | None = None) -> tuple[Route, ...]:
    """All routes worth a look, in order, every host and port once.

    `port` is what the user said, None if nothing: then a target without one gets DEFAULT_PORT, and what nobody
    configured gets the port of the first target.
    """
    here = _Here({one.name: one.value for one in facts if one.value})
    wanted = [_configured(one, port or DEFAULT_PORT, here) for one in targets]
    port = port or (wanted[0].port if wanted else DEFAULT_PORT)
    return _once([*wanted, *(Route(host, port, kind, why) for host, kind, why in _discovered(here))])


def siblings(route_hosts: tuple[str, ...], port: int) -> tuple[Route, ...]:
    """The usual other ports of these hosts, for when `port` is refused everywhere."""
    hosts = dict.fromkeys(route_hosts)
    return _once([Route(host, other, "sibling", whose) for host in hosts for other, whose in SIBLINGS if other != port])


def label(route: Route | Target) -> str:
    """HOST:PORT, with brackets around IPv6: how a route is called everywhere."""
    host = f"[{route.host}]" if ":" in route.host else route.host
    return host if route.port is None else f"{host}:{route.port}"


def is_loopback(host: str) -> bool:
    """Whether it means the machine that dials. The wildcard counts: Linux connects it to itself."""
    address = _address(host)
    if address is None:
        return _key(host) in ("localhost", "ip6-localhost") or _key(host).endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


# Where we are


@dataclass(frozen=True, slots=True)
class _Here:
    facts: dict[str, str]

    def get(self, name: str) -> str:
        return self.facts.get(name, "")

    def addresses(self, name: str) -> list[str]:
        return [one for one in self.get(name).split(", ") if _address(one) is not None and not is_loopback(one)]

    @property
    def contained(self) -> bool | None:
        return {"yes": True, "no": False}.get(self.get("container"))

    @property
    def shares_the_host(self) -> bool:
        """Loopback here is the loopback of the machine that runs the container, or there is no container."""
        return self.contained is not True or self.get("network_mode") == "host"

    @property
    def isolated(self) -> bool:
        """A container with nothing but its own loopback. Where the machine has no network, the gateway may be there."""
        return self.contained is True and self.get("network_mode") == "none"

    @property
    def in_vm(self) -> bool:
        return self.get("flavour") in VM_FLAVOURS

    @property
    def names(self) -> dict[str, str]:
        """Magic names of /etc/hosts and what it says they are."""
        pairs = (one.partition("=") for one in self.get("hosts_entries").split(", "))
        return {name: address for name, sign, address in pairs if sign and name in HOST_NAMES}

    def knows(self, name: str) -> bool:
        return name in self.names or bool({self.get("flavour"), self.get("runtime")} & HOST_NAMES[name].known_to)


def _discovered(here: _Here):
    """(host, kind, why) of everything nobody configured, likely ones first."""
    if here.shares_the_host and not here.isolated:
        yield from _shared(here)
    if here.isolated:  # nothing can work; one name and one address show it
        yield "host.docker.internal", "name", _why_name("host.docker.internal", here)
        yield DOCKER0, "bridge", "docker0's usual address; this container has no network"
        return
    if here.contained is False and not here.in_vm and not _in_wsl(here):
        yield from _names(here, [name for name in HOST_NAMES if name in here.names])
        return
    likely = [name for name in HOST_NAMES if here.knows(name)]
    yield from _names(here, likely)
    yield from _fixed(here)
    yield from _gateway(here)
    yield from _bridge(here)
    if here.contained is not False:
        yield from _names(here, [name for name in HOST_NAMES if name not in likely])


def _shared(here: _Here):
    where = "this machine" if here.contained is False else "the host, whose network this container shares"
    if here.in_vm:
        where = "the virtual machine, not the computer around it"
    elif here.get("runtime") == "docker" and here.get("rootless") == "yes":
        where = "the rootless engine's own network, not the host's"
    elif here.contained is None:
        where = "this machine, or this container if it is one"
    elif here.get("network_mode") == "wsl nat":
        where = "this WSL machine, not Windows"
    elif here.get("network_mode") == "wsl mirrored":
        where = "Windows and this WSL machine, which share their ports"
    yield "127.0.0.1", "loopback", f"loopback of {where}"
    for address in here.addresses("docker0")[:1]:
        yield address, "bridge", "docker0: where a relay for containers listens"
    for address in here.addresses("own_addresses")[:MAX_OWN]:
        yield address, "host_address", f"an address of {where}"


def _names(here: _Here, names: list[str]):
    for name in names:
        yield name, "name", _why_name(name, here)


def _why_name(name: str, here: _Here) -> str:
    whose = HOST_NAMES[name].whose
    if name in here.names:
        return f"{whose}; /etc/hosts says {here.names[name]}"
    if name == "host.docker.internal" and here.get("flavour") == "linux engine" and here.get("runtime") == "docker":
        return f"{whose}; on Linux only with extra_hosts"
    return whose if here.knows(name) else f"{whose}; nothing here looks like it"


def _fixed(here: _Here):
    for key in ("network_mode", "flavour"):
        if here.get(key) in FIXED:
            address, why = FIXED[here.get(key)]
            yield address, "host_address", why
    if here.get("flavour") == "wsl2":  # in NAT mode without DNS tunnelling, WSL's name server is Windows
        for address in here.addresses("resolver")[:1]:
            if re.match(r"172\.(1[6-9]|2\d|3[01])\.", address):
                yield address, "host_address", "the name server WSL was given: often Windows itself"


def _gateway(here: _Here):
    """Not where it is only the router of the local network: of a host, or what pasta copied from one."""
    mode, rootless = here.get("network_mode"), here.get("rootless") == "yes"
    if mode in ("pasta", "wsl mirrored") or (mode == "host" and not here.in_vm and not rootless):
        return
    whose = "the container host's end of this network"
    if mode == "wsl nat":
        whose = "Windows"
    elif mode == "slirp4netns":
        whose = "the host, where slirp4netns may reach it"
    elif mode == "kubernetes":
        whose = "the node, with most network plugins"
    elif here.in_vm:
        whose = "the virtual machine's, not the computer's around it"
    elif rootless:
        whose = "the rootless engine's own bridge, seldom the host"
    for address in here.addresses("default_gateway"):
        yield address, "gateway", f"the default gateway: {whose}"


def _bridge(here: _Here):
    """docker0 from another Docker network of the same Linux host; the address has to be guessed, it is not visible."""
    apart = here.get("network_mode") in ("user network", "")
    if here.get("runtime") == "docker" and apart and not here.in_vm and here.get("rootless") != "yes":
        yield DOCKER0, "bridge", "docker0's usual address: where a relay for containers listens"


def _in_wsl(here: _Here) -> bool:
    return here.get("network_mode") in ("wsl nat", "wsl mirrored")


def _configured(target: Target, port: int, here: _Here) -> Route:
    why = f"{target.origin} says so"
    if is_loopback(target.host) and here.contained and not here.shares_the_host:
        why += "; inside a container this is the container itself"
    elif _key(target.host) in HOST_NAMES:
        why += f"; {_why_name(_key(target.host), here)}"
    return Route(target.host, target.port or port, "configured", why)


def _once(routes: list[Route]) -> tuple[Route, ...]:
    first: dict[tuple[str, int], Route] = {}
    for route in routes:
        first.setdefault((_key(route.host), route.port), route)
    return tuple(first.values())


def _key(host: str) -> str:
    """The same for spellings of the same host."""
    address = _address(host)
    return host.lower().rstrip(".") if address is None else str(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


# What people type

LABEL = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE
)  # "_": compose services have it
FORM = "HOST or HOST:PORT was expected"


def parse_target(text: str, origin: str = "--target") -> Target:
    """HOST, HOST:PORT, [IPV6]:PORT or IPV6 as a Target; ValueError with one line that says what is wrong with it."""
    seen = f"{origin} {_shown(text)}"
    if not text.strip():
        raise ValueError(f"{origin} is empty: {FORM}")
    text = text.strip()
    scheme, sign, _ = text.partition("://")
    if sign:
        raise ValueError(f"{seen}: {FORM}, without {_shown(scheme + sign)}")
    for trouble, advice in (("/", "without a path"), ("@", "without a user"), (",", "one at a time")):
        if trouble in text:
            raise ValueError(f"{seen}: {FORM}, {advice}")
    if re.search(r"\s", text):
        raise ValueError(f"{seen}: {FORM}, without spaces")
    host, port = _split(text, seen)
    return Target(_host(host, seen), None if port is None else parse_port(port, f"{seen}: port"), origin)


def parse_port(text: str | int, origin: str = "--port") -> int:
    """1 to 65535; ValueError with one line otherwise."""
    if not re.fullmatch(r"\s*[0-9]{1,5}\s*", str(text), re.ASCII) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{origin} {_shown(str(text))}: a number from 1 to 65535 was expected")
    return int(text)


def _split(text: str, seen: str) -> tuple[str, str | None]:
    if text.startswith("["):
        match = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text)
        if match is None:
            raise ValueError(f"{seen}: [IPV6] or [IPV6]:PORT was expected")
        if ":" not in match[1]:
            raise ValueError(f"{seen}: brackets are for IPv6 addresses")
        return match[1], match[2]
    if text.count(":") < 2:
        host, sign, port = text.partition(":")
        return host, port if sign else None
    head, _, last = text.rpartition(":")
    if any(last == str(port) for port, _ in SIBLINGS) and _address(head) is not None:
        raise ValueError(f"{seen}: is {last} a port? Write [{head}]:{last}, or [{text}] for the address")
    return text, None


def _host(host: str, seen: str) -> str:
    if not host:
        raise ValueError(f"{seen}: the host is missing, {FORM}")
    if ":" in host:
        address = _address(host)
        if address is None or not re.fullmatch(r"[^%]*(%[\w.-]+)?", host, re.ASCII):
            raise ValueError(f"{seen}: not an IPv6 address; write [IPV6]:PORT or HOST:PORT")
        return str(address)
    if re.fullmatch(r"[0-9]+", host, re.ASCII):
        raise ValueError(f"{seen}: a number is no host; a port goes to --port or behind a host")
    if re.fullmatch(r"[0-9.]+", host, re.ASCII) and _address(host) is None:
        raise ValueError(f"{seen}: not an IPv4 address, four numbers from 0 to 255 were expected")
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(one) for one in labels):
        raise ValueError(f"{seen}: not a host name (letters, digits, '-', '_' and '.'; others in their xn-- form)")
    return host


def _shown(text: str) -> str:
    """What was typed, on one line, not all of it when it is long, and without what may be a password."""
    _, sign, after = text.rpartition("@")
    text = f"***@{after}" if sign else text
    return ascii(text if len(text) <= 60 else text[:57] + "...")
