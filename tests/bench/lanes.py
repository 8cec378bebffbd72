"""All relays of a run side by side, of which one is awake at a time."""

from __future__ import annotations

import sys
from types import TracebackType

from tests.bench import load
from tests.bench.peers import Peer
from tests.bench.probes import Probe, Sizes
from tests.bench.results import Results
from tests.bench.running import Bench, Relay

MAX_FAILURES = 3  # of one relay, after which it is left alone: each can cost the load generator's 20 s of patience


class Lane:
    """One relay between two starts: asleep unless it is measured; keeps its failures, and starts it anew after one."""

    def __init__(self, bench: Bench, peer: Peer, results: Results) -> None:
        self._bench, self._peer, self._results = bench, peer, results
        self.relay: Relay | None = None
        self._failures = 0

    def start(self) -> None:
        try:
            self.relay = Relay(self._bench, self._peer)
            self.relay.sleep()
        except load.LoadError as error:
            self._failed("start", str(error))

    def measure(self, probe: Probe, sizes: Sizes) -> None:
        """One burst. Samples go to the rows of this probe, None where it failed."""
        if self.relay is None and self._failures < MAX_FAILURES:
            self.start()
        values = {}
        if self.relay is not None:
            try:
                self.relay.wake()
                values = probe(self.relay, sizes)
                self.relay.sleep()
            except load.LoadError as error:
                self._failed(probe.__name__, f"{error} {self.relay.obituary()}".strip())
        for row in self._results.rows:
            if row.probe is probe and self._results.expected(row, self._peer):
                self._results.add(row, self._peer, values.get(row.key))

    def close(self) -> None:
        relay, self.relay = self.relay, None
        complaint = relay.close() if relay else ""
        if complaint:
            self._results.failures.append(f"{self._peer.title}: {complaint}")

    def _failed(self, where: str, why: str) -> None:
        self._failures += 1
        self._results.failures.append(f"{self._peer.title}, {where}: {why}")
        print(self._results.failures[-1], file=sys.stderr)
        self.close()


class Lanes:
    """A context manager: started afresh, one after the other, and ended."""

    def __init__(self, bench: Bench, results: Results) -> None:
        self.lanes = [Lane(bench, peer, results) for peer in results.relays]

    def __enter__(self) -> Lanes:
        try:
            for lane in self.lanes:
                lane.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def measure(self, probe: Probe, sizes: Sizes, turn: int) -> None:
        """One burst of each; who begins is another one each turn."""
        shift = turn % len(self.lanes)
        for lane in self.lanes[shift:] + self.lanes[:shift]:
            lane.measure(probe, sizes)

    def close(self) -> None:
        for lane in self.lanes:
            lane.close()
