"""The service definitions as exact bytes, for one target; pure: the shipped templates and values in, text out.

The templates (systemd/, launchd/) are complete files that work as they are for the default target: the zipapp below
/usr/local/lib, port 4003, systemd 252. Rendering replaces the values that differ and what a newer systemd does better.
"""

from __future__ import annotations

import enum
import ipaddress
import plistlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.config.addresses import host_port
from relay.config.limits import UnitLimits, unit_limits

SERVICE = "ib-relay.service"
LABEL = "local.ib-relay"
# Where container engines take their networks from: private use (RFC 1918, RFC 4193) and shared space (RFC 6598).
# Docker deals 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and so on; Podman 10.88.0.0/16, then 10.89.0.0/24
# and so on; both take IPv6 from fd00::/8.
CONTAINER_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
OLDEST = 252  # Debian 12; what the templates are written for

CLOSED = "ib-relay-closed.target"

# (since systemd version, key, the lines instead of its own). notify-reload: `systemctl reload` waits until the relay
# has reloaded; 252 would take it for Type=simple. It sends the signal itself, so ExecReload goes. RestartMode: from 254
# on every crash that is about to heal would start OnFailure= units, too. FDSTORE: it says so itself.
SINCE = (
    (253, "Type", ("Type=notify-reload",)),
    (253, "ExecReload", ()),
    (254, "Restart", ("Restart=always", "RestartMode=direct")),
    (254, "Environment=FDSTORE", ()),
)
# What a user's systemd can only do in a user namespace, and tacitly leaves out otherwise (Ubuntu 24.04 forbids them).
NAMESPACED = [
    "PrivateUsers",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateTmp",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelTunables",
    "ProtectSystem",
]


class Manager(enum.StrEnum):
    SYSTEMD = "systemd"
    LAUNCHD = "launchd"


class Scope(enum.StrEnum):
    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True, slots=True)
class ManagedSocket:
    """One port map as the service manager sees it: a socket unit, or an entry of launchd's Sockets."""

    name: str  # the map's
    addresses: tuple[tuple[str, int], ...]
    sources: tuple[str, ...] = ("localhost", *map(str, CONTAINER_NETWORKS))  # who may connect; "any" for everybody


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """What a definition is made for. `command` is the whole argument list; `stop_seconds` bounds a stop."""

    manager: Manager
    scope: Scope
    command: tuple[str, ...]
    doors: tuple[ManagedSocket, ...]
    version: int = OLDEST  # of systemd
    exec_paths: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ("localhost",)  # what may be dialled: "localhost", addresses, or "any"
    follow_bridges: tuple[str, ...] = tuple(map(str, CONTAINER_NETWORKS))  # networks whose bridges are listened on
    stop_seconds: int = 15
    namespaces: bool = True  # does the user's systemd get user namespaces?
    log_folder: str = ""  # launchd
    max_connections: int = 0  # as configured


def render(target: ServiceTarget, templates: Mapping[str, str]) -> dict[str, str]:
    """File name -> content. `templates` maps the names below systemd/ and launchd/ to their text."""
    if target.manager is Manager.LAUNCHD:
        return {f"{LABEL}.plist": _plist(target, templates[template_names(target)[0]])}
    socket_template, service_template, closed_template = (templates[name] for name in template_names(target))
    files = {socket_name(target, door): _socket(target, door, socket_template) for door in target.doors}
    closed = with_values(closed_template, "Conflicts", [" ".join(socket_names(target))])
    return files | {SERVICE: _service(target, service_template), CLOSED: closed}


def template_names(target: ServiceTarget) -> tuple[str, ...]:
    """The shipped files that `render` needs."""
    if target.manager is Manager.LAUNCHD:
        return (f"launchd/ib-relay.{'daemon' if target.scope is Scope.SYSTEM else 'agent'}.plist",)
    folder = "systemd" if target.scope is Scope.SYSTEM else "systemd/user"
    return (f"{folder}/ib-relay.socket", f"{folder}/{SERVICE}", f"{folder}/{CLOSED}")


def socket_name(target: ServiceTarget, door: ManagedSocket) -> str:
    """One map: the plain name. All sockets of one unit share one name, so several maps need a unit each."""
    return "ib-relay.socket" if len(target.doors) == 1 else f"ib-relay-{door.name}.socket"


def socket_names(target: ServiceTarget) -> list[str]:
    return [socket_name(target, door) for door in target.doors]


# systemd


def _socket(target: ServiceTarget, door: ManagedSocket, text: str) -> str:
    text = with_values(text, "ListenStream", [host_port(*address) for address in door.addresses])
    text = with_values(text, "FileDescriptorName", [door.name])
    if len(target.doors) > 1:
        text = with_values(text, "Description", [f"Port of the relay for IB Gateway, map {door.name}"])
    return with_values(text, "IPAddressAllow", door.sources) if target.scope is Scope.SYSTEM else text


def _service(target: ServiceTarget, text: str) -> str:
    sockets = " ".join(socket_names(target))
    beyond = " network.target" if target.scope is Scope.SYSTEM else ""
    text = with_values(text, "Requires", [sockets])
    text = with_values(text, "After", [sockets + beyond])
    text = with_values(text, "ExecStart", [" ".join(quoted(word.replace("$", "$$")) for word in target.command)])
    follow = ",".join(target.follow_bridges)
    text = with_values(text, "Environment=IB_RELAY_FOLLOW_BRIDGES", [follow] if follow else [])
    text = with_values(text, "TimeoutStopSec", [str(target.stop_seconds)])
    for key, value in _limits(unit_limits(target.max_connections, sum(len(door.addresses) for door in target.doors))):
        text = with_values(text, key, [value])
    if target.scope is Scope.SYSTEM:
        peers = ("any",) if "any" in target.upstreams else dict.fromkeys((*target.upstreams, *target.follow_bridges))
        text = with_values(text, "IPAddressAllow", peers)
        text = with_values(text, "ExecPaths", [quoted(path) for path in target.exec_paths])
    elif not target.namespaces:
        for key in NAMESPACED:
            text = with_values(text, key, [])
    for version, key, new in SINCE:
        if target.version >= version:
            text = with_lines(text, key, new)
    return text


def _limits(limits: UnitLimits) -> Iterable[tuple[str, str]]:
    """As the unit spells them."""
    yield "FileDescriptorStoreMax", str(limits.store)
    yield "Environment=FDSTORE", str(limits.store)
    yield "LimitNOFILE", str(limits.open_files)
    yield "MemoryMax", f"{limits.memory}M"
    yield "TasksMax", str(limits.tasks)
    yield "StartLimitBurst", str(limits.starts)
    yield "StartLimitIntervalSec", str(limits.start_window)


def with_values(text: str, key: str, values: Iterable[str]) -> str:
    """`text` with these values for `key` where it had others; without any, its lines and their comment go."""
    return with_lines(text, key, [f"{key}={value}" for value in values])


def with_lines(text: str, key: str, new: Iterable[str]) -> str:
    """`text` with these lines instead of those for `key`; KeyError if it has none."""
    new = list(new)
    lines = text.split("\n")
    places = [number for number, line in enumerate(lines) if line.startswith(f"{key}=")]
    if not places:
        raise KeyError(key)
    first = places[0]
    kept = [line for number, line in enumerate(lines) if number not in places]
    kept[first:first] = new
    while not new and kept[first - 1].startswith("#"):
        first -= 1
        del kept[first]
    if not new and kept[first - 1] == kept[first] == "":
        del kept[first]
    return "\n".join(kept)


def quoted(word: str) -> str:
    """A word of a unit file with nothing left to be expanded or split in it (systemd.syntax(7), "Quoting")."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[\w@/.:,+%$=-]+", word, re.ASCII):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


# launchd


def _plist(target: ServiceTarget, text: str) -> str:
    job = plistlib.loads(text.encode())
    job["ProgramArguments"] = list(target.command)
    job["Sockets"] = {door.name: [_launchd_socket(*address) for address in door.addresses] for door in target.doors}
    job["ExitTimeOut"] = target.stop_seconds
    job["StandardErrorPath"] = f"{target.log_folder}/stderr.log"
    return plistlib.dumps(job, sort_keys=False).decode()


def _launchd_socket(host: str, port: int) -> dict[str, str]:
    family = "IPv6" if ":" in host else "IPv4"
    return {"SockType": "stream", "SockFamily": family, "SockNodeName": host, "SockServiceName": str(port)}
