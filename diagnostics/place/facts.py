"""What can be known about where we run without asking anybody: files, ioctls, variables, each with its source.

Nothing here resolves a name or sends a packet, nothing raises, and every read is bounded. Of the environment only
VARIABLES are looked at, and none of them can hold a secret; of the files nothing is kept but the values of NAMES.

`root` makes it look at a copy of a machine (/proc, /etc, /sys, /run, markers) instead of the one it runs on.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
from collections.abc import Mapping

from diagnostics.evidence import Fact
from diagnostics.place import recognise
from diagnostics.place.netfiles import (
    covers,
    default_ipv6,
    host_lines,
    ipv4,
    ipv4_routes,
    is_address,
    is_reachable,
    local_ipv4,
    local_ipv6,
    nameservers,
)
from diagnostics.place.routes import HOST_NAMES

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAMES = {  # the closed set of fact names; lists are joined with ", ", and "" is a list known to be empty
    "os": "kernel and release, and the distribution where there is one",
    "python": "implementation and version that runs this",
    "container": "yes, no; unknown where the signs contradict each other",
    "runtime": "docker, podman, kubernetes, containerd, lxc, ..., wsl; none on a plain machine",
    "flavour": "the machine under it: docker desktop, orbstack, colima, lima, rancher, podman machine, wsl2, wsl1, "
    "k3d, k3s, minikube, linux engine; none on a plain machine",
    "network_mode": "host (also where there is no container), none, default bridge, user network, kubernetes, pasta, "
    "slirp4netns, wsl nat, wsl mirrored",
    "rootless": "whether the engine of this container runs without root: yes, no",
    "container_id": "the first twelve digits of this container's id",
    "own_addresses": "our addresses without loopback and link-local ones, those of the default route's interface first",
    "interfaces": "network interfaces of our namespace",
    "mtu": "largest packet of the default route's interface, in bytes",
    "default_gateway": "next hop of the default routes, IPv4 first, without link-local ones",
    "resolver": "name servers of resolv.conf, in order",
    "hosts_entries": "name=address of /etc/hosts for the names by which containers know their host",
    "docker0": "address of Docker's default bridge, where it can be seen",
    "unprivileged": "yes when we are not root",
    "env.IB_HOST": "variable IB_HOST",
    "env.IB_PORT": "variable IB_PORT",
    "env.IB_CLIENT_ID": "variable IB_CLIENT_ID",
    "env.TRADING_MODE": "variable TRADING_MODE of the gateway images: live or paper",
}
VARIABLES = tuple(name.removeprefix("env.") for name in NAMES if name.startswith("env."))

MAX_FILE = 128 << 10  # bytes; only the mount and route tables of a busy host are longer, and what counts comes first
MAX_LIST = 64  # items of one fact
MAX_INTERFACES = 512  # asked for their address; a host of that many containers has all that matters in the first ones
MAX_VALUE = 200  # characters of a variable
SIOCGIFADDR = {"linux": 0x8915, "darwin": 0xC0206921}.get(sys.platform)  # linux/sockios.h; sys/sockio.h, _IOWR('i', 33)
# Connecting a datagram socket chooses our address and sends nothing; these are for documentation (RFC 5737, RFC 3849)
NOWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def look_around(root: str | os.PathLike = "/", environ: Mapping[str, str] = os.environ) -> tuple[Fact, ...]:
    """Every fact of NAMES in its order, variables only if set. Never raises."""
    tree = _Tree(os.fspath(root))
    facts = {"os": _os(tree), "python": _python(), "unprivileged": _unprivileged(), **_network(tree)}
    facts |= _place(tree, environ, facts)
    facts |= {f"env.{name}": _variable(name, environ) for name in VARIABLES if environ.get(name)}
    return tuple(Fact(name, *facts[name]) for name in NAMES if name in facts)


Seen = tuple[str | None, str, str]  # value, source, confidence


def _seen(value: str | None, source: str, confidence: str = "certain") -> Seen:
    return (None if value is None else _printable(value), source, confidence)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[: 20 * MAX_VALUE])


def _list(values) -> str:
    return ", ".join(list(dict.fromkeys(values))[:MAX_LIST])


class _Tree:
    """Files below a root; whatever cannot be read is None."""

    def __init__(self, root: str):
        self.root = root.rstrip("/")
        self.real = not self.root  # the machine itself: system calls tell about it, too
        self.read_already: dict[str, str | None] = {}
        self.routes = ipv4_routes(self.read("/proc/net/route") or "")  # IPv4
        self.interface = self._interface()  # of the default route

    def read(self, path: str) -> str | None:
        """The text, MAX_FILE bytes of it at most; a pipe or a device does not block."""
        if path not in self.read_already:
            self.read_already[path] = self._read(path)
        return self.read_already[path]

    def _read(self, path: str) -> str | None:
        chunks, left = [], MAX_FILE
        try:
            handle = os.open(self.root + path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
        except (OSError, ValueError):
            return None
        try:
            while left > 0 and (chunk := os.read(handle, left)):  # files of /proc come in pages
                chunks.append(chunk)
                left -= len(chunk)
        except OSError:
            return None
        finally:
            os.close(handle)
        return b"".join(chunks).decode("utf-8", "replace")

    def _interface(self) -> str | None:
        defaults = [one for one in self.routes if one[1:4:2] == (0, 0)]
        if defaults:
            return min(defaults, key=lambda one: one[4])[0]
        return next((name for name, _ in default_ipv6(self.read("/proc/net/ipv6_route") or "")), None)

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.root + path)

    def names(self, path: str) -> tuple[str, ...] | None:
        try:
            return tuple(sorted(os.listdir(self.root + path)))
        except (OSError, ValueError):
            return None


# The machine


def _os(tree: _Tree) -> Seen:
    kernel, release = tree.read("/proc/sys/kernel/ostype"), tree.read("/proc/sys/kernel/osrelease")
    source = "/proc/sys/kernel"
    if not (kernel and release) and tree.real:
        system = os.uname() if hasattr(os, "uname") else None
        kernel, release, source = (system.sysname, system.release, "uname") if system else (sys.platform, "", "sys")
    if not kernel:
        return _seen(None, source)
    found = re.search(r'^PRETTY_NAME="?([^"\n]{1,80})"?$', tree.read("/etc/os-release") or "", re.MULTILINE)
    words = f"{kernel.strip()} {(release or '').strip()}".strip()[:100]
    return _seen(f"{words} ({found[1]})" if found else words, f"{source}, /etc/os-release" if found else source)


def _python() -> Seen:
    return _seen(f"{sys.implementation.name} {'.'.join(map(str, sys.version_info[:3]))}", "sys")


def _unprivileged() -> Seen:
    if not hasattr(os, "geteuid"):
        return _seen(None, "geteuid")
    return _seen("no" if os.geteuid() == 0 else "yes", "geteuid")


def _variable(name: str, environ: Mapping[str, str]) -> Seen:
    """Shortened, and without what stands before an @: somebody may have put a URL with a password into IB_HOST."""
    _, sign, after = environ[name].rpartition("@")
    return _seen(f"***@{after}"[:MAX_VALUE] if sign else after[:MAX_VALUE], name)


# The place


def _place(tree: _Tree, environ: Mapping[str, str], network: Mapping[str, Seen]) -> dict[str, Seen]:
    texts = {source: tree.read(source) for source in recognise.READ}
    texts |= {source: "" if tree.exists(source) else None for source in recognise.EXISTS}
    texts |= {f"env {name}": _printable(environ[name]) for name in recognise.VARIABLES if environ.get(name)}
    for marker in (recognise.DOCKERENV, recognise.CONTAINERENV):  # there counts, readable or not
        texts[marker] = "" if tree.exists(marker) else None
    interfaces, own, gateway = (network[name][0] for name in ("interfaces", "own_addresses", "default_gateway"))
    recognised = recognise.recognise(
        recognise.Seen(
            texts,
            None if interfaces is None else tuple(filter(None, interfaces.split(", "))),
            tuple(own.split(", ")) if own else (),
            gateway.partition(", ")[0] if gateway else None,
            _peered(tree),
            not tree.real or sys.platform.startswith("linux"),
        )
    )
    guesses = {name: getattr(recognised, name) for name in recognise.Place.__slots__}
    return {name: _seen(one.value, one.source, one.confidence) for name, one in guesses.items()}


def _peered(tree: _Tree) -> bool | None:
    """A veth in a container is linked to another index than its own; a device of the machine to itself."""
    name = tree.interface
    index, link = (
        (tree.read(f"/sys/class/net/{name}/{file}") for file in ("ifindex", "iflink")) if name else (None, None)
    )
    return index != link if index and link else None


# The network


def _network(tree: _Tree) -> dict[str, Seen]:
    names, names_source = _interfaces(tree)
    by_interface = _ipv4_by_interface(tree, names or ())
    resolv, hosts = tree.read(recognise.RESOLV), tree.read(recognise.HOSTS)
    docker0 = None if names is None else _list(by_interface.get("docker0", ()))
    default = tree.interface
    return {
        "interfaces": _seen(None if names is None else _list(names), names_source),
        "own_addresses": _own_addresses(tree, names, by_interface),
        "mtu": _mtu(tree, default),
        "default_gateway": _default_gateway(tree),
        "resolver": _seen(None if resolv is None else _list(nameservers(resolv)), recognise.RESOLV),
        "hosts_entries": _seen(None if hosts is None else _list(_magic(hosts)), recognise.HOSTS),
        "docker0": _seen(docker0, "SIOCGIFADDR" if tree.real else "/proc/net/fib_trie"),
    }


def _interfaces(tree: _Tree) -> tuple[tuple[str, ...] | None, str]:
    """/proc/net is of our own namespace; /sys/class/net of the one in which /sys was mounted, which may be another."""
    text = tree.read("/proc/net/dev")
    if text is not None:
        return tuple(line.partition(":")[0].strip() for line in text.splitlines()[2:] if ":" in line), "/proc/net/dev"
    if tree.real:
        try:
            return tuple(name for _, name in socket.if_nameindex()), "if_nameindex"
        except (OSError, AttributeError):
            pass
    return tree.names("/sys/class/net"), "/sys/class/net"


def _ipv4_by_interface(tree: _Tree, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """From the kernel one address an interface; from a copy of /proc those that a route of the interface covers."""
    if tree.real:
        return _asked_ipv4(names[:MAX_INTERFACES])
    local = local_ipv4(tree.read("/proc/net/fib_trie") or "")
    found: dict[str, tuple[str, ...]] = {}
    for name, target, gateway, mask, _ in tree.routes:
        if mask and not gateway:
            found[name] = found.get(name, ()) + tuple(one for one in local if covers(target, mask, one))
    return found


def _asked_ipv4(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    if fcntl is None or SIOCGIFADDR is None:
        return {}
    found = {}
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for name in names:
                try:  # struct ifreq: 16 bytes of name, then a sockaddr_in with the address at 4
                    answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("16s24x", os.fsencode(name)[:15]))
                except OSError:  # it has none, or is gone
                    continue
                found[name] = (socket.inet_ntop(socket.AF_INET, answer[20:24]),)
    except OSError:  # a sandbox without sockets
        pass
    return found


def _own_addresses(tree: _Tree, names: tuple[str, ...] | None, by_interface: dict[str, tuple[str, ...]]) -> Seen:
    """Of all interfaces, the default route's first; IPv6 behind IPv4."""
    trie, v6_text = tree.read("/proc/net/fib_trie"), tree.read("/proc/net/if_inet6")
    default = tree.interface
    order = sorted(names or (), key=lambda name: name != default)
    v4 = [address for name in order for address in by_interface.get(name, ())] + local_ipv4(trie or "")
    v6 = sorted(local_ipv6(v6_text or ""), key=lambda pair: pair[0] != default)
    found = _list(one for one in (*v4, *(address for _, address in v6)) if is_reachable(one))
    source = ", ".join(["SIOCGIFADDR"] * bool(tree.real and by_interface) + ["/proc/net/fib_trie"] * (trie is not None))
    if v6_text is not None:
        source = ", ".join(filter(None, (source, "/proc/net/if_inet6")))
    if found or trie is not None or not tree.real:
        return _seen(found if source else None, source or "/proc/net")
    return _guessed_addresses()


def _guessed_addresses() -> Seen:
    """Where the kernel lists nothing: the address it would send from, or else what our own name stands for."""
    found = []
    for family, address in NOWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as unsent:
                unsent.connect((address, 9))
                found.append(unsent.getsockname()[0])
        except OSError:
            pass
    found = [one for one in found if is_reachable(one)]
    if found:
        return _seen(_list(found), "getsockname of an unsent datagram", "likely")
    return _seen(_list(_named_addresses()) or None, "getaddrinfo of our own name", "hint")


def _named_addresses() -> list[str]:
    """Off Linux only, and at most 0.1 s: the resolver may think for seconds about a name it does not know."""
    import threading

    found: list[str] = []

    def ask():
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None))

    thread = threading.Thread(target=ask, name="own name", daemon=True)
    try:
        thread.start()
        thread.join(0.1)
    except RuntimeError:  # no more threads
        pass
    return [one for one in found if is_reachable(one)]


def _default_gateway(tree: _Tree) -> Seen:
    v4, v6 = tree.read("/proc/net/route"), tree.read("/proc/net/ipv6_route")
    if v4 is None and v6 is None:
        return _seen(None, "/proc/net/route")
    defaults = sorted((one for one in tree.routes if one[1:4:2] == (0, 0)), key=lambda one: one[4])
    hops = [ipv4(gateway) for _, _, gateway, _, _ in defaults if gateway]
    hops += [hop for _, hop in default_ipv6(v6 or "") if is_reachable(hop)]
    return _seen(_list(hops), "/proc/net/route" if not v6 else "/proc/net/route, /proc/net/ipv6_route")


def _mtu(tree: _Tree, interface: str | None) -> Seen:
    source = f"/sys/class/net/{interface}/mtu" if interface else "/proc/net/route"
    text = (tree.read(source) or "").strip() if interface else ""
    return _seen(text if re.fullmatch("[0-9]{1,6}", text, re.ASCII) else None, source)


def _magic(hosts: str):
    """name=address of the names in routes.HOST_NAMES; of two lines the first counts, as for the resolver."""
    found: dict[str, str] = {}
    for address, names in host_lines(hosts):
        for name in names:
            if name.lower() in HOST_NAMES and name.lower() not in found and is_address(address):
                found[name.lower()] = address
    return (f"{name}={address}" for name, address in found.items())
