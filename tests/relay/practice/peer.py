"""A raw IB client for tests of the practice gateway: bytes through relay.wire, every wait bounded, ends told apart."""

import asyncio
import contextlib
import socket
import struct

from relay.practice import Practice, PracticeGateway
from relay.wire import messages, protobuf
from relay.wire.direction import Direction
from relay.wire.framing import LENGTH, encode_frame, join_fields
from relay.wire.hello import ClientHello, ServerHello
from relay.wire.messages import ErrorMessage, ManagedAccounts, NextValidId
from tests.relay.kit.loopback import PATIENCE, unused_port

QUIET = 0.05  # seconds without a byte that count as silence; on loopback an answer takes 1 ms
FIN, RST = "fin", "rst"


@contextlib.asynccontextmanager
async def gateway(behaviour="normal", log=None, **settings):
    """A started practice gateway."""
    started = PracticeGateway(Practice.named(behaviour, **settings), log)
    await started.start(port=unused_port())  # one that nobody else takes while the gateway restarts
    async with started:
        yield started


@contextlib.asynccontextmanager
async def client(to, *, ready=False, version=176, client_id=7):
    """A connected Peer; with `ready` it has been through hello and START_API."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(to.host, to.port), PATIENCE)
    peer = Peer(reader, writer)
    try:
        if ready:
            await peer.hello(maximum=version)
            await peer.start(client_id)
            await peer.until(NextValidId)
        yield peer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Peer:
    """One connection to the gateway."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.version = 0

    def send(self, data):
        self.writer.write(data)

    async def hello(self, minimum=100, maximum=176):
        """Say hello, return the gateway's."""
        self.send(ClientHello(minimum, maximum).encode())
        payload = await self.payload()
        hello = ServerHello.decode(encode_frame(payload))
        self.version = hello.server_version
        return hello

    async def start(self, client_id=7):
        self.send(messages.encode(messages.StartApi(client_id), self.version))

    def ask(self, number, *fields):
        """A text request, with the message id in the form of the session's version."""
        head = join_fields(number) if self.version < 201 else LENGTH.pack(number)
        self.send(encode_frame(head + join_fields(*fields)))

    def ask_protobuf(self, number, *pairs):
        """A protobuf request from (field, value) pairs; bytes are nested messages."""
        self.send(encode_frame(LENGTH.pack(number + 200) + proto(*pairs)))

    async def payload(self):
        """One frame."""
        async with asyncio.timeout(PATIENCE):
            (length,) = LENGTH.unpack(await self.reader.readexactly(4))
            return await self.reader.readexactly(length)

    async def message(self):
        """One message: what relay.wire makes of it, or its id."""
        payload = await self.payload()
        decoded = messages.decode(Direction.GATEWAY_TO_CLIENT, payload, self.version)
        return messages.message_id(payload, self.version) if decoded is None else decoded

    async def until(self, wanted):
        """Messages up to and including the first of that type or id."""
        seen = []
        while not seen or not (seen[-1] == wanted or (isinstance(wanted, type) and isinstance(seen[-1], wanted))):
            seen.append(await self.message())
        return seen

    async def greeting(self):
        """All that follows START_API up to the last notice."""
        seen = await self.until(NextValidId)
        return seen + await self.rest()

    async def rest(self):
        """Everything the gateway has said so far: it answers in order, so what comes before the time of day."""
        self.send(messages.encode(messages.CurrentTimeRequest(), self.version))
        return (await self.until(messages.CurrentTime))[:-1]

    async def answers(self):
        """The gateway still answers on this session."""
        await self.rest()
        return True

    async def is_deaf(self):
        """It does not answer on this session, and the connection is still there."""
        self.send(messages.encode(messages.CurrentTimeRequest(), self.version))
        return await self.is_quiet()

    async def drain(self):
        """Discard what is on its way, until nothing has come for a moment."""
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(QUIET):
                    await self.reader.read(65536)

    async def is_quiet(self):
        """Nothing comes, and the connection is still there."""
        try:
            async with asyncio.timeout(QUIET):
                data = await self.reader.read(1)
        except TimeoutError:
            return True
        raise AssertionError(f"{data!r} instead of silence")

    async def end(self):
        """How the gateway ended it, and the bytes that came before."""
        data = bytearray()
        async with asyncio.timeout(PATIENCE):
            try:
                while chunk := await self.reader.read(65536):
                    data += chunk
            except ConnectionResetError:
                return RST, bytes(data)
        return FIN, bytes(data)

    async def said_before_fin(self):
        """Close our half; everything the gateway says until it closes its own."""
        self.writer.write_eof()
        return await self.end()

    def reset(self):
        """Leave with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def proto(*pairs):
    """Protobuf of (field, value) pairs by Python type."""
    encoders = {
        int: protobuf.int_field,
        float: protobuf.double_field,
        str: protobuf.string_field,
        bytes: protobuf.message_field,
    }
    return b"".join(encoders[type(value)](number, value) for number, value in pairs)


def codes(seen):
    """Codes of the error messages among them."""
    return [message.code for message in seen if isinstance(message, ErrorMessage)]


def kinds(seen):
    """The types, or ids, of messages."""
    return [message if isinstance(message, int) else type(message) for message in seen]


SPY_TEXT = (756733, "SPY", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")
SPY_PROTOBUF = proto((1, 756733), (2, "SPY"), (3, "STK"), (8, "SMART"), (10, "USD"))
ACCOUNTS = ManagedAccounts(("DU1234567",))
