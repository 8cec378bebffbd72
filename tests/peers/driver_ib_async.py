"""Drives ib_async 2.x or ib_insync 0.9 (same interface, told apart by which of the two is on the path)."""

import asyncio
import importlib.util
import logging
import os

import driver_common as common

NAME = "ib_async" if importlib.util.find_spec("ib_async") else "ib_insync"
library = importlib.import_module(NAME)

# The library's own log lines are the only sign of how far it came (read in client.py and ib.py of both).
STAGE_LOGGED = (
    ("Connected", "connect"),
    ("Logged on to server version", "hello"),
    ("API connection ready", "ready"),
    ("Synchronization complete", "sync"),
)


class Progress(logging.Handler):
    """Hears what the library logs: stages reached, and its words when it fails."""

    def __init__(self, got):
        super().__init__(logging.INFO)
        self.got = got
        self.reached = set()

    def emit(self, record):
        text = record.getMessage()
        self.got.notes.append(f"{record.levelname}: {text}"[:200])
        for start, stage in STAGE_LOGGED:
            if text.startswith(start):
                self.reached.add(stage)

    def first_missed(self):
        return next(stage for stage in common.STAGES if stage not in self.reached)


class Session:
    """One IB object and what it got."""

    def __init__(self, task):
        self.task = task
        self.got = common.Got(synchronized=False)
        self.progress = Progress(self.got)
        logging.getLogger(NAME).setLevel(logging.INFO)
        logging.getLogger(NAME).addHandler(self.progress)
        self.ib = library.IB()
        self.stage = "connect"
        self.contract = library.Stock(common.SYMBOL, common.EXCHANGE, common.CURRENCY, conId=common.CONTRACT_ID)
        self.ended = asyncio.Event()
        self.ib.errorEvent += lambda request, code, *rest: self.got.error(code)
        self.ib.disconnectedEvent += self.ended.set
        self._catch_next_valid_id()

    async def run(self):
        steps = (
            ("connect", self.connect),
            ("burst", self.burst),
            ("time", self.ask_time),
            ("bars", self.ask_bars),
            ("ticks", self.ask_ticks),
            ("watch", self.watch),
        )
        for self.stage, step in steps:
            try:
                await step()
            except Exception as problem:  # noqa: BLE001 (whatever the library raises, its user gets)
                self.fail(type(problem).__name__)
            if self.got.failed_at:
                break
        await self.leave()

    def fail(self, how):
        """While connecting, the library's log tells how far it came."""
        self.got.fail(self.progress.first_missed() if self.stage == "connect" else self.stage, how)

    async def connect(self):
        task = self.task
        try:
            await self.ib.connectAsync(task.host, task.port, task.client_id, timeout=task.timeout)
        finally:
            self.got.synchronized = "sync" in self.progress.reached
            if "ready" in self.progress.reached:
                self.got.accounts = self.ib.managedAccounts() or self.got.accounts

    async def burst(self):
        """Break the 50 a second rule on purpose: the library would keep it, so its own throttle is taken out."""
        if self.task.burst:
            self.ib.client.MaxRequests = 0
            for _ in range(self.task.burst):
                if not self.ended.is_set():
                    self.ib.reqMarketDataType(1)
                    await asyncio.sleep(common.BURST_GAP)
            await self._or_end(asyncio.sleep(self.task.watch))

    async def ask_time(self):
        await self._or_end(self.ib.reqCurrentTimeAsync())
        self.got.current_time = self.got.failed_at is None

    async def ask_bars(self):
        bars = await self._or_end(
            self.ib.reqHistoricalDataAsync(self.contract, "", common.DURATION, common.BAR_SIZE, common.WHAT, True)
        )
        for bar in bars or ():
            self.got.bars.append([str(bar.date), bar.open, bar.high, bar.low, bar.close, int(bar.volume)])
        self.got.bars_complete = bool(bars)
        if not bars:
            self.got.fail("bars", "none")

    async def ask_ticks(self):
        enough = asyncio.Event()
        ticker = self.ib.reqMktData(self.contract, "", False, False)

        def count(ticker):
            self.got.tick_count += len(ticker.ticks)
            if self.got.tick_count >= self.task.ticks:
                enough.set()

        ticker.updateEvent += count
        await self._or_end(enough.wait())
        self.got.ticks = enough.is_set()

    async def watch(self):
        """Stay until the gateway ends it, or ask once more whether anybody is there."""
        if not self.task.watch or self.task.burst:
            return
        try:
            await asyncio.wait_for(self.ended.wait(), self.task.watch)
            return
        except TimeoutError:
            pass
        try:
            await asyncio.wait_for(self.ib.reqCurrentTimeAsync(), self.task.timeout)
            self.got.answers_at_end = True
        except (TimeoutError, ConnectionError):
            self.got.answers_at_end = False

    async def leave(self):
        """Hang up like a well-written program: no stream running, so that the close is a FIN and not a reset."""
        self.got.server_version = self.got.server_version or self.ib.client.serverVersion() or None
        self.got.told_disconnected = self.ended.is_set()
        if not self.ib.isConnected():
            return
        if self.got.tick_count:
            self.ib.cancelMktData(self.contract)
            seen = None
            while seen != self.got.tick_count:
                seen = self.got.tick_count
                await asyncio.sleep(0.1)
        self.ib.disconnect()
        await asyncio.sleep(0.05)  # lets the transport send its FIN before the process ends

    async def _or_end(self, awaitable):
        """The result, or None with the failure noted when the connection ended or the step took too long."""
        work, end = asyncio.ensure_future(awaitable), asyncio.ensure_future(self.ended.wait())
        done, _ = await asyncio.wait({work, end}, timeout=self.task.timeout, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if end in done or not done:
            work.cancel()
            self.got.fail(self.stage, "disconnected" if end in done else "no answer")
            return None
        return work.result()

    def _catch_next_valid_id(self):
        """The library keeps the id to itself; its client passes it through one method."""
        client, keep = self.ib.client, self.ib.client.updateReqId

        def update(request_id):
            if self.got.next_valid_id is None:
                self.got.next_valid_id = request_id
            self.got.server_version = client.serverVersion()
            keep(request_id)

        client.updateReqId = update


async def main():
    task = common.Task.from_command_line()
    session = Session(task)
    try:
        await asyncio.wait_for(session.run(), task.deadline)
    except TimeoutError:
        session.fail("gave up")
    session.got.show()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
