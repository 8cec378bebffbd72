"""A service manager that keeps descriptors, as systemd does: for tests that kill the relay and want it to go on.

It takes FDSTORE, FDSTOREREMOVE and BARRIER on a real $NOTIFY_SOCKET, keeps copies, and hands them to the next start.
Like PID 1 it ignores a descriptor it has already, whatever its name, and closes what it no longer keeps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path

from relay.survival import inflight
from relay.survival.fdstore import PARTS
from tests.relay.kit import managers
from tests.relay.kit.scripted import PATIENCE, wait_until

ROOT = Path(__file__).parents[3]


class Pid1:
    """`with Pid1(folder, arguments) as service:` starts `ib-relay run ...` and keeps what it gives away.

    `listening` are the sockets it has bound for the relay, by name; `tells` is whether it says by itself that it keeps
    descriptors ($FDSTORE, systemd 254 and later).
    """

    def __init__(
        self, folder: Path, arguments: list[str], listening: dict[str, socket.socket] | None = None, tells: bool = True
    ) -> None:
        self.where = str(folder / "notify")
        self.command = [sys.executable, "-m", "relay", "run", *arguments]
        self.listening = listening or {}
        self.stored: dict[str, list[int]] = {}
        self.said: list[str] = []
        self.cwd = ROOT
        self.keeps = True  # it has a store
        self.deaf = threading.Event()  # while it is set, nothing is read
        self.readies = 0
        self.starts = 0
        self.output = folder / "output"
        self.environ = {"NOTIFY_SOCKET": self.where, "PYTHONPATH": str(ROOT)} | ({"FDSTORE": "1024"} if tells else {})
        self._lock = threading.Lock()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.where)
        self._sock.settimeout(0.1)
        self._ended = False
        self._thread = threading.Thread(target=self._listen, name="pid 1", daemon=True)
        self._thread.start()
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Pid1:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._ended = True
        self._thread.join(PATIENCE)
        self._sock.close()
        self.drop_all()

    def start(self) -> None:
        """Start it with everything that is kept, and wait until it is ready."""
        with self._lock:
            kept = [(name, fd) for name, fds in self.stored.items() for fd in fds]
            kept += [(name, sock.fileno()) for name, sock in self.listening.items()]
            names, fds = [name for name, _ in kept], [fd for _, fd in kept]
            ready = self.readies
        command, pass_fds = self.command, ()
        if fds:
            command, pass_fds = managers.handing_over(self.command, fds, ":".join(names))
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("IB_RELAY_", "LISTEN_", "NOTIFY_"))
        }
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                env=clean | self.environ,
                pass_fds=pass_fds,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.starts += 1
        self.wait_ready(ready + 1)

    def wait_ready(self, count: int) -> None:
        def is_ready() -> bool:
            code = self.process.poll()
            assert code is None, f"it ended with {code}:\n{self.log()[-4000:]}"
            return self.readies >= count

        wait_until(is_ready, "the relay is ready")

    def kill(self) -> None:
        """SIGKILL and the next start, as with Restart=always."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self.start()

    def restart(self) -> float:
        """SIGTERM, the end, the next start; how many seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.log()[-4000:]
        self.start()
        return time.monotonic() - begin

    def upgrade(self) -> None:
        """SIGUSR2, until the new program is ready."""
        ready = self.readies
        self.process.send_signal(signal.SIGUSR2)
        self.wait_ready(ready + 1)

    def names(self) -> set[str]:
        with self._lock:
            return set(self.stored)

    def seen_of(self, side: str) -> int:
        """How many bytes of the only connection's "client" or "upstream" the relay has seen and left in the kernel.

        It is to be called when there is one more (SO_RCVLOWAT). -1 when nobody has been told of that connection yet.
        """
        with self._lock:
            stored = {name.rpartition(".")[2]: kept[0] for name, kept in self.stored.items() if "." in name}
            fds = {part: os.dup(fd) for part, fd in stored.items()} or self._young()
        seen = -1
        for part, fd in fds.items():
            if part == side:
                with socket.socket(fileno=os.dup(fd)) as sock:
                    seen = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) - 1
            os.close(fd)
        return seen

    def _young(self) -> dict[str, int]:
        """Copies of what the first message in the relay's inflight carries; it stays there."""
        fds = array("i")
        for end in (fd for name in inflight.NAMES[1::2] for fd in self.stored.get(name, ())):
            with socket.socket(fileno=os.dup(end)) as out, contextlib.suppress(BlockingIOError):
                room, looking = socket.CMSG_LEN(len(PARTS) * fds.itemsize), socket.MSG_PEEK | socket.MSG_DONTWAIT
                for _, _, payload in out.recvmsg(1, room, looking)[1]:
                    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        return dict(zip(PARTS if len(fds) > 1 else ("client",), fds, strict=False))

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def drop_all(self) -> None:
        """What `systemctl stop` does with the store."""
        with self._lock:
            for fds in self.stored.values():
                for fd in fds:
                    os.close(fd)
            self.stored.clear()

    def _listen(self) -> None:
        while not self._ended:
            if self.deaf.is_set():
                time.sleep(0.01)
                continue
            with contextlib.suppress(TimeoutError):
                data, ancillary, _, _ = self._sock.recvmsg(65536, socket.CMSG_SPACE(253 * 4))
                fds = array("i")
                for level, kind, payload in ancillary:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._heard(data.decode().split("\n"), list(fds))

    def _heard(self, lines: list[str], fds: list[int]) -> None:
        said = dict(line.partition("=")[::2] for line in lines)
        with self._lock:
            self.said += lines
            if "FDSTORE" in said and self.keeps:
                assert said["FDPOLL"] == "0"
                known = {_identity(fd) for kept in self.stored.values() for fd in kept}
                for fd in fds:
                    if _identity(fd) in known:
                        os.close(fd)
                    else:
                        self.stored.setdefault(said["FDNAME"], []).append(fd)
                fds = []
            if "FDSTOREREMOVE" in said:
                for fd in self.stored.pop(said["FDNAME"], []):
                    os.close(fd)
        for fd in fds:  # a barrier's among them: closing it is the answer
            os.close(fd)
        self.readies += "READY" in said


def _identity(fd: int) -> tuple[int, int]:
    """Sockets and memfds are their inode; the same file opened twice does not occur here."""
    about = os.fstat(fd)
    return about.st_dev, about.st_ino
