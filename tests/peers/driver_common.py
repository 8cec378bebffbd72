"""What a driver is asked to do with one real client library (Task), and what that client got (Got).

A driver is a small program run on its own, so that four packages that all import as `ibapi` never meet and a
library that blocks or spins for ever can be killed. It is given one Task as JSON on its command line and answers
with one Got as the last line of its stdout. The steps are the same for every library: connect, be ready, ask for
the time, for historical bars, for a stream of ticks, then leave (or stay and watch how the gateway leaves).
Nothing here may import ib-relay: a driver knows only the library it drives.
"""

import dataclasses
import json
import sys
import time

SYMBOL, EXCHANGE, CURRENCY, CONTRACT_ID = "SPY", "SMART", "USD", 756733
DURATION, BAR_SIZE, WHAT = "5 D", "1 day", "TRADES"
BURST_GAP = 0.002  # seconds between the requests of a burst: 80 take 0.2 s, and the answer that ends it can be read
TICKER, BARS = 9001, 9002  # request ids of the official client's requests

# The stages a client goes through, in order: the first one missed is where the client failed.
STAGES = ("connect", "hello", "ready", "sync", "burst", "time", "bars", "ticks", "watch")


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One session of one client: where to, as whom, how patient, and how much to ask for."""

    host: str
    port: int
    client_id: int
    timeout: float  # seconds for each step
    ticks: int  # how many ticks make a stream
    burst: int  # requests sent in one go after ready, past the 50 per second an IB gateway allows
    watch: float  # seconds to stay after the last step, to see the gateway leave or go mute
    deadline: float  # seconds after which the driver gives up whatever the library is doing

    @classmethod
    def from_command_line(cls):
        return cls(**json.loads(sys.argv[1]))


@dataclasses.dataclass(slots=True)
class Got:
    """What the user of the library ends up with; equal values mean the user cannot tell two runs apart."""

    server_version: int | None = None
    next_valid_id: int | None = None
    accounts: list[str] = dataclasses.field(default_factory=list)
    synchronized: bool | None = None  # None: the library has no such notion
    current_time: bool = False
    bars: list = dataclasses.field(default_factory=list)  # date, open, high, low, close, volume
    bars_complete: bool = False
    ticks: bool = False  # at least Task.ticks of them
    answers_at_end: bool | None = None  # None: not asked (no watch, or the connection had ended)
    errors: list[int] = dataclasses.field(default_factory=list)  # codes handed to the user, sorted, each once
    failed_at: str | None = None  # a stage
    failed_how: str | None = None
    told_disconnected: bool = False  # the library told its user, without the user's disconnect
    # Of interest to a reader, never compared: they differ between any two runs.
    tick_count: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    started: float = dataclasses.field(default_factory=time.monotonic)

    def fail(self, stage, how):
        """Keep the first failure only: what follows is its consequence."""
        if self.failed_at is None:
            self.failed_at, self.failed_how = stage, how

    def error(self, code):
        if code not in self.errors:
            self.errors = sorted([*self.errors, code])

    def show(self):
        """Write the answer. The caller then leaves by os._exit: the library's threads may never end."""
        self.seconds = round(time.monotonic() - self.started, 3)
        fields = dataclasses.asdict(self)
        del fields["started"]
        sys.stdout.write("\n" + json.dumps(fields) + "\n")
        sys.stdout.flush()
