"""Forwarders of this machine, by their command lines: socat and docker-proxy say there whom they let in, and where to.

A command line can be read without privilege, unless /proc is mounted to hide those of others. A gateway's own port is
open on all addresses, too, but the gateway looks at who calls; these do not.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Collection, Iterator
from itertools import pairwise

from diagnostics.evidence import Forwarder

MAX_PROCESSES = 4096  # looked at
MAX_LINE = 4096  # bytes of a command line
MAX_FOUND = 64

ONWARD = re.compile(r"tcp[46]?(?:-connect)?:(\[[^]]*\]|[^:,]*):(\d{1,5})(?:,.*)?", re.ASCII | re.IGNORECASE | re.DOTALL)
LISTEN = re.compile(r"tcp[46]?-l(?:isten)?:(\d{1,5})(?:,(.*))?", re.ASCII | re.IGNORECASE | re.DOTALL)


def look(ports: Collection[int], folder: str = "/proc") -> tuple[Forwarder, ...]:
    """Those that take connections for one of these ports; none where nothing can be read. Never raises."""
    found = (one for line in _command_lines(folder) if (one := forwarder(line)) is not None)
    return tuple(dict.fromkeys(one for one in found if one.port in ports))[:MAX_FOUND]


def _command_lines(folder: str) -> Iterator[tuple[str, ...]]:
    try:
        processes = [name for name in os.listdir(folder) if name.isdigit()][:MAX_PROCESSES]
    except OSError:
        return
    for name in processes:
        try:
            with open(os.path.join(folder, name, "cmdline"), "rb") as file:
                words = file.read(MAX_LINE).decode("utf-8", "replace").split("\0")
        except OSError:  # it has ended, or is hidden
            continue
        yield tuple(words)


def forwarder(words: tuple[str, ...]) -> Forwarder | None:
    """What this command line forwards; None if it is none, or lets in only some addresses."""
    program = os.path.basename(words[0])
    if program.startswith("socat"):
        return next(filter(None, map(_of_socat, words[1:], (*words[2:], ""))), None)
    if program == "docker-proxy":
        named = {name.lstrip("-"): value for name, value in pairwise(words)}
        port = named.get("host-port", "")
        if named.get("proto") == "tcp" and port.isascii() and port.isdigit():
            to = _place(named.get("container-ip", ""), named.get("container-port", ""))
            return Forwarder(program, named.get("host-ip", "0.0.0.0"), int(port[:6]), *to)
    return None


def _place(host: str, port: str) -> tuple[str, int] | tuple[None, None]:
    """An address and a port as they are dialled; nothing where either is something else."""
    try:
        address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        return None, None
    valid = port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16
    return (address, int(port)) if valid else (None, None)


def _of_socat(address: str, onward: str) -> Forwarder | None:
    match = LISTEN.fullmatch(address)
    if match is None:
        return None
    pairs = (option.partition("=") for option in (match[2] or "").split(","))
    options = {name.strip().lower(): value for name, _, value in pairs}
    if "range" in options or "tcpwrap" in options:
        return None
    to = ONWARD.fullmatch(onward)
    place = _place(to[1], to[2]) if to else (None, None)
    return Forwarder("socat", _address(options.get("bind", "")), int(match[1]), *place)


def _address(bind: str) -> str:
    """The address of HOST, [IPV6] or either with a port behind it; nothing said is everything."""
    host = bind[1:].partition("]")[0] if bind.startswith("[") else bind.partition(":")[0]
    return host or "0.0.0.0"
