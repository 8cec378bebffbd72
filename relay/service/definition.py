"""What is to be installed: where files go, what the configuration asks of the service manager, and the files' bytes."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from relay.config.addresses import Network, Upstream, within
from relay.config.files import read_config
from relay.config.load import Config, ConfigError, Loaded, PortMap
from relay.entry.bridges import Bridge
from relay.entry.listen_address import BindError, ListenAddress, listen_addresses, look_up
from relay.service.program import Program
from relay.service.render import CONTAINER_NETWORKS, LABEL, ManagedSocket, Manager, Scope, ServiceTarget, render
from relay.service.templates import templates

# Docker's first bridge unless it was told otherwise: containers reach it by the name "host-gateway" gives them. Held by
# the service manager, before Docker is there, too; the relay itself follows all other bridges, whenever they come.
DOCKER0 = "172.17.0.1"
STOP_MARGIN = 5.0  # seconds beyond drain_timeout until the manager kills

CONFIGURATION = """\
# ib-relay. Every key, its value and where it came from: ib-relay check-config --config {path}
# After a change: {reload}; after one of name, listen, allow or upstream: ib-relay service install --{scope}

[[map]]
name = "default"
{listen}
{upstream}
"""


class Refusal(Exception):
    """What was asked cannot work: one line that says why, and the exit code."""

    def __init__(self, message: str, code: int = 69) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies. `link` makes the installed zipapp a command."""

    manager: Manager
    scope: Scope
    units: Path
    program: Path
    config: Path
    link: Path | None = None
    logs: Path | None = None

    @property
    def reload(self) -> str:
        """The command that makes a changed configuration take effect."""
        if self.manager is Manager.LAUNCHD:
            return f"launchctl kill HUP {'system' if self.scope is Scope.SYSTEM else 'gui/$UID'}/{LABEL}"
        return f"systemctl {'--user ' if self.scope is Scope.USER else ''}reload ib-relay"


def layout(manager: Manager, scope: Scope, home: Path) -> Layout:
    """The places of one kind of service; `home` is the user's."""
    if scope is Scope.SYSTEM:
        mac = manager is Manager.LAUNCHD
        units = Path("/Library/LaunchDaemons" if mac else "/etc/systemd/system")
        program = Path("/usr/local/lib/ib-relay/ib-relay.pyz")
        logs = Path("/Library/Logs/ib-relay") if mac else None
        return Layout(
            manager, scope, units, program, Path("/etc/ib-relay/config.toml"), Path("/usr/local/bin/ib-relay"), logs
        )
    program = home / ".local/lib/ib-relay/ib-relay.pyz"
    config, link = home / ".config/ib-relay/config.toml", home / ".local/bin/ib-relay"
    if manager is Manager.LAUNCHD:
        return Layout(
            manager, scope, home / "Library/LaunchAgents", program, config, link, home / "Library/Logs/ib-relay"
        )
    return Layout(manager, scope, home / ".config/systemd/user", program, config, link)


# The configuration


def configuration(where: Layout, listen: tuple[str, ...], upstream: str | None) -> tuple[Loaded, str | None]:
    """What is configured, and the text of a new file when there is none.

    Flags make the new file, they never change one.
    """
    flags = {"listen": listen, "upstream": upstream}
    try:
        if not where.config.exists():
            text = configuration_text(where, listen, upstream)
            return read_config(_no_file(), {}, flags), text
        kept = read_config(str(where.config), {}, {})
        if not listen and upstream is None:
            return kept, None
        asked = read_config(str(where.config), {}, flags)
    except ConfigError as error:
        raise Refusal(str(error), 78) from error
    if asked.config != kept.config:
        raise Refusal(
            f"{where.config} says {_places(kept.config)}, which is not what was asked for now: change it there, "
            "then run this again without --listen and --upstream",
            78,
        )
    return kept, None


def _no_file() -> str:
    """An empty configuration: defaults, and nothing from a file that happens to lie in a standard place."""
    return "/dev/null"


def _places(config: Config) -> str:
    return "; ".join(f"{', '.join(map(str, port_map.listen))} -> {port_map.upstream}" for port_map in config.maps)


def configuration_text(where: Layout, listen: tuple[str, ...], upstream: str | None) -> str:
    """The first configuration file: what was given, and the defaults as comments."""
    default = PortMap()
    addresses = [item for value in listen for item in value.replace(",", " ").split()]
    quoted = ", ".join(f'"{address}"' for address in addresses)
    one_or_many = f"[{quoted}]" if len(addresses) > 1 else quoted
    return CONFIGURATION.format(
        path=where.config,
        reload=where.reload,
        scope=where.scope,
        listen=f"listen = {one_or_many}" if addresses else f'# listen = "{default.listen[0]}"',
        upstream=f'upstream = "{upstream}"' if upstream else f'# upstream = "{default.upstream}"',
    )


# From the configuration to what the service manager is told


def target(
    where: Layout,
    program: Program,
    config: Config,
    version: int,
    bridges: Iterable[Bridge],
    namespaces: bool = True,
) -> ServiceTarget:
    """The values to render; Refusal when the configuration asks for what a service manager cannot give."""
    bridges = () if where.manager is Manager.LAUNCHD else tuple(bridges)  # containers of a Mac come in on the loopback
    command = (*program.command(where.program), "run")
    if where.manager is Manager.LAUNCHD:
        command += ("--config", str(where.config), "--log-file", f"{where.logs}/ib-relay.log")
    return ServiceTarget(
        where.manager,
        where.scope,
        command,
        tuple(_door(port_map, bridges, where.manager) for port_map in config.maps),
        version,
        program.exec_paths(),
        _upstreams(port_map.upstream for port_map in config.maps),
        _follow_bridges(config.maps, bridges),
        math.ceil(config.drain_timeout + STOP_MARGIN),
        namespaces,
        str(where.logs or ""),
        config.max_connections,
    )


def files(target: ServiceTarget) -> dict[str, str]:
    """File name -> content of every service definition."""
    return render(target, templates())


def _door(port_map: PortMap, bridges: tuple[Bridge, ...], manager: Manager) -> ManagedSocket:
    found: list[ListenAddress] = []
    for listen in port_map.listen:
        if getattr(listen, "handed_over", None):
            raise Refusal(
                f'map {port_map.name}: listen "{listen}" is for units of your own making; write addresses, and '
                "the units that are installed here will have them",
                78,
            )
        try:
            found += listen_addresses(listen, (), look_up([listen]))
        except BindError as error:
            raise Refusal(f"map {port_map.name}: {error}") from error
        if listen.auto and manager is Manager.SYSTEMD:
            found.append(ListenAddress(2, DOCKER0, listen.port, "docker0"))
    addresses = tuple(
        dict.fromkeys((f"{place.host}%{place.scope}" if place.scope else place.host, place.port) for place in found)
    )
    return ManagedSocket(port_map.name, addresses, _sources(port_map, bridges))


def _sources(port_map: PortMap, bridges: tuple[Bridge, ...]) -> tuple[str, ...]:
    """Who may connect, for the filter in the kernel: it does not know the networks that will come.

    The relay's own access list is narrower: it knows the bridges of the moment.
    """
    networks = list(port_map.allow.networks)
    if any(network.prefixlen == 0 for network in networks):
        return ("any",)
    if port_map.allow.auto:
        networks = [*_container_networks(bridges), *networks]
    return ("localhost", *map(str, _widest(networks)))


def _follow_bridges(maps: Iterable[PortMap], bridges: tuple[Bridge, ...]) -> tuple[str, ...]:
    """The networks whose bridges the relay listens on by itself: all that could be a container engine's."""
    auto = any(listen.auto for port_map in maps for listen in port_map.listen)
    return tuple(map(str, _widest(_container_networks(bridges)))) if auto else ()


def _container_networks(bridges: tuple[Bridge, ...]) -> list[Network]:
    """Where engines take networks from, and the bridges of now: an engine may have been told of other pools."""
    return [*CONTAINER_NETWORKS, *(bridge.interface.network for bridge in bridges)]


def _widest(networks: list[Network]) -> list[Network]:
    """Without those that another one has already."""
    return [net for net in dict.fromkeys(networks) if not within(net, (other for other in networks if other != net))]


def _upstreams(upstreams: Iterable[Upstream]) -> tuple[str, ...]:
    """Whom the relay may dial. A name can mean another address tomorrow: no filter then."""
    found = ["localhost"]
    for upstream in upstreams:
        try:
            address = ipaddress.ip_address(upstream.host.partition("%")[0])
        except ValueError:
            if upstream.host != "localhost":
                return ("any",)
            continue
        if not address.is_loopback:
            found.append(str(address))
    return tuple(dict.fromkeys(found))
