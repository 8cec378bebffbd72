"""What stands around a relay in a rehearsal: a manager that keeps its descriptors, a gateway that says things back.

All of it is on the loopback and in one folder of its own; the installed service, its ports, its sessions and the real
gateway are not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from array import array
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from relay.config.limits import unit_limits
from relay.service.undo import SIGNALS
from relay.wire.hello import ServerHello, client_hello_end

LOOPBACK = "127.0.0.1"
HELLO = ServerHello(176, "20260101 00:00:00 GMT").encode()  # any version and time: only bytes are compared
ROOM = unit_limits().store  # descriptors that are kept, as in the unit
MOST_FDS = 253  # of one message (SCM_MAX_FD of the kernel)
MOST_BYTES = 64 << 10  # of one message

# What systemd does between fork and exec: descriptors to 3, 4, ..., their number, names and addressee to the
# environment. The copies are first put out of the way of the places they are to have. No signal stays blocked.
HAND_OVER = """
import fcntl, os, signal, sys
signal.pthread_sigmask(signal.SIG_SETMASK, ())
names, fds = sys.argv[1], [int(fd) for fd in sys.argv[2].split(",") if fd]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 500) for fd in fds]
for number, fd in enumerate(high, 3):
    os.dup2(fd, number, inheritable=True)
    os.close(fd)
os.closerange(3 + len(fds), 500)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.execv(sys.argv[3], sys.argv[3:])
"""


class TrialManager:
    """Starts a program as systemd would, with listening sockets and with what an earlier one has left in its care.

    Use it as a context manager, on a running event loop.
    """

    def __init__(self, folder: Path, listening: Mapping[str, socket.socket]) -> None:
        self.log = folder / "log"
        self._folder = folder
        self._listening = listening
        self._stored: dict[str, list[int]] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        self.ready = False  # the program has said so
        self._where = folder / "notify"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> TrialManager:
        self._sock.bind(str(self._where))
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
            process.wait()
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
        for fd in (fd for fds in self._stored.values() for fd in fds):
            os.close(fd)

    def keeps_sessions(self) -> bool:
        """Has the program left sessions? Their parts have names with a dot, nothing else has."""
        return any("." in name for name in self._stored)

    def start(self, command: tuple[str, ...], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """The process, killed at the end; what it writes is in `log`. OSError when there is nothing to start."""
        self.ready = False
        kept = [(name, sock.fileno()) for name, sock in self._listening.items()]
        kept += [(name, fd) for name, fds in self._stored.items() for fd in fds]
        names, fds = ":".join(name for name, _ in kept), [fd for _, fd in kept]
        # A signal within would leave a process behind that nobody knows of.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._started.append(self._begun(command, environ, names, fds))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._started[-1]

    def _begun(
        self, command: tuple[str, ...], environ: Mapping[str, str], names: str, fds: list[int]
    ) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as out:
            return subprocess.Popen(
                (command[0], "-I", "-S", "-c", HAND_OVER, names, ",".join(map(str, fds)), *command),
                env={"PATH": os.defpath, **environ, "NOTIFY_SOCKET": str(self._where), "FDSTORE": str(ROOM)},
                cwd=self._folder,
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # a Ctrl-C is for us, and we end it
            )

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = self._sock.recvmsg(MOST_BYTES, socket.CMSG_SPACE(MOST_FDS * 4))
                fds = array("i")
                for _, _, payload in ancillary:
                    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._understand(data.decode(errors="replace"), list(fds))

    def _understand(self, message: str, fds: list[int]) -> None:
        said = dict(line.partition("=")[::2] for line in message.split("\n"))
        if "FDSTORE" in said:
            self._stored.setdefault(said.get("FDNAME", "stored"), []).extend(fds)
            fds = []
        if "FDSTOREREMOVE" in said:
            fds += self._stored.pop(said.get("FDNAME", ""), [])
        for fd in fds:  # a barrier's among them: closing it is the answer
            os.close(fd)
        if "READY" in said:
            self.ready = True


@contextlib.asynccontextmanager
async def trial_gateway() -> AsyncIterator[int]:
    """Answers a hello and says everything else back; its port."""
    server = await asyncio.get_running_loop().create_server(_SaysBack, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class _SaysBack(asyncio.Protocol):
    def __init__(self) -> None:
        self._head: bytes | None = b""  # until it is known whether a hello comes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            end = client_hello_end(self._head)
            if end == 0:
                return
            data, self._head = HELLO + self._head[end:] if end > 0 else self._head, None
        self._transport.write(data)
