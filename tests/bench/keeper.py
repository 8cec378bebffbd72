"""A service manager that keeps descriptors, as systemd does: what a relay needs so that its sessions outlive it."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from array import array

from relay.config.limits import unit_limits

MOST_FDS = 253  # of one message (SCM_MAX_FD)
CHECKPOINT = ".slate"  # how the name ends under which our relay stores a session's checkpoint
_numbers = itertools.count()


class Keeper:
    """Listens at $NOTIFY_SOCKET in a thread of its own, which sleeps unless something is stored or asked back.

    Keeps what comes with FDSTORE=1 until FDSTOREREMOVE=1, and answers a barrier, by closing its descriptor.
    """

    def __init__(self) -> None:
        self._where = f"ib-relay-bench-{os.getpid()}-{next(_numbers)}"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(f"\0{self._where}")
        self.store: dict[str, list[int]] = {}
        self._session = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    @property
    def environ(self) -> dict[str, str]:
        """What systemd says to a service whose unit has what our installer writes."""
        return {"NOTIFY_SOCKET": f"@{self._where}", "FDSTORE": str(unit_limits().store)}

    def wait_for_session(self, seconds: float) -> bool:
        """Has a session ever been kept?"""
        return self._session.wait(seconds)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.sendto(b"", f"\0{self._where}")
        self._thread.join()
        self._sock.close()
        for name in list(self.store):
            self._forget(name)

    def _run(self) -> None:
        while True:
            data, ancillary, _, _ = self._sock.recvmsg(65536, socket.CMSG_SPACE(MOST_FDS * 4))
            if not data:
                return
            fds = array("i")
            for _, _, payload in ancillary:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
            self._take(dict(line.partition("=")[::2] for line in data.decode().split("\n")), list(fds))

    def _take(self, said: dict[str, str], fds: list[int]) -> None:
        name = said.get("FDNAME", "")
        if "FDSTORE" in said:
            self.store.setdefault(name, []).extend(fds)
            if name.endswith(CHECKPOINT) and fds:
                self._session.set()
            return
        if "FDSTOREREMOVE" in said:
            self._forget(name)
        for fd in fds:  # a barrier's
            os.close(fd)

    def _forget(self, name: str) -> None:
        for fd in self.store.pop(name, ()):
            os.close(fd)
