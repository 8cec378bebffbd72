"""Plays one case with real processes and sockets: practice gateway, relay (or none), client; returns what they said.

The practice gateway runs on this process's event loop, because a hundred of them cost nothing there; `Typed` is the
same gateway started as a user types it. The relay is the real command line in a process of its own, started with a
listen and an upstream address and nothing else; or one that runs already (installed.py).
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
from tests.peers.relays import Log, Relay, Trouble

HOST = "127.0.0.1"
START_BOUND = 15.0  # seconds; a process on a busy machine takes 1 to 3
KILL_MARGIN = 4.0  # seconds a driver gets beyond its own deadline before it is killed
OCCUPANT_VERSION = 176


@dataclasses.dataclass(frozen=True, slots=True)
class Played:
    """What came of one route: a Got per session, and the relay's close records in the order they were written."""

    gots: tuple[dict, ...]
    records: tuple[dict, ...] = ()
    noise: tuple[str, ...] = ()  # lines of the relay that are no JSON, and what it wrote to stderr


async def play(case, peers, through_relay, installed=None):
    """All sessions of `case` on one route; raises Trouble when a part of the harness did not come up."""
    async with contextlib.AsyncExitStack() as stack:
        relay = await stack.enter_async_context(installed.lent()) if through_relay and installed else None
        gateway_port = await stack.enter_async_context(_gateway(case, relay.upstream_port if relay else 0))
        if case.play.occupant:
            await stack.enter_async_context(_occupant(gateway_port, case.occupant_id))
        if not through_relay:
            return Played(await _sessions(case, peers, gateway_port, gateway_port))
        relay = relay or await stack.enter_async_context(_relay(gateway_port, case.play.relay_environment))
        gots = await _sessions(case, peers, relay.port, gateway_port)
        records = await relay.close_records(len(gots))
    return Played(gots, tuple(records), tuple(relay.noise))


# The gateway


@contextlib.asynccontextmanager
async def _gateway(case, port):
    """The practice gateway on this port (0: a free one); yields the port."""
    if case.typed:
        async with _typed_gateway(case, port or _free_port()) as port:
            yield port
        return
    settings = Practice(
        behaviour=case.play.behaviour,
        value=case.play.value,
        server_version=case.version,
        ticks_per_second=case.play.ticks_per_second,
    )
    gateway = PracticeGateway(settings)
    try:
        await gateway.start(HOST, port)
    except OSError as error:
        raise Trouble(f"the practice gateway cannot listen on port {port}: {error.strerror}") from error
    try:
        yield gateway.port
    finally:
        await gateway.close()


@contextlib.asynccontextmanager
async def _typed_gateway(case, port):
    """`ib-relay practice` as a user starts it."""
    named = case.play.behaviour if case.play.value is None else f"{case.play.behaviour}={case.play.value:g}"
    async with _process(
        "practice", "--listen", f"{HOST}:{port}", "--behaviour", named, "--server-version", str(case.version)
    ) as process:
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


@contextlib.asynccontextmanager
async def _relay(gateway_port, environment):
    port = _free_port()
    addresses = ("--listen", f"{HOST}:{port}", "--upstream", f"{HOST}:{gateway_port}")
    async with _process("run", *addresses, "--log-format", "json", environment=environment) as process:
        log = Log(process)
        relay = Relay(log, port, gateway_port)
        await log.wait_for(lambda: log.named("ib_relay.listening"), START_BOUND, "listening record")
        yield relay
    await log.end()


@contextlib.asynccontextmanager
async def _process(*arguments, environment=()):
    """`python -m relay ARGUMENTS`, stopped as a service manager would, hard if need be."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IB_RELAY_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "relay",
        *arguments,
        cwd=CHECKOUT,
        env=clean | dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
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
        *case.client.command(task),
        env=case.client.environment(peers),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
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
    how = killed or f"exit {process.returncode}"
    raise Trouble(f"driver of {case.client.name}: {how}: {errors.decode(errors='replace')[-600:]}")


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
            raise Trouble(
                f"practice: exit {process.returncode}: {(await process.stderr.read()).decode(errors='replace')[-400:]}"
            )
        if loop.time() > give_up:
            raise Trouble(f"nothing listens on port {port} after {START_BOUND:.0f} s")
        await asyncio.sleep(0.05)


async def _read_all(stream):
    while await stream.read(65536):
        pass
