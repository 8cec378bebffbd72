"""Scripted peers for the black-box tests: real sockets that do what a test says, when it says so, and nothing else.

`Peer` is one end of a connection, `Upstream` a server that accepts late, never or at once, `BlackHole` a listener whose
accept queue is full, so that connection attempts to it stay unanswered exactly as with a gateway that hangs. Every wait
in here ends after `PATIENCE` seconds at the latest: a relay that hangs fails a test, it does not stop the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import random
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

# Seconds until a test fails that waits for something. Where fifteen processes share two cores, a relay starts in ten.
PATIENCE = 30.0
KIB, MIB = 1024, 1024 * 1024
LOOPBACK = "127.0.0.1"
HAS_IPV6 = False
with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as _probe:
    _probe.bind(("::1", 0))
    HAS_IPV6 = True


def wait_until(condition: Callable[[], object], what: str, within: float = PATIENCE) -> object:
    """Ask `condition` every 10 ms until it says something true, and return that.

    AssertionError that names `what` when it never does.
    """
    deadline = time.monotonic() + within
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.01)
    return answer


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes without any pattern a lost, doubled or swapped block could hide in; the same for the same seed."""
    return random.Random(seed).randbytes(size)


# Tests run beside each other in several processes (pytest-xdist): each gives out ports that no other one does.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_PORTS = range(15000 + _WORKER, 32000, _WORKERS)
_given: set[int] = set()  # two parts of one test must not be given the same port before the first is bound
_giving = threading.Lock()  # nor two of its threads


def free_port(host: str = LOOPBACK) -> int:
    """A port nobody listens on, below the range kernels take client ports from (32768 on Linux, 49152 on macOS).

    No process gets one twice, until it has had most of its own.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with _giving:
        if len(_given) > len(_PORTS) * 0.7:
            _given.clear()
        while True:
            port = random.choice(_PORTS)
            if port in _given:
                continue
            with socket.socket(family) as probe, contextlib.suppress(OSError):
                probe.bind((host, port))
                _given.add(port)
                return port


class Peer(socket.socket):
    """One end of a connection. Blocking, NODELAY, bounded by PATIENCE; it remembers its port beyond its own close."""

    port: int
    reset_at_once = False  # established, and reset before `connect` returned

    @classmethod
    def adopt(cls, raw: socket.socket) -> Peer:
        peer = cls(raw.family, raw.type, raw.proto, fileno=raw.detach())
        peer.settimeout(PATIENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.port = peer.getsockname()[1]
        return peer

    @classmethod
    def dial(cls, address: tuple[str, int], receive_buffer: int | None = None, source: str | None = None) -> Peer:
        """Connect, from the address `source`; a bound for the TCP window, `receive_buffer`, has to come before that."""
        raw = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        try:
            if receive_buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                raw.bind((source, 0))
            raw.settimeout(PATIENCE)
            try:
                raw.connect(address)
            except ConnectionResetError:  # refused would be ConnectionRefusedError: this is an ending like any other
                peer = cls.adopt(raw)
                peer.reset_at_once = True
                return peer
            return cls.adopt(raw)
        except BaseException:
            raw.close()
            raise

    def read_exactly(self, size: int) -> bytes:
        """`size` bytes; AssertionError when the stream ends before, OSError when it is reset or stalls."""
        parts = []
        while size:
            part = self.recv(min(size, MIB))
            assert part, f"the stream ended with {size} bytes missing"
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read_to_end(self) -> bytes:
        """Everything up to EOF; ConnectionResetError when the stream ends with a reset."""
        parts = []
        while part := self.recv(MIB):
            parts.append(part)
        return b"".join(parts)

    def digest_to_end(self) -> tuple[int, str]:
        """Length and SHA-256 of everything up to EOF."""
        digest, size, buffer = hashlib.sha256(), 0, bytearray(MIB)
        view = memoryview(buffer)
        while got := self.recv_into(buffer):
            digest.update(view[:got])
            size += got
        return size, digest.hexdigest()

    def ending(self, within: float = PATIENCE) -> str:
        """How this connection ends: "fin", "rst", or "open" when it does not within the bound.

        Reads what comes before.
        """
        if self.reset_at_once:
            return "rst"
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            self.settimeout(left)
            try:
                if not self.recv(MIB):
                    return "fin"
            except TimeoutError:
                break
            except ConnectionError:  # ECONNRESET; EPIPE when the reset came before our last send
                return "rst"
        return "open"

    def stays_quiet(self, seconds: float) -> bool:
        """True when neither a byte nor an end arrives for that long."""
        return not select.select([self], [], [], seconds)[0]

    def send_until_stalled(self, block: bytes, stall: float = 0.25, limit: int = 256 * MIB) -> int:
        """Send `block` over and over until nothing is taken for `stall` seconds; the number of bytes taken."""
        self.setblocking(False)
        sent, view = 0, memoryview(block)
        while sent < limit and select.select([], [self], [], stall)[1]:
            with contextlib.suppress(BlockingIOError):
                sent += self.send(view[sent % len(block) :])
        self.settimeout(PATIENCE)
        assert sent < limit, f"{sent} bytes went out and nothing ever stalled: somebody buffers without a bound"
        return sent

    def pour(self, data: bytes) -> threading.Thread:
        """Send all of it from a thread of its own, then half-close; whether it arrives is for the receiver to say."""

        def work() -> None:
            with contextlib.suppress(OSError):
                self.sendall(data)
                self.half_close()

        thread = threading.Thread(target=work, name="pour", daemon=True)
        thread.start()
        return thread

    def unsent(self) -> int:
        """Bytes the other end's kernel has not acknowledged yet."""
        if sys.platform.startswith("linux"):
            return struct.unpack("i", fcntl.ioctl(self.fileno(), 0x5411, b"\0\0\0\0"))[0]  # SIOCOUTQ
        return self.getsockopt(socket.SOL_SOCKET, 0x1024)  # SO_NWRITE of macOS

    def half_close(self) -> None:
        self.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST: linger 0 throws away what is unsent and says so."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def digest_of(block: bytes, size: int) -> tuple[int, str]:
    """What `digest_to_end` must find after `send_until_stalled(block)` said `size`."""
    digest = hashlib.sha256()
    for _ in range(size // len(block)):
        digest.update(block)
    digest.update(block[: size % len(block)])
    return size, digest.hexdigest()


class Upstream:
    """A server under the test's thumb: it listens while the `with` lasts and accepts when told to."""

    def __init__(
        self, port: int | None = None, host: str = LOOPBACK, backlog: int = 512, receive_buffer: int = 0
    ) -> None:
        self.host, self.port = host, port or free_port(host)
        self.accepted: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer:
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._listener.bind((self.host, self.port))
            self._listener.listen(backlog)
        except BaseException:
            self._listener.close()
            raise

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping = True
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()
        for peer in self.accepted:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)  # wakes a script that still reads
            peer.close()

    def accept(self, within: float = PATIENCE) -> Peer:
        """The next connection; TimeoutError when none comes."""
        self._listener.settimeout(within)
        peer = Peer.adopt(self._listener.accept()[0])
        self.accepted.append(peer)
        return peer

    def hears_nothing(self, seconds: float) -> bool:
        """True when no connection comes for that long."""
        return not select.select([self._listener], [], [], seconds)[0]

    def serve(self, script: Callable[[Peer], object]) -> Upstream:
        """From now on accept everybody at once, each with a thread that plays `script` and closes."""
        thread = threading.Thread(target=self._accept_all, args=(script,), name=f"upstream {self.port}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def _accept_all(self, script: Callable[[Peer], object]) -> None:
        while not self._stopping:
            try:
                peer = self.accept(within=0.05)
            except TimeoutError:
                continue
            threading.Thread(target=self._play, args=(script, peer), daemon=True).start()

    @staticmethod
    def _play(script: Callable[[Peer], object], peer: Peer) -> None:
        with contextlib.suppress(OSError, AssertionError):  # the other end may leave whenever its test likes
            script(peer)
        peer.close()


def echo(peer: Peer) -> None:
    """A script for `Upstream.serve`: send back whatever comes, close at the end."""
    while part := peer.recv(64 * KIB):
        peer.sendall(part)


class BlackHole:
    """A listener with a full accept queue: the kernel leaves further SYNs unanswered until `recover()`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self._fillers: list[socket.socket] = []
        self._upstream = Upstream(self.port, backlog=0)

    def __enter__(self) -> BlackHole:
        while self._fill():
            assert len(self._fillers) < 300, "this kernel's accept queue does not fill up"
        return self

    def _fill(self) -> bool:
        """One more connection; False when this one was left unanswered."""
        filler = socket.socket()
        self._fillers.append(filler)
        filler.setblocking(False)
        filler.connect_ex((LOOPBACK, self.port))
        return bool(select.select([], [filler], [], 0.25)[1])

    def recover(self) -> Upstream:
        """The server wakes up: it works off its queue and from now on echoes what its clients send."""
        return self._upstream.serve(echo)

    def __exit__(self, *exception: object) -> None:
        for filler in self._fillers:
            filler.close()
        self._upstream.__exit__(*exception)
