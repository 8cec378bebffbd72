"""A rehearsal before anything is swapped: the new program, started on the side, must do what the service is there for.

It gets ports of its own on the loopback, a manager of ours and a gateway that says everything back. First the installed
program serves there and leaves its sessions to that manager, as at a restart. Then the new one must start, go on with
these sessions, and take new ones and forward them. Nothing of the real service knows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from relay.service.definition import Refusal
from relay.service.trial import HELLO, LOOPBACK, TrialManager, trial_gateway
from relay.service.undo import run_interruptible
from relay.wire.framing import encode_frame
from relay.wire.hello import ClientHello

START = 20.0  # seconds until ready; a cold interpreter on a busy machine needs one or two
ANSWER = 5.0  # seconds for a byte there and back on the loopback
ROOM = 16  # connections, fewer than whatever limits we run under have room for
LEAVE = 15.0  # seconds the installed program may take to leave its sessions; it has 15 in its unit
LOOK = 0.01  # seconds between two looks at a process

MAP = """\
[[map]]
name = "{protocol}"
protocol = "{protocol}"
listen = "{host}:{port}"
upstream = "{host}:{upstream}"
allow = "{host}/32"
"""
OPENING = {"ib": (ClientHello(100, 176).encode(), HELLO), "raw": (b"hello", b"hello")}  # said, and the answer


@dataclass(frozen=True, slots=True)
class TrialProgram:
    """A program as the service would run it: the words before `run`, the variables of its unit, what to call it."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    name: str


@dataclass(slots=True)
class _TrialClient:
    protocol: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Seen(Exception):
    """What was seen instead of what was expected."""


def rehearse(new: TrialProgram, installed: TrialProgram | None, protocols: Iterable[str]) -> tuple[float, str]:
    """Seconds from its start until it was ready, and what was proved; Refusal when it cannot do for a service.

    `installed` is the program whose sessions are to go on; None when there are none to keep.
    """
    folder = Path(tempfile.mkdtemp(prefix="ib-relay-rehearsal-"))
    try:
        return run_interruptible(_rehearse(folder, new, installed, sorted(set(protocols))))
    except OSError as error:
        raise Refusal(f"nothing was changed: the rehearsal needs {LOOPBACK}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _rehearse(
    folder: Path, new: TrialProgram, installed: TrialProgram | None, protocols: list[str]
) -> tuple[float, str]:
    async with contextlib.AsyncExitStack() as stack:
        doors = {name: stack.enter_context(socket.create_server((LOOPBACK, 0))) for name in protocols}
        upstream = await stack.enter_async_context(trial_gateway())
        maps = [
            MAP.format(protocol=name, host=LOOPBACK, port=sock.getsockname()[1], upstream=upstream)
            for name, sock in doors.items()
        ]
        (folder / "config.toml").write_text("\n".join(["drain_timeout = 0.1", f"max_connections = {ROOM}", *maps]))
        manager = stack.enter_context(TrialManager(folder, doors))
        trial = _Trial(manager, ("run", "--config", str(folder / "config.toml")), doors)
        left = await trial.leave_sessions(installed) if installed is not None else []
        try:
            return await trial.prove(new, installed, left)
        finally:
            for client in left:
                client.writer.close()


async def _until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110 (nothing of ours says that a process has ended)
        await asyncio.sleep(LOOK)


class _Trial:
    def __init__(self, manager: TrialManager, words: tuple[str, ...], doors: Mapping[str, socket.socket]) -> None:
        self._manager, self._words, self._doors = manager, words, doors

    async def leave_sessions(self, installed: TrialProgram) -> list[_TrialClient]:
        """Sessions that the installed program has left to the manager; none when it does not do such things."""
        clients: list[_TrialClient] = []
        try:
            async with self._started(installed) as process:
                for protocol in self._doors:
                    clients.append(await self._connected(protocol))  # noqa: PERF401 (the next may fail)
                process.terminate()
                async with asyncio.timeout(LEAVE):
                    await _until(lambda: process.poll() is not None)
        except (_Seen, TimeoutError):
            pass  # what is installed does not serve either: there is nothing to go on with
        if self._manager.keeps_sessions():
            return clients
        for client in clients:
            client.writer.close()
        return []

    async def prove(
        self, new: TrialProgram, installed: TrialProgram | None, left: list[_TrialClient]
    ) -> tuple[float, str]:
        begin = monotonic()
        try:
            async with self._started(new):
                took = monotonic() - begin
                for client in left:
                    await self._goes_on(client, installed.name if installed else "")
                for protocol in self._doors:
                    (await self._connected(protocol)).writer.close()
        except _Seen as seen:
            raise Refusal(f"nothing was changed: in a rehearsal the new program ({new.name}) {seen}") from None
        goes_on = f"goes on with sessions of the installed one ({installed.name}), " if left and installed else ""
        return took, f"the new program ({new.name}) starts in {took:.1f} s, {goes_on}takes new ones and forwards"

    @contextlib.asynccontextmanager
    async def _started(self, program: TrialProgram) -> AsyncIterator[subprocess.Popen[bytes]]:
        try:
            process = self._manager.start((*program.command, *self._words), program.environ)
        except OSError as error:
            raise _Seen(f"cannot be started: {error.strerror or error}") from None
        try:
            await self._until_ready(process)
            yield process
        finally:
            process.kill()
            process.wait()

    async def _until_ready(self, process: subprocess.Popen[bytes]) -> None:
        seen = ""
        try:
            async with asyncio.timeout(START):
                await _until(lambda: self._manager.ready or process.poll() is not None)
        except TimeoutError:
            seen = f"nothing for {START:g} s"
        if not self._manager.ready:
            seen = seen or f"exit code {process.returncode}"
            raise _Seen(f"does not start: seen {seen}{self._words_of_it()}; expected READY=1")

    async def _connected(self, protocol: str) -> _TrialClient:
        """A session through the program, with a first word and its answer."""
        said, answer = OPENING[protocol]
        host, port = self._doors[protocol].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        client = _TrialClient(protocol, reader, writer)
        try:
            await self._says_back(client, said, answer)
        except _Seen as seen:
            writer.close()
            raise _Seen(f"takes nobody in a map of protocol {protocol}: {seen}") from None
        return client

    async def _goes_on(self, client: _TrialClient, installed: str) -> None:
        word = encode_frame(b"49\0001\0")
        try:
            await self._says_back(client, word, word)
        except _Seen as seen:
            raise _Seen(
                f"cannot go on with sessions of the installed one ({installed}), they would be reset: {seen}. "
                "To upgrade all the same, stop the service first, which ends its sessions"
            ) from None

    async def _says_back(self, client: _TrialClient, said: bytes, answer: bytes) -> None:
        try:
            client.writer.write(said)
            got = await asyncio.wait_for(client.reader.readexactly(len(answer)), ANSWER)
        except asyncio.IncompleteReadError as error:
            seen = f"the connection was closed after {len(error.partial)} bytes"
        except TimeoutError:
            seen = f"no answer in {ANSWER:g} s"
        except OSError as error:
            seen = (error.strerror or str(error)).lower()
        else:
            if got == answer:
                return
            seen = "other bytes"
        raise _Seen(f"seen {seen}{self._words_of_it()}; expected the gateway's {len(answer)} bytes")

    def _words_of_it(self) -> str:
        """The last thing the program wrote that is not about the ordinary."""
        lines = self._manager.log.read_text(errors="replace").splitlines() if self._manager.log.exists() else []
        loud = [line for line in lines if " INFO " not in line and line.strip()]
        return f" ({loud[-1].strip()[:300]})" if loud else ""
