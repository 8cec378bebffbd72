"""Checked streams and a hammer through a relay that is killed, restarted and upgraded under them.

A stream sends the same block of bytes over and over, both ways at once, and both receivers compare every byte with what
must stand at its place: lost, doubled, swapped or invented bytes show at once. An IB stream begins with the handshake
and sends whole frames, so the relay's observer has something to understand, and to lose.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field

from relay.wire.framing import encode_frame, join_fields
from relay.wire.hello import ClientHello, ServerHello
from relay.wire.messages import StartApi, encode
from tests.relay.kit.scripted import LOOPBACK, PATIENCE, Peer, Upstream

CLIENT_HELLO = ClientHello(100, 176).encode()
SERVER_HELLO = ServerHello(176, "20250101 09:30:00 EST").encode()
START_API = encode(StartApi(7), 176)
GREETING = encode_frame(join_fields(15, 1, "DU1234567")) + encode_frame(join_fields(9, 1, 1))
HANDSHAKE_UP, HANDSHAKE_DOWN = len(CLIENT_HELLO) + len(START_API), len(SERVER_HELLO) + len(GREETING)


def frames(seed: int, ids: tuple[int, ...]) -> tuple[bytes, int]:
    """Some 300 KB of frames with these ids and sizes of every kind, and how many they are."""
    source = random.Random(seed)
    block, count = bytearray(), 0
    while len(block) < 300_000:
        size = source.choice((3, 20, 37, 60, 200, 5_000, 30_000))
        block += encode_frame(join_fields(source.choice(ids), source.randbytes(size // 2).hex()))
        count += 1
    return bytes(block), count


UP_BLOCK, UP_FRAMES = frames(1, (1, 2, 3, 9))
DOWN_BLOCK, DOWN_FRAMES = frames(2, (1, 2, 45, 46))


@dataclass
class Direction:
    """One way: what was sent, what arrived and was right, and the first thing that was wrong."""

    block: bytes
    sent: int = 0
    right: int = 0
    wrong: str = ""
    longest_gap: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)


class Stream:
    """One connection through the relay. `slow` is how many seconds each end waits between two reads."""

    def __init__(self, port: int, gateway: Upstream, ib: bool = True, slow: float = 0.0, rate: float = 4e6) -> None:
        self.up, self.down = Direction(UP_BLOCK), Direction(DOWN_BLOCK)
        self._slow, self._rate = slow, rate
        self._stop = threading.Event()
        self.client = Peer.dial((LOOPBACK, port))
        self.client.settimeout(30)
        if ib:
            self.client.sendall(CLIENT_HELLO)
        self.gateway = gateway.accept()
        self.gateway.settimeout(30)
        if ib:
            assert self.gateway.read_exactly(len(CLIENT_HELLO)) == CLIENT_HELLO
            self.gateway.sendall(SERVER_HELLO)
            assert self.client.read_exactly(len(SERVER_HELLO)) == SERVER_HELLO
            self.client.sendall(START_API)
            assert self.gateway.read_exactly(len(START_API)) == START_API
            self.gateway.sendall(GREETING)
            assert self.client.read_exactly(len(GREETING)) == GREETING
        work = [(self._send, self.client, self.up), (self._receive, self.gateway, self.up)]
        work += [(self._send, self.gateway, self.down), (self._receive, self.client, self.down)]
        self._threads = [threading.Thread(target=what, args=with_, daemon=True) for what, *with_ in work]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Both ends finish the block they are in and half-close; AssertionError when anything was not as sent."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
        for name, way in (("up", self.up), ("down", self.down)):
            assert not way.wrong, f"{name}: {way.wrong} after {way.right} of {way.sent} bytes"
            assert way.right == way.sent > 0, f"{name}: {way.right} of {way.sent} bytes arrived"
        self.client.close()
        self.gateway.close()

    def _send(self, peer: Peer, way: Direction) -> None:
        source = random.Random(id(way))
        begin = time.monotonic()
        try:
            while not self._stop.is_set() or way.sent % len(way.block):
                at = way.sent % len(way.block)
                piece = way.block[at : at + source.choice((10, 60, 1_500, 70_000))]
                peer.sendall(piece)
                way.sent += len(piece)
                ahead = way.sent / self._rate - (time.monotonic() - begin)
                if ahead > 0:
                    time.sleep(min(ahead, 0.05))
            peer.half_close()
        except OSError as error:
            way.wrong = way.wrong or f"sending: {error!r}"

    def _receive(self, peer: Peer, way: Direction) -> None:
        block, last = way.block, time.monotonic()
        try:
            while part := peer.recv(65536):
                now = time.monotonic()
                way.longest_gap, last = max(way.longest_gap, now - last), now
                at = way.right % len(block)
                if part != (block[at:] + block * (len(part) // len(block) + 1))[: len(part)]:
                    way.wrong = way.wrong or "another byte"
                    return
                way.right += len(part)
                if self._slow:
                    time.sleep(self._slow)
                    last = time.monotonic()
        except OSError as error:
            way.wrong = way.wrong or f"receiving: {error!r}"
        finally:
            way.ended.set()


class Hammer:
    """New connections, one after the other, each asking one question of an echo."""

    def __init__(self, port: int, pause: float = 0.01) -> None:
        self.served = self.failed = 0
        self.worst = 0.0
        self.faults: list[str] = []
        self._port, self._pause = port, pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stop.is_set():
            begin = time.monotonic()
            try:
                with Peer.dial((LOOPBACK, self._port)) as peer:
                    peer.sendall(b"anybody?")
                    assert peer.read_exactly(8) == b"anybody?"
                self.served += 1
            except (OSError, AssertionError) as error:
                self.failed += 1
                self.faults.append(repr(error))
            self.worst = max(self.worst, time.monotonic() - begin)
            time.sleep(self._pause)

    def finish(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)


@contextlib.contextmanager
def streams(port: int, gateway: Upstream, raw_port: int, raw_gateway: Upstream):
    """Two IB streams and two raw ones, one of each with slow readers; checked when the block ends without a fault."""
    running = [
        Stream(port, gateway),
        Stream(port, gateway, slow=0.02),
        Stream(raw_port, raw_gateway, ib=False),
        Stream(raw_port, raw_gateway, ib=False, slow=0.02),
    ]
    yield running
    for one in running:
        one.finish()
