"""Only the relay under test is awake, with all that it has forked; and it works whenever it is woken."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from tests.bench import load, probes, processes
from tests.bench.lanes import Lanes
from tests.bench.peers import PEERS, SURVIVE
from tests.bench.probes import QUICK, Sizes, Values
from tests.bench.results import Results
from tests.bench.rows import ROWS
from tests.bench.running import Bench, Relay

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

CLIENTS = 3  # socat forks for each, and its children stay for half a second after them
TURNS = 4


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    return Bench(load.build(folder), folder, "-", "-")


def test_all_others_are_stopped_while_one_is_measured(bench: Bench) -> None:
    relays = [PEERS[key] for key in ("ib-relay", "ib-relay-raw", "socat", "direct") if not PEERS[key].missing()]
    seen: list[tuple[str, set[str], int]] = []

    def look(relay: Relay, sizes: Sizes) -> Values:
        with relay.client("idle", CLIENTS, 0) as client:
            client.work()
            others = [lane.relay.pid for lane in lanes.lanes if lane.relay is not relay and lane.relay.pid]
            states = {state for pid in others for state in processes.group(pid).values()} - {"Z"}
            own = processes.group(relay.pid).values() if relay.pid else ()
        seen.append((relay.peer.key, states, sum(state != "T" for state in own)))
        return {}

    results = Results(relays, [replace(ROWS[0], probe=look)])
    with Lanes(bench, results) as lanes:
        for turn in range(TURNS):
            lanes.measure(look, QUICK, turn)
    assert results.failures == []
    assert [key for key, _, _ in seen[:: len(relays)]] == [relays[turn % len(relays)].key for turn in range(TURNS)]
    processes_of = {"ib-relay": 1, "ib-relay-raw": 1, "socat": 1 + CLIENTS, "direct": 0}
    for key, others, own in seen:
        assert others == {"T"} and own >= processes_of[key], key


def test_a_relay_that_dies_fails_its_burst_and_is_started_anew(bench: Bench) -> None:
    pids: list[int] = []

    def die(relay: Relay, sizes: Sizes) -> Values:
        pids.append(relay.pid)
        if len(pids) == 1:
            relay.close()
        return probes.connections(relay, sizes)

    results = Results([PEERS["ib-relay"]], [replace(ROWS[-1], probe=die)])
    with Lanes(bench, results) as lanes:
        for turn in range(2):
            lanes.measure(die, QUICK, turn)
    (failed, measured), (failure,) = results.samples["connections", "ib-relay"], results.failures
    assert failed is None and measured > 0 and pids[0] != pids[1]
    assert failure.startswith("ib-relay, die: connections: ") and "ib-relay exited with -9" in failure


def test_sessions_are_really_kept_or_the_relay_is_not_measured(bench: Bench) -> None:
    relay = Relay(bench, PEERS[SURVIVE])
    try:
        assert probes.round_trip(relay, QUICK)["rtt_p50"] > 0
    finally:
        assert relay.close() == ""
    forgetful = replace(PEERS[SURVIVE], environment={"IB_RELAY_SURVIVE": "false"})
    with pytest.raises(load.LoadError, match="ib-relay survive gave no session to its manager"):
        Relay(bench, forgetful)


def test_what_is_pinned_comes_before_all_others_unless_it_was_told_to_be_nice(bench: Bench) -> None:
    own = os.nice(0)
    pinned = replace(bench, relay_cpus=str(min(os.sched_getaffinity(0))))
    assert bench.niceness() == str(own)
    assert pinned.niceness() in ({str(own)} if own > 0 else {str(own), str(load.FIRST)})  # not everybody may
