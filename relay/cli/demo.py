"""`ib-relay demo`: practice gateway, relay and client in one process, and what the relay says about the session."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import textwrap
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from relay.client import Client
from relay.config.addresses import Listen, Upstream
from relay.config.load import Config, Loaded, PortMap
from relay.logs.explain import end_code, explain
from relay.logs.lines import text_record
from relay.logs.record import Record, end_of
from relay.logs.units import duration, size
from relay.practice import BEHAVIOURS, Practice, PracticeGateway
from relay.printable import printable_lines
from relay.server import Relay
from relay.terminal import NAME, WIDTH, OutputStream, columns
from relay.wire import events
from relay.wire.codes import classify
from relay.wire.heard import code_said
from relay.wire.session import ClientSession, SessionOutcome
from relay.wire.stage import Stage

if TYPE_CHECKING:
    from relay.logs.logfile import LogFile

CLIENT_ID = 7
SYMBOL = "SPY"
PATIENCE = 4.0  # seconds for each step, as ib_insync and ib_async have it
GOODBYE = 2.5  # seconds the relay has to see the client leave; it gives a half-close in the handshake 2 s
ACCOUNTS = 2  # that fit on the line of their stage
LIVE_LINE = 0.2  # seconds between two looks at the flows on a terminal
LIVE_LINE_PLAIN = 1.0  # ... and where every look is a line of its own
HALF_CLOSE = 1.0  # seconds a gateway has that does not answer our leave; `run` gives it 30

_STAGES = (
    (Stage.CLIENT_HELLO, "TCP connected, hello sent"),
    (Stage.SERVER_HELLO, "gateway answered the hello"),
    (Stage.START_API, "START_API sent"),
    (Stage.READY, "session ready"),
)


class Records:
    """Stands in for the log: keeps the records instead of writing them."""

    def __init__(self) -> None:
        self.dropped = 0
        self.records: list[Record] = []
        self._written = asyncio.Event()

    def write(self, record: Record) -> None:
        self.records.append(record)
        self._written.set()

    def event(self, name: str, message: str, severity: str = "INFO", **fields: object) -> None:
        pass

    def set_format(self, log_format: str) -> None:
        pass

    def set_file(self, file: LogFile | None) -> None:
        pass

    def flush(self, wait: float = 0.0) -> None:
        pass

    async def closed(self, seconds: float) -> None:
        """Until no connection is open, or for so long; a client's leave reaches the relay a moment after it."""
        try:
            async with asyncio.timeout(seconds):
                while sum(record.event == "open" for record in self.records) > sum(
                    record.event == "close" for record in self.records
                ):
                    self._written.clear()
                    await self._written.wait()
        except TimeoutError:
            pass  # its record says "drain" then, which is what happened

    def last(self, event: str) -> Record | None:
        return next((record for record in reversed(self.records) if record.event == event), None)


async def run_demo(settings: Practice, seconds: float, out: OutputStream, command: str = NAME) -> None:
    """The whole show; everything it started is gone when it returns. `command` is what to type for another one."""
    gateway = PracticeGateway(settings)
    await gateway.start()
    log = Records()
    upstream = Upstream("127.0.0.1", gateway.port)
    port_map = PortMap("demo", (Listen("127.0.0.1", 0),), upstream, half_close_timeout=HALF_CLOSE)
    relay = Relay(Loaded(Config(drain_timeout=2.0, maps=(port_map,)), {}), log)
    try:
        await relay.start()
        host, port = relay.bound()[0]
        _say(out, "ib-relay demo: a practice gateway, the relay, and a client through both.\n")
        _say(out, f"  client   ->  relay {host}:{port}   ->  practice gateway 127.0.0.1:{gateway.port}")
        _say(out, _wrapped("  behaviour ", _behaviour(settings)) + "\n")
        await _session(host, port, relay, seconds, out)
        await log.closed(GOODBYE)
    finally:
        relay.stop("demo")
        await relay.serve()
        await gateway.close()
    _explain(log, out)
    _next_command(command, out)


def typed(program: str, arguments: Sequence[str]) -> str:
    """What to type to start this program again (sys.argv[0], sys.orig_argv): its name alone where that leads here."""
    if arguments[1:2] and os.path.basename(program) == "__main__.py" and "-m" in arguments:
        return f"{shlex.quote(arguments[0])} -m relay"
    name = os.path.basename(program)
    if name.endswith(".pyz"):
        return f"{shlex.quote(arguments[0])} {shlex.quote(program)}"
    found = shutil.which(NAME)
    if name != NAME or not os.path.dirname(program) or (found and os.path.realpath(found) == os.path.realpath(program)):
        return NAME
    return shlex.quote(program)


async def _session(host: str, port: int, relay: Relay, seconds: float, out: OutputStream) -> None:
    session = ClientSession(CLIENT_ID, hello_timeout=PATIENCE, start_timeout=PATIENCE)
    client = Client(host, port, session)
    begin = monotonic()
    try:
        await client.connect()
    except OSError as error:
        _say(out, f"  the relay's own port cannot be reached: {error}")
        return
    try:
        await _open(client, begin, out)
        if session.outcome is SessionOutcome.USABLE:
            await _watch_ticks(client, relay, seconds, out)
            if not session.alive:
                _say(out, "\n" + _wrapped("  the session ended: ", session.detail))
    finally:
        await client.close()


async def _open(client: Client, begin: float, out: OutputStream) -> None:
    """Up to READY or the first failure; a line a stage, with its time."""
    session = client.session
    shown: set[Stage] = set()
    codes: list[int] = []
    _say(out, "  stage                           after")
    while True:
        _show_stages(session, shown, begin, out)
        if session.outcome is not SessionOutcome.PENDING:
            break
        news = await client.next_events(monotonic() + PATIENCE)
        codes += [event.code for event in news if isinstance(event, events.Notice)]
    if codes:
        listed = ", ".join(f"{code} ({classify(code).value})" for code in dict.fromkeys(codes))
        _say(out, _wrapped(f"  {'codes from the gateway':<30}  {'':>9}   ", listed))
    if session.outcome is not SessionOutcome.USABLE:
        _say(out, _wrapped(f"  {'it went no further':<30}  {_seconds(monotonic() - begin):>9}   ", session.detail))


def _show_stages(session: ClientSession, shown: set[Stage], begin: float, out: OutputStream) -> None:
    for stage, label in _STAGES:
        if stage in session.times and stage not in shown:
            shown.add(stage)
            extra = ""
            if stage is Stage.SERVER_HELLO:
                extra = session.version_said
            elif stage is Stage.START_API:
                extra = f"client id {session.client_id}"
            elif stage is Stage.READY:
                accounts = events.accounts_said(session.accounts, session.account_count, most=ACCOUNTS)
                extra = f"account {accounts}, next order id {session.order_id}"
            head = f"  {label:<30}  {_seconds(session.times[stage] - begin):>9}   "
            _say(out, _wrapped(head, extra) or head.rstrip())


async def _watch_ticks(client: Client, relay: Relay, seconds: float, out: OutputStream) -> None:
    """Streaming prices, and the relay's own count of what passes."""
    terminal = out.isatty()
    client.session.request_market_data(1, SYMBOL)
    client.flush()
    _say(out, f"\n  the relay's own counters while prices stream:\n{LIVE_HEAD}")
    prices: dict[int, float] = {}
    end = monotonic() + seconds
    look = monotonic() + LIVE_LINE
    begin = monotonic()
    try:
        while client.session.alive and monotonic() < end:
            for event in await client.next_events(min(end, look)):
                if isinstance(event, events.Tick):
                    prices[event.tick_type] = event.price
            if monotonic() >= look:
                look = monotonic() + (LIVE_LINE if terminal else LIVE_LINE_PLAIN)
                live = next((record for record in relay.snapshot() if record.messages_down is not None), None)
                line = live_line(live, monotonic() - begin, prices)
                # One column less than there are: a terminal that is full to the last begins a new line, which stays.
                out.write(f"\r\x1b[2K{printable_lines(line)[: columns(out) - 1]}" if terminal else f"{line}\n")
                out.flush()
    finally:
        if terminal:
            out.write("\n")


LIVE_HEAD = f"{'after':>10}  {'up':>10}  {'messages':>8}  {'down':>10}  {'messages':>8}  {SYMBOL} bid / ask"


def live_line(live: Record | None, passed: float, prices: dict[int, float]) -> str:
    """The counters below LIVE_HEAD, within 79 columns whatever they are."""
    if live is None:
        return f"{passed:>8.1f} s  no live connection"
    quote = f"{prices[1]:.2f} / {prices[2]:.2f}" if 1 in prices and 2 in prices else ""
    counters = f"{size(live.bytes_up):>10}  {live.messages_up:>8}  {size(live.bytes_down):>10}  {live.messages_down:>8}"
    return f"{passed:>8.1f} s  {counters}  {quote}".rstrip()[: WIDTH - 1]


def _explain(log: Records, out: OutputStream) -> None:
    """The close record as the log has it, and its fields in words."""
    record = log.last("close")
    if record is None:
        _say(out, "\n  the relay saw no connection")
        return
    cause, phase = end_of(record)
    _say(out, "\n  the line `ib-relay run` would log at its end:\n")
    _say(out, f"    {text_record(record, 0)}\n")
    _say(out, "  and what it says:")
    rows = [
        ("why", explain(record) + (f" ({cause.detail})" if cause.detail else "")),
        ("ended by", f"the {cause.by}, with {_HOW.get(cause.how, cause.how)}"),
        (
            "at",
            (f"phase {phase.value}, IB stage {record.ib_stage}; HAProxy would write {end_code(cause, phase)}"),
        ),
        ("up", f"{size(record.bytes_up)} in {record.messages_up} messages from client to gateway"),
        ("down", f"{size(record.bytes_down)} in {record.messages_down} messages from gateway to client"),
        ("times", _times(record)),
        ("last code", "none" if record.last_error_code is None else code_said(record.last_error_code)),
    ]
    for name, text in rows:
        _say(out, _wrapped(f"    {name:<10} ", text))


_HOW = {
    "fin": "a normal close (FIN)",
    "rst": "an abort (RST)",
    "timeout": "a time-out",
    "error": "an error",
    "policy": "a rule of the relay",
}


def _times(record: Record) -> str:
    parts = []
    if record.connect is not None:
        parts.append(f"dialled in {_seconds(record.connect)}")
    if record.handshake is not None:
        parts.append(f"ready {_seconds(record.handshake)} after accept")
    return ", ".join([*parts, f"lasted {duration(record.duration)}"])


def _next_command(command: str, out: OutputStream) -> None:
    _say(out, "\n  For a real gateway on this machine (paper port 4002), type")
    _say(out, f"\n    {command} run\n")
    _say(out, "  and let the clients in containers connect to port 4003. To see what a failure")
    _say(out, "  looks like, and the names of all there are:")
    _say(out, f"\n    {command} demo --behaviour start-api-ignored\n    {command} practice --list\n")


def _wrapped(head: str, text: str) -> str:
    """Words beside a head, within the usual width."""
    return textwrap.fill(
        text, WIDTH - 1, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    )


def _behaviour(settings: Practice) -> str:
    value = (
        ""
        if settings.value is None
        else f"={settings.value:g}"
        if isinstance(settings.value, float)
        else f"={settings.value}"
    )
    return f"{settings.behaviour}{value}: {BEHAVIOURS[settings.behaviour].summary}"


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def _say(out: OutputStream, line: str) -> None:
    out.write(printable_lines(line) + "\n")
    out.flush()
