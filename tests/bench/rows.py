"""The table: which value of which measurement is a row, in which unit, with which goals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.bench import probes
from tests.bench.goals import Against, Goal, ahead, at_least, at_most
from tests.bench.probes import BURST, FAN_OUT, FEW, IDLE_CPU_SESSIONS, SOME_TICKS, Probe


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: `key` is a value of its `probe`.

    `relayless`: there is a figure without a relay, too. `added`: that figure is subtracted from those of the relays.
    `least`: a figure below this, in the row's unit, is noise around nothing; it is what a ratio takes instead.
    """

    key: str
    title: str
    unit: str
    more_is_better: bool
    probe: Probe
    digits: int
    goals: tuple[Goal, ...] = ()
    relayless: bool = True
    added: bool = False
    least: float = 0.01


def _own(key: str, title: str, unit: str, probe: Probe, digits: int, *goals: Goal) -> Row:
    """What a relay's own processes use: less is better, and there is none without a relay."""
    return Row(key, title, unit, False, probe, digits, goals, relayless=False)


def _rate(key: str, title: str, unit: str, probe: Probe, *goals: Goal) -> Row:
    return Row(key, title, unit, True, probe, 0, goals)


def _time(key: str, title: str, probe: Probe, *goals: Goal) -> Row:
    return Row(key, title, "us", False, probe, 1, goals)


def _day(what: str, point: str, title: str, *goals: Goal) -> Row:
    title = f"day: {what} {title}, added"
    least = 1.0 if point == "p50" else 10.0
    return Row(f"day_{what}_{point}", title, "us", False, probes.day, 1, goals, added=True, least=least)


# Observation may cost 5 % of a round trip and 10 % of the small-message stream, as time per message: 1/1.05 and 1/1.10.
RTT_OBSERVED, STREAM_OBSERVED = at_least(Against.RAW, 1 / 1.05), at_least(Against.RAW, 1 / 1.10)
AHEAD_OF_BOTH = (ahead(Against.SOCAT), ahead(Against.BETTER))
RTT_GOALS = (at_least(Against.BEST, 1.8), at_least(Against.BUSY, 0.9))
STREAM_GOALS = (at_least(Against.BETTER, 0.95), STREAM_OBSERVED)
AS_GOOD = at_least(Against.BEST, 1.0)
# The order is the order of measuring: memory is read before any load has stretched it.
ROWS = (
    _own("start", "start to listening", "ms", probes.start, 1, at_most(80)),
    _own("base_rss", "base memory, RSS", "MiB", probes.memory, 1, at_most(22)),
    _own("base_pss", "base memory, PSS", "MiB", probes.memory, 1),
    _own("idle_kib", "memory per idle session, PSS", "KiB", probes.memory, 2, *AHEAD_OF_BOTH),
    _own("idle_cpu", f"CPU with {IDLE_CPU_SESSIONS} idle sessions", "%", probes.idle, 2, at_most(0.05)),
    _own("one_cpu", "CPU with 1 tick a second", "%", probes.few_ticks, 2, at_most(0.1)),
    _own("some_cpu", f"CPU with {SOME_TICKS} ticks a second", "%", probes.few_ticks, 2),
    _day("answers", "p50", "p50", at_least(Against.BEST, 1.3)),
    _day("answers", "p99", "p99"),
    _day("ticks", "p50", "p50", AS_GOOD),
    _day("ticks", "p99", "p99", AS_GOOD),
    _day("ticks", "p999", "p99.9", AS_GOOD),
    _own("day_cpu", "day: CPU", "%", probes.day, 2, at_least(Against.HAPROXY, 1 / 1.3)),
    _rate("bulk_up", "bulk client to gateway", "MB/s", probes.bulk, *AHEAD_OF_BOTH),
    _rate("bulk_down", "bulk gateway to client", "MB/s", probes.bulk, *AHEAD_OF_BOTH),
    _own("cpu_bulk", "CPU for bulk, both ways", "s/GiB", probes.bulk, 3),
    _time("rtt_p50", "round trip p50", probes.round_trip, *RTT_GOALS, RTT_OBSERVED),
    _time("rtt_p99", "round trip p99", probes.round_trip, *RTT_GOALS),
    _own("cpu_rtt", "CPU per round trip", "us", probes.round_trip, 2),
    _rate("ticks", "ticks down, 1 per write", "k msg/s", probes.stream, *STREAM_GOALS),
    _rate("tick_bursts", f"ticks down, {BURST} per write", "k msg/s", probes.stream, *STREAM_GOALS),
    _rate("orders", "orders up, 1 per write", "k msg/s", probes.stream, *STREAM_GOALS),
    _own("cpu_ticks", "CPU per tick, 1 per write", "us", probes.stream, 3),
    _own("cpu_bursts", f"CPU per tick, {BURST} per write", "us", probes.stream, 3),
    _own("cpu_orders", "CPU per order", "us", probes.stream, 3),
    _rate("few", f"{FEW} clients, exchanges", "1/s", probes.fan_out),
    _time("few_p99", f"{FEW} clients, p99", probes.fan_out),
    _rate("fan_out", f"{FAN_OUT} clients, exchanges", "1/s", probes.fan_out),
    _time("fan_out_p99", f"{FAN_OUT} clients, p99", probes.fan_out),
    _rate("connections", "connections opened and closed", "1/s", probes.connections),
)


def probes_of(rows: Iterable[Row]) -> list[Probe]:
    """Each probe once, in the order of the table."""
    return list(dict.fromkeys(row.probe for row in rows))
