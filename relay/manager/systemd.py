"""What systemd and this process say to each other: readiness, status and liveness out, sockets and kept descriptors in.

Plain datagrams to $NOTIFY_SOCKET and descriptors from $LISTEN_FDS (sd_notify(3), sd_listen_fds(3)); nothing is linked
or installed for it. Outside systemd every function does nothing and says so. None raises for anything systemd does or
fails to do: a relay must not end because its manager is busy. The exception is a name that systemd would not take,
which is a fault of ours (ValueError).

A datagram can have to wait, because PID 1 reads its queue in order and may be busy. `wait` is how long, in seconds:
0 on the event loop's thread for what is sent again anyway (status, watchdog, store), more where a lost message matters.

$LISTEN_FDS mixes two kinds of descriptors: sockets of .socket units, which listen, and what this service has put into
its descriptor store before, which does not, or has a name that begins with BOUND. Whatever is taken is marked as taken
in the environment, so that neither a second look nor a program this process turns itself into (execve keeps the pid)
takes a number for what it once was.
"""

from __future__ import annotations

import os
import re
import select
import socket
import stat
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping

from relay.printable import printable

LISTEN_FDS_START = 3  # sd_listen_fds(3)
WAIT = 1.0  # seconds for a message that matters; PID 1 answers in microseconds unless it reloads its units
STATUS_LIMIT = 1024  # bytes; systemd ignores a datagram of 4096 and more (NOTIFY_BUFFER_MAX)
MOST_DESCRIPTORS = 10_000  # no manager hands over more; a bound for a variable anybody can set
_NAME = re.compile(r"[ -9;-~]{1,255}", re.ASCII)  # fdname_is_valid() in systemd: printable, no colon
_TAKEN = ""  # no name of systemd's is empty
BOUND = "bound "  # how the names begin of listening sockets that this service has stored itself


# Out


def notify(message: str, fds: Iterable[int] = (), wait: float = WAIT, environ: Mapping[str, str] = os.environ) -> bool:
    """Send one datagram, with copies of `fds`. False when there is no manager, or it takes nothing within `wait`."""
    address = _address(environ.get("NOTIFY_SOCKET", ""))
    if address is None:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(wait)
            sock.connect(address)  # connected, or poll(2) would not wait for the receiver's queue
            socket.send_fds(sock, [message.encode(errors="replace")], list(fds))
    except OSError:  # TimeoutError and BlockingIOError are among these; and no descriptors left
        return False
    return True


def managed(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a manager to talk to."""
    return _address(environ.get("NOTIFY_SOCKET", "")) is not None


def ready(status: str, environ: Mapping[str, str] = os.environ, wait: float = WAIT) -> bool:
    """Started, or done with reloading."""
    return notify(f"READY=1\n{_status(status)}", (), wait, environ)


def reloading(environ: Mapping[str, str] = os.environ, wait: float = WAIT) -> bool:
    """The configuration is being read again; `ready` must follow, whatever comes of it.

    Type=notify-reload compares the clock with the moment of its signal: without it, `systemctl reload` hangs.
    """
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", (), wait, environ)


def stopping(status: str, environ: Mapping[str, str] = os.environ, wait: float = WAIT) -> bool:
    """No new clients from now on; the end is near."""
    return notify(f"STOPPING=1\n{_status(status)}", (), wait, environ)


def tell_status(status: str, environ: Mapping[str, str] = os.environ) -> bool:
    """What `systemctl status` shows. Never waits."""
    return notify(_status(status), wait=0, environ=environ)


def watchdog(status: str | None = None, environ: Mapping[str, str] = os.environ) -> bool:
    """Still alive, and perhaps a new status. Never waits."""
    return notify("WATCHDOG=1" if status is None else f"WATCHDOG=1\n{_status(status)}", wait=0, environ=environ)


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds after which this process is killed if it has said nothing; None without a watchdog."""
    try:
        seconds = int(environ.get("WATCHDOG_USEC", "")) / 1e6
        ours = int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
    except ValueError:
        return None
    return seconds if ours and seconds > 0 else None


def barrier(timeout: float, environ: Mapping[str, str] = os.environ) -> bool:
    """Wait until systemd has dealt with everything sent before; False when it has not within `timeout` seconds.

    It closes its copy of a pipe's writing end when it gets there (sd_notify_barrier(3), since version 246).
    """
    deadline = time.monotonic() + timeout
    reading, writing = os.pipe()
    try:
        try:
            if not notify("BARRIER=1", [writing], timeout, environ):
                return False
        finally:
            os.close(writing)
        poll = select.poll()
        poll.register(reading, 0)  # POLLHUP is always reported
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(reading)


# The descriptor store


def store(fds: Mapping[str, int], wait: float = 0, environ: Mapping[str, str] = os.environ) -> set[str]:
    """Have systemd keep copies of these descriptors for the next start; the names that were sent.

    One name, one descriptor: several under one name come back in any order. FDPOLL=0, or systemd would drop a socket at
    its peer's end together with what is still unread. As long as it keeps a copy, our close() sends no FIN: shut down,
    then `unstore`. Whether there was room (FileDescriptorStoreMax=) is not answered; see `store_limit`.
    """
    sent = set()
    for name, fd in fds.items():
        if not notify(f"FDSTORE=1\nFDPOLL=0\nFDNAME={_checked(name)}", [fd], wait, environ):
            break  # the next one would wait as long
        sent.add(name)
    return sent


def unstore(names: Iterable[str], wait: float = 0, environ: Mapping[str, str] = os.environ) -> set[str]:
    """Have systemd close its copies of what is stored under these names; the names that were sent."""
    sent = set()
    for name in names:
        if not notify(f"FDSTOREREMOVE=1\nFDNAME={_checked(name)}", (), wait, environ):
            break
        sent.add(name)
    return sent


def store_limit(environ: Mapping[str, str] = os.environ) -> int | None:
    """How many descriptors systemd keeps for this service; None when it does not say (before version 254)."""
    try:
        return int(environ["FDSTORE"])
    except (KeyError, ValueError):
        return None


# In


def take_listening(environ: MutableMapping[str, str] = os.environ) -> dict[str, list[int]]:
    """The listening sockets handed over, by name; the caller closes them. Each is given once."""
    found: dict[str, list[int]] = {}
    for name, fd in _take(environ, lambda name, fd: _listens(fd) and not name.startswith(BOUND)):
        found.setdefault(name, []).append(fd)
    return found


def take_stored(environ: MutableMapping[str, str] = os.environ) -> dict[str, int]:
    """What came back from the descriptor store, by name; the caller closes it. Each is given once."""
    found: dict[str, int] = {}
    for name, fd in _take(environ, lambda name, fd: name.startswith(BOUND) or not _listens(fd)):
        if name in found:
            os.close(fd)  # two under one name: nobody could tell which is which
        else:
            found[name] = fd
    return found


def _take(environ: MutableMapping[str, str], wanted: Callable[[str, int], bool]) -> list[tuple[str, int]]:
    names = _names(environ)
    taken = []
    for index, name in enumerate(names):
        fd = LISTEN_FDS_START + index
        if name == _TAKEN or not _is_open(fd) or not wanted(name, fd):
            continue
        os.set_inheritable(fd, False)
        names[index] = _TAKEN
        taken.append((name, fd))
    if taken:
        environ["LISTEN_FDNAMES"] = ":".join(names)
    return taken


def _names(environ: Mapping[str, str]) -> list[str]:
    """One name a descriptor; empty when there are none, or they are for another process."""
    try:
        count, pid = int(environ.get("LISTEN_FDS", "")), int(environ.get("LISTEN_PID", ""))
    except ValueError:
        return []
    if pid != os.getpid() or not 0 < count <= MOST_DESCRIPTORS:
        return []
    text = environ.get("LISTEN_FDNAMES")
    names = ["unknown"] * count if text is None else text.split(":")  # as sd_listen_fds_with_names(3) calls them
    return (names + [_TAKEN] * count)[:count]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _listens(fd: int) -> bool:
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    sock = socket.socket(fileno=fd)
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    finally:
        sock.detach()  # the descriptor is not ours to close


def _address(text: str) -> str | None:
    """A path, or "@name" for Linux' abstract namespace, whose real first byte is 0; others (vsock) are not for us."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _status(text: str) -> str:
    line = printable(text.strip(), STATUS_LIMIT)  # a line feed would begin another assignment
    return "STATUS=" + line.encode(errors="replace")[:STATUS_LIMIT].decode(errors="ignore")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a stored descriptor: 1 to 255 printable ASCII characters, no colon")
    return name
