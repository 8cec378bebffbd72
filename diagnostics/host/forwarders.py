"""Forwarders of this machine, by their command lines: where they listen, where they lead, and whom they let in.

A command line can be read without privilege, unless /proc is mounted to hide those of others. socat and docker-proxy
say all of it there. ib-relay looks at who calls, and has its ports there only where they were given as options: what is
not is taken from its defaults and marked as that. A gateway's own port is open on all addresses, too, but the gateway
looks at who calls; socat and docker-proxy do not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from itertools import pairwise

from diagnostics.evidence import Forwarder
from diagnostics.place.addresses import DEFAULT_PORT, DEFAULT_UPSTREAM, host_and_port
from relay.command_line import is_relay

MAX_PROCESSES = 4096  # looked at
MAX_LINE = 4096  # bytes of a command line
MAX_FOUND = 64

LISTEN = re.compile(r"tcp[46]?-l(?:isten)?:(\d{1,5})(?:,(.*))?", re.ASCII | re.IGNORECASE | re.DOTALL)
DIAL = re.compile(r"tcp[46]?(?:-connect)?:(\[[^\]]+\]|[^:,\[\]]+):(\d{1,5})(?:,.*)?", re.ASCII | re.IGNORECASE)
LISTENS = re.compile(r"(auto|\[[^\]]*\]|[^:\[\]]*):(\d{1,5})", re.ASCII)
AUTO = "auto"  # loopback and the bridges of containers


def look(ports: Collection[int], folder: str = "/proc") -> tuple[Forwarder, ...]:
    """Those that take connections for one of these ports; none where nothing can be read. Never raises."""
    found = (one for line in _command_lines(folder) for one in forwarders(line))
    return tuple(dict.fromkeys(one for one in found if one.port in ports))[:MAX_FOUND]


def _command_lines(folder: str) -> Iterator[tuple[str, ...]]:
    try:
        processes = [name for name in os.listdir(folder) if name.isdigit()][:MAX_PROCESSES]
    except OSError:
        return
    ours = _network_of(folder, "self")
    for name in processes:
        if ours is not None and _network_of(folder, name) not in (ours, None):
            continue  # its ports are those of a container
        try:
            with open(os.path.join(folder, name, "cmdline"), "rb") as file:
                words = file.read(MAX_LINE).decode("utf-8", "replace").split("\0")
        except OSError:  # it has ended, or is hidden
            continue
        yield tuple(words)


def _network_of(folder: str, process: str) -> str | None:
    """A name for its network namespace; None where that is not for our eyes."""
    try:
        return os.readlink(os.path.join(folder, process, "ns", "net"))
    except OSError:
        return None


def forwarders(words: tuple[str, ...]) -> tuple[Forwarder, ...]:
    """What this command line forwards: one for each port it listens on, () if it is no forwarder."""
    program = os.path.basename(words[0])
    if program.startswith("socat"):
        return tuple(_of_socat(words[1:]))[:1]
    if program == "docker-proxy":
        return tuple(_of_docker_proxy(words))
    return tuple(_of_relay(words[words.index("run") + 1 :])) if is_relay(words) else ()


def _of_socat(words: tuple[str, ...]) -> Iterator[Forwarder]:
    dialled = next((match for word in words if (match := DIAL.fullmatch(word))), None)
    upstream = f"{dialled[1]}:{dialled[2]}" if dialled else None
    for match in filter(None, map(LISTEN.fullmatch, words)):
        pairs = (option.partition("=") for option in (match[2] or "").split(","))
        options = {name.strip().lower(): value for name, _, value in pairs}
        is_open = "range" not in options and "tcpwrap" not in options
        yield Forwarder("socat", _address(options.get("bind", "")), int(match[1]), upstream, is_open)


def _address(bind: str) -> str:
    """The address of HOST, [IPV6] or either with a port behind it; nothing said is everything."""
    host = bind[1:].partition("]")[0] if bind.startswith("[") else bind.partition(":")[0]
    return host or "0.0.0.0"


def _of_docker_proxy(words: tuple[str, ...]) -> Iterator[Forwarder]:
    named = {name.lstrip("-"): value for name, value in pairwise(words)}
    port, host, its = (named.get(name, "") for name in ("host-port", "container-ip", "container-port"))
    if named.get("proto") == "tcp" and port.isascii() and port.isdigit():
        known = bool(host) and its.isascii() and its.isdigit()
        upstream = host_and_port(host, int(its[:6])) if known else None
        yield Forwarder("docker-proxy", named.get("host-ip", "0.0.0.0"), int(port[:6]), upstream)


def _of_relay(options: tuple[str, ...]) -> Iterator[Forwarder]:
    listens, upstreams = _given(options, "--listen"), _given(options, "--upstream")
    assumed = not listens or not upstreams
    upstream = upstreams[-1] if upstreams else DEFAULT_UPSTREAM
    for place in listens or [f"{AUTO}:{DEFAULT_PORT}"]:
        if match := LISTENS.fullmatch(place):
            host = "" if match[1] == AUTO else match[1].strip("[]")
            yield Forwarder("ib-relay", host, int(match[2]), upstream, False, assumed)


def _given(options: tuple[str, ...], name: str) -> list[str]:
    """The values of an option, written as one word or as two."""
    values = [value for word, value in pairwise(options) if word == name]
    values += [word.partition("=")[2] for word in options if word.startswith(f"{name}=")]
    return [part for value in values for part in value.replace(",", " ").split()]
