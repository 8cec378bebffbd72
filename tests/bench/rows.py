"""The measurements as a table: which work of the load generator gives which row, in which unit, with which goal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.bench import processes
from tests.bench.load import LoadError
from tests.bench.peers import Relay

SETTLE_TIMEOUT = 3.0  # socat's children live up to 0.5 s after their session
GIB = 1024.0**3


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work each measurement does; all of it is bounded by count."""

    bulk_frames: int  # of BULK_FRAME bytes, each way
    exchanges: int
    singles: int  # small messages, one per write
    bursts: int  # small messages, BURST per write
    fan_out: int
    connections: int
    idle_sessions: int
    idle_seconds: float


FULL = Sizes(12_288, 20_000, 300_000, 3_000_000, 50_000, 2_000, 200, 2.0)
QUICK = Sizes(2_048, 2_000, 40_000, 400_000, 5_000, 300, 50, 0.5)

BULK_FRAME = 65_536  # bytes with the length prefix, far below the protocol's 0xFFFFFF
BURST = 20  # messages a gateway has to say at once when the market moves
FAN_OUT = 50  # clients
IDLE_CPU_SESSIONS = 20
PARALLEL_CONNECTIONS = 4
WARM_UP = 500  # exchanges before times are taken
FIRST_SESSIONS = 5  # opened and closed before memory is read: pools and caches exist from then on

Values = dict[str, float]
Probe = Callable[[Relay, Sizes], Values]  # LoadError when something could not be measured


def start(relay: Relay, sizes: Sizes) -> Values:
    """From the exec of the relay to the first connect() that succeeds."""
    return {"start": relay.start_seconds * 1e3} if relay.start_seconds is not None else {}


def memory(relay: Relay, sizes: Sizes) -> Values:
    """Memory of the whole process tree, once sessions have come and gone, and what idle READY sessions add to it."""
    if relay.pid is None:
        return {}
    processes_before = len(processes.tree(relay.pid))
    with relay.client("idle", FIRST_SESSIONS, 0) as client:
        client.work()
    _wait_for(lambda: len(processes.tree(relay.pid)) <= processes_before)
    base = processes.memory(relay.pid)
    with relay.client("idle", sizes.idle_sessions, 0) as client:
        loaded = processes.memory(relay.pid)
        client.work()
    per_session = (loaded.pss - base.pss) / sizes.idle_sessions
    return {"idle_kib": per_session, "base_rss": base.rss / 1024, "base_pss": base.pss / 1024}


def idle(relay: Relay, sizes: Sizes) -> Values:
    """CPU of the relay while sessions stand and nobody speaks."""
    if relay.pid is None:
        return {}
    with relay.client("idle", IDLE_CPU_SESSIONS, 0) as client:
        begun, used = time.monotonic(), relay.cpu_seconds()
        time.sleep(sizes.idle_seconds)
        share = (relay.cpu_seconds() - used) / (time.monotonic() - begun)
        client.work()
    return {"idle_cpu": share * 100}


def bulk(relay: Relay, sizes: Sizes) -> Values:
    up, cpu_up = _work(relay, "bulk_up", sizes.bulk_frames, BULK_FRAME)
    down, cpu_down = _work(relay, "bulk_down", sizes.bulk_frames, BULK_FRAME)
    values = {"bulk_up": up["bytes"] / up["seconds"] / 1e6, "bulk_down": down["bytes"] / down["seconds"] / 1e6}
    return values | _cpu("cpu_bulk", [cpu_up, cpu_down], (up["bytes"] + down["bytes"]) / GIB)


def round_trip(relay: Relay, sizes: Sizes) -> Values:
    got, cpu = _work(relay, "round_trips", sizes.exchanges, WARM_UP)
    return {"rtt_p50": got["p50"] * 1e6, "rtt_p99": got["p99"] * 1e6} | _cpu("cpu_rtt", [cpu], got["count"] / 1e6)


def stream(relay: Relay, sizes: Sizes) -> Values:
    singles, cpu_singles = _work(relay, "stream_down", sizes.singles, 1)
    bursts, cpu_bursts = _work(relay, "stream_down", sizes.bursts, BURST)
    up, cpu_up = _work(relay, "stream_up", sizes.singles, 1)
    values = {
        name: got["count"] / got["seconds"] / 1e3
        for name, got in (("ticks", singles), ("tick_bursts", bursts), ("orders", up))
    }
    values |= _cpu("cpu_ticks", [cpu_singles], singles["count"] / 1e6)
    values |= _cpu("cpu_bursts", [cpu_bursts], bursts["count"] / 1e6)
    return values | _cpu("cpu_orders", [cpu_up], up["count"] / 1e6)


def fan_out(relay: Relay, sizes: Sizes) -> Values:
    got, _ = _work(relay, "fan_out", sizes.fan_out, FAN_OUT)
    return {"fan_out": got["count"] / got["seconds"], "fan_out_p99": got["p99"] * 1e6}


def connections(relay: Relay, sizes: Sizes) -> Values:
    got, _ = _work(relay, "connections", sizes.connections, PARALLEL_CONNECTIONS)
    return {"connections": got["count"] / got["seconds"]}


def _work(relay: Relay, what: str, count: int, parameter: int) -> tuple[Values, float | None]:
    """The client's figures and the relay's CPU seconds, read while all processes of the session live."""
    with relay.client(what, count, parameter) as client:
        before = relay.cpu_seconds()
        got = client.work()
        return got, None if before is None else relay.cpu_seconds() - before


def _cpu(key: str, seconds: list[float | None], units: float) -> Values:
    return {} if None in seconds else {key: sum(seconds) / units}


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise LoadError(f"sessions ended, but the relay's processes are still there after {SETTLE_TIMEOUT} s")
        time.sleep(0.01)


class Against(Enum):
    """What a goal compares our relay with."""

    SOCAT = "socat"  # as users start it
    BETTER = "better of HAProxy and nginx"
    RAW = "ib-relay raw"  # what observation costs
    LIMIT = "limit"  # an absolute figure in the row's unit


@dataclass(frozen=True, slots=True)
class Goal:
    """Ratios are written so that more is better for us, whatever the row's unit; `ahead` demands more than `value`."""

    against: Against
    value: float
    ahead: bool = False


def at_least(against: Against, value: float) -> Goal:
    return Goal(against, value)


def ahead(against: Against) -> Goal:
    return Goal(against, 1.0, ahead=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: `key` is a value of its `probe`; `relayless`: there is a figure without a relay, too."""

    key: str
    title: str
    unit: str
    more_is_better: bool
    probe: Probe
    digits: int
    goals: tuple[Goal, ...] = ()
    relayless: bool = True


SOCAT, BETTER, RAW, LIMIT = Against
# Observation may cost 5 % of a round trip and 10 % of the small-message stream, as time per message: 1/1.05 and 1/1.10.
RTT_OBSERVED, STREAM_OBSERVED = Goal(RAW, 1 / 1.05), Goal(RAW, 1 / 1.10)
AHEAD_OF_BOTH = (ahead(SOCAT), ahead(BETTER))
IDLE_GOALS = (Goal(LIMIT, 0.1),)
RTT_GOALS = (at_least(SOCAT, 0.95), at_least(BETTER, 0.92), RTT_OBSERVED)
STREAM_GOALS = (at_least(BETTER, 0.95), STREAM_OBSERVED)
CONNECTION_GOALS = (ahead(SOCAT), at_least(BETTER, 0.85))
# The order is the order of measuring: memory is read before any load has stretched it.
ROWS = (
    Row("start", "start to listening", "ms", False, start, 1, (Goal(LIMIT, 300.0),), relayless=False),
    Row("base_rss", "base memory, RSS", "MiB", False, memory, 1, (Goal(LIMIT, 22.0),), relayless=False),
    Row("base_pss", "base memory, PSS", "MiB", False, memory, 1, relayless=False),
    Row("idle_kib", "memory per idle session, PSS", "KiB", False, memory, 2, AHEAD_OF_BOTH, relayless=False),
    Row("idle_cpu", f"CPU with {IDLE_CPU_SESSIONS} idle sessions", "%", False, idle, 2, IDLE_GOALS, relayless=False),
    Row("bulk_up", "bulk client to gateway", "MB/s", True, bulk, 0, AHEAD_OF_BOTH),
    Row("bulk_down", "bulk gateway to client", "MB/s", True, bulk, 0, AHEAD_OF_BOTH),
    Row("cpu_bulk", "CPU for bulk, both ways", "s/GiB", False, bulk, 3, relayless=False),
    Row("rtt_p50", "round trip p50", "us", False, round_trip, 1, RTT_GOALS),
    Row("rtt_p99", "round trip p99", "us", False, round_trip, 1, (ahead(SOCAT),)),
    Row("cpu_rtt", "CPU per round trip", "us", False, round_trip, 2, relayless=False),
    Row("ticks", "ticks down, 1 per write", "k msg/s", True, stream, 0, STREAM_GOALS),
    Row("tick_bursts", f"ticks down, {BURST} per write", "k msg/s", True, stream, 0, STREAM_GOALS),
    Row("orders", "orders up, 1 per write", "k msg/s", True, stream, 0, STREAM_GOALS),
    Row("cpu_ticks", "CPU per tick, 1 per write", "us", False, stream, 3, relayless=False),
    Row("cpu_bursts", f"CPU per tick, {BURST} per write", "us", False, stream, 3, relayless=False),
    Row("cpu_orders", "CPU per order", "us", False, stream, 3, relayless=False),
    Row("fan_out", f"{FAN_OUT} clients, exchanges", "1/s", True, fan_out, 0, (at_least(BETTER, 0.80),)),
    Row("fan_out_p99", f"{FAN_OUT} clients, p99", "us", False, fan_out, 0),
    Row("connections", "connections opened and closed", "1/s", True, connections, 0, CONNECTION_GOALS),
)


def probes_of(rows: list[Row]) -> list[Probe]:
    """Each probe once, in the order of the table."""
    return list(dict.fromkeys(row.probe for row in rows))
