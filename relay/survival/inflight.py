"""Where sessions that are too young for the service manager outlive this process: as messages nobody has received yet.

A descriptor sent over a Unix socket and not received is held by the message (unix(7), SCM_RIGHTS), and the message by
the socket. The manager keeps both ends of one pair of sockets, so what we put into it survives a kill, for two system
calls of ours and none of PID 1's, which needs a process of its own for every descriptor it lets go of (systemd 257).

The messages stand in a queue. To take one out, those before it are received and put in again behind, which is why this
is for the few that are young: a short session is mostly gone before the next one comes. One message a key counts, the
later one.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter, deque
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

NAMES = ("young in", "young out")  # of the two ends, for the manager
ROOM = 128  # messages: what taking one out may cost at the most, some 10 us each
MOST = 32 * 1024  # bytes of one message; a session's state is 1 to 2 KiB
_MOST_FDS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """What was in there under a key. The descriptors belong to whoever has this."""

    text: str
    fds: tuple[int, ...]


class InFlight:
    """One queue; blocks never.

    The keys in it are known here, so that asking for one that is not there costs nothing.
    """

    def __init__(self, ends: tuple[int, int] | None = None) -> None:
        """A new pair, or the two ends an earlier process left, which are then ours."""
        if ends is None:
            self._in, self._out = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        else:
            self._in, self._out = (socket.socket(fileno=fd) for fd in ends)
        self._in.setblocking(False)
        self._out.setblocking(False)
        self._queue: deque[str] = deque()  # keys, as the messages stand
        self._count: Counter[str] = Counter()

    @property
    def files(self) -> dict[str, int]:
        """What the manager must keep, by name."""
        return dict(zip(NAMES, (self._in.fileno(), self._out.fileno()), strict=True))

    def __contains__(self, key: str) -> bool:
        return key in self._count

    def put(self, key: str, text: str, fds: Sequence[int]) -> bool:
        """Put this under `key`, in place of what was there; False when there is no room, and then nothing is there."""
        before = self._count[key]
        done = len(self._queue) < ROOM + before and self._push(key, f"{key} {len(fds)}\n{text}".encode(), fds)
        for _ in range(before):
            self._take_out(key)
        return done

    def remove(self, key: str) -> None:
        """Nothing is to be found under `key` any more."""
        for _ in range(self._count.get(key, 0)):
            self._take_out(key)

    def look(self) -> dict[str, Entry]:
        """Copies of all there is, which stays. For a new process, that does not know the keys yet."""
        self._queue.clear()
        self._count.clear()
        found: dict[str, Entry] = {}
        end = f"end {os.urandom(8).hex()}".encode()
        first = []  # of a full queue
        while not self._send(end, ()):
            first.append(self._receive())
        while (message := self._receive())[0] != end:  # one at a time: a kill in here shall cost one at the most
            self._put_back(*message, found)
        for message in first:
            self._put_back(*message, found)
        for key in found:
            while self._count[key] > 1:
                self._take_out(key)
        return found

    def close(self) -> None:
        """Give our ends back; what the manager keeps stays."""
        self._in.close()
        self._out.close()

    def _put_back(self, data: bytes, fds: tuple[int, ...], found: dict[str, Entry]) -> None:
        key, text = _understand(data, fds)
        if key is None or not self._push(key, data, fds):
            _close(fds)
            return
        if key in found:
            _close(found[key].fds)
        found[key] = Entry(text, fds)

    def _push(self, key: str, data: bytes, fds: Sequence[int]) -> bool:
        if len(data) > MOST or not self._send(data, fds):
            return False
        self._queue.append(key)
        self._count[key] += 1
        return True

    def _take_out(self, key: str) -> None:
        """The first message under that key; those before it go to the end."""
        while self._queue:
            first = self._queue.popleft()
            self._count[first] -= 1
            if not self._count[first]:
                del self._count[first]
            if first == key:
                self._out.recv(1)  # without room for descriptors: the kernel closes them
                return
            data, fds = self._receive()
            if _understand(data, fds)[0] is not None:
                self._push(first, data, fds)
            _close(fds)

    def _send(self, data: bytes, fds: Sequence[int]) -> bool:
        try:
            socket.send_fds(self._in, [data], fds)
        except OSError:  # full; or more descriptors on their way than a user may have (ETOOMANYREFS)
            return False
        return True

    def _receive(self) -> tuple[bytes, tuple[int, ...]]:
        data, fds, _, _ = socket.recv_fds(self._out, MOST, _MOST_FDS)
        for fd in fds:
            os.set_inheritable(fd, False)
        return data, tuple(fds)


def take_ends(stored: MutableMapping[str, int]) -> tuple[int, int] | None:
    """Both ends, taken out of what came back from the manager; None, and all as it was, when they are not there."""
    if not all(name in stored for name in NAMES):
        return None
    return stored.pop(NAMES[0]), stored.pop(NAMES[1])


def _understand(data: bytes, fds: Sequence[int]) -> tuple[str | None, str]:
    """Key and text; no key for a message that is not ours, or whose descriptors found no room here."""
    head, line, text = data.decode("utf-8", "replace").partition("\n")
    key, space, count = head.rpartition(" ")
    return (key, text) if line and space and count == str(len(fds)) else (None, "")


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
