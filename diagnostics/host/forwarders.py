"""Forwarders of this machine, by their command lines: socat and docker-proxy say there whom they let in.

A command line can be read without privilege, unless /proc is mounted to hide those of others. A gateway's own port is
open on all addresses, too, but the gateway looks at who calls; these do not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from itertools import pairwise

from diagnostics.evidence import Forwarder

MAX_PROCESSES = 4096  # looked at
MAX_LINE = 4096  # bytes of a command line
MAX_FOUND = 64

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
        return next(filter(None, map(_of_socat, words[1:])), None)
    if program == "docker-proxy":
        named = {name.lstrip("-"): value for name, value in pairwise(words)}
        port = named.get("host-port", "")
        if named.get("proto") == "tcp" and port.isascii() and port.isdigit():
            return Forwarder(program, named.get("host-ip", "0.0.0.0"), int(port[:6]))
    return None


def _of_socat(address: str) -> Forwarder | None:
    match = LISTEN.fullmatch(address)
    if match is None:
        return None
    pairs = (option.partition("=") for option in (match[2] or "").split(","))
    options = {name.strip().lower(): value for name, _, value in pairs}
    if "range" in options or "tcpwrap" in options:
        return None
    return Forwarder("socat", _address(options.get("bind", "")), int(match[1]))


def _address(bind: str) -> str:
    """The address of HOST, [IPV6] or either with a port behind it; nothing said is everything."""
    host = bind[1:].partition("]")[0] if bind.startswith("[") else bind.partition(":")[0]
    return host or "0.0.0.0"
