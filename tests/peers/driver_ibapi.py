"""Drives the official Python client: ibapi 9.81, and the 10.x releases under their three distribution names.

connect() of this client blocks, for ever if the gateway says nothing (no time-out anywhere in it), so the library
lives in threads of its own and this file's main thread only waits for what its callbacks bring.
"""

import inspect
import os
import threading
import time

import driver_common as common
from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.wrapper import EWrapper

ERROR_CODE_AT = list(inspect.signature(EWrapper.error).parameters).index("errorCode") - 1  # moved in 10.33 (errorTime)
SETTLE = 0.3  # seconds; run() looks at its queue every 0.2 s


class Session(EWrapper, EClient):
    """One client; every callback stores what came and wakes the main thread."""

    def __init__(self, task):
        EWrapper.__init__(self)
        EClient.__init__(self, wrapper=self)
        self.task = task
        self.got = common.Got()
        self.change = threading.Condition()
        self.connect_returned = False
        self.ended = False
        self.times = 0

    # What the gateway sends, as this library hands it out.

    def nextValidId(self, orderId):  # noqa: N802, N803 (ibapi's names)
        if self.got.next_valid_id is None:
            self._note(lambda got: setattr(got, "next_valid_id", orderId))

    def managedAccounts(self, accountsList):  # noqa: N802, N803 (ibapi's names)
        self._note(lambda got: setattr(got, "accounts", [name for name in accountsList.split(",") if name]))

    def currentTime(self, time):  # noqa: N802 (ibapi's name)
        self.times += 1
        self._note(lambda got: setattr(got, "current_time", True))

    def historicalData(self, reqId, bar):  # noqa: N802, N803 (ibapi's names)
        row = [bar.date, bar.open, bar.high, bar.low, bar.close, int(bar.volume)]
        self._note(lambda got: got.bars.append(row))

    def historicalDataEnd(self, reqId, start, end):  # noqa: N802, N803 (ibapi's names)
        self._note(lambda got: setattr(got, "bars_complete", True))

    def tickPrice(self, *values):  # noqa: N802 (ibapi's name)
        self._note(lambda got: setattr(got, "tick_count", got.tick_count + 1))

    tickSize = tickString = tickGeneric = tickPrice  # noqa: N815 (ibapi's names)

    def error(self, *values):
        code = values[ERROR_CODE_AT]
        self.got.notes.append(" ".join(map(str, values))[:200])
        self._note(lambda got: got.error(code))

    def connectionClosed(self):  # noqa: N802 (ibapi's name)
        self.ended = True
        self._note(lambda got: None)

    def startApi(self):  # noqa: N802 (ibapi's name)
        """Called by connect() when the gateway's hello has been read."""
        self.got.server_version = self.serverVersion()
        super().startApi()

    # What the user does.

    def run_steps(self):
        threading.Thread(target=self._connect_and_read, daemon=True).start()
        steps = (
            self.step_connect,
            self.step_ready,
            self.step_burst,
            self.step_time,
            self.step_bars,
            self.step_ticks,
            self.step_watch,
        )
        for step in steps:
            step()
            if self.got.failed_at:
                break
        self.leave()

    def step_connect(self):
        self._wait("hello", lambda: self.connect_returned, "blocked in connect()")
        if self.got.server_version is None:
            self.got.fail("hello", "connect() returned, not connected")

    def step_ready(self):
        self._wait("ready", lambda: self.got.next_valid_id is not None and self.got.accounts, "no answer")

    def step_burst(self):
        if self.task.burst:
            for _ in range(self.task.burst):
                if not self.ended:
                    self.reqMarketDataType(1)
                    time.sleep(common.BURST_GAP)
            if self._until(lambda: self.ended, self.task.watch):
                self.got.fail("burst", "disconnected")

    def step_time(self):
        self.reqCurrentTime()
        self._wait("time", lambda: self.got.current_time, "no answer")

    def step_bars(self):
        self.reqHistoricalData(
            common.BARS, _contract(), "", common.DURATION, common.BAR_SIZE, common.WHAT, 1, 1, False, []
        )
        self._wait("bars", lambda: self.got.bars_complete, "no answer")

    def step_ticks(self):
        self.reqMktData(common.TICKER, _contract(), "", False, False, [])
        self._wait("ticks", lambda: self.got.tick_count >= self.task.ticks, "no answer")
        self.got.ticks = self.got.tick_count >= self.task.ticks

    def step_watch(self):
        """Stay until the gateway ends it, or ask once more whether anybody is there."""
        if not self.task.watch or self.task.burst or self._until(lambda: self.ended, self.task.watch):
            return
        before = self.times
        self.reqCurrentTime()
        self.got.answers_at_end = self._until(lambda: self.times > before, self.task.timeout)

    def leave(self):
        """Hang up like a well-written program: no stream running, so that the close is a FIN and not a reset."""
        if self.connect_returned and not self.isConnected():
            self._until(lambda: self.ended, SETTLE)  # the callback comes from another thread, if it comes
        self.got.told_disconnected = self.ended
        if self.ended or not self.isConnected():
            return
        if self.got.tick_count:
            self.cancelMktData(common.TICKER)
            seen = None
            while seen != self.got.tick_count:
                seen = self.got.tick_count
                time.sleep(0.1)
        self.disconnect()

    def _connect_and_read(self):
        try:
            self.connect(self.task.host, self.task.port, self.task.client_id)
        finally:
            self.connect_returned = True
            self._note(lambda got: None)
        self.run()

    def _note(self, change):
        with self.change:
            change(self.got)
            self.change.notify_all()

    def _until(self, condition, seconds):
        with self.change:
            return bool(self.change.wait_for(condition, seconds))

    def _wait(self, stage, condition, otherwise):
        """Wait for `condition`; note why not, if not."""
        if self._until(lambda: condition() or (self.ended and self.connect_returned), self.task.timeout):
            if condition():
                return
            otherwise = "disconnected"
        self.got.fail(stage, otherwise)


def _contract():
    contract = Contract()
    contract.conId, contract.symbol, contract.secType = common.CONTRACT_ID, common.SYMBOL, "STK"
    contract.exchange, contract.currency = common.EXCHANGE, common.CURRENCY
    return contract


def main():
    session = Session(common.Task.from_command_line())
    threading.excepthook = lambda failure: session.got.notes.append(f"thread died: {failure.exc_value!r}"[:200])
    session.run_steps()
    session.got.show()
    os._exit(0)


if __name__ == "__main__":
    main()
