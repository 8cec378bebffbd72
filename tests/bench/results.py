"""Everything measured, and what becomes of many samples: the best quarter, the median, the spread, the ratio."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench import peers
from tests.bench.goals import Against
from tests.bench.peers import Peer
from tests.bench.rows import Row


def best_quarter(values: Sequence[float], more_is_better: bool) -> float:
    """The median of the best quarter of the samples, at least of one; ValueError without any."""
    if not values:
        raise ValueError("no samples, no best ones")
    best = sorted(values, reverse=more_is_better)[: math.ceil(len(values) / 4)]
    return statistics.median(best)


def spread(values: Sequence[float]) -> float | None:
    """How far the middle half of the samples is apart, as a part of the median; None for fewer than 2 or around 0."""
    middle = statistics.median(values) if len(values) > 1 else 0.0
    if middle <= 0:
        return None
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return (upper - lower) / middle


def times_better(row: Row, ours: float, theirs: float) -> float:
    """More is better for us, whatever the row's unit."""
    ours, theirs = max(ours, row.least), max(theirs, row.least)
    return ours / theirs if row.more_is_better else theirs / ours


@dataclass(slots=True)
class Results:
    """Per (row, relay) the samples in the order they were taken, None where that failed; and the failures."""

    relays: list[Peer]
    rows: list[Row]
    samples: dict[tuple[str, str], list[float | None]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, row: Row, relay: Peer, value: float | None) -> None:
        self.samples.setdefault((row.key, relay.key), []).append(value)

    def expected(self, row: Row, relay: Peer) -> bool:
        return row.relayless or relay.command is not None

    def measured(self, row: Row) -> bool:
        """Is there a figure from every burst of every relay that can have one?"""
        wanted = [self.samples.get((row.key, relay.key), []) for relay in self.relays if self.expected(row, relay)]
        return all(samples and None not in samples for samples in wanted)

    def taken(self, row: Row, key: str) -> list[float]:
        """The samples that did not fail, as measured."""
        return [value for value in self.samples.get((row.key, key), ()) if value is not None]

    def figure(self, row: Row, key: str) -> float | None:
        """That of the best quarter."""
        return self._less_no_relay(row, key, lambda values: best_quarter(values, row.more_is_better))

    def median(self, row: Row, key: str) -> float | None:
        return self._less_no_relay(row, key, statistics.median)

    def _less_no_relay(self, row: Row, key: str, of: Callable[[list[float]], float]) -> float | None:
        """Of a row of added times, less the same of no relay: the best is subtracted from the best.

        The least of the differences, sample by sample, would be where no relay was disturbed most.
        """
        values, base = self.taken(row, key), self.taken(row, peers.DIRECT)
        if not values or (row.added and not base):
            return None
        return of(values) - of(base) if row.added and key != peers.DIRECT else of(values)

    def ratio(self, row: Row, key: str, mine: str = peers.OURS) -> float | None:
        """Ours (or `mine`) against one relay by their best quarters, more is better; None if one was not measured."""
        ours, theirs = self.figure(row, mine), self.figure(row, key)
        return None if ours is None or theirs is None else times_better(row, ours, theirs)

    def against(self, row: Row, against: Against) -> float | None:
        """The figure a goal is held against; None if it, or one of several, was not measured."""
        if against is Against.LIMIT:
            return self.figure(row, peers.OURS)
        ratios = [self.ratio(row, key) for key in against.relays]
        return None if None in ratios else min(ratios)

    def noise(self) -> float:
        """The median over all rows and relays of their spread."""
        spreads = [spread(self.taken(row, relay.key)) for row in self.rows for relay in self.relays]
        return statistics.median([value for value in spreads if value is not None] or [0.0])
