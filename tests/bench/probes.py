"""The measurements: what one burst of work through one relay gives, in the units of the table."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench import processes
from tests.bench.load import LoadError
from tests.bench.running import Relay

SETTLE_TIMEOUT = 3.0  # socat's children live up to 0.5 s after their session
SETTLE = 0.3  # seconds from the last session's opening until CPU time is counted: what a relay does once is over
GIB = 1024.0**3


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work each measurement does, bounded by count; and how often.

    Relays are started `starts` times. Each time what is in ONCE is measured once, and all else in `rounds` rounds.
    """

    starts: int
    rounds: int
    bulk_frames: int  # of BULK_FRAME bytes, each way
    exchanges: int
    singles: int  # small messages, one per write
    bursts: int  # small messages, BURST per write
    few: int  # exchanges of FEW clients
    fan_out: int  # exchanges of FAN_OUT clients
    connections: int
    idle_sessions: int
    idle_seconds: float
    one_seconds: int  # with a tick a second
    some_seconds: int  # with SOME_TICKS a second
    day_ms: int  # of a trading day


FULL = Sizes(4, 3, 3_072, 1_200, 30_000, 600_000, 4_000, 10_000, 400, 100, 2.0, 4, 2, 1_700)
QUICK = Sizes(1, 4, 768, 500, 10_000, 200_000, 1_500, 3_000, 150, 50, 0.5, 2, 1, 500)

BULK_FRAME = 65_536  # bytes with the length prefix, far below the protocol's 0xFFFFFF
BURST = 20  # messages a gateway has to say at once when the market moves
FEW, FAN_OUT = 4, 50  # clients
IDLE_CPU_SESSIONS = 32  # as many as a gateway takes
SOME_TICKS = 50  # a second
PARALLEL_CONNECTIONS = 4
WARM_UP = 200  # exchanges before times are taken
DAY_SEED = 1  # of all its irregular times
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
        time.sleep(SETTLE)
        begun, used = time.monotonic(), relay.cpu_seconds()
        time.sleep(sizes.idle_seconds)
        share = (relay.cpu_seconds() - used) / (time.monotonic() - begun)
        client.work()
    return {"idle_cpu": share * 100}


def few_ticks(relay: Relay, sizes: Sizes) -> Values:
    """CPU of the relay while one session hears a tick now and then: what a relay spends on being ready for it."""
    if relay.pid is None:
        return {}
    values = {}
    for key, rate, seconds in (("one_cpu", 1, sizes.one_seconds), ("some_cpu", SOME_TICKS, sizes.some_seconds)):
        got, cpu = _work(relay, "ticking", rate * seconds, rate, settle=SETTLE)
        values |= {key: cpu / got["seconds"] * 100}
    return values


def day(relay: Relay, sizes: Sizes) -> Values:
    """A slice of a trading day, the same one for every relay. Absolute times; rows.py says from which one subtracts."""
    got, cpu = _work(relay, "day", sizes.day_ms, DAY_SEED, settle=SETTLE)
    values = {
        f"day_{name}_{point}": got[f"{prefix}{point}"] * 1e6
        for name, prefix, points in (("answers", "", ("p50", "p99")), ("ticks", "tick_", ("p50", "p99", "p999")))
        for point in points
    }
    return values if cpu is None else values | {"day_cpu": cpu / got["seconds"] * 100}


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
    values = {}
    for key, count, clients in (("few", sizes.few, FEW), ("fan_out", sizes.fan_out, FAN_OUT)):
        got, _ = _work(relay, "fan_out", count, clients)
        values |= {key: got["count"] / got["seconds"], f"{key}_p99": got["p99"] * 1e6}
    return values


def connections(relay: Relay, sizes: Sizes) -> Values:
    got, _ = _work(relay, "connections", sizes.connections, PARALLEL_CONNECTIONS)
    return {"connections": got["count"] / got["seconds"]}


ONCE = frozenset((start, memory, idle, few_ticks))  # a start of the relay; these take seconds, or can be had once


def _work(relay: Relay, what: str, count: int, parameter: int, settle: float = 0.0) -> tuple[Values, float | None]:
    """The client's figures and the relay's CPU seconds, read while all processes of the session live."""
    with relay.client(what, count, parameter) as client:
        time.sleep(settle)
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
