"""Loopback sockets with buffers of any size, and a relayed connection inside the test's own process and event loop.

`leg` is the relay's end of a TCP connection, `far` the end a client or a gateway holds. Nothing here is faked but the
owner of the parts under test: sockets, poller and event loop are the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator

from relay.config.addresses import Upstream
from relay.config.load import PortMap, Protocol
from relay.connection.connection import Connection
from relay.connection.flow import SCRATCH_SIZE, Flow
from relay.connection.services import Services
from relay.logs.record import Cause, Reason, Record
from relay.net import tcp
from relay.net.deadlines import Deadlines
from relay.net.poller import poller_of
from relay.net.resolver import Resolver
from relay.survival.fdstore import StoreKeeper
from tests.relay.kit.scripted import PATIENCE
from tests.relay.kit.scripted import free_port as unused_port

HOST = "127.0.0.1"
SMALL = 4096  # bytes; the kernel doubles it and rounds up to its own minimum
RESET = struct.pack("ii", 1, 0)  # linger 0: close() sends RST


def tcp_pair(leg_send: int = 0, far_receive: int = 0, far_send: int = 0) -> tuple[socket.socket, socket.socket]:
    """A connection as (leg, far), both non-blocking; the sizes are SO_SNDBUF and SO_RCVBUF, 0 leaves them alone."""
    with socket.create_server((HOST, 0)) as server:
        far = socket.socket()
        for option, size in ((socket.SO_RCVBUF, far_receive), (socket.SO_SNDBUF, far_send)):
            if size:
                far.setsockopt(socket.SOL_SOCKET, option, size)
        far.connect(server.getsockname())
        leg, _ = server.accept()
    if leg_send:
        leg.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, leg_send)
    leg.setblocking(False)
    far.setblocking(False)
    return leg, far


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def fill(sock: socket.socket, block: bytes = b"\xa5" * 65536) -> int:
    """Send until the kernel takes no more; how many bytes it took."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += sock.send(block)
    return sent


def waiting(sock: socket.socket) -> bytes | str:
    """What a read would give right now, without reading it: bytes, "nothing", "fin" or "rst"."""
    try:
        return sock.recv(1 << 20, socket.MSG_PEEK) or "fin"
    except BlockingIOError:
        return "nothing"
    except ConnectionError:
        return "rst"


async def until(condition: Callable[[], object], what: str, within: float = PATIENCE) -> object:
    """Let the loop run until `condition` says something true; AssertionError naming `what` otherwise."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.002)
    return answer


class Far:
    """The client's or the gateway's end, awaited on the same loop as the relay's."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.loop.sock_sendall(self.sock, data)

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes, or what came before the end."""
        parts = bytearray()
        while len(parts) < size and (part := await self.read_once(size - len(parts))):
            parts += part
        return bytes(parts)

    async def read_once(self, most: int = 1 << 20) -> bytes:
        """What one recv() gives, once there is something: what a client that reads a message with one call gets."""
        async with asyncio.timeout(PATIENCE):
            return await self.loop.sock_recv(self.sock, most)

    async def read_to_end(self) -> tuple[bytes, str]:
        """Everything, and how it ended: fin or rst."""
        parts = bytearray()
        try:
            while part := await self.read_once():
                parts += part
        except ConnectionError:
            return bytes(parts), "rst"
        return bytes(parts), "fin"

    def finish(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        reset(self.sock)

    def close(self) -> None:
        self.sock.close()


class Rig:
    """Everything around relayed connections but the accept loop: `async with Rig(...) as rig`.

    `records` is the log, `ended` the connections that said so, `calls` counts how often each descriptor's handler ran.
    A fault in a handler leaves the event loop and fails the test.
    """

    flow = Flow  # how bytes are moved
    keeps = False  # there is a keeper, with a inflight and a manager that takes nothing

    def __init__(self, protocol: Protocol = Protocol.RAW, upstream: Upstream | None = None, **bounds) -> None:
        self.settings = {"protocol": protocol, **bounds}
        self.upstream = upstream
        self.records: list[Record] = []
        self.ended: list[Connection] = []
        self.calls: Counter[int] = Counter()
        self.faults: list[Exception] = []

    async def __aenter__(self) -> Rig:
        self.loop = asyncio.get_running_loop()
        self.poller = poller_of(self.loop)
        self._count_calls()
        self.server = socket.create_server((HOST, unused_port()))
        self.server.setblocking(False)
        if self.upstream is None:
            self.upstream = Upstream(HOST, self.server.getsockname()[1])
        self.map = PortMap(name="test", upstream=self.upstream, **self.settings)
        self.keep_alive = tcp.KeepAlive()
        self.live: list[Connection] = []
        self.fars: list[Far] = []
        log = type("Records", (), {"write": staticmethod(self.records.append)})
        scratch = memoryview(bytearray(SCRATCH_SIZE))
        deadlines = Deadlines(self.loop, lambda who, error: self.faults.append(error))
        self.services = Services(
            self.poller,
            deadlines,
            Resolver(self.loop),
            scratch,
            log,
            self._ended,
            lambda: len(self.live),
            flow=self.flow,
        )
        if self.keeps:
            self.keeper = self.services.keeper = StoreKeeper(self.loop, 100, lambda *_: None, {})
        return self

    async def __aexit__(self, *exception: object) -> None:
        for connection in list(self.live):
            connection.end(Cause("relay", "policy", Reason.SHUTDOWN))
        self.services.deadlines.close()
        if self.keeps:
            assert not self.keeper.inflight.look(), "what has ended is not in there any more"
            self.keeper.close()
            self.keeper.inflight.close()
        for far in self.fars:
            far.close()
        self.server.close()
        assert self.faults == []

    def _ended(self, connection: Connection) -> None:
        self.live.remove(connection)
        self.ended.append(connection)

    def _count_calls(self) -> None:
        watch, rewatch = self.poller.watch, self.poller.rewatch

        def counted(fd, handler):
            def handle(events):
                self.calls[fd] += 1
                return handler(events)

            return handle

        self.poller.watch = lambda fd, events, handler: watch(fd, events, counted(fd, handler))
        self.poller.rewatch = lambda fd, handler: rewatch(fd, counted(fd, handler))

    def accept(self, leg: socket.socket) -> Connection:
        """What the accept loop does with a client's socket."""
        try:
            address = leg.getpeername()[:2]
        except OSError:  # reset already; accept(2) would still have told
            address = (HOST, 1)
        connection = Connection(
            self.services, self.map, self.keep_alive, f"test-{len(self.live) + len(self.ended):06}", leg, address, 4003
        )
        self.live.append(connection)
        connection.start()
        return connection

    def client(self, first: bytes = b"", **sizes: int) -> tuple[Far, Connection]:
        """A client that has sent `first` by the time it is accepted."""
        leg, far = tcp_pair(**sizes)
        self.fars.append(Far(far))
        if first:
            far.sendall(first)
        return self.fars[-1], self.accept(leg)

    async def gateway(self) -> Far:
        """The upstream's end of the next dial."""
        async with asyncio.timeout(PATIENCE):
            sock, _ = await self.loop.sock_accept(self.server)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fars.append(Far(sock))
        return self.fars[-1]

    async def session(self, first: bytes = b"", **sizes: int) -> tuple[Far, Far, Connection]:
        """Client, gateway and the open connection between them."""
        client, connection = self.client(first, **sizes)
        gateway = await self.gateway()
        await until(lambda: connection.up is not None, "the connection is open")
        return client, gateway, connection

    async def end_of(self, connection: Connection, within: float = PATIENCE) -> Record:
        """The close record, once it is out; exactly one."""
        await until(lambda: connection in self.ended, "the connection has ended", within)
        found = [one for one in self.records if one.event == "close" and one.connection_id == connection.connection_id]
        assert len(found) == 1, found
        return found[0]

    async def rests(self, rounds: int = 30) -> int:
        """How many data-path handlers run in so many turns of the loop: 0 or a few when nothing is spinning."""
        before = self.calls.total()
        for _ in range(rounds):
            await asyncio.sleep(0)
        return self.calls.total() - before


@contextlib.contextmanager
def hanging_port() -> Iterator[int]:
    """A port whose dial stays unanswered: its accept queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((HOST, 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(3):  # a backlog of 0 holds one; further SYNs are dropped
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((HOST, port))
        yield port
