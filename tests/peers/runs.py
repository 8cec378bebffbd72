"""Plays one case with real processes and real sockets: practice gateway, relay (or none), client; brings back what they said.

The practice gateway runs on this process's event loop, because a hundred of them cost nothing there; `Typed` is the same
gateway started as a user types it. The relay is always the real command line in a process of its own, started with
a listen and an upstream address and nothing else.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import struct
import sys

import psutil

from relay.practice import Practice, PracticeGateway
from relay.wire.framing import FrameReader
from relay.wire.hello import ClientHello
from relay.wire.messages import StartApi, encode

from tests.peers.clients import CHECKOUT

HOST = "127.0.0.1"
START_BOUND = 15.0  # seconds; a process on a busy machine takes 1 to 3
RECORD_BOUND = 6.0  # seconds from the client's end to the close record: 2 s grace after a FIN in the handshake, and slack
KILL_MARGIN = 4.0  # seconds a driver gets beyond its own deadline before it is killed
OCCUPANT_VERSION = 176


class Trouble(Exception):
    """The harness itself could not play the case."""


@dataclasses.dataclass(frozen=True, slots=True)
class Played:
    """What came of one route: a Got per session, and the relay's close records in the order they were written."""

    gots: tuple[dict, ...]
    records: tuple[dict, ...] = ()
    noise: tuple[str, ...] = ()  # lines of the relay that are no JSON, and what it wrote to stderr


async def play(case, peers, through_relay):
    """All sessions of `case` on one route; raises Trouble when a part of the harness did not come up."""
    async with contextlib.AsyncExitStack() as stack:
        gateway_port = await stack.enter_async_context(_gateway(case))
        if case.play.occupant:
            await stack.enter_async_context(_occupant(gateway_port, case.occupant_id))
        if not through_relay:
            return Played(await _sessions(case, peers, gateway_port, gateway_port))
        relay = await stack.enter_async_context(_relay(gateway_port, case.play.relay_environment))
        gots = await _sessions(case, peers, relay.port, gateway_port)
        records = await relay.close_records(len(gots))
    return Played(gots, tuple(records), tuple(relay.noise))


# The gateway


@contextlib.asynccontextmanager
async def _gateway(case):
    if case.typed:
        async with _typed_gateway(case) as port:
            yield port
        return
    settings = Practice(behaviour=case.play.behaviour, value=case.play.value, server_version=case.version,
                        ticks_per_second=case.play.ticks_per_second)
    gateway = PracticeGateway(settings)
    await gateway.start(HOST, 0)
    try:
        yield gateway.port
    finally:
        await gateway.close()


@contextlib.asynccontextmanager
async def _typed_gateway(case):
    """`ib-relay practice` as a user starts it."""
    port = _free_port()
    named = case.play.behaviour if case.play.value is None else f"{case.play.behaviour}={case.play.value:g}"
    async with _process("practice", "--listen", f"{HOST}:{port}", "--behaviour", named,
                        "--server-version", str(case.version)) as process:
        drain = asyncio.create_task(_read_all(process.stdout), name="practice output")
        await _until_listening(port, process)
        yield port
    await drain


@contextlib.asynccontextmanager
async def _occupant(port, client_id):
    """Another client that is already there: holds a connection and a client id, straight at the gateway."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(ClientHello(100, OCCUPANT_VERSION).encode())
        frames = FrameReader()
        async with asyncio.timeout(START_BOUND):
            await _next_frame(reader, frames)
            writer.write(encode(StartApi(client_id), OCCUPANT_VERSION))
            await _next_frame(reader, frames)
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _next_frame(reader, frames):
    while True:
        data = await reader.read(65536)
        if not data:
            raise Trouble("the gateway closed on the client that should have been there first")
        if frames.feed(data):
            return


# The relay


class _Relay:
    """A running `relay run`: its port, and everything it writes."""

    def __init__(self, process, port):
        self.process = process
        self.port = port
        self.records = []
        self.noise = []
        self.news = asyncio.Event()
        self.tasks = [asyncio.create_task(self._read_records(), name="relay records"),
                      asyncio.create_task(self._read_errors(), name="relay errors")]

    async def wait_for(self, condition, seconds, what):
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if self.process.returncode is not None and self.tasks[0].done():
                        raise Trouble(f"relay: exit {self.process.returncode} before {what}: {self.noise[-3:]}")
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise Trouble(f"relay: no {what} in {seconds:.0f} s; {self.noise[-3:]}") from None

    async def listening(self):
        await self.wait_for(lambda: self._named("ib_relay.listening"), START_BOUND, "listening record")

    async def close_records(self, count):
        """`count` close records, or those that came: judging is done elsewhere."""
        with contextlib.suppress(Trouble):
            await self.wait_for(lambda: len(self._named("ib_relay.connection.close")) >= count, RECORD_BOUND, "close record")
        return self._named("ib_relay.connection.close")

    def _named(self, name):
        return [record for record in self.records if record.get("event.name") == name]

    async def _read_records(self):
        async for line in self.process.stdout:
            try:
                self.records.append(json.loads(line))
            except ValueError:
                self.noise.append(line.decode(errors="replace").rstrip())
            self.news.set()
        self.news.set()

    async def _read_errors(self):
        async for line in self.process.stderr:
            self.noise.append(line.decode(errors="replace").rstrip())


@contextlib.asynccontextmanager
async def _relay(upstream_port, environment):
    port = _free_port()
    async with _process("run", "--listen", f"{HOST}:{port}", "--upstream", f"{HOST}:{upstream_port}", "--log-format", "json",
                        environment=environment) as process:
        relay = _Relay(process, port)
        await relay.listening()
        yield relay
    await asyncio.gather(*relay.tasks)


@contextlib.asynccontextmanager
async def _process(*arguments, environment=()):
    """`python -m relay ARGUMENTS`, stopped as a service manager would, hard if need be."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IB_RELAY_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay", *arguments, cwd=CHECKOUT, env=clean | dict(environment),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        for stop, patience in ((signal.SIGTERM, 1.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 10.0)):
            if process.returncode is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(stop)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)


# The client


async def _sessions(case, peers, port, gateway_port):
    gots = []
    for session in case.play.sessions:
        if session.wait_for_gateway:
            await _until_listening(gateway_port)
        gots.append(await _drive(case, session, peers, port))
    return tuple(gots)


async def _drive(case, session, peers, port):
    """One driver process; always a Got, also when it had to be killed."""
    task = case.task(session, HOST, port)
    process = await asyncio.create_subprocess_exec(
        *case.client.command(task), env=case.client.environment(peers),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    killed = None
    try:
        async with asyncio.timeout(task["deadline"] + KILL_MARGIN + START_BOUND):
            output, errors = await process.communicate()
    except TimeoutError:
        killed = _spent(process)
        process.kill()
        output, errors = await process.communicate()
    lines = output.decode(errors="replace").splitlines()
    if lines and lines[-1].startswith("{"):
        return json.loads(lines[-1])
    raise Trouble(f"driver of {case.client.name}: {killed or f'exit {process.returncode}'}: {errors.decode(errors='replace')[-600:]}")


def _spent(process):
    with contextlib.suppress(psutil.Error):
        return f"killed after {sum(psutil.Process(process.pid).cpu_times()[:2]):.1f} s of CPU"
    return "killed"


# Small things


def _free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


async def _until_listening(port, process=None):
    """Until something accepts at `port`; the knock itself ends with a reset, so that it leaves nothing behind."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + START_BOUND
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.socket() as knock:
            knock.setblocking(False)
            knock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_connect(knock, (HOST, port))
            return
        if process is not None and process.returncode is not None:
            raise Trouble(f"practice: exit {process.returncode}: {(await process.stderr.read()).decode(errors='replace')[-400:]}")
        if loop.time() > give_up:
            raise Trouble(f"nothing listens on port {port} after {START_BOUND:.0f} s")
        await asyncio.sleep(0.05)


async def _read_all(stream):
    while await stream.read(65536):
        pass
