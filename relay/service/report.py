"""`service status`: what the manager says, what differs from what install would write now, and where the logs are."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from relay import __version__
from relay.config.load import ConfigError
from relay.service.actions import actions_for
from relay.service.definition import Refusal
from relay.service.drift import drift
from relay.service.failures import why_it_does_not_run
from relay.service.managers import Launchctl, Systemctl, manager_here
from relay.service.program import same_sources, version_of
from relay.service.render import CLOSED, SERVICE, ManagedSocket, Manager, Scope, socket_names
from relay.service.wanted import Wanted, wanted

CGROUP2 = "/sys/fs/cgroup/cgroup.controllers"  # only where cgroup v2 is the whole tree, cgroups(7)
SIOCGIFADDR = 0x8915  # linux/sockios.h
KNOCK = 0.5  # seconds; a packet on this machine arrives at once or never
LAST = 3  # connection ends shown

PROPERTIES = (  # of the service
    *("ActiveState", "SubState", "StatusText", "MainPID", "Result", "ExecMainStatus", "NRestarts"),
    *("ActiveEnterTimestamp", "UnitFileState", "NFileDescriptorStore", "NeedDaemonReload"),
)

_INFO = re.compile(r'^\S+ INFO |"severity_text": "INFO"')
PROBES = ("client_left_in_handshake", "not_ib")  # reasons
FILTER = ("IPAddressAllow", "IPAddressDeny")  # of a socket unit
EVERYBODY = {"0.0.0.0/0", "::/0"}  # how systemd shows "any"

EX_CONFIG = 78  # sysexits.h
NEXT_START = "will fail, and end all sessions, as long as the configuration is wrong: exit code 78, and the port closes"
RUNNING, STOPPED, NOT_INSTALLED = 0, 3, 4  # as of `systemctl status`


@dataclass(frozen=True, slots=True)
class Status:
    """Rows (what, seen) for people, and the exit code for scripts."""

    rows: tuple[tuple[str, str], ...]
    code: int


def status(scope: Scope) -> Status:
    """Look at everything; nothing is changed.

    Refusal where there is no manager to ask or the configuration is wrong.
    """
    try:
        plan = wanted(scope)
    except Refusal as refusal:
        if refusal.code != EX_CONFIG:
            raise
        return _with_a_wrong_configuration(scope, refusal)
    if not actions_for(plan.where, plan.target, print, True).installed():
        return Status((("service", f"not installed for the {scope}"),), NOT_INSTALLED)
    look = _systemd_rows if plan.where.manager is Manager.SYSTEMD else _launchd_rows
    running, rows = look(plan)
    rows += [("program", text) for text in _program(plan)]
    rows += [("drift", text) for text in drift(plan)] or [
        ("drift", "none: what is installed is what install would write now")
    ]
    rows.append(
        ("configuration", str(plan.where.config) + ("" if plan.where.config.exists() else " (missing: defaults)"))
    )
    return Status(tuple(rows), RUNNING if running else STOPPED)


def _with_a_wrong_configuration(scope: Scope, refusal: Refusal) -> Status:
    """What can be said without knowing what should be."""
    rows = [("configuration", str(refusal))]
    if manager_here() is not Manager.SYSTEMD:
        return Status(tuple(rows), STOPPED)
    unit = Systemctl(scope).show(SERVICE, "ActiveState", "SubState", "ExecMainStatus", "LoadState")
    if unit["LoadState"] != "loaded":
        return Status((*rows, ("service", f"not installed for the {scope}")), NOT_INSTALLED)
    state = f"{unit['ActiveState']} ({unit['SubState']})"
    if unit["ActiveState"] != "active":
        rows.append(("service", f"{state}, exit code {unit['ExecMainStatus']}"))
        return Status(tuple(rows), STOPPED)
    rows.append(("service", f"{state}, with the configuration it has read before"))
    if not isinstance(refusal.__cause__, ConfigError):  # it is not one to install from, but the relay can run with it
        return Status(tuple(rows), RUNNING)
    return Status((*rows, ("next start", NEXT_START)), EX_CONFIG)


def _systemd_rows(plan: Wanted) -> tuple[bool, list[tuple[str, str]]]:
    ctl = Systemctl(plan.where.scope)
    unit = ctl.show(SERVICE, *PROPERTIES)
    running = unit["ActiveState"] == "active"
    rows = [("manager", f"systemd {plan.target.version}, {plan.where.scope}"), *_unit_rows(unit, running)]
    for door, name in zip(plan.target.doors, socket_names(plan.target), strict=True):
        rows.append(_socket_row(ctl, door, name))
    if plan.where.scope is Scope.SYSTEM:
        for door, name in zip(plan.target.doors, socket_names(plan.target), strict=True):
            rows.append(("address filter", _filter_state(door, *ctl.show(name, *FILTER).values())))
    else:
        rows.append(
            ("address filter", "none: only the system's systemd has one; the relay's own access list (allow) holds")
        )
    rows.append(("log", actions_for(plan.where, plan.target, print, True).log_command()))
    return running, rows + [("last end", line) for line in ends_of_sessions(ctl.journal(SERVICE, 200))[-LAST:]]


def ends_of_sessions(lines: Iterable[str]) -> list[str]:
    """Those log lines, text or JSON, that tell how a connection ended; not the port checks, our own proofs among them.

    The relay calls them INFO: a client that stayed mute, asked for the hello only, or was no IB client.
    """
    ends = [line for line in lines if " closed after " in line or "ib_relay.connection.close" in line]
    return [line for line in ends if not (_INFO.search(line) and any(reason in line for reason in PROBES))]


def _unit_rows(unit: dict[str, str], running: bool) -> Iterator[tuple[str, str]]:
    """What the properties of the service say."""
    state = f"{unit['ActiveState']} ({unit['SubState']})"
    if running:
        state += f" since {unit['ActiveEnterTimestamp']}, pid {unit['MainPID']}, {unit['NRestarts']} automatic restarts"
    elif unit["Result"] not in ("", "success"):
        state += f", {unit['Result']}: exit code {unit['ExecMainStatus']}"
    yield "service", state
    if not running and (why := why_it_does_not_run(unit["ActiveState"], unit["ExecMainStatus"])):
        yield "why", why
    if unit["StatusText"]:
        yield "says", unit["StatusText"]
    if running:
        yield "kept", kept_text(int(unit["NFileDescriptorStore"] or 0), unit["StatusText"])
    starts = (
        "starts with the machine"
        if unit["UnitFileState"] == "enabled"
        else f"does not start by itself ({unit['UnitFileState']})"
    )
    yield "at boot", starts
    if unit["NeedDaemonReload"] == "yes":
        yield "units", "changed on disk since systemd read them: systemctl daemon-reload"


def kept_text(descriptors: int, says: str) -> str:
    """What systemd keeps for the relay: of sessions only if there are any, by the relay's own account."""
    if not descriptors:
        return "nothing: sessions end with the relay"
    live = re.search(r"(\d+) live session", says)
    if live is not None and int(live[1]) == 0:
        return f"{descriptors} descriptors of the relay's own; there are no live sessions"
    return f"{descriptors} descriptors: three of every session that outlives the relay, the others its own"


def _socket_row(ctl: Systemctl, door: ManagedSocket, name: str) -> tuple[str, str]:
    unit = ctl.show(name, "ActiveState", "SubState", "Result", "Listen")
    addresses = ", ".join(line.removesuffix(" (Stream)") for line in unit["Listen"].split("\n"))
    state = f"{unit['ActiveState']} ({unit['SubState']}) {addresses}"
    if ctl.show(CLOSED, "ActiveState")["ActiveState"] == "active":
        state += ": closed, because the relay cannot start; repair it, then ib-relay service restart"
    return f"port {door.name}", state


def _launchd_rows(plan: Wanted) -> tuple[bool, list[tuple[str, str]]]:
    ctl = Launchctl(plan.where.scope)
    state = ctl.state()
    rows = [("manager", f"launchd, {ctl.domain}"), ("service", state)]
    if ctl.disabled():
        rows.append(("at boot", "switched off: System Settings, General, Login Items, or `launchctl enable`"))
    rows.append(("log", str(plan.where.logs)))
    return state == "running", rows


def _program(plan: Wanted) -> Iterator[str]:
    if not Path(plan.program.python).exists():
        yield f"the interpreter {plan.program.python} is gone: install again"
    if plan.program.archive is None:
        yield f"relay {__version__} in {plan.program.package.parent}"
        return
    installed = plan.where.program
    yield f"relay {version_of(installed)} in {installed}"
    if plan.program.archive != installed.resolve() and not same_sources(plan.program.archive, installed):
        yield f"this one, {__version__} in {plan.program.archive}, is another: `service upgrade` puts it in place"


# Is the address filter real?


def _filter_state(door: ManagedSocket, allowed: str, denied: str) -> str:
    """What systemd has loaded, whatever is on the disk.

    Proved where possible: this machine knocks from an address of its own that the list does not have.
    """
    sources = tuple(allowed.split())
    if not EVERYBODY & set(denied.split()) or set(sources) >= EVERYBODY:
        wanted = "" if "any" in door.sources else f"; install would let in only {', '.join(door.sources)}"
        return f"none: systemd lets everybody in{wanted}"
    listed = f"only {', '.join(sources)}"
    if not os.path.exists(CGROUP2):
        return f"NOT enforced, this machine has cgroup v1: {listed} is only the relay's own access list's work"
    source = _own_stranger(sources)
    host, port = next((place for place in door.addresses if ":" not in place[0]), (None, 0))
    if source is None or host is None:
        return f"{listed}; cgroup v2 is there, but no address to try it from"
    if _gets_in(source, host, port):
        return f"NOT enforced: {source} reached the port although it is not on the list ({listed}); no BPF here?"
    return f"enforced by the kernel: {listed}; tried from {source}"


def _own_stranger(sources: tuple[str, ...]) -> str | None:
    """An IPv4 address of this machine that is not in the list."""
    networks = [ipaddress.ip_network(source) for source in sources]
    for address in own_addresses():
        if not any(network.version == 4 and ipaddress.ip_address(address) in network for network in networks):
            return address
    return None


def own_addresses() -> list[str]:
    """The first IPv4 address of every interface."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # no IPv4 on it
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _gets_in(source: str, host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), KNOCK, (source, 0)).close()
    except TimeoutError:
        return False
    except OSError as error:
        return error.errno not in (errno.EPERM, errno.EACCES)  # EPERM is the filter of this process's own cgroup
    return True
