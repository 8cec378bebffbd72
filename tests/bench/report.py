"""From samples to a table: medians, ratios in which more is better, and whether each goal was reached."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tests.bench import peers
from tests.bench.peers import Peer
from tests.bench.rows import Against, Goal, Row

TINY = 0.01  # memory or CPU below this is noise around nothing; it is what a ratio divides by instead


@dataclass(slots=True)
class Results:
    """Everything measured: per (row, relay) one sample per repetition, None where that failed; and the failures."""

    relays: list[Peer]
    rows: list[Row]
    samples: dict[tuple[str, str], list[float | None]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, row: Row, relay: Peer, value: float | None) -> None:
        self.samples.setdefault((row.key, relay.key), []).append(value)

    def expected(self, row: Row, relay: Peer) -> bool:
        return row.relayless or relay.command is not None

    def measured(self, row: Row) -> bool:
        """Is there a figure from every repetition of every relay that can have one?"""
        wanted = [self.samples.get((row.key, relay.key), []) for relay in self.relays if self.expected(row, relay)]
        return all(samples and None not in samples for samples in wanted)

    def median(self, row: Row, key: str) -> float | None:
        values = [value for value in self.samples.get((row.key, key), ()) if value is not None]
        return statistics.median(values) if values else None

    def ratio(self, row: Row, key: str, mine: str = peers.OURS) -> float | None:
        """Ours (or `mine`) against one relay, more is better: the median of the ratios within each repetition.

        Both figures of a pair were taken seconds apart, so what slows the machine for a while hits both.
        """
        samples = (self.samples.get((row.key, relay), ()) for relay in (mine, key))
        pairs = zip(*samples, strict=False)  # one of them may not be in this run, or be left out after failures
        ratios = [_ratio(row, ours, theirs) for ours, theirs in pairs if None not in (ours, theirs)]
        return statistics.median(ratios) if ratios else None

    def against(self, row: Row, against: Against) -> float | None:
        """The figure a goal is held against; None if it was not measured."""
        match against:
            case Against.SOCAT:
                return self.ratio(row, peers.SOCAT)
            case Against.RAW:
                return self.ratio(row, peers.RAW)
            case Against.LIMIT:
                return self.median(row, peers.OURS)
        ratios = [self.ratio(row, key) for key in (peers.HAPROXY, peers.NGINX)]
        return None if None in ratios else min(ratios)


def _ratio(row: Row, ours: float, theirs: float) -> float:
    if row.more_is_better:
        return ours / theirs
    return max(theirs, TINY) / max(ours, TINY)


class Verdict(Enum):
    PASS = "PASS"
    SHORT = "short"
    UNKNOWN = "not measured"


def judge(goal: Goal, figure: float | None) -> Verdict:
    if figure is None:
        return Verdict.UNKNOWN
    if goal.against is Against.LIMIT:
        reached = figure <= goal.value
    else:
        reached = figure > goal.value if goal.ahead else figure >= goal.value
    return Verdict.PASS if reached else Verdict.SHORT


def figures(results: Results) -> list[list[str]]:
    """Medians, one line per row and one column per relay."""
    head = ["", "unit", *(relay.title for relay in results.relays)]
    lines = [[row.title, row.unit, *(_cell(results, row, relay) for relay in results.relays)] for row in results.rows]
    return [head, *lines]


def _cell(results: Results, row: Row, relay: Peer) -> str:
    if not results.expected(row, relay):
        return "-"
    value = results.median(row, relay.key)
    text = "failed" if value is None else f"{value:.{row.digits}f}"
    return text if value is None or None not in results.samples[row.key, relay.key] else f"{text} (failed)"


COLUMNS = (Against.SOCAT, Against.BETTER, Against.RAW)


def ratios(results: Results) -> list[list[str]]:
    """Ours against the others, more is better, and the goals. Empty without our relay in the run."""
    if peers.OURS not in (relay.key for relay in results.relays):
        return []
    head = ["ib-relay is", *(f"x {column.value}" for column in COLUMNS), "goals"]
    lines = [
        [
            row.title,
            *(_times(results.against(row, column)) for column in COLUMNS),
            "; ".join(_verdict(results, row, goal) for goal in row.goals),
        ]
        for row in results.rows
    ]
    return [head, *lines]


def beside_before(results: Results) -> list[list[str]]:
    """Today's build against another one, more is better."""
    pairs = ((peers.OURS, peers.BEFORE), (peers.RAW, peers.BEFORE_RAW))
    lines = [[row.title, *(_times(results.ratio(row, before, now)) for now, before in pairs)] for row in results.rows]
    return [["now is", "x before", "x before, raw"], *lines]


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio < 100 else "> 100"


def _verdict(results: Results, row: Row, goal: Goal) -> str:
    name = {Against.SOCAT: "socat", Against.BETTER: "better", Against.RAW: "raw", Against.LIMIT: ""}[goal.against]
    if goal.against is Against.LIMIT:
        wish = f"<= {goal.value:g} {row.unit}"
    else:
        wish = f"{name} {'>' if goal.ahead else '>='} {goal.value:.2f}"
    return f"{judge(goal, results.against(row, goal.against)).value} ({wish})"


def goals_reached(results: Results) -> tuple[int, int]:
    """(goals reached, goals that could be judged)."""
    verdicts = [judge(goal, results.against(row, goal.against)) for row in results.rows for goal in row.goals]
    return verdicts.count(Verdict.PASS), len(verdicts) - verdicts.count(Verdict.UNKNOWN)


def spread(results: Results) -> float:
    """How noisy the run was: the median over all figures of (largest - smallest) / median of the repetitions."""
    spreads = [0.0]
    for samples in results.samples.values():
        values = [value for value in samples if value is not None]
        if len(values) > 1 and (middle := statistics.median(values)) > TINY:
            spreads.append((max(values) - min(values)) / middle)
    return statistics.median(spreads)


def as_text(table: Sequence[Sequence[str]]) -> str:
    """Columns aligned for a terminal: words (the first column, units, goals) to the left, figures to the right."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))] if table else []
    words = {0, *(i for i in range(len(widths)) if table[0][i] in ("unit", "goals"))}

    def aligned(line: Sequence[str]) -> str:
        cells = enumerate(zip(line, widths, strict=True))
        return "  ".join(text.ljust(width) if i in words else text.rjust(width) for i, (text, width) in cells)

    return "\n".join(aligned(line).rstrip() for line in table)


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    if not table:
        return ""
    words = [i == 0 or title in ("unit", "goals") for i, title in enumerate(table[0])]
    rule = ["---" if word else "---:" for word in words]
    return "\n".join(f"| {' | '.join(line)} |" for line in (table[0], rule, *table[1:]))


def machine() -> str:
    """CPU model, cores this process may use, kernel and Python, in one line."""
    cpus = len(os.sched_getaffinity(0))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{_cpu_model()}, {cpus} cores, {platform.system()} {platform.release()}, {python}"


def _cpu_model() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return ()
