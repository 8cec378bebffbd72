"""Traffic that notices: checked streams both ways and a hammer of new connections, until SIGTERM; then a JSON line.

    python -m tests.systemd.traffic --stream HOST:PORT[:ib] ... --upstream PORT --hammer PORT

A stream sends noise both ways at its own pace and compares, at the end, size and SHA-256 of what was sent and what
arrived; every second one reads in bursts with rests between them, so that bytes stand in every buffer on the way when
the relay dies. A stream marked `ib` begins with the hellos of an IB session. The hammer opens a session up to the
server's hello, again and again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field

from relay.wire.hello import ClientHello, ServerHello

NOISE = os.urandom(1 << 20)
HELLO, ANSWER = ClientHello(100, 176).encode(), ServerHello(176, "20261121 12:00:00 UTC").encode()
PIECE = 32 * 1024
PACE = 0.02  # seconds between two pieces: 1.6 MB/s each way and stream
REST = 0.15  # seconds a slow reader rests
PATIENCE = 20.0  # seconds without any progress that mean a stream is dead


@dataclass
class Half:
    """One direction at one end."""

    size: int = 0
    digest: object = field(default_factory=hashlib.sha256)
    error: str = ""

    def add(self, data) -> None:
        self.size += len(data)
        self.digest.update(data)


class Stream:
    """One connection through the relay, both of its ends, four threads."""

    def __init__(self, client: socket.socket, gateway: socket.socket, slow: bool) -> None:
        self.halves = {name: Half() for name in ("client sent", "gateway got", "gateway sent", "client got")}
        self.longest_gap = 0.0
        for sock in (client, gateway):
            sock.settimeout(PATIENCE)
        self._threads = [
            threading.Thread(target=self._send, args=(client, "client sent")),
            threading.Thread(target=self._send, args=(gateway, "gateway sent")),
            threading.Thread(target=self._read, args=(gateway, "gateway got", slow)),
            threading.Thread(target=self._read, args=(client, "client got", slow)),
        ]
        self._socks = (client, gateway)
        for thread in self._threads:
            thread.start()

    def _send(self, sock: socket.socket, name: str) -> None:
        half, place = self.halves[name], 0
        try:
            while not STOP.is_set():
                piece = NOISE[place : place + PIECE]
                sock.sendall(piece)
                half.add(piece)
                place = (place + 4099) % (len(NOISE) - PIECE)
                time.sleep(PACE)
            sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            half.error = repr(error)

    def _read(self, sock: socket.socket, name: str, slow: bool) -> None:
        half, buffer, last = self.halves[name], bytearray(256 * 1024), time.monotonic()
        try:
            while got := sock.recv_into(buffer):
                half.add(memoryview(buffer)[:got])
                now = time.monotonic()
                self.longest_gap = max(self.longest_gap, now - last - (REST if slow else 0.0))
                last = now
                if slow:
                    time.sleep(REST)
        except OSError as error:
            half.error = repr(error)

    def result(self) -> dict:
        for thread in self._threads:
            thread.join(PATIENCE * 2)
        for sock in self._socks:
            sock.close()
        sent, got = self.halves, self.halves
        equal = all(
            (sent[f"{one} sent"].size, sent[f"{one} sent"].digest.digest())
            == (got[f"{other} got"].size, got[f"{other} got"].digest.digest())
            for one, other in (("client", "gateway"), ("gateway", "client"))
        )
        errors = {name: half.error for name, half in self.halves.items() if half.error}
        sizes = {name: half.size for name, half in self.halves.items()}
        return {"equal": equal, "errors": errors, "longest_gap": round(self.longest_gap, 3), **sizes}


@dataclass
class Hammered:
    """What became of new connections."""

    served: int = 0
    failed: int = 0
    worst: float = 0.0  # seconds to the server's hello
    errors: list[str] = field(default_factory=list)


def hammer(port: int, seen: Hammered) -> None:
    while not STOP.is_set():
        started = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.settimeout(10)
                sock.sendall(HELLO)
                if not sock.recv(200):
                    raise ConnectionError("closed")
            seen.served += 1
            seen.worst = max(seen.worst, time.monotonic() - started)
        except OSError as error:
            seen.failed += 1
            seen.errors.append(f"{error!r} after {time.monotonic() - started:.3f} s")
        time.sleep(0.01)


def opened(listener: socket.socket, place: str) -> tuple[socket.socket, socket.socket]:
    """Both ends of a new connection through the relay."""
    host, port, *kind = place.split(":")
    client = socket.create_connection((host, int(port)), 10)
    if kind:
        client.sendall(HELLO)
    listener.settimeout(10)
    gateway, _ = listener.accept()
    if kind:
        for sock, to_send, expected in ((gateway, ANSWER, HELLO), (client, b"", ANSWER)):
            got = b""
            while len(got) < len(expected):
                got += sock.recv(len(expected) - len(got))
            assert got == expected
            sock.sendall(to_send)
    return client, gateway


def greet(listener: socket.socket) -> None:
    """Answer the hello of whoever else comes (an upgrade proves that the gateway answers)."""
    listener.settimeout(0.2)
    while not STOP.is_set():
        try:
            sock, _ = listener.accept()
        except TimeoutError:
            continue
        with sock:
            sock.settimeout(1)
            try:
                if sock.recv(100):
                    sock.sendall(ANSWER)
                    sock.recv(100)
            except OSError:
                pass  # it only knocked


STOP = threading.Event()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stream", action="append", default=[])
    arguments.add_argument("--upstream", type=int, required=True)
    arguments.add_argument("--hammer", type=int)
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    hammered = Hammered()
    with socket.create_server(("127.0.0.1", options.upstream), backlog=64) as listener:
        streams = [
            Stream(*opened(listener, place), slow=bool(number % 2)) for number, place in enumerate(options.stream)
        ]
        striking = threading.Thread(target=hammer, args=(options.hammer, hammered))
        greeting = threading.Thread(target=greet, args=(listener,))
        greeting.start()
        if options.hammer:
            striking.start()
        print("running", flush=True)
        STOP.wait()
        results = [stream.result() for stream in streams]
        greeting.join()
        if options.hammer:
            striking.join()
    print(json.dumps({"streams": results, "hammer": asdict(hammered)}), flush=True)


if __name__ == "__main__":
    main()
    sys.exit(0)
