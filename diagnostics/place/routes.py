"""Facts and wishes to candidate routes: which addresses could lead to the gateway from here, in which order, and why.

What the user configured comes first, then what fits this place, then names that belong to other runtimes: those cost
one look-up each and are of kind "name", so that a report can leave them out when nobody here knows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from diagnostics.evidence import Fact, Route
from diagnostics.place.addresses import DEFAULT_PORT, SIBLINGS, host_key, is_loopback, parse_address
from diagnostics.place.host_names import HOST_NAMES, VM_FLAVOURS
from diagnostics.place.setting import here, setting_of
from diagnostics.place.targets import ProbeTarget

MAX_OWN = 4  # own addresses tried: they all end at the same sockets, unless something is bound to one of them
DOCKER0 = "172.17.0.1"  # docker0's address unless the engine was told another one (moby, default address pool)

# The host's address where a flavour or network always uses the same one; it helps where the name is overridden or lost.
FIXED = {
    "docker desktop": ("192.168.65.254", "the address Docker Desktop gives the host"),
    "orbstack": ("0.250.250.254", "the address OrbStack gives the Mac"),
    "colima": ("192.168.5.2", "the address Lima gives the Mac"),
    "lima": ("192.168.5.2", "the address Lima gives the Mac"),
    "podman machine": ("192.168.127.254", "the address a Podman machine gives its host"),
    "pasta": ("169.254.1.2", "the address Podman gives the host with pasta"),
}


def candidates(facts: Sequence[Fact], targets: Sequence[ProbeTarget], port: int | None = None) -> tuple[Route, ...]:
    """All routes worth a look, in order, every host and port once.

    `port` is what the user said, None if nothing: then a target without one gets DEFAULT_PORT, and what nobody
    configured gets the port of the first target.
    """
    place = _KnownPlace({fact.name: fact.value for fact in facts if fact.value})
    configured = [_configured(target, port or DEFAULT_PORT, place) for target in targets]
    port = port or (configured[0].port if configured else DEFAULT_PORT)
    return _once([*configured, *(Route(guess.host, port, guess.kind, guess.why) for guess in _discovered(place))])


def siblings(hosts: Sequence[str], port: int) -> tuple[Route, ...]:
    """The usual other ports of these hosts, for when `port` is refused everywhere."""
    others = [(other, whose) for other, whose in SIBLINGS if other != port]
    return _once([Route(host, other, "sibling", whose) for host in dict.fromkeys(hosts) for other, whose in others])


class _Discovered(NamedTuple):
    """A host that nobody configured."""

    host: str
    kind: str
    why: str


# Where we are.


@dataclass(frozen=True, slots=True)
class _KnownPlace:
    """The facts that are known, by name."""

    facts: dict[str, str]

    def get(self, name: str) -> str:
        return self.facts.get(name, "")

    def addresses(self, name: str) -> list[str]:
        items = self.get(name).split(", ")
        return [item for item in items if parse_address(item) is not None and not is_loopback(item)]

    @property
    def contained(self) -> bool | None:
        return {"yes": True, "no": False}.get(self.get("container"))

    @property
    def here(self) -> str:
        return here(setting_of(self.get))

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
    def in_wsl(self) -> bool:
        return self.get("network_mode") in ("wsl nat", "wsl mirrored")

    @property
    def rootless(self) -> bool:
        return self.get("rootless") == "yes"

    @property
    def names(self) -> dict[str, str]:
        """The host's names in /etc/hosts and the addresses it gives them."""
        pairs = (entry.partition("=") for entry in self.get("hosts_entries").split(", "))
        return {name: address for name, sign, address in pairs if sign and name in HOST_NAMES}

    def knows(self, name: str) -> bool:
        """Whether the runtime here defines this name for the host."""
        return name in self.names or bool({self.get("flavour"), self.get("runtime")} & HOST_NAMES[name].known_to)


def _discovered(place: _KnownPlace) -> Iterator[_Discovered]:
    """Everything nobody configured, likely ones first."""
    if place.shares_the_host and not place.isolated:
        yield from _shared(place)
    if place.isolated:  # nothing can work; one name and one address show it
        yield from _names(place, ["host.docker.internal"])
        yield _Discovered(DOCKER0, "bridge", "docker0's usual address; this container has no network")
        return
    if place.contained is False and not place.in_vm and not place.in_wsl:
        yield from _names(place, [name for name in HOST_NAMES if name in place.names])
        return
    likely = [name for name in HOST_NAMES if place.knows(name)]
    yield from _names(place, likely)
    yield from _fixed(place)
    yield from _gateway(place)
    yield from _bridge(place)
    if place.contained is not False:
        yield from _names(place, [name for name in HOST_NAMES if name not in likely])


def _shared(place: _KnownPlace) -> Iterator[_Discovered]:
    machine = _shared_machine(place)
    yield _Discovered("127.0.0.1", "loopback", f"loopback of {machine}")
    for address in place.addresses("docker0")[:1]:
        yield _Discovered(address, "bridge", "docker0: where a relay for containers listens")
    for address in place.addresses("own_addresses")[:MAX_OWN]:
        yield _Discovered(address, "host_address", f"an address of {machine}")


def _shared_machine(place: _KnownPlace) -> str:
    """Whose loopback is ours."""
    if place.in_vm:
        return "the virtual machine, not the computer around it"
    if place.get("runtime") == "docker" and place.rootless:
        return "the rootless engine's own network, not the host's"
    if place.contained is None and place.get("network_mode") != "host":
        return "this machine, or this container if it is one"
    if place.get("network_mode") == "wsl nat":
        return "this WSL machine, not Windows"
    if place.get("network_mode") == "wsl mirrored":
        return "Windows and this WSL machine, which share their ports"
    return f"the host, whose network {place.here} shares" if place.contained else "this machine"


def _names(place: _KnownPlace, names: list[str]) -> Iterator[_Discovered]:
    for name in names:
        yield _Discovered(name, "name", _why_name(name, place))


def _why_name(name: str, place: _KnownPlace) -> str:
    whose = HOST_NAMES[name].whose
    if name in place.names:
        return f"{whose}; /etc/hosts says {place.names[name]}"
    if name == "host.docker.internal" and place.get("flavour") == "linux engine" and place.get("runtime") == "docker":
        return f"{whose}; on Linux only with extra_hosts"
    return whose if place.knows(name) else f"{whose}; nothing here looks like it"


def _fixed(place: _KnownPlace) -> Iterator[_Discovered]:
    for fact in ("network_mode", "flavour"):
        if place.get(fact) in FIXED:
            address, why = FIXED[place.get(fact)]
            yield _Discovered(address, "host_address", why)
    if place.get("flavour") == "wsl2":  # in NAT mode without DNS tunnelling, WSL's name server is Windows
        for address in place.addresses("resolver")[:1]:
            if re.match(r"172\.(1[6-9]|2\d|3[01])\.", address):
                yield _Discovered(address, "host_address", "the name server WSL was given: often Windows itself")


def _gateway(place: _KnownPlace) -> Iterator[_Discovered]:
    """Not where it is only the router of the local network: of a host, or what pasta copied from one."""
    mode = place.get("network_mode")
    if mode in ("pasta", "wsl mirrored") or (mode == "host" and not place.in_vm and not place.rootless):
        return
    whose = "the container host's end of this network"
    if mode == "wsl nat":
        whose = "Windows"
    elif mode == "slirp4netns":
        whose = "the host, where slirp4netns may reach it"
    elif mode == "overlay":
        whose = "the container host's end of docker_gwbridge"
    elif mode == "kubernetes":
        whose = "the node, with most network plugins"
    elif place.in_vm:
        whose = "the virtual machine's, not the computer's around it"
    elif place.rootless:
        whose = "the rootless engine's own bridge, seldom the host"
    for address in place.addresses("default_gateway"):
        yield _Discovered(address, "gateway", f"the default gateway: {whose}")


def _bridge(place: _KnownPlace) -> Iterator[_Discovered]:
    """docker0 from another Docker network of the same Linux host; the address has to be guessed, it is not visible."""
    apart = place.get("network_mode") in ("user network", "overlay", "")
    if place.get("runtime") == "docker" and apart and not place.in_vm and not place.rootless:
        yield _Discovered(DOCKER0, "bridge", "docker0's usual address: where a relay for containers listens")


def _configured(target: ProbeTarget, port: int, place: _KnownPlace) -> Route:
    why = f"{target.origin} says so"
    if is_loopback(target.host) and place.contained and not place.shares_the_host:
        why += f"; the loopback of {place.here} itself"
    elif host_key(target.host) in HOST_NAMES:
        why += f"; {_why_name(host_key(target.host), place)}"
    return Route(target.host, target.port or port, "configured", why)


def _once(routes: list[Route]) -> tuple[Route, ...]:
    first: dict[tuple[str, int], Route] = {}
    for route in routes:
        first.setdefault((host_key(route.host), route.port), route)
    return tuple(first.values())
