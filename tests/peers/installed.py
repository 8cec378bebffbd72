"""A relay that is installed and runs: cases borrow its ports, put their gateways behind them, and read its journal.

What a case asks of the relay's environment must stand in its configuration already: log_format = "json", and for the
behaviour session-stall a half_close_timeout of 3 seconds (shorter, it would pass for the end of handshakes given up).
"""

import asyncio
import contextlib
import shlex

import psutil

from tests.peers.relays import Log, Relay, Trouble

JOURNAL = "journalctl --follow --lines=1 --output=cat _SYSTEMD_UNIT=ib-relay.service"
FIRST_LINE_BOUND = 10.0  # seconds


def ports(text):
    """Of "4003=4002": the relay's port and its upstream's, both on 127.0.0.1. ValueError."""
    listen, upstream = map(int, text.split("="))
    return listen, upstream


class Installed:
    """As many cases at a time as there are `maps` [(port, upstream port)]; others wait.

    `journal` is a command that follows the relay's log and begins with a line that is there already, which shows that
    it follows.
    """

    def __init__(self, maps, journal=JOURNAL):
        self._maps = maps
        self._journal = shlex.split(journal)
        self._free = asyncio.Queue()

    async def __aenter__(self):
        self._process = await asyncio.create_subprocess_exec(
            *self._journal,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._log = Log(self._process)
        try:
            await self._log.wait_for(
                lambda: self._log.records or self._log.noise, FIRST_LINE_BOUND, "line in the journal"
            )
        except Trouble:
            await self.__aexit__()
            raise
        for port_map in self._maps:
            self._free.put_nowait(port_map)
        return self

    async def __aexit__(self, *_exc):
        """The command may have started the one that reads (sudo, nsenter): the last ends first, and is waited for."""
        with contextlib.suppress(psutil.NoSuchProcess):
            command = psutil.Process(self._process.pid)
            (command.children(recursive=True) or [command])[-1].terminate()
        await self._process.wait()
        await self._log.end()

    @contextlib.asynccontextmanager
    async def lent(self):
        """A Relay for one case."""
        port_map = await self._free.get()
        try:
            yield Relay(self._log, *port_map)
        finally:
            self._free.put_nowait(port_map)
