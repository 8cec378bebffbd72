"""A relay as the cases see it: a port to connect to, and the log that says how each connection ended."""

import asyncio
import contextlib
import json

CLOSE = "ib_relay.connection.close"
# Seconds from the client's end to the close record: 2 s grace after a FIN in the handshake, and slack.
RECORD_BOUND = 6.0


class Trouble(Exception):
    """The harness itself could not play the case."""


class Log:
    """Everything that a process writes: a relay, or one that prints a relay's journal."""

    def __init__(self, process):
        self.process = process
        self.records = []
        self.noise = []  # lines that are no JSON, and what came on stderr
        self._news = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._read_records(), name="relay records"),
            asyncio.create_task(self._read_errors(), name="relay errors"),
        ]

    def named(self, name):
        return [record for record in self.records if record.get("event.name") == name]

    async def wait_for(self, condition, seconds, what):
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if self.process.returncode is not None and self._tasks[0].done():
                        raise Trouble(f"relay: exit {self.process.returncode} before {what}: {self.noise[-3:]}")
                    await self._news.wait()
        except TimeoutError:
            raise Trouble(f"relay: no {what} in {seconds:.0f} s; {self.noise[-3:]}") from None

    async def end(self):
        """Read what is left; the process has ended."""
        await asyncio.gather(*self._tasks)

    def _tell(self):
        """Wake up everybody who waits; several cases may share one log."""
        self._news.set()
        self._news = asyncio.Event()

    async def _read_records(self):
        async for line in self.process.stdout:
            try:
                self.records.append(json.loads(line))
            except ValueError:
                self.noise.append(line.decode(errors="replace").rstrip())
            self._tell()
        self._tell()

    async def _read_errors(self):
        async for line in self.process.stderr:
            self.noise.append(line.decode(errors="replace").rstrip())


class Relay:
    """One port of a relay while a case has it to itself; what was logged before is not its business."""

    def __init__(self, log, port, upstream_port):
        self.port = port
        self.upstream_port = upstream_port
        self._log = log
        self._old_records, self._old_noise = len(log.records), len(log.noise)

    async def close_records(self, count):
        """`count` close records, or those that came: judging is done elsewhere."""
        with contextlib.suppress(Trouble):
            await self._log.wait_for(lambda: len(self._closed()) >= count, RECORD_BOUND, "close record")
        return self._closed()

    @property
    def noise(self):
        return self._log.noise[self._old_noise :]

    def _closed(self):
        return [
            record
            for record in self._log.records[self._old_records :]
            if record.get("event.name") == CLOSE and record.get("network.local.port") == self.port
        ]
