"""Where sessions that are too young for the service manager outlive this process: as messages nobody has received yet.

A descriptor sent over a Unix socket and not received is held by the message (unix(7), SCM_RIGHTS), and the message by
the socket. The manager keeps both ends of one pair of sockets, so what we put into it survives a kill, for two system
calls of ours and none of PID 1's, which needs a process of its own for every descriptor it lets go of (systemd 257).

The messages stand in a queue. To take one out, those before it are received and put in again behind. So there are many
queues of a few messages each, and what a connection costs does not depend on how many there are: nobody holds up the
others by coming in numbers, or by staying young. One message a key counts, the later one of its queue.

    young in, young out          the two ends of the first queue, the only one that earlier releases know
    young in N, young out N      of the others
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter, deque
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

QUEUES = 32
ROOM = 128  # sessions, four a queue: taking one out costs three others some 15 us each at the most
NAMES = (  # of all ends, for the manager
    "young in",
    "young out",
    *(f"young {end} {number}" for number in range(1, QUEUES) for end in ("in", "out")),
)
NOTHING: Mapping[str, int] = {}
MOST = 32 * 1024  # bytes of one message; a session's state is 1 to 2 KiB
_MOST_FDS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """What was in there under a key. The descriptors belong to whoever has this."""

    text: str
    fds: tuple[int, ...]


class InFlight:
    """All queues; blocks never.

    The keys in them are known here, so that asking for one that is not there costs nothing.
    """

    def __init__(self, ends: Mapping[str, int] = NOTHING) -> None:
        """New ones, but for those of which an earlier process has left both ends here, which are then ours."""
        pairs = [(ends.get(one), ends.get(other)) for one, other in zip(NAMES[::2], NAMES[1::2], strict=True)]
        self._queues = [MessageQueue(*pair) for pair in pairs]
        self._home: dict[str, MessageQueue] = {}  # by key

    @property
    def files(self) -> dict[str, int]:
        """What the manager must keep, by name."""
        return dict(zip(NAMES, (fd for queue in self._queues for fd in queue.files), strict=True))

    def __contains__(self, key: str) -> bool:
        return key in self._home

    def put(self, key: str, text: str, fds: Sequence[int]) -> bool:
        """Put this under `key`, in place of what was there; False when there is no room, and then nothing is there."""
        queue = self._home.get(key)
        if queue is None:
            if len(self._home) >= ROOM:
                return False
            queue = min(self._queues, key=len)  # the first one, if there is a choice: earlier releases know it
        done = queue.put(key, f"{key} {len(fds)}\n{text}".encode(), fds)
        if done:
            self._home[key] = queue
        else:
            self._home.pop(key, None)
        return done

    def remove(self, key: str) -> None:
        """Nothing is to be found under `key` any more."""
        queue = self._home.pop(key, None)
        if queue is not None:
            queue.remove(key)

    def look(self) -> dict[str, Entry]:
        """Copies of all there is, which stays. For a new process, that does not know the keys yet."""
        self._home.clear()
        found: dict[str, Entry] = {}
        for queue in self._queues:
            for key, entry in queue.look().items():
                if key in found:  # nobody of ours puts one into two
                    _close(entry.fds)
                    queue.remove(key)
                else:
                    found[key], self._home[key] = entry, queue
        return found

    def leave_to_any_release(self) -> None:
        """Empty all queues but the first: a program that does not know them would leave what they hold there for ever.

        Who was in them takes a chance until the next program has it.
        """
        for key, queue in list(self._home.items()):
            if queue is not self._queues[0]:
                self.remove(key)

    def close(self) -> None:
        """Give our ends back; what the manager keeps stays."""
        for queue in self._queues:
            queue.close()


class MessageQueue:
    """One queue, and the keys of its messages."""

    def __init__(self, entry: int | None = None, out: int | None = None) -> None:
        """A new pair, unless there are two ends, which are then ours."""
        if entry is None or out is None:
            self._in, self._out = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        else:
            self._in, self._out = socket.socket(fileno=entry), socket.socket(fileno=out)
        self._in.setblocking(False)
        self._out.setblocking(False)
        self._queue: deque[str] = deque()  # keys, as the messages stand
        self._count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def files(self) -> tuple[int, int]:
        """Both ends."""
        return self._in.fileno(), self._out.fileno()

    def put(self, key: str, data: bytes, fds: Sequence[int]) -> bool:
        """As InFlight.put, the message as it is sent."""
        before = self._count[key]
        done = self._push(key, data, fds)
        for _ in range(before):
            self._take_out(key)
        return done

    def remove(self, key: str) -> None:
        """No message of this key is left."""
        for _ in range(self._count.get(key, 0)):
            self._take_out(key)

    def look(self) -> dict[str, Entry]:
        """As InFlight.look."""
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
        """Give both ends back."""
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


def take_ends(stored: MutableMapping[str, int]) -> dict[str, int]:
    """The ends by name, taken out of what came back from the manager; an end without the other one stays there."""
    pairs = zip(NAMES[::2], NAMES[1::2], strict=True)
    return {name: stored.pop(name) for pair in pairs if all(name in stored for name in pair) for name in pair}


def _understand(data: bytes, fds: Sequence[int]) -> tuple[str | None, str]:
    """Key and text; no key for a message that is not ours, or whose descriptors found no room here."""
    head, line, text = data.decode("utf-8", "replace").partition("\n")
    key, space, count = head.rpartition(" ")
    return (key, text) if line and space and count == str(len(fds)) else (None, "")


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
