"""A service manager's side, on real sockets: where notifications arrive, and how descriptors are handed over."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from tests.relay.kit.scripted import PATIENCE

# What systemd does between fork and exec: the descriptors to 3, 4, ..., their number, names and addressee to the
# environment.
_HAND_OVER = """
import fcntl, os, sys
names, fds = sys.argv[1], [int(fd) for fd in sys.argv[2].split(",") if fd]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
for number, fd in enumerate(high, 3):
    os.dup2(fd, number, inheritable=True)
    os.close(fd)
os.closerange(3 + len(fds), 1024)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds))}
if names != "-":
    os.environ["LISTEN_FDNAMES"] = names
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass
class Notice:
    """One datagram: its assignments, and copies of the descriptors that came with it."""

    lines: list[str]
    fds: list[int]

    def __getitem__(self, name: str) -> str | None:
        return next((line.partition("=")[2] for line in self.lines if line.startswith(f"{name}=")), None)

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


class NotifySocket:
    """Where $NOTIFY_SOCKET leads; `where` is a path, or "@name" for one in Linux' abstract namespace."""

    def __init__(self, where: str) -> None:
        self.where = str(where)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + self.where[1:] if self.where.startswith("@") else self.where)
        self.seen: list[Notice] = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()
        for notice in self.seen:
            notice.close()

    @property
    def environ(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.where}

    def receive(self, within: float = PATIENCE) -> Notice:
        """The next datagram; TimeoutError when there is none."""
        self.sock.settimeout(within)
        data, ancillary, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(253 * 4))
        fds = array("i")
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        self.seen.append(Notice(data.decode().split("\n"), list(fds)))
        return self.seen[-1]

    def left(self) -> list[Notice]:
        """What has been said and not heard yet; it is here by the time it has been said."""
        before = len(self.seen)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.receive(0)
        return self.seen[before:]

    def until(self, assignment: str, within: float = PATIENCE) -> Notice:
        """The next datagram with an assignment that begins like this; what comes before it is kept in `seen`."""
        deadline = time.monotonic() + within
        while True:
            notice = self.receive(max(0.001, deadline - time.monotonic()))
            if any(line.startswith(assignment) for line in notice.lines):
                return notice


def fill(send: Callable[[], bool], most: int = 100_000) -> int:
    """Let `send()` send until it says False, since nobody reads; how many went."""
    for count in range(most):
        if not send():
            return count
    raise AssertionError(f"this kernel's queue takes more than {most} messages")


def handing_over(command: list[str], fds: list[int], names: str) -> tuple[list[str], list[int]]:
    """The command that is started with `fds` as its $LISTEN_FDS, and what Popen's pass_fds must be; "-" is no names."""
    return [sys.executable, "-c", _HAND_OVER, names, ",".join(map(str, fds)), *command], fds


@contextlib.contextmanager
def process(command: list[str], fds: list[int] = (), names: str | None = None, environ: dict | None = None, **options):
    """A process under this manager, killed at the end. Without `names` it only inherits `fds`, and is told nothing."""
    pass_fds = fds
    if names is not None:
        command, pass_fds = handing_over(command, list(fds), names)
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("IB_RELAY_", "LISTEN_", "NOTIFY_", "WATCHDOG_"))
    }
    started = subprocess.Popen(
        command,
        env=clean | (environ or {}),
        pass_fds=pass_fds,
        stdin=subprocess.DEVNULL,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        **options,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait(PATIENCE)
        for pipe in (started.stdout, started.stderr):
            if pipe:
                pipe.close()
